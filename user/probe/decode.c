// SPDX-License-Identifier: Apache-2.0
/*
 * A table says for each type how large it is at least, in which lanes it may come and what makes it sound.
 * The size that is kept is computed anew from the length fields: a ring reserves in steps, and what lies
 * behind the text it was told of may be left over from another record. For the same reason the bytes
 * behind the end of a string are zeroed.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include "user/base/text.h"
#include "user/elf/unwind.h"
#include "user/probe/decode.h"
#include "user/probe/reason.h"
#include "user/probe/sql.h"

enum {
	IN_LIFE = 1 << LANE_LIFE,
	IN_CAPTURE = 1 << LANE_CAPTURE,
	IN_FLOW = 1 << LANE_FLOW,
	IN_USER = 1 << LANE_USER,
	ACCEPTS_ALL = ACCEPTS_BREAKER | ACCEPTS_RESTART | ACCEPTS_HOLD | ACCEPTS_DRAIN | ACCEPTS_DEGRADE,
};

/*
 * Checks and scrubs one record whose fixed part is there; its tail is not yet. head.size is what the record
 * claims, and may be made smaller. Returns NULL, or the field that is wrong.
 */
typedef const char *sound_fn(struct ev_head *ev);

#define TEXT(array) text_sound(array, sizeof(array))

static void text_sound(char *text, size_t size)
{
	size_t length = strnlen(text, size - 1);

	memset(text + length, 0, size - length);
	text_clean(text);
}

/* Where the name of a host or database belongs, libpq accepts a whole connection string. */
static void name_sound(char *text, size_t size)
{
	text_sound(text, size);
	if (strpbrk(text, "@=") || strstr(text, "://"))
		memset(text, 0, size);
}

/* A target names no user and no password; one that does is no target. */
static void target_sound(char *text, size_t size)
{
	text_sound(text, size);
	if (strchr(text, '@'))
		memset(text, 0, size);
}

static void sqlstate_sound(char *text, size_t size)
{
	text_sound(text, size);
	if (strlen(text) != 5 || strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5)
		memset(text, 0, size);
}

static const char *birth_sound(struct ev_head *ev)
{
	TEXT(((struct ev_birth *)ev)->comm);
	return NULL;
}

static const char *exec_sound(struct ev_head *ev)
{
	struct ev_exec *exec = (struct ev_exec *)ev;

	TEXT(exec->comm);
	TEXT(exec->file);
	return NULL;
}

static const char *kill_sound(struct ev_head *ev)
{
	TEXT(((struct ev_kill *)ev)->sender_comm);
	return NULL;
}

static const char *fatal_sound(struct ev_head *ev)
{
	struct ev_fatal *fatal = (struct ev_fatal *)ev;

	if (fatal->kind < FATAL_BUG || fatal->kind > FATAL_ASSERT)
		return "fatal.kind";
	TEXT(fatal->message);
	return NULL;
}

static const char *conn_sound(struct ev_head *ev)
{
	struct ev_conn *conn = (struct ev_conn *)ev;
	bool lost = conn->what == CONN_FAILED || conn->what == CONN_BROKEN;

	if (conn->what < CONN_OPEN || conn->what > CONN_BROKEN)
		return "conn.what";
	if (conn->reason >= REASON_COUNT)
		return "conn.reason";
	TEXT(conn->message);
	if (conn->message[0])
		conn->reason = reason_of(conn->message);
	if (lost && conn->reason == REASON_NONE)
		conn->reason = REASON_OTHER;
	if (!lost)
		conn->reason = REASON_NONE;
	memset(conn->message, 0, sizeof(conn->message));
	name_sound(conn->host, sizeof(conn->host));
	name_sound(conn->port, sizeof(conn->port));
	name_sound(conn->database, sizeof(conn->database));
	return NULL;
}

/* The vector ends with a pair of zeros; behind it there may be anything. */
static void auxv_sound(struct ev_fault *fault)
{
	uint32_t count = 0;

	while (count < fault->auxv_count && fault->auxv[count][0])
		count++;
	memset(fault->auxv[count], 0, (EV_AUXV - count) * sizeof(fault->auxv[0]));
	fault->auxv_count = count;
}

/* What was not taken lies nowhere; what was is behind the stack, and no larger than it may be. */
static const char *windows_sound(struct ev_fault *fault, size_t room)
{
	static const uint32_t limits[WINDOW_COUNT] = {
		[WINDOW_INTERRUPTED] = EV_STACK_INTERRUPTED,
		[WINDOW_FIRST] = EV_STACK_FIRST,
	};

	for (int i = 0; i < WINDOW_COUNT; i++) {
		struct ev_window *window = &fault->windows[i];

		if (window->size > limits[i] || window->size > UINT64_MAX - window->address ||
		    (window->size > 0 && fault->stack_len == 0))
			return "fault.windows";
		if (window->size == 0)
			*window = (struct ev_window){0};
	}
	return fault->stack_len + unwind_windows_size(fault->windows) > room ? "fault.windows" : NULL;
}

static const char *fault_sound(struct ev_head *ev)
{
	struct ev_fault *fault = (struct ev_fault *)ev;
	size_t room = ev->size - sizeof(*fault);
	const char *wrong;
	char sql[EV_SQL_LAST];

	if (fault->sql_len > EV_SQL_LAST)
		return "fault.sql_len";
	if (fault->stack_len > EV_STACK_MAX || fault->stack_len > room)
		return "fault.stack_len";
	wrong = windows_sound(fault, room < EV_STACK_TOTAL ? room : EV_STACK_TOTAL);
	if (wrong)
		return wrong;
	if (fault->stack_len > 0 && ev->lane != LANE_CAPTURE)
		return "fault.lane";
	if (fault->auxv_count > EV_AUXV)
		return "fault.auxv_count";
	auxv_sound(fault);
	if (!fault->code_start)
		memset(fault->text, 0, sizeof(fault->text));
	TEXT(fault->comm);
	fault->sql_len = (uint32_t)sql_normalise(fault->sql, fault->sql_len, sql, sizeof(sql));
	memset(fault->sql, 0, sizeof(fault->sql));
	memcpy(fault->sql, sql, fault->sql_len);
	ev->size = (uint32_t)(sizeof(*fault) + fault->stack_len + unwind_windows_size(fault->windows));
	return NULL;
}

static const char *ruby_sound(struct ev_head *ev)
{
	struct ev_ruby *ruby = (struct ev_ruby *)ev;

	if (ruby->state < RUBY_STACK_COMPLETE || ruby->state > RUBY_STACK_UNSUPPORTED)
		return "ruby.state";
	if (ruby->count > EV_RUBY_FRAMES || ruby->count * sizeof(ruby->frames[0]) > ev->size - sizeof(*ruby))
		return "ruby.count";
	ev->size = (uint32_t)(sizeof(*ruby) + ruby->count * sizeof(ruby->frames[0]));
	return NULL;
}

/* Of a C function path and line are its caller's, which stands behind it. */
static const char *ruby_frames_sound(struct ev_head *ev)
{
	struct ev_ruby *ruby = (struct ev_ruby *)ev;
	const struct ev_ruby_frame *caller = NULL;

	for (uint32_t i = ruby->count; i-- > 0;) {
		struct ev_ruby_frame *frame = &ruby->frames[i];

		if (frame->kind < RUBY_FRAME_RUBY || frame->kind > RUBY_FRAME_OTHER)
			return "ruby.kind";
		TEXT(frame->label);
		TEXT(frame->path);
		if (frame->line < 0)
			frame->line = 0;
		if (frame->kind == RUBY_FRAME_RUBY) {
			caller = frame;
		} else if (frame->kind == RUBY_FRAME_C && caller && !frame->path[0]) {
			memcpy(frame->path, caller->path, sizeof(frame->path));
			frame->line = caller->line;
		}
	}
	return NULL;
}

/* The bytes may hold anything, secrets too: whoever joins the pieces scrubs them, a piece may end inside a
 * word. */
static const char *written_sound(struct ev_head *ev)
{
	struct ev_written *written = (struct ev_written *)ev;

	if (written->size > EV_WRITTEN_MAX || written->size > ev->size - sizeof(*written))
		return "written.size";
	if (written->size > written->full_size)
		return "written.full_size";
	ev->size = (uint32_t)sizeof(*written) + written->size;
	return NULL;
}

static const char *query_start_sound(struct ev_head *ev)
{
	struct ev_query_start *start = (struct ev_query_start *)ev;

	if (start->kind < QUERY_SIMPLE || start->kind > QUERY_PREPARED)
		return "query_start.kind";
	if (start->text_len > EV_SQL_MAX || start->text_len > ev->size - sizeof(*start))
		return "query_start.text_len";
	return NULL;
}

static const char *query_end_sound(struct ev_head *ev)
{
	struct ev_query_end *end = (struct ev_query_end *)ev;

	sqlstate_sound(end->sqlstate, sizeof(end->sqlstate));
	return NULL;
}

static const char *begin_sound(struct ev_head *ev)
{
	struct ev_begin *begin = (struct ev_begin *)ev;

	if (begin->format != EV_FORMAT)
		return "begin.format";
	TEXT(begin->version);
	TEXT(begin->host);
	return NULL;
}

static const char *info_sound(struct ev_head *ev)
{
	struct ev_info *info = (struct ev_info *)ev;

	TEXT(info->app);
	TEXT(info->comm);
	TEXT(info->server);
	TEXT(info->ruby);
	TEXT(info->cgroup);
	TEXT(info->exe);
	TEXT(info->title);
	return NULL;
}

static const char *hello_sound(struct ev_head *ev)
{
	struct ev_hello *hello = (struct ev_hello *)ev;

	if (hello->role > APP_WORKER)
		return "hello.role";
	if (hello->accepts & ~(uint32_t)ACCEPTS_ALL)
		return "hello.accepts";
	TEXT(hello->scope.app);
	TEXT(hello->server);
	TEXT(hello->ruby);
	return NULL;
}

static const char *probe_sound(struct ev_head *ev)
{
	struct ev_probe *probe = (struct ev_probe *)ev;

	if (probe->result < PROBE_OK || probe->result >= PROBE_RESULT_END)
		return "probe.result";
	if (probe->reached > 1)
		return "probe.reached";
	TEXT(probe->scope.app);
	target_sound(probe->target, sizeof(probe->target));
	sqlstate_sound(probe->sqlstate, sizeof(probe->sqlstate));
	return NULL;
}

static const char *breaker_sound(struct ev_head *ev)
{
	struct ev_breaker *breaker = (struct ev_breaker *)ev;

	if (breaker->kind >= BREAKER_KINDS)
		return "breaker.kind";
	if (breaker->state > BREAKER_HALF_OPEN)
		return "breaker.state";
	TEXT(breaker->scope.app);
	target_sound(breaker->target, sizeof(breaker->target));
	return NULL;
}

static const char *action_sound(struct ev_head *ev)
{
	struct ev_action *action = (struct ev_action *)ev;

	if (action->outcome < ACTION_DONE || action->outcome >= ACTION_OUTCOME_END)
		return "action.outcome";
	TEXT(action->scope.app);
	TEXT(action->id);
	TEXT(action->action);
	return NULL;
}

static const char *state_sound(struct ev_head *ev)
{
	struct ev_state *state = (struct ev_state *)ev;

	state->connected = state->connected != 0;
	state->welcomed = state->welcomed != 0;
	return state->state > APP_STOPPED ? "state.state" : NULL;
}

static const char *location_sound(struct ev_head *ev)
{
	struct ev_location *location = (struct ev_location *)ev;

	if (location->source > MAPS_INHERITED)
		return "location.source";
	if (location->build_id_len > sizeof(location->build_id))
		return "location.build_id_len";
	if (location->what > LOCATION_STACK)
		return "location.what";
	TEXT(location->module);
	return NULL;
}

static const char *gap_sound(struct ev_head *ev)
{
	return ((struct ev_gap *)ev)->of_lane > LANE_COUNT ? "gap.of_lane" : NULL;
}

static const struct {
	const char *name;
	size_t size; /* of the fixed part */
	unsigned lanes;
	bool tail;
	sound_fn *sound;
	sound_fn *tail_sound; /* once the tail is there, in room for EV_RECORD_MAX bytes */
} types[EV_TYPE_END] = {
	[EV_WATCH] = {"watch", sizeof(struct ev_birth), IN_LIFE | IN_USER, false, birth_sound},
	[EV_FORK] = {"fork", sizeof(struct ev_birth), IN_LIFE, false, birth_sound},
	[EV_EXEC] = {"exec", sizeof(struct ev_exec), IN_LIFE | IN_USER, false, exec_sound},
	[EV_EXIT] = {"exit", sizeof(struct ev_exit), IN_LIFE, false, NULL},
	[EV_KILL] = {"kill", sizeof(struct ev_kill), IN_LIFE, false, kill_sound},
	[EV_FATAL] = {"fatal", sizeof(struct ev_fatal), IN_LIFE, false, fatal_sound},
	[EV_CONFIRM] = {"confirm", sizeof(struct ev_confirm), IN_LIFE, false, NULL},
	[EV_CONN] = {"conn", sizeof(struct ev_conn), IN_LIFE, false, conn_sound},
	[EV_FAULT] = {"fault", sizeof(struct ev_fault), IN_LIFE | IN_CAPTURE, true, fault_sound},
	[EV_RUBY] = {"ruby", sizeof(struct ev_ruby), IN_CAPTURE, true, ruby_sound, ruby_frames_sound},
	[EV_WRITTEN] = {"written", sizeof(struct ev_written), IN_CAPTURE, true, written_sound},
	[EV_QUERY_START] = {"query_start", sizeof(struct ev_query_start), IN_FLOW, true, query_start_sound},
	[EV_QUERY_END] = {"query_end", sizeof(struct ev_query_end), IN_FLOW | IN_LIFE, false,
			  query_end_sound},
	[EV_BEGIN] = {"begin", sizeof(struct ev_begin), IN_USER, false, begin_sound},
	[EV_TICK] = {"tick", sizeof(struct ev_head), IN_USER, false, NULL},
	[EV_INFO] = {"info", sizeof(struct ev_info), IN_USER, false, info_sound},
	[EV_SAMPLE] = {"sample", sizeof(struct ev_sample), IN_USER, false, NULL},
	[EV_LOCATION] = {"location", sizeof(struct ev_location), IN_USER, false, location_sound},
	[EV_GAP] = {"gap", sizeof(struct ev_gap), IN_USER, false, gap_sound},
	[EV_HELLO] = {"hello", sizeof(struct ev_hello), IN_USER, false, hello_sound},
	[EV_PROBE] = {"probe", sizeof(struct ev_probe), IN_USER, false, probe_sound},
	[EV_BREAKER] = {"breaker", sizeof(struct ev_breaker), IN_USER, false, breaker_sound},
	[EV_ACTION] = {"action", sizeof(struct ev_action), IN_USER, false, action_sound},
	[EV_STATE] = {"state", sizeof(struct ev_state), IN_USER, false, state_sound},
};

/*
 * The text of a query and room for its terminator, in steps of eight. The normal form may be longer than
 * what it was made from ("1" becomes "$1"), so the size grows or shrinks with it.
 */
static void query_text(struct ev_query_start *out, const char *text)
{
	size_t size;

	if (out->kind == QUERY_PREPARED) {
		out->text_len = (uint32_t)text_copy_bytes(out->text, out->text_len + 1, text, out->text_len);
		text_clean(out->text);
	} else {
		out->text_len = (uint32_t)sql_normalise(text, out->text_len, out->text, EV_SQL_MAX + 1);
	}
	size = (sizeof(*out) + out->text_len + 8) & ~(size_t)7;
	memset(out->text + out->text_len, 0, size - sizeof(*out) - out->text_len);
	out->head.size = (uint32_t)size;
}

static int refuse(const char **why, const char *field)
{
	*why = field;
	return -EBADMSG;
}

int decode(const void *bytes, size_t size, struct ev_head *out, const char **why)
{
	const char *wrong = NULL;
	struct ev_head head;
	size_t fixed;

	if (size < sizeof(head))
		return refuse(why, "record size");
	memcpy(&head, bytes, sizeof(head));
	if (head.type >= EV_TYPE_END || types[head.type].size == 0)
		return refuse(why, "head.type");
	fixed = types[head.type].size;
	if (head.size > size || head.size > EV_RECORD_MAX || head.size < fixed ||
	    (!types[head.type].tail && head.size != fixed))
		return refuse(why, "head.size");
	if (head.lane >= LANE_COUNT || !(types[head.type].lanes & 1u << head.lane))
		return refuse(why, "head.lane");

	memcpy(out, bytes, fixed);
	if (types[head.type].sound)
		wrong = types[head.type].sound(out);
	if (wrong)
		return refuse(why, wrong);
	if (head.type == EV_QUERY_START)
		query_text((struct ev_query_start *)out, (const char *)bytes + fixed);
	else
		memcpy((char *)out + fixed, (const char *)bytes + fixed, out->size - fixed);
	if (types[head.type].tail_sound)
		wrong = types[head.type].tail_sound(out);
	return wrong ? refuse(why, wrong) : 0;
}

const char *event_name(uint16_t type)
{
	return type < EV_TYPE_END && types[type].name ? types[type].name : "?";
}

const char *lane_name(uint8_t lane)
{
	static const char *const names[LANE_COUNT] = {"life", "capture", "flow", "user"};

	return lane < LANE_COUNT ? names[lane] : "?";
}

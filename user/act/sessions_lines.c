// SPDX-License-Identifier: Apache-2.0
/*
 * A line is judged where it lies: most come whole in one read and are never copied. Only what has no newline
 * yet is kept, so an idle peer holds nothing, and a peer's buffer grows with its unfinished line and goes
 * with its end.
 *
 * Before the welcome there is no patience: the first line is a sound hello, or the connection is over. After
 * it a line that is no sound JSON ends the connection, since nobody knows where the next one begins for this
 * writer; a sound line with a wrong word in it is answered, a few times a second.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "user/act/sessions_state.h"

/* --- hello and welcome ----------------------------------------------------------------------------- */

void session_ask(struct session *session)
{
	struct sessions *sessions = session->all;
	const struct sessions_events *events = &sessions->events;
	const char *refusal = NULL, *reason = "";
	char why[160] = "";
	int err = events->identify(events->context, session, &session->peer, why, sizeof(why));

	if (session->stage != SESSION_ASKING)
		return;
	if (err == -EAGAIN) {
		if (sessions->now_ns - session->hello_ns >= IDENTIFY_MS * MS)
			sessions_end(session, "unknown_process",
				     why[0] ? why : "this process is not known to the agent");
		return;
	}
	if (err) {
		sessions_end(session, "refused", why);
		return;
	}
	refusal = index_welcome(&sessions->index, session, &reason);
	if (refusal) {
		sessions_end(session, refusal, reason);
		return;
	}
	session->stage = SESSION_WELCOMED;
	session->listed = true;
	sessions->waiting--;
	sessions->welcomed++;
	events->greet(events->context, session);
	if (session->stage != SESSION_WELCOMED)
		return;
	session->joined = true;
	events->app.joined(events->app.context, &session->peer);
}

static void first_line(struct session *session, const struct app_message *message)
{
	if (message->type != MESSAGE_HELLO) {
		sessions_end(session, "hello_first", "the first line must be a hello");
		return;
	}
	session->peer.hello = message->hello;
	session->peer.state = message->hello.state;
	session->stage = SESSION_ASKING;
	session->hello_ns = session->all->now_ns;
	session_ask(session);
}

/* --- lines ----------------------------------------------------------------------------------------- */

static void answer_error(struct session *session, const char *code, const char *why)
{
	const struct sessions_events *events = &session->all->events;
	char *line;

	if (++session->window_errors > ERRORS_PER_SECOND)
		return;
	line = protocol_error(code, why);
	if (line)
		events->say(events->context, session, line);
	free(line);
}

static void deliver(struct session *session, const struct app_message *message)
{
	const struct sessions_events *events = &session->all->events;
	struct peer *peer = &session->peer;

	if (message->type == MESSAGE_HELLO) {
		answer_error(session, "second_hello", "this connection has said hello");
		return;
	}
	if (message->type == MESSAGE_ERROR && ++session->window_errors > ERRORS_PER_SECOND)
		return; /* each may be a line of somebody's log */
	if (message->type == MESSAGE_POOL)
		peer->pool = message->pool;
	if (message->type == MESSAGE_STATE) {
		peer->state = message->state.state;
		peer->in_flight = message->state.in_flight;
	}
	events->app.message(events->app.context, peer, message);
}

static void take_line(struct session *session, const char *line, size_t size)
{
	struct app_message message;
	const char *code = "";
	char why[160] = "";
	int err;

	session->all->stats.lines++;
	if (++session->window_lines > LINES_PER_SECOND) {
		sessions_end(session, "flood", "more than 1000 lines a second");
		return;
	}
	err = protocol_read(line, size, &message, &code, why, sizeof(why));
	if (err == -EBADMSG || (err && session->stage == SESSION_NEW))
		sessions_end(session, code, why);
	else if (err)
		answer_error(session, code, why);
	else if (session->stage == SESSION_NEW)
		first_line(session, &message);
	else
		deliver(session, &message);
}

/* Lines of the bytes, as long as it may speak; what is left is held. */
static void take_bytes(struct session *session, const char *bytes, size_t size)
{
	while (size > 0 && session->stage != SESSION_OVER && session->stage != SESSION_ASKING) {
		const char *end = memchr(bytes, '\n', size);
		size_t length = end ? (size_t)(end - bytes) : size;

		if (!end) {
			session_hold(session, bytes, size);
			return;
		}
		if (session->held_size == 0) {
			take_line(session, bytes, length);
		} else if (session_hold(session, bytes, length)) {
			take_line(session, session->held, session->held_size);
			session_drop_held(session);
		}
		bytes += length + 1;
		size -= length + 1;
	}
	if (size > 0 && session->stage == SESSION_ASKING)
		session_hold(session, bytes, size);
}

void sessions_feed(struct session *session, const char *bytes, size_t size, uint64_t now_ns)
{
	sessions_advance(session->all, now_ns);
	if (session->stage == SESSION_OVER)
		return;
	session_open_window(session);
	session->all->stats.bytes += size;
	session->window_bytes += (uint32_t)size;
	session_set_resting(session, session->window_bytes > BYTES_PER_SECOND);
	take_bytes(session, bytes, size);
}

/* It may go on: first with what it said meanwhile. */
void session_go_on(struct session *session)
{
	const struct sessions_events *events = &session->all->events;
	char *bytes = session->held;
	size_t size = session->held_size;

	if (bytes && memchr(bytes, '\n', size)) {
		session->all->held -= session->held_room;
		session->held = NULL;
		session->held_size = session->held_room = 0;
		take_bytes(session, bytes, size);
		free(bytes);
	}
	if (sessions_wants(session))
		events->resume(events->context, session);
}

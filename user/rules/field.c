/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary of rules: what can be asked of a notice, as text. A field belongs to certain kinds of
 * notice, and a rule that asks it of another kind is refused when it is read.
 */
#include "user/base/text.h"
#include "user/crash/report.h"
#include "user/gems/gem_path.h"
#include "user/probe/reason.h"
#include "user/rules/rule.h"
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define OF(type)    (1u << (type))
#define OF_PROCESS  (~(OF(NOTICE_GAP) | OF(NOTICE_PROBE) | OF(NOTICE_BREAKER) | OF(NOTICE_ACTION)))
#define OF_CRASH    (OF(NOTICE_CRASH) | OF(NOTICE_CRASH_END))
#define OF_DATABASE (OF(NOTICE_DB_ERROR) | OF(NOTICE_DB_OK) | OF(NOTICE_PROBE))

struct field {
	const char *name;
	unsigned notices;
	void (*get)(const struct notice *notice, char *out);
};

static void put(char *out, const char *text)
{
	text_copy(out, FIELD_SIZE, text);
}

static void put_number(char *out, unsigned long long number)
{
	snprintf(out, FIELD_SIZE, "%llu", number);
}

static void put_bool(char *out, bool value)
{
	put(out, value ? "true" : "false");
}

static void get_app(const struct notice *notice, char *out)
{
	if (notice->crash)
		put(out, notice->crash->app);
	else if (notice->db_error)
		put(out, notice->db_error->app);
	else if (notice->probe)
		put(out, notice->probe->scope.app);
	else if (notice->process)
		put(out, notice->process->app->name);
}

static void get_pid(const struct notice *notice, char *out)
{
	if (notice->crash)
		put_number(out, notice->crash->process.tgid);
	else if (notice->process)
		put_number(out, notice->process->id.tgid);
}

static void get_uid(const struct notice *notice, char *out)
{
	if (notice->probe)
		put_number(out, notice->probe->scope.uid);
	else if (notice->process)
		put_number(out, notice->process->app->uid);
}

static void get_comm(const struct notice *notice, char *out)
{
	put(out, notice->crash ? notice->crash->comm : notice->process ? notice->process->comm : "");
}

static void get_role(const struct notice *notice, char *out)
{
	static const char *const names[] = {"process", "master", "worker"};
	enum role role = notice->crash     ? notice->crash->role
			 : notice->process ? notice->process->role
					   : ROLE_SINGLE;
	put(out, names[role]);
}

static void get_server(const struct notice *notice, char *out)
{
	put(out, notice->process ? notice->process->app->server : "");
}

static void get_status(const struct notice *notice, char *out)
{
	if (WIFSIGNALED(notice->status))
		snprintf(out, FIELD_SIZE, "signal %d", WTERMSIG(notice->status));
	else
		snprintf(out, FIELD_SIZE, "exit %d", WEXITSTATUS(notice->status));
}

/* The fault's; without one, what it was killed by. */
static void get_signal(const struct notice *notice, char *out)
{
	const struct crash *crash = notice->crash;
	int signal = crash->has_fault     ? (int)crash->fault.signal
		     : crash->status >= 0 ? WTERMSIG(crash->status)
					  : 0;
	char name[12];
	signal_name(signal, name);
	put(out, signal ? name : "an unknown signal");
}

static void get_cause(const struct notice *notice, char *out)
{
	char evidence[160];
	put(out, cause_name(cause_of(notice->crash, evidence, sizeof(evidence))));
}

static void get_module_path(const struct notice *notice, char *out)
{
	put(out, notice->crash->location.module);
}

static void get_module(const struct notice *notice, char *out)
{
	put(out, text_base(notice->crash->location.module));
}

static void get_offset(const struct notice *notice, char *out)
{
	if (notice->crash->location.what == LOCATION_FILE)
		snprintf(out, FIELD_SIZE, "0x%llx", (unsigned long long)notice->crash->location.offset);
}

static void get_place(const struct notice *notice, char *out)
{
	const struct ev_location *location = &notice->crash->location;
	if (location->what == LOCATION_FILE || location->what == LOCATION_VDSO)
		snprintf(out, FIELD_SIZE, "%s+0x%llx",
			 *location->module ? text_base(location->module) : "vdso",
			 (unsigned long long)location->offset);
	else if (location->what == LOCATION_ANON || location->what == LOCATION_STACK)
		put(out, "memory that no file backs");
	else
		put(out, notice->crash->has_fault ? "an unmapped place" : "an unknown place");
}

/* How a title puts it: "SIGSEGV in crashy.so+0x1139". */
static void get_death(const struct notice *notice, char *out)
{
	size_t used;
	get_signal(notice, out);
	used = strlen(out);
	if (notice->crash->oom)
		text_add(out, FIELD_SIZE, &used, ", out of memory");
	else if (!notice->crash->has_fault)
		text_add(out, FIELD_SIZE, &used, ", the record of its fault was lost");
	else if (notice->crash->location.what == LOCATION_NONE)
		text_add(out, FIELD_SIZE, &used, " at 0x%llx, in no known module",
			 (unsigned long long)notice->crash->fault.regs[REG_IP_]);
	else {
		char place[FIELD_SIZE];
		get_place(notice, place);
		text_add(out, FIELD_SIZE, &used, " in %s", place);
	}
}

static void get_gem(const struct notice *notice, char *out)
{
	struct gem_path gem;
	if (gem_path_parse(notice->crash->location.module, &gem))
		put(out, gem.name);
}

static void get_gem_version(const struct notice *notice, char *out)
{
	struct gem_path gem;
	if (gem_path_parse(notice->crash->location.module, &gem))
		put(out, gem.version);
}

/* Who is to answer for it: the gem, else the library without its version: "libpq" of libpq.so.5.15. */
static void get_blame(const struct notice *notice, char *out)
{
	char *suffix;
	get_gem(notice, out);
	if (*out)
		return;
	get_module(notice, out);
	if ((suffix = strstr(out, ".so")))
		*suffix = '\0';
}

static void get_confirmed_by(const struct notice *notice, char *out)
{
	static const char *const names[] = {"nothing", "handler", "death", "oom", "default_action"};
	put(out, names[notice->crash->confirmed_by]);
}

static void get_sender(const struct notice *notice, char *out)
{
	put_number(out, notice->crash->fault.sender_tgid);
}

static void get_self_sent(const struct notice *notice, char *out)
{
	put_bool(out, notice->crash->has_fault && (notice->crash->fault.flags & FAULT_SELF));
}

static void get_message(const struct notice *notice, char *out)
{
	put(out, notice->crash->fatal.message);
	text_clean(out);
}

static void get_sql(const struct notice *notice, char *out)
{
	put(out, notice->crash->sql);
}

/* The one that the crash interrupted; "" when none was running. */
static void get_statement(const struct notice *notice, char *out)
{
	put(out, notice->crash->sql_in_flight ? notice->crash->sql : "");
}

static void get_in_flight(const struct notice *notice, char *out)
{
	put_bool(out, notice->crash->sql_in_flight);
}

static void get_target(const struct notice *notice, char *out)
{
	if (notice->crash)
		put(out, notice->crash->target);
	else if (notice->db_error)
		put(out, notice->db_error->target);
	else if (notice->probe)
		put(out, notice->probe->target);
}

/* For titles: the target in words. */
static void get_database(const struct notice *notice, char *out)
{
	get_target(notice, out);
	if (!*out)
		put(out, "an unknown database");
}

static void get_sqlstate(const struct notice *notice, char *out)
{
	put(out, notice->probe ? notice->probe->sqlstate : notice->db_error->sqlstate);
}

static void get_reason(const struct notice *notice, char *out)
{
	put(out, reason_name(notice->db_error->reason));
}

static void get_error(const struct notice *notice, char *out)
{
	if (*notice->db_error->sqlstate)
		get_sqlstate(notice, out);
	else
		get_reason(notice, out);
}

static void get_availability(const struct notice *notice, char *out)
{
	put_bool(out, notice->db_error->availability);
}

static void get_result(const struct notice *notice, char *out)
{
	put(out, result_name(notice->probe->result));
}

static void get_reached(const struct notice *notice, char *out)
{
	put_bool(out, notice->probe->reached);
}

static void get_ms(const struct notice *notice, char *out)
{
	put_number(out, notice->probe->ms);
}

static const struct field fields[] = {
	{"app", OF_PROCESS | OF(NOTICE_PROBE), get_app},
	{"pid", OF_PROCESS, get_pid},
	{"uid", OF_PROCESS | OF(NOTICE_PROBE), get_uid},
	{"comm", OF_PROCESS, get_comm},
	{"role", OF_PROCESS, get_role},
	{"server", OF_PROCESS, get_server},
	{"status", OF(NOTICE_GONE) | OF(NOTICE_CRASH_END), get_status},
	{"signal", OF_CRASH, get_signal},
	{"cause", OF_CRASH, get_cause},
	{"module", OF_CRASH, get_module},
	{"module_path", OF_CRASH, get_module_path},
	{"offset", OF_CRASH, get_offset},
	{"place", OF_CRASH, get_place},
	{"death", OF_CRASH, get_death},
	{"gem", OF_CRASH, get_gem},
	{"gem_version", OF_CRASH, get_gem_version},
	{"blame", OF_CRASH, get_blame},
	{"confirmed_by", OF_CRASH, get_confirmed_by},
	{"sender", OF_CRASH, get_sender},
	{"self_sent", OF_CRASH, get_self_sent},
	{"message", OF_CRASH, get_message},
	{"sql", OF_CRASH, get_sql},
	{"statement", OF_CRASH, get_statement},
	{"in_flight", OF_CRASH, get_in_flight},
	{"target", OF_CRASH | OF_DATABASE, get_target},
	{"database", OF_CRASH | OF_DATABASE, get_database},
	{"sqlstate", OF(NOTICE_DB_ERROR) | OF(NOTICE_PROBE), get_sqlstate},
	{"reason", OF(NOTICE_DB_ERROR), get_reason},
	{"error", OF(NOTICE_DB_ERROR), get_error},
	{"availability", OF(NOTICE_DB_ERROR), get_availability},
	{"result", OF(NOTICE_PROBE), get_result},
	{"reached", OF(NOTICE_PROBE), get_reached},
	{"ms", OF(NOTICE_PROBE), get_ms},
};

const struct field *field_named(const char *name, size_t length, enum notice_type type)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (strlen(fields[i].name) == length && strncmp(fields[i].name, name, length) == 0)
			return fields[i].notices & OF(type) ? &fields[i] : NULL;
	return NULL;
}

void field_value(const struct field *field, const struct notice *notice, char out[FIELD_SIZE])
{
	out[0] = '\0';
	field->get(notice, out);
}

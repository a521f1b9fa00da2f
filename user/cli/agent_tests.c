// SPDX-License-Identifier: Apache-2.0
/*
 * Databases in use, and the prober on the loop. A database is tested on behalf of scopes that take breaker
 * orders, or that the configuration lets us act on: a test is a connection that the database's owner sees in
 * the log, and nobody else has asked for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/acting.h"
#include "user/probe/prober.h"

#define CONFIGURED_NS 1000000000ull
#define REFRESH_NS    60000000000ull /* a tenth of what a database may be idle for */

enum { TESTS = 16, PATIENCE_MS = 500 };

/* A prober at work: asked of the spawner, then its socket. */
struct test {
	struct agent *agent;
	uint64_t token;
	int fd;
	int handles;
	uv_poll_t poll;
	uv_timer_t patience;
};

/* --- uses ------------------------------------------------------------------------------------------- */

struct each_use {
	void (*fn)(void *context, const struct ev_scope *scope, const char *target);
	void *context;
};

static void visit_use(void *context, const struct ev_scope *scope, const char *target, uint32_t tgid,
		      uint64_t start_ns)
{
	const struct each_use *each = context;

	(void)tgid;
	(void)start_ns;
	each->fn(each->context, scope, target);
}

void tests_each(struct agent *agent, const struct ev_scope *scope,
		void (*fn)(void *context, const struct ev_scope *scope, const char *target), void *context)
{
	uses_each(agent->acting->uses, scope, visit_use, &(struct each_use){fn, context});
}

bool tests_knows(struct agent *agent, const struct ev_scope *scope, const char *target)
{
	return uses_knows(agent->acting->uses, scope, target);
}

void tests_used(struct agent *agent, const struct process *process, const char *target, uint64_t now_ns)
{
	struct acting *acting = agent->acting;
	struct ev_scope scope;
	struct page *page;

	scope_of_app(process->app, &scope);
	if (!scope_known(&scope) ||
	    !uses_note(acting->uses, &scope, target, process->id.tgid, process->id.start_ns))
		return;
	page = pages_of(agent, &scope, false);
	if (!page)
		return;
	page_slot(page, target);
	probes_used(acting->probes, &scope, target, process->id.tgid, process->id.start_ns, now_ns);
}

static void take_use(void *context, const struct ev_scope *scope, const char *target, uint32_t tgid,
		     uint64_t start_ns)
{
	probes_used(context, scope, target, tgid, start_ns, mono_now());
}

void tests_joined(struct agent *agent, const struct ev_scope *scope)
{
	uses_each(agent->acting->uses, scope, take_use, agent->acting->probes);
}

/* Exits come by the thousand: what they leave is looked for once in a tick, and not for each of them. */
void tests_gone(struct agent *agent, const struct process *process)
{
	uses_gone(agent->acting->uses, process->id.tgid, process->id.start_ns);
	probes_process_gone(agent->acting->probes, process->id.tgid, process->id.start_ns);
}

static void offer(void *context, const struct process *process)
{
	struct agent *agent = context;
	struct ev_scope scope;

	scope_of_app(process->app, &scope);
	if (uses_offer(agent->acting->uses, &scope, process->id.tgid, process->id.start_ns))
		probes_reach(agent->acting->probes, &scope, process->id.tgid, process->id.start_ns);
}

struct refreshing {
	struct agent *agent;
	uint64_t now_ns;
};

/* What the configuration names for an app is in use while a process of it lives, seen to connect or not. */
static void configured(void *context, const struct process *process)
{
	const struct refreshing *refreshing = context;
	const struct config_app *app = watch_entry(refreshing->agent, process->id.tgid, process->id.start_ns);

	for (size_t i = 0; app && i < app->database_count; i++)
		tests_used(refreshing->agent, process, app->databases[i].target, refreshing->now_ns);
}

static void still_open(void *context, const struct process *process, const char *target)
{
	const struct refreshing *refreshing = context;

	tests_used(refreshing->agent, process, target, refreshing->now_ns);
}

static bool names_databases(const struct config *config)
{
	for (size_t i = 0; i < config->app_count; i++)
		if (config->apps[i].database_count)
			return true;
	return false;
}

void tests_tick(struct agent *agent, uint64_t now_ns)
{
	struct acting *acting = agent->acting;
	const struct model *model = pipeline_model(agent->pipeline);

	if (uses_lack_holder(acting->uses)) {
		model_each_process(model, offer, agent);
		uses_offered(acting->uses);
	}
	/* a pool may connect once and keep that for days */
	if (now_ns >= acting->refresh_ns) {
		acting->refresh_ns = now_ns + REFRESH_NS;
		model_each_open(model, still_open, &(struct refreshing){agent, now_ns});
	}
	if (now_ns >= acting->configured_ns) {
		acting->configured_ns = now_ns + CONFIGURED_NS;
		if (names_databases(&agent->config))
			model_each_process(model, configured, &(struct refreshing){agent, now_ns});
	}
	probes_tick(acting->probes, now_ns);
}

/* --- the prober ------------------------------------------------------------------------------------- */

static void test_closed(uv_handle_t *handle)
{
	struct test *test = handle->data;

	if (--test->handles > 0)
		return;
	if (test->fd >= 0)
		close(test->fd);
	free(test);
}

static void test_end(struct test *test)
{
	if (test->handles == 0) {
		free(test);
		return;
	}
	uv_close((uv_handle_t *)&test->poll, test_closed);
	uv_close((uv_handle_t *)&test->patience, test_closed);
}

static void answer(struct test *test, enum probe_result result, const char *sqlstate, uint32_t ms)
{
	struct agent *agent = test->agent;
	uint64_t token = test->token;

	table_delete(agent->acting->tests, &token);
	test_end(test);
	probes_answer(agent->acting->probes, token, result, sqlstate, ms, mono_now());
}

static void out_of_patience(uv_timer_t *timer)
{
	struct test *test = timer->data;

	answer(test, PROBE_NOT_RUN, "", 0);
}

/* The same trouble comes back with each test: it is told once in a minute. */
static void tell_problem(struct agent *agent, const char *detail)
{
	struct acting *acting = agent->acting;
	uint64_t now = mono_now();

	if (strcmp(acting->problem, detail) == 0 && now - acting->problem_ns < 60000000000ull)
		return;
	text_copy(acting->problem, sizeof(acting->problem), detail);
	acting->problem_ns = now;
	log_say(LOG_WARN, "prober", "a database could not be tested: %s", detail);
}

static void has_answered(uv_poll_t *poll, int status, int events)
{
	struct test *test = poll->data;
	struct prober_answer words;
	ssize_t got = recv(test->fd, &words, sizeof(words), MSG_DONTWAIT);

	(void)status;
	(void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got != sizeof(words) || words.result == 0 || words.result >= PROBE_RESULT_END) {
		answer(test, PROBE_NOT_RUN, "", 0);
		return;
	}
	words.sqlstate[sizeof(words.sqlstate) - 1] = '\0';
	words.detail[sizeof(words.detail) - 1] = '\0';
	text_clean(words.sqlstate);
	text_clean(words.detail);
	if (words.result == PROBE_NOT_RUN)
		tell_problem(test->agent, words.detail);
	answer(test, words.result, words.sqlstate, words.ms);
}

void tests_prober(void *context, uint64_t token, int result, int fd)
{
	struct agent *agent = context;
	struct test **known = table_peek(agent->acting->tests, &token), *test = known ? *known : NULL;

	if (!test || agent->stopping) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (result != 0 || fd < 0) {
		answer(test, PROBE_NOT_RUN, "", 0);
		return;
	}
	test->fd = fd;
	test->handles = 2;
	test->poll.data = test->patience.data = test;
	uv_poll_init(&agent->loop, &test->poll, fd);
	uv_timer_init(&agent->loop, &test->patience);
	uv_timer_start(&test->patience, out_of_patience, agent->config.probe_timeout_ms + PATIENCE_MS, 0);
	if (uv_poll_start(&test->poll, UV_READABLE, has_answered) != 0)
		answer(test, PROBE_NOT_RUN, "", 0);
}

static void add_credentials(const struct agent *agent, struct prober_question *out)
{
	const struct config_app *app = watch_entry(agent, out->tgid, out->start_ns);

	for (size_t i = 0; app && i < app->database_count; i++) {
		const struct config_database *database = &app->databases[i];

		if (strcmp(database->target, out->target) != 0)
			continue;
		out->has_credentials = 1;
		text_copy(out->user, sizeof(out->user), database->user);
		text_copy(out->password_file, sizeof(out->password_file), database->password_file);
		text_copy(out->service, sizeof(out->service), database->service);
		text_copy(out->service_file, sizeof(out->service_file), database->service_file);
		return;
	}
}

static int ask(void *context, const struct probes_question *question)
{
	struct agent *agent = context;
	struct prober_question words = {.tgid = question->tgid,
					.start_ns = question->start_ns,
					.uid = agent->config.prober_uid,
					.timeout_ms = agent->config.probe_timeout_ms};
	struct test *test, **place;
	int err;

	if (question->tgid == 0)
		return -ESRCH;
	if (table_count(agent->acting->tests) >= TESTS)
		return -EAGAIN;
	text_copy(words.target, sizeof(words.target), question->target);
	add_credentials(agent, &words);
	test = calloc(1, sizeof(*test));
	if (!test)
		return -ENOMEM;
	test->agent = agent;
	test->token = question->token;
	test->fd = -1;
	err = prober_ask(agent->spawner, &words, question->token);
	place = err ? NULL : table_put(agent->acting->tests, &question->token, NULL);
	if (!place) {
		free(test);
		return err ? err : -ENOMEM;
	}
	*place = test;
	return 0;
}

static void answered(void *context, const struct probes_answer *answer)
{
	struct agent *agent = context;
	struct ev_probe record = {.scope = answer->scope,
				  .result = answer->result,
				  .reached = answer->reached,
				  .ms = answer->ms};

	text_copy(record.target, sizeof(record.target), answer->target);
	text_copy(record.sqlstate, sizeof(record.sqlstate), answer->sqlstate);
	breakers_probe(agent->acting->breakers, &answer->scope, answer->target, answer->result,
		       answer->sqlstate, answer->reached, mono_now());
	agent_make(agent, &record.head, EV_PROBE, sizeof(record), 0, 0);
}

/* --- from start to stop ----------------------------------------------------------------------------- */

int tests_new(struct agent *agent)
{
	struct probes_settings settings = {.interval_ms = agent->config.probe_interval_ms,
					   .urgent_ms = 500,
					   .idle_ms = 600000,
					   .running_max = 8,
					   .targets_max = 512};
	struct probes_events events = {.context = agent, .ask = ask, .answered = answered};
	struct uses_settings uses = {.all = 1024, .of_uid = 256, .of_cgroup = 128, .of_scope = PAGE_SLOTS};

	agent->acting->probes = probes_new(&settings, agent->started_ns, &events);
	agent->acting->uses = uses_new(&uses);
	agent->acting->tests = table_new(sizeof(uint64_t), sizeof(struct test *), TESTS, NULL, NULL);
	return agent->acting->probes && agent->acting->uses && agent->acting->tests ? 0 : -ENOMEM;
}

static void close_test(void *context, const void *key, void *value)
{
	(void)context;
	(void)key;
	test_end(*(struct test **)value);
}

void tests_close(struct agent *agent)
{
	table_each(agent->acting->tests, close_test, NULL);
}

void tests_free(struct agent *agent)
{
	table_free(agent->acting->tests);
	uses_free(agent->acting->uses);
	probes_free(agent->acting->probes);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands that ask for something: what they ask the agent, how they tell its answer, and with which exit
 * code. The agent's side of the control socket is the real one; what it answers is each test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/base/json.h"
#include "user/base/schema.h"
#include "user/base/when.h"
#include "user/cli/commands.h"
#include "user/cli/control.h"

enum { WAIT_MS = 10000, WORDS = 16 };

#define TARGET "postgres://db:5432/shop"

static uv_loop_t loop;
static struct control *control;
static char dir[64], questions[4096];
static char out[32768], err[4096];

/* What the agent answers to the commands of a test; the rest it does not know. */
static struct {
	const char *command, *answer;
} answers[4];

static cJSON *answer(void *context, const char *command, const char *argument)
{
	size_t used = strlen(questions);

	(void)context;
	snprintf(questions + used, sizeof(questions) - used, "%s%s%s\n", command, *argument ? " " : "",
		 argument);
	for (size_t i = 0; i < 4 && answers[i].command; i++)
		if (!strcmp(answers[i].command, command))
			return cJSON_Parse(answers[i].answer);
	return NULL;
}

static int start(void **state)
{
	char why[256] = "";

	(void)state;
	strcpy(dir, "/tmp/lapidary-orders-XXXXXX");
	assert_non_null(mkdtemp(dir));
	setenv("LAPIDARY_RUN_DIR", dir, 1);
	setenv("LAPIDARY_STATE_DIR", dir, 1);
	unsetenv("LAPIDARY_CONFIG");
	memset(answers, 0, sizeof(answers));
	assert_int_equal(uv_loop_init(&loop), 0);
	if (control_listen(&loop, dir, answer, NULL, &control, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	control_close(control);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	control_free(control);
	return rmdir(dir);
}

static void wake(uv_timer_t *timer)
{
	(void)timer;
}

/* One turn of the loop, 20 ms at most. The timer repeats: one that is due at once would be over before the
 * turn waits. */
static void turn(void)
{
	uv_timer_t timer;

	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, wake, 20, 20);
	uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void file_text(FILE *file, char *text, size_t size)
{
	rewind(file);
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
}

/* Runs the command in a process of its own, words separated by blanks; its exit code. */
static int run(int (*command)(int argc, char **argv), const char *line)
{
	FILE *files[2] = {tmpfile(), tmpfile()};
	char copy[512], *words[WORDS + 1] = {0}, *rest = copy;
	int count = 0, status = 0;
	pid_t child;

	questions[0] = '\0';
	snprintf(copy, sizeof(copy), "%s", line);
	while (count < WORDS && (words[count] = strsep(&rest, " ")))
		count++;
	fflush(NULL);
	child = fork();
	if (child == 0) {
		dup2(fileno(files[0]), STDOUT_FILENO);
		dup2(fileno(files[1]), STDERR_FILENO);
		status = command(count, words);
		fflush(NULL);
		_exit(status);
	}
	for (uint64_t end = when_boot_now() + WAIT_MS * 1000000ull; waitpid(child, &status, WNOHANG) == 0;) {
		assert_true(when_boot_now() < end);
		turn();
	}
	file_text(files[0], out, sizeof(out));
	file_text(files[1], err, sizeof(err));
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' lacks '%s'", text, part);
}

/* What was printed is of the schema. */
static void valid(const char *name)
{
	cJSON *schema = NULL, *document = cJSON_Parse(out);
	char path[96], why[256];

	snprintf(path, sizeof(path), "rules/schema/%s.schema.json", name);
	if (!document || json_read(path, 1 << 20, &schema, why, sizeof(why)) ||
	    schema_check(schema, document, why, sizeof(why)))
		fail_msg("%s: %s: %s", name, document ? why : "no JSON", out);
	cJSON_Delete(schema);
	cJSON_Delete(document);
}

#define ROW(app, scope, rest)                                                                                \
	"{\"app\":\"" app "\",\"uid\":1000,\"netns\":4026531840,\"target\":\"" TARGET                        \
	"\",\"scope\":\"" scope "\"," rest "}"
#define OPEN                                                                                                 \
	"\"state\":\"open\",\"since\":\"2026-11-22T20:00:00.000000000Z\",\"lease_ms\":2500,"                 \
	"\"max_ms_left\":41000,\"reason\":\"5 connects refused\",\"incident\":\"i1\",\"by_operator\":true,"  \
	"\"openings\":1,\"peers\":4,\"last_connection_test\":\"2026-11-22T20:00:00.000000000Z\","            \
	"\"last_test_result\":\"refused\",\"last_test_ms\":1"
#define CLOSED                                                                                               \
	"\"state\":\"closed\",\"since\":null,\"lease_ms\":0,\"max_ms_left\":0,\"reason\":null,"              \
	"\"incident\":null,\"by_operator\":false,\"openings\":0,\"peers\":0,\"last_connection_test\":null,"  \
	"\"last_test_result\":null,\"last_test_ms\":null"

static const char breakers[] =
	"{\"breakers\":[" ROW("shop", "connect", OPEN) "," ROW("blog", "query", CLOSED) "]}";

static void breakers_are_listed(void **state)
{
	(void)state;
	answers[0].command = "breakers";
	answers[0].answer = breakers;
	assert_int_equal(run(cmd_breakers, "breakers --json"), 0);
	valid("breakers");
	assert_string_equal(questions, "breakers\n");
	assert_int_equal(run(cmd_breakers, "breakers"), 0);
	has(out, "by hand: 5 connects refused");
	has(out, "refused, 1 ms");
	has(out, "blog");
	assert_int_equal(run(cmd_breakers, "breakers --app blog --json"), 0);
	valid("breakers");
	assert_null(strstr(out, "shop\",\n\t\t\t\"uid"));
	assert_null(strstr(out, "\"open\""));
	assert_int_equal(run(cmd_breakers, "breakers --app nobody"), 0);
	assert_string_equal(out, "no database is in use\n");
}

#define OUTCOME(app, scope, outcome, reason)                                                                 \
	"{\"app\":\"" app "\",\"target\":\"" TARGET "\",\"scope\":\"" scope                                  \
	"\",\"state\":\"open\",\"outcome\":\"" outcome "\",\"outcome_reason\":\"" reason "\",\"id\":\"00\"}"

static void a_breaker_is_opened_by_hand(void **state)
{
	(void)state;
	answers[0].command = "breaker";
	answers[0].answer = "{\"breakers\":[" OUTCOME("shop", "connect", "sent", "ordered") "]}";
	assert_int_equal(run(cmd_breaker, "breaker open " TARGET " --app shop --scope connect --for 30s"), 0);
	assert_string_equal(questions, "breaker {\"do\":\"open\",\"target\":\"" TARGET
				       "\",\"scope\":\"connect\",\"app\":\"shop\",\"for_ms\":30000}\n");
	has(out, "sent");
	assert_string_equal(err, "");
	assert_int_equal(run(cmd_breaker, "breaker --scope=query close " TARGET), 0);
	assert_string_equal(questions,
			    "breaker {\"do\":\"close\",\"target\":\"" TARGET "\",\"scope\":\"query\"}\n");
	assert_int_equal(run(cmd_breaker, "breaker close " TARGET), 0);
	has(questions, "\"scope\":\"both\"");
}

static void an_order_that_was_not_done_is_a_problem(void **state)
{
	(void)state;
	answers[0].command = "breaker";
	answers[0].answer = "{\"breakers\":[" OUTCOME("shop", "connect", "sent", "ordered") "," OUTCOME(
		"shop", "query", "refused", "acting is paused") "]}";
	assert_int_equal(run(cmd_breaker, "breaker open " TARGET), 1);
	has(out, "refused");
	assert_string_equal(err, "lapidary: breaker: shop, query: refused: acting is paused; nothing was "
				 "changed: try again when that reason is gone\n");
	assert_int_equal(run(cmd_breaker, "breaker open " TARGET " --json"), 1);
	assert_string_equal(err, "");
	assert_int_equal(out[0], '{');
	answers[0].answer = "{\"breakers\":[" OUTCOME("shop", "query", "observed", "no consent") "]}";
	assert_int_equal(run(cmd_breaker, "breaker open " TARGET), 1);
	has(err, "observed: no consent; let the app's library accept it, or allow it with the setting act");
	answers[0].answer = "{\"breakers\":[" OUTCOME("shop", "query", "new word", "") "]}";
	assert_int_equal(run(cmd_breaker, "breaker open " TARGET), 1); /* never taken for success */
	answers[0].answer = "{\"error\":\"no watched app was seen to use it\"}";
	assert_int_equal(run(cmd_breaker, "breaker open " TARGET), 1);
	assert_string_equal(err, "lapidary: breaker open: no watched app was seen to use it\n");
}

static void a_worker_is_replaced_by_hand(void **state)
{
	(void)state;
	answers[0].command = "restart";
	answers[0].answer = "{\"id\":\"ab\",\"pid\":4711,\"app\":\"shop\",\"outcome\":\"sent\","
			    "\"outcome_reason\":\"ordered\",\"by\":\"signal\"}";
	assert_int_equal(run(cmd_worker, "worker restart 4711"), 0);
	assert_string_equal(questions, "restart {\"pid\":4711,\"now\":false}\n");
	assert_string_equal(out, "worker 4711 of shop: restart sent by signal; 'lapidary actions' shows how "
				 "it ends (ab)\n");
	assert_int_equal(run(cmd_worker, "worker --now restart 4711 --json"), 0);
	assert_string_equal(questions, "restart {\"pid\":4711,\"now\":true}\n");
	answers[0].answer = "{\"id\":\"ab\",\"pid\":4711,\"app\":\"shop\",\"outcome\":\"refused\","
			    "\"outcome_reason\":\"it would take the last healthy worker\",\"by\":\"signal\"}";
	assert_int_equal(run(cmd_worker, "worker restart 4711"), 1);
	assert_string_equal(out, "");
	has(err, "lapidary: worker: 4711: refused: it would take the last healthy worker; ");
}

static void acting_is_stopped_and_goes_on(void **state)
{
	(void)state;
	answers[0].command = "pause";
	answers[0].answer = "{\"paused\":true,\"left_ms\":600000,\"released\":{\"breakers\":1,\"holds\":2,"
			    "\"restarts\":3}}";
	answers[1].command = "resume";
	answers[1].answer = "{\"paused\":false,\"left_ms\":0,\"released\":{\"breakers\":0,\"holds\":0,"
			    "\"restarts\":0}}";
	assert_int_equal(run(cmd_actions, "actions pause --for 10m"), 0);
	assert_string_equal(questions, "pause {\"for_ms\":600000}\n");
	assert_string_equal(out, "acting is paused for 10 min; released: breakers 1, holds 2, restarts 3\n");
	assert_int_equal(run(cmd_actions, "actions pause"), 0);
	assert_string_equal(questions, "pause {\"for_ms\":0}\n");
	assert_int_equal(run(cmd_actions, "actions resume"), 0);
	assert_string_equal(questions, "resume {}\n");
	assert_string_equal(out, "acting goes on\n");
}

static void health_and_workers_know_what_is_done(void **state)
{
	static const char health[] =
		"{\"ruby_version_consistent\":true,\"native_extensions_healthy\":null,"
		"\"database_connections_stable\":true,\"worker_processes_healthy\":true,"
		"\"error_rate_acceptable\":null,\"error_rate\":{\"numerator\":0,\"denominator\":0,"
		"\"window_ms\":60000},\"last_stability_check\":null,\"diagnostic_messages\":[]}";
	static const char workers[] =
		"{\"workers\":[{\"worker_id\":\"shop/1\",\"process_id\":4711,\"memory_usage_mb\":null,"
		"\"crash_count\":0,\"last_restart_time\":null,\"health_status\":\"running\","
		"\"error_history\":[],\"app\":\"shop\"}]}";

	(void)state;
	answers[0].command = "health";
	answers[0].answer = health;
	answers[1].command = "workers";
	answers[1].answer = workers;
	assert_int_equal(run(cmd_health, "health --json"), 0); /* an agent that knows nothing of acting */
	valid("health");
	assert_int_equal(run(cmd_workers, "workers"), 0);
	has(out, "running");
	answers[2].command = "acting";
	answers[2].answer =
		"{\"paused\":true,\"left_ms\":0,\"holds\":[{\"app\":\"shop\"}],\"restarts\":[{"
		"\"id\":\"ab\",\"app\":\"shop\",\"pid\":4711,\"stage\":\"acked\",\"reason\":\"r\","
		"\"deadline_ms\":30000}],\"peers\":1,\"peers_cut\":0,\"peers_refused\":0}";
	assert_int_equal(run(cmd_workers, "workers --json"), 0);
	valid("workers");
	has(out, "\"stage\":\t\"acked\"");
	assert_int_equal(run(cmd_workers, "workers"), 0);
	has(out, "restarting");
	assert_int_equal(run(cmd_health, "health"), 0); /* a pause is a choice, not a fault */
	has(out, "paused");
	answers[3].command = "breakers";
	answers[3].answer = breakers;
	assert_int_equal(run(cmd_health, "health"), 1);
	has(out, "1 not closed");
	assert_int_equal(run(cmd_health, "health --json"), 1);
	valid("health");
	has(out, "\"circuit_breakers_open\":\t1");
}

static void wrong_words_are_told_and_ask_nothing(void **state)
{
	static const struct {
		int (*command)(int argc, char **argv);
		const char *line, *said;
	} cases[] = {
		{cmd_breaker, "breaker", "'open' or 'close' is missing"},
		{cmd_breaker, "breaker ajar " TARGET, "'open' or 'close' is missing"},
		{cmd_breaker, "breaker open", "TARGET is missing"},
		{cmd_breaker, "breaker open db", "TARGET must be postgres://host:port/dbname"},
		{cmd_breaker, "breaker open postgres://me:geheim@db:5432/shop", "without a user"},
		{cmd_breaker, "breaker open " TARGET " more", "'more' is too much"},
		{cmd_breaker, "breaker open " TARGET " --scope all", "allowed: connect, query, both"},
		{cmd_breaker, "breaker open " TARGET " --scope", "--scope: needs"},
		{cmd_breaker, "breaker open " TARGET " --for soon", "'soon' is not a duration"},
		{cmd_breaker, "breaker open " TARGET " --for 0", "'0' is not a duration"},
		{cmd_breaker, "breaker open " TARGET " --for 2h", "from 1ms to 1h"},
		{cmd_breaker, "breaker close " TARGET " --for 3s", "belongs to 'breaker open'"},
		{cmd_breaker, "breaker open " TARGET " --force", "unknown flag '--force'"},
		{cmd_worker, "worker", "'restart' is missing"},
		{cmd_worker, "worker stop 1", "'restart' is missing"},
		{cmd_worker, "worker restart", "PID is missing"},
		{cmd_worker, "worker restart x", "'x' is not a process id"},
		{cmd_worker, "worker restart 0", "'0' is not a process id"},
		{cmd_worker, "worker restart 4294967297", "is not a process id"},
		{cmd_worker, "worker restart 1 2", "'2' is too much"},
		{cmd_actions, "actions stop", "'stop' is too much"},
		{cmd_actions, "actions pause --for never", "'never' is not a duration"},
		{cmd_actions, "actions resume --for 1s", "belongs to 'actions pause'"},
		{cmd_actions, "actions pause shop", "'shop' is too much"},
		{cmd_breakers, "breakers --limit 3", "unknown flag '--limit'"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		print_message("%s\n", cases[i].line);
		assert_int_equal(run(cases[i].command, cases[i].line), 2);
		has(err, cases[i].said);
		assert_memory_equal(err, "lapidary: ", 10);
		assert_null(strstr(err, "geheim"));
		assert_string_equal(questions, "");
		assert_string_equal(out, "");
	}
}

static void each_has_a_page_of_help(void **state)
{
	(void)state;
	assert_int_equal(run(cmd_breakers, "breakers --help"), 0);
	has(out, "Examples:");
	assert_int_equal(run(cmd_breaker, "breaker open --help"), 0);
	has(out, "--scope SCOPE");
	assert_int_equal(run(cmd_worker, "worker --help"), 0);
	has(out, "--now");
	assert_int_equal(run(cmd_actions, "actions pause --help"), 0);
	has(out, "actions resume");
	assert_string_equal(questions, "");
}

static void no_agent_is_told_apart(void **state)
{
	(void)state;
	setenv("LAPIDARY_RUN_DIR", "/nowhere", 1);
	assert_int_equal(run(cmd_breakers, "breakers"), 4);
	assert_int_equal(run(cmd_breaker, "breaker open " TARGET), 4);
	has(err, "is the agent running?");
	assert_int_equal(run(cmd_worker, "worker restart 1"), 4);
	assert_int_equal(run(cmd_actions, "actions pause"), 4);
	assert_int_equal(run(cmd_actions, "actions"), 4); /* no store */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(breakers_are_listed),
		TEST(a_breaker_is_opened_by_hand),
		TEST(an_order_that_was_not_done_is_a_problem),
		TEST(a_worker_is_replaced_by_hand),
		TEST(acting_is_stopped_and_goes_on),
		TEST(health_and_workers_know_what_is_done),
		TEST(wrong_words_are_told_and_ask_nothing),
		TEST(each_has_a_page_of_help),
		TEST(no_agent_is_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting against brute force: a rule with drawn numbers and a drawn history of notices, slightly out of
 * order as lanes make it, with breakers that close in between. The oracle keeps every notice for ever and
 * counts them anew each time; incidents and decisions must come exactly where it says so. All scopes have one
 * app name and one target, and differ in uid, network namespace or cgroup alone. And what comes out is a
 * document with its words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/rules_watcher.h"
#include "user/base/file.h"
#include "user/base/json.h"

enum { CASES = 200, NOTICES = 300, SCOPES = 4, LATE_MS = 900 };

struct parameters {
	uint32_t count, window_s, share, quiet_s, repeat_s;
	bool database;
};

static char folder[64];

static void put(const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	unlink(path);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int before(void **state)
{
	char *schema, path[128];
	(void)state;
	strcpy(folder, "/tmp/lapidary-windows.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/schema", folder);
	if (mkdir(path, 0700) || file_read("rules/schema/rules.schema.json", 1 << 20, &schema, NULL))
		return -1;
	put("schema/rules.schema.json", schema);
	free(schema);
	return 0;
}

static int after(void **state)
{
	static const char *const names[] = {"rule.json", "schema/rules.schema.json", "schema", ""};
	char path[128];
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		remove(path);
	}
	return 0;
}

static void write_rule(const struct parameters *p)
{
	char text[2048], share[64] = "", repeat[32] = "";
	if (p->share)
		snprintf(share, sizeof(share), "\"share\":{\"percent\":%u,\"of\":\"workers\"},", p->share);
	if (p->repeat_s)
		snprintf(repeat, sizeof(repeat), "\"repeat_s\":%u,", p->repeat_s);
	snprintf(
		text, sizeof(text),
		"{\"name\":\"drawn\",\"why\":\"drawn by the property test\",\"match\":{\"notice\":\"%s\"},"
		"\"per\":[\"app\"%s],\"count\":%u,\"window_s\":%u,%s%s\"quiet_s\":%u,\"incident\":{\"kind\":"
		"\"drawn\","
		"\"severity\":\"error\",\"subject\":\"{app}\",\"title\":\"{count} of {app}\"},\"decisions\":["
		"{\"action\":\"worker.hold\",\"reason\":\"{count}\"},"
		"{\"action\":\"breaker.open\",\"scope\":\"connect\",\"reason\":\"x\",\"when\":{\"every\":["
		"{\"field\":\"%s\",\"in\":[\"%s\"]}]}},"
		"{\"action\":\"breaker.open\",\"scope\":\"query\",\"reason\":\"x\",\"when\":{\"some\":["
		"{\"field\":\"%s\",\"not_in\":[\"%s\"]}]}}]}",
		p->database ? "db_error" : "crash", p->database ? ",\"target\"" : "", p->count, p->window_s,
		share, repeat, p->quiet_s, p->database ? "error" : "signal",
		p->database ? "refused" : "SIGSEGV", p->database ? "error" : "signal",
		p->database ? "refused" : "SIGSEGV");
	put("rule.json", text);
}

/* What brute force knows of one scope. */
struct oracle {
	uint64_t times[NOTICES];
	bool plain[NOTICES]; /* refused, or SIGSEGV */
	bool spent[NOTICES]; /* decisions rested on it */
	uint32_t from, count;
	bool open;
	uint64_t updated_ns, asked_ns;
};

struct outcome {
	unsigned updated, closed, holds, connects, queries;
	uint32_t count;
	struct ev_scope scope;
};

static void on_incident(void *context, const struct incident *incident)
{
	struct outcome *outcome = context;
	outcome->closed += incident->state == INCIDENT_CLOSED;
	outcome->updated++;
}

static void on_decision(void *context, const struct decision *decision)
{
	struct outcome *outcome = context;
	outcome->holds += strcmp(decision->action, "worker.hold") == 0;
	outcome->connects += strcmp(decision->scope, "connect") == 0;
	outcome->queries += strcmp(decision->scope, "query") == 0;
	outcome->count = decision->count;
	outcome->scope = decision->scope_of;
}

/* Adds the notice and says what must come of it. */
static void expect(struct oracle *oracle, const struct parameters *p, uint64_t time_ns, bool plain,
		   uint32_t workers, struct outcome *wanted)
{
	uint64_t latest = 0;
	uint32_t in_window = 0, fresh = 0, others = 0;
	bool due;
	oracle->times[oracle->count] = time_ns;
	oracle->plain[oracle->count++] = plain;
	for (uint32_t i = oracle->from; i < oracle->count; i++)
		latest = oracle->times[i] > latest ? oracle->times[i] : latest;
	for (uint32_t i = oracle->from; i < oracle->count; i++) {
		bool inside = oracle->times[i] + p->window_s * 1000000000ull >= latest;
		in_window += inside;
		fresh += inside && !oracle->spent[i];
		others += inside && !oracle->plain[i];
	}
	memset(wanted, 0, sizeof(*wanted));
	if (oracle->open)
		due = p->repeat_s &&
		      (!oracle->asked_ns || time_ns >= oracle->asked_ns + p->repeat_s * 1000000000ull);
	else
		due = (fresh = in_window);
	due = due && fresh >= p->count && fresh * 100 >= p->share * (workers + fresh);
	wanted->updated = oracle->open || due;
	if (due) {
		oracle->updated_ns = oracle->open ? oracle->updated_ns : 0;
		oracle->open = true;
		oracle->asked_ns = time_ns;
		memset(oracle->spent, true, sizeof(oracle->spent[0]) * oracle->count);
		wanted->holds = 1;
		wanted->connects = others == 0;
		wanted->queries = others > 0;
		wanted->count = in_window;
	}
	if (oracle->open && time_ns > oracle->updated_ns)
		oracle->updated_ns = time_ns;
}

static struct ev_scope scope_of(uint32_t index)
{
	return (struct ev_scope){.uid = 1 + (index == 1),
				 .netns = 1 + (index == 2),
				 .cgroup_id = 1 + (index == 3),
				 .app = "shop"};
}

static void deliver(struct rules_state *rules, const struct parameters *p, uint32_t index, uint64_t time_ns,
		    bool plain, uint32_t workers, const struct rules_sink *sink)
{
	struct ev_scope scope = scope_of(index);
	struct app app = {.name = "shop",
			  .uid = scope.uid,
			  .netns = scope.netns,
			  .cgroup_id = scope.cgroup_id,
			  .workers = workers};
	struct process process = {.id = {7, 7}, .app = &app};
	struct crash crash = {.app = "shop", .has_fault = true, .status = -1};
	struct db_error error = {.app = "shop",
				 .target = HISTORY_TARGET,
				 .reason = plain ? REASON_REFUSED : REASON_CLOSED,
				 .availability = true};
	struct notice notice = {.type = p->database ? NOTICE_DB_ERROR : NOTICE_CRASH,
				.time_ns = time_ns,
				.process = &process};
	crash.fault.signal = plain ? SIGSEGV : SIGBUS;
	if (p->database)
		notice.db_error = &error;
	else
		notice.crash = &crash;
	rules_notice(rules, NULL, &notice, sink);
}

/* A breaker of one scope changes: closed, whoever counts by its target begins anew. */
static void change(struct rules_state *rules, struct oracle *oracle, const struct parameters *p,
		   uint32_t index, uint64_t time_ns)
{
	struct outcome got = {0};
	struct rules_sink sink = {on_incident, on_decision, &got};
	struct ev_breaker breaker = {
		.scope = scope_of(index), .target = HISTORY_TARGET, .state = (uint32_t)draw(3)};
	struct notice notice = {.type = NOTICE_BREAKER, .time_ns = time_ns, .breaker = &breaker};
	rules_notice(rules, NULL, &notice, &sink);
	assert_int_equal(got.updated, 0);
	assert_int_equal(got.holds, 0);
	if (breaker.state != BREAKER_CLOSED || !p->database)
		return;
	oracle->from = oracle->count;
	oracle->asked_ns = 0;
}

static struct parameters draw_parameters(void)
{
	struct parameters p = {.count = 1 + (uint32_t)draw(7),
			       .window_s = 1 + (uint32_t)draw(20),
			       .share = draw(2) ? 0 : 1 + (uint32_t)draw(80),
			       .repeat_s = draw(2) ? 0 : 1 + (uint32_t)draw(30),
			       .database = draw(2)};
	p.quiet_s = p.window_s + (uint32_t)draw(20);
	return p;
}

static void tick(struct rules_state *rules, struct oracle *oracles, const struct parameters *p,
		 uint64_t now_ns)
{
	struct outcome got = {0};
	struct rules_sink sink = {on_incident, on_decision, &got};
	unsigned closed = 0;
	for (int i = 0; i < SCOPES; i++)
		if (oracles[i].open && oracles[i].updated_ns + p->quiet_s * 1000000000ull < now_ns) {
			oracles[i].open = false;
			oracles[i].asked_ns = 0;
			closed++;
		}
	rules_tick(rules, NULL, now_ns, &sink);
	assert_int_equal(got.closed, closed);
	assert_int_equal(got.updated, closed);
}

static void play(const struct rules *rules, const struct parameters *p, uint64_t seed)
{
	static struct oracle oracles[SCOPES];
	struct rules_state *state = rules_state_new(rules, 1);
	uint64_t now_ms = 10000, ticked_ms = 10000;
	memset(oracles, 0, sizeof(oracles));
	for (unsigned i = 0; i < NOTICES; i++) {
		now_ms += draw(10) ? draw(1500) : draw(40000);
		for (; ticked_ms + 1000 <= now_ms; ticked_ms += 1000)
			tick(state, oracles, p, ticked_ms * HISTORY_MS);
		uint32_t index = (uint32_t)draw(SCOPES), workers = (uint32_t)draw(20);
		struct ev_scope scope = scope_of(index);
		uint64_t time_ns = (now_ms - draw(LATE_MS)) * HISTORY_MS;
		bool plain = draw(4) != 0;
		struct outcome got = {0}, wanted;
		struct rules_sink sink = {on_incident, on_decision, &got};
		if (draw(15) == 0)
			change(state, &oracles[index], p, index, time_ns);
		expect(&oracles[index], p, time_ns, plain, workers, &wanted);
		deliver(state, p, index, time_ns, plain, workers, &sink);
		if (got.updated != wanted.updated || got.holds != wanted.holds ||
		    got.connects != wanted.connects || got.queries != wanted.queries ||
		    got.count != wanted.count || got.closed)
			fail_msg("seed %llu, notice %u: %u incidents, %u decisions (count %u), wanted %u, %u "
				 "(count %u)",
				 (unsigned long long)seed, i, got.updated, got.holds, got.count,
				 wanted.updated, wanted.holds, wanted.count);
		if (got.holds)
			assert_memory_equal(&got.scope, &scope, sizeof(scope));
	}
	rules_state_free(state);
}

static void test_counting(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	for (uint64_t i = 0; i < CASES; i++) {
		struct rules *rules;
		char why[512];
		draw_seed(first + i);
		struct parameters p = draw_parameters();
		write_rule(&p);
		if (rules_load(folder, &rules, why, sizeof(why)) != 0)
			fail_msg("%s", why);
		play(rules, &p, first + i);
		rules_free(rules);
	}
}

static void random_step(struct history *h, uint32_t pid, uint64_t ms)
{
	static const char *const modules[] = {"/usr/lib/crashy.so", "/usr/lib/libpq.so.5.15",
					      "/gems/ruby/3.1.0/gems/pg-1.5.4/lib/pg_ext.so",
					      "/usr/lib/libruby-3.1.so.3.1"};
	switch (draw(5)) {
	case 0:
	case 1:
		history_fork(h, pid, 100, ms);
		if (draw(3))
			history_location(h, pid, ms + 1, modules[draw(4)], draw(3));
		history_fault(h, pid, draw(3) ? SIGSEGV : SIGABRT, FAULT_DEFAULT_ACTION, ms + 1);
		history_exit(h, pid, SIGSEGV, 0, ms + 2);
		break;
	case 2:
		history_fork(h, pid, 100, ms);
		history_exit(h, pid, SIGKILL, 1, ms);
		break;
	case 3:
		history_conn(h, 100, pid, CONN_FAILED, (uint32_t)draw(REASON_COUNT), ms);
		break;
	default:
		history_tick(h, ms);
		break;
	}
}

static void build(struct rules_watcher *w, uint64_t seed)
{
	assert_int_equal(rules_watcher_init(w, "rules"), 0);
	draw_seed(seed);
	history_watch(&w->history, 100, 1, "ruby", 1000);
	history_info(&w->history, 100, "shop", 1001);
	for (uint32_t i = 0; i < 200; i++)
		random_step(&w->history, 1000 + i, 2000 + 500 * i + draw(400));
	fflush(w->out);
}

/* A remedy must speak of this finding: name its app, target, module, process or gem. */
static bool is_specific(const char *remedy)
{
	static const char *const names[] = {"shop", "postgres://", "crashy.so",
					    "pg",   "PostgreSQL",  "crash show"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strstr(remedy, names[i]))
			return true;
	return false;
}

static void test_documents(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	for (uint64_t i = 0; i < CASES / 2; i++) {
		struct rules_watcher w;
		unsigned incidents = 0, decisions = 0;
		build(&w, first + i);
		for (char *line = strtok(w.said, "\n"); line; line = strtok(NULL, "\n")) {
			cJSON *document = cJSON_Parse(line);
			assert_non_null(document);
			assert_int_equal(strlen(json_text(document, "id")), 16);
			assert_string_equal(json_text(document, "app"), "shop");
			if (cJSON_HasObjectItem(document, "title")) {
				incidents++;
				assert_null(strpbrk(json_text(document, "title"), "{}"));
				assert_null(strpbrk(json_text(document, "remedy"), "{}"));
				assert_true(is_specific(json_text(document, "remedy")));
			} else {
				decisions++;
				assert_int_equal(strlen(json_text(document, "incident")), 16);
				assert_true(json_number(document, "count", 0) >=
					    json_number(document, "threshold", 1e9));
			}
			cJSON_Delete(document);
		}
		assert_int_equal(incidents, w.incidents);
		assert_int_equal(decisions, w.decisions);
		assert_true(incidents > 0 && decisions > 0);
		rules_watcher_done(&w);
	}
}

static void test_same_bytes(void **state)
{
	uint64_t first = *(uint64_t *)*state;
	for (uint64_t i = 0; i < CASES / 2; i++) {
		struct rules_watcher one, two;
		build(&one, first + i);
		build(&two, first + i);
		assert_int_equal(one.said_size, two.said_size);
		assert_memory_equal(one.said, two.said, one.said_size);
		rules_watcher_done(&one);
		rules_watcher_done(&two);
	}
}

int main(void)
{
	uint64_t seed = draw_start();
	const struct CMUnitTest tests[] = {
		{"Property 9, 11 and 12: crashes and errors are counted as brute force counts them, scope by "
		 "scope",
		 test_counting, NULL, NULL, &seed},
		{"Property 19 and 23: each line is a document, each incident has a remedy of its own",
		 test_documents, NULL, NULL, &seed},
		{"the same history gives the same bytes", test_same_bytes, NULL, NULL, &seed},
	};
	return cmocka_run_group_tests_name("rules: windows against brute force", tests, before, after);
}

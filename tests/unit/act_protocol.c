// SPDX-License-Identifier: Apache-2.0
/* Protocol 1: what an app may say, what it may not, and that our own lines are what the schema promises. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "user/act/protocol.h"
#include "user/base/json.h"
#include "user/base/schema.h"

static int read_size(const char *line, size_t size, struct app_message *out, const char **code)
{
	char *exact = malloc(size ? size : 1), why[200] = "";
	int err;

	memcpy(exact, line, size); /* so that a sanitizer sees the first byte behind it */
	*code = NULL;
	err = protocol_read(exact, size, out, code, why, sizeof(why));
	free(exact);
	if (err && (!*code || !why[0]))
		fail_msg("refused without a word: %.*s", (int)size, line);
	return err;
}

static int read_line(const char *line, struct app_message *out, const char **code)
{
	return read_size(line, strlen(line), out, code);
}

static void every_message_is_read_whole(void **state)
{
	struct app_message m;
	const char *code;

	(void)state;
	assert_int_equal(
		read_line("{\"type\":\"hello\",\"protocol\":1,\"app\":\"shop-1.a_B\",\"role\":\"master\","
			  "\"server\":\"puma 5.6.5\",\"ruby\":\"3.1.7\",\"new\":[{}],\"state\":\"booting\","
			  "\"accepts\":[\"degrade\",\"dance\",\"breaker\"]}",
			  &m, &code),
		0);
	assert_int_equal(m.type, MESSAGE_HELLO);
	assert_string_equal(m.hello.app, "shop-1.a_B");
	assert_int_equal(m.hello.role, APP_MASTER);
	assert_int_equal(m.hello.accepts, ACCEPTS_DEGRADE | ACCEPTS_BREAKER);
	assert_string_equal(m.hello.server, "puma 5.6.5");
	assert_string_equal(m.hello.ruby, "3.1.7");
	assert_int_equal(m.hello.state, APP_BOOTING);

	assert_int_equal(
		read_line(" {\"protocol\":1.0,\"type\":\"hello\",\"app\":\"a\",\"role\":null}\r", &m, &code),
		0);
	assert_int_equal(m.hello.role, APP_SINGLE);
	assert_int_equal(m.hello.accepts, 0);
	assert_int_equal(m.hello.state, APP_SILENT);

	assert_int_equal(
		read_line(
			"{\"type\":\"ack\",\"id\":\"42\",\"result\":\"failed\",\"detail\":\"a\\nb\\u00e9\"}",
			&m, &code),
		0);
	assert_int_equal(m.ack.result, ACK_FAILED);
	assert_string_equal(m.ack.detail, "a?b\xc3\xa9");

	assert_int_equal(read_line("{\"type\":\"pool\",\"target\":\"postgres://h:1/"
				   "d\",\"size\":5,\"active\":4,\"idle\":1,"
				   "\"waiting\":4294967295,\"timeouts\":9007199254740992,\"stale_replaced\":"
				   "2,\"wait_ms\":3}",
				   &m, &code),
			 0);
	assert_string_equal(m.pool.target, "postgres://h:1/d");
	assert_int_equal(m.pool.size + m.pool.active + m.pool.idle, 10);
	assert_int_equal(m.pool.waiting, UINT32_MAX);
	assert_int_equal(m.pool.timeouts, 9007199254740992ull);
	assert_int_equal(m.pool.stale_replaced + m.pool.wait_ms, 5);

	assert_int_equal(read_line("{\"type\":\"outcome\",\"trial_id\":\"t\",\"target\":\"x\",\"ok\":true,"
				   "\"ms\":7,\"error\":\"\"}",
				   &m, &code),
			 0);
	assert_true(m.outcome.ok);
	assert_int_equal(m.outcome.ms, 7);
	assert_int_equal(read_line("{\"type\":\"state\",\"state\":\"stopped\",\"in_flight\":3}", &m, &code),
			 0);
	assert_int_equal(m.state.state, APP_STOPPED);
	assert_int_equal(m.state.in_flight, 3);
	assert_int_equal(read_line("{\"type\":\"error\",\"code\":\"x\",\"message\":\"y\"}", &m, &code), 0);
	assert_int_equal(m.type, MESSAGE_ERROR);
}

static void what_is_no_sound_object_is_a_breach(void **state)
{
	static const struct {
		const char *line;
		size_t size; /* 0: of the text */
		const char *code;
	} cases[] = {
		{"", 0, "bad_json"},
		{"   ", 0, "bad_json"},
		{"[]", 0, "bad_json"},
		{"7", 0, "bad_json"},
		{"\"{}\"", 0, "bad_json"},
		{"{", 0, "bad_json"},
		{"{}}", 0, "bad_json"},
		{"{}{}", 0, "bad_json"},
		{"{\"a\":1,", 0, "bad_json"},
		{"{\"a\":1,}", 0, "bad_json"},
		{"{\"a\":\"\\", 0, "bad_json"},
		{"{\"a\":\"\\\"}", 0, "bad_json"},
		{"{\"a\":\"\\ud800\"}", 0, "bad_json"},
		{"{\"a\":[}]}", 0, "bad_json"},
		{"{\"a\":nil}", 0, "bad_json"},
		{"\xef\xbb\xbf{}", 0, "bad_json"},
		{"{\"a\":\"\x01\"}", 0, "bad_json"},
		{"{\"a\":\"b\0c\"}", 11, "bad_json"},
		{"\0{}", 3, "bad_json"},
		{"{}\0", 3, "bad_json"},
		{"{\"a\":\"b\\u0000c\"}", 0, "bad_json"},
		{"{\"a\":\"\x80\"}", 0, "bad_utf8"},
		{"{\"a\":\"\xc0\xaf\"}", 0, "bad_utf8"},
		{"{\"a\":\"\xed\xa0\x80\"}", 0, "bad_utf8"},
		{"{\"a\":\"\xf4\x90\x80\x80\"}", 0, "bad_utf8"},
		{"{\"a\":\"\xe2\x82", 0, "bad_utf8"},
		{"\xff\xff\xff", 0, "bad_utf8"},
	};
	struct app_message message;
	const char *code;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t size = cases[i].size ? cases[i].size : strlen(cases[i].line);

		print_message("%s\n", cases[i].line);
		assert_int_equal(read_size(cases[i].line, size, &message, &code), -EBADMSG);
		assert_string_equal(code, cases[i].code);
	}
}

static void wrong_words_are_answered(void **state)
{
	static const struct {
		const char *line, *code;
	} cases[] = {
		{"{}", "bad_field"},
		{"{\"type\":7}", "bad_field"},
		{"{\"type\":\"ack\",\"type\":\"ack\",\"id\":\"1\",\"result\":\"done\"}", "bad_field"},
		{"{\"type\":\"hallo\"}", "unknown_type"},
		{"{\"type\":\"welcome\"}", "unknown_type"},
		{"{\"type\":\"hello\",\"app\":\"a\"}", "protocol"},
		{"{\"type\":\"hello\",\"protocol\":\"1\",\"app\":\"a\"}", "protocol"},
		{"{\"type\":\"hello\",\"protocol\":1e999,\"app\":\"a\"}", "protocol"},
		{"{\"type\":\"hello\",\"protocol\":1}", "bad_field"},
		{"{\"type\":\"hello\",\"protocol\":1,\"app\":\"\"}", "bad_field"},
		{"{\"type\":\"hello\",\"protocol\":1,\"app\":\"a b\"}", "bad_field"},
		{"{\"type\":\"hello\",\"protocol\":1,\"app\":\"a/b\"}", "bad_field"},
		{"{\"type\":\"hello\",\"protocol\":1,\"app\":\"\xc3\xa9\"}", "bad_field"},
		{"{\"type\":\"hello\",\"protocol\":1,\"app\":\"a\",\"role\":\"boss\"}", "bad_field"},
		{"{\"type\":\"hello\",\"protocol\":1,\"app\":\"a\",\"accepts\":\"breaker\"}", "bad_field"},
		{"{\"type\":\"hello\",\"protocol\":1,\"app\":\"a\",\"accepts\":[1]}", "bad_field"},
		{"{\"type\":\"hello\",\"protocol\":1,\"app\":\"a\",\"state\":\"\"}", "bad_field"},
		{"{\"type\":\"hello\",\"protocol\":1,\"app\":\"a\",\"app\":\"b\"}", "bad_field"},
		{"{\"type\":\"ack\",\"id\":\"\",\"result\":\"done\"}", "bad_field"},
		{"{\"type\":\"ack\",\"id\":\"0123456789012345678901234567890123456789\",\"result\":\"done\"}",
		 "bad_field"},
		{"{\"type\":\"ack\",\"id\":\"a\\tb\",\"result\":\"done\"}", "bad_field"},
		{"{\"type\":\"ack\",\"id\":\"1\",\"result\":\"maybe\"}", "bad_field"},
		{"{\"type\":\"ack\",\"id\":\"1\",\"result\":\"done\",\"detail\":{}}", "bad_field"},
		{"{\"type\":\"pool\",\"target\":\"x\",\"size\":-1}", "bad_field"},
		{"{\"type\":\"pool\",\"target\":\"x\",\"size\":1.5}", "bad_field"},
		{"{\"type\":\"pool\",\"target\":\"x\",\"size\":4294967296}", "bad_field"},
		{"{\"type\":\"pool\",\"target\":\"x\",\"size\":1e308}", "bad_field"},
		{"{\"type\":\"pool\",\"target\":\"x\",\"size\":1e999}", "bad_field"},
		{"{\"type\":\"pool\",\"target\":\"x\",\"wait_ms\":9007199254740994}", "bad_field"},
		{"{\"type\":\"pool\",\"target\":\"x\",\"size\":\"5\"}", "bad_field"},
		{"{\"type\":\"outcome\",\"trial_id\":\"t\",\"target\":\"x\"}", "bad_field"},
		{"{\"type\":\"outcome\",\"trial_id\":\"t\",\"target\":\"x\",\"ok\":1}", "bad_field"},
		{"{\"type\":\"state\",\"state\":\"dead\"}", "bad_field"},
	};
	struct app_message message = {.type = MESSAGE_ERROR};
	const char *code;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].line);
		assert_int_equal(read_line(cases[i].line, &message, &code), -EINVAL);
		assert_string_equal(code, cases[i].code);
		assert_int_equal(message.type, MESSAGE_ERROR); /* untouched */
	}
}

/* {"type":"state","state":"serving","x":…} with `size` bytes in all. */
static char *padded(size_t size, const char *open, char fill, const char *close)
{
	static const char head[] = "{\"type\":\"state\",\"state\":\"serving\",\"x\":";
	char *line = malloc(size + 1);
	size_t at = strlen(head) + strlen(open), end = size - strlen(close) - 1;

	snprintf(line, size, "%s%s", head, open);
	memset(line + at, fill, end - at);
	snprintf(line + end, size + 1 - end, "%s}", close);
	return line;
}

static int depth_of(int depth, const char **code)
{
	char line[2200] = "{\"type\":\"state\",\"state\":\"serving\",\"x\":";
	struct app_message message;
	size_t at = strlen(line);

	memset(line + at, '[', (size_t)depth - 1);
	memset(line + at + depth - 1, ']', (size_t)depth - 1);
	strcpy(line + at + 2 * (depth - 1), "}");
	return read_line(line, &message, code);
}

static void depth_width_and_length_have_limits(void **state)
{
	struct app_message message;
	const char *code;
	static char many[PROTOCOL_LINE_MAX];
	char *line;
	size_t at;

	(void)state;
	assert_int_equal(depth_of(PROTOCOL_DEPTH_MAX, &code), 0);
	assert_int_equal(depth_of(PROTOCOL_DEPTH_MAX + 1, &code), -EBADMSG);
	assert_string_equal(code, "too_deep");
	assert_int_equal(depth_of(1000, &code), -EBADMSG);

	line = padded(PROTOCOL_LINE_MAX, "\"", 'x', "\"");
	assert_int_equal(read_line(line, &message, &code), 0);
	free(line);
	line = padded(PROTOCOL_LINE_MAX + 1, "\"", 'x', "\"");
	assert_int_equal(read_line(line, &message, &code), -EBADMSG);
	assert_string_equal(code, "long_line");
	free(line);
	line = padded(PROTOCOL_LINE_MAX, "0,\"in_flight\":", '9', "");
	assert_int_not_equal(read_line(line, &message, &code), 0); /* a number of 65,000 digits */
	free(line);

	for (int values = 1000; values <= 1030; values += 30) {
		at = (size_t)sprintf(many, "{\"type\":\"state\",\"state\":\"serving\",\"x\":[1");
		for (int i = 1; i < values; i++)
			at += (size_t)sprintf(many + at, ",1");
		strcpy(many + at, "]}");
		assert_int_equal(read_line(many, &message, &code), values == 1000 ? 0 : -EBADMSG);
		if (values > 1000)
			assert_string_equal(code, "too_many");
	}
}

/* --- our own lines --------------------------------------------------------------------------------- */

static cJSON *schema;

/* The line is one line, sound, and what the schema says of its type. The caller deletes it. */
static cJSON *check(char *line, const char *type)
{
	cJSON *json, *only;
	char reference[64], why[256] = "";

	assert_non_null(line);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_true(strlen(line) <= PROTOCOL_LINE_MAX);
	json = cJSON_Parse(line);
	assert_non_null(json);
	assert_string_equal(json_text(json, "type"), type);
	snprintf(reference, sizeof(reference), "#/$defs/%s", type);
	only = cJSON_CreateObject();
	cJSON_AddItemReferenceToObject(only, "$defs", cJSON_GetObjectItem(schema, "$defs"));
	cJSON_AddStringToObject(only, "$ref", reference);
	if (schema_check(only, json, why, sizeof(why)) != 0)
		fail_msg("%s: %s", line, why);
	if (schema_check(schema, json, why, sizeof(why)) != 0)
		fail_msg("no message of the protocol: %s", why);
	cJSON_Delete(only);
	free(line);
	return json;
}

static const struct line_breaker breaker = {
	.id = "0123456789abcdef",
	.target = "postgres://db:5432/a\"b\\c",
	.reason = "refused\n\xff 5 times \xe2\x82\xac",
	.incident = "i1",
	.epoch = 1763850000123456789ull,
	.seq = UINT32_MAX,
	.lease_ms = 3000,
	.slot = 63,
	.kind = BREAKER_QUERY,
	.state = BREAKER_HALF_OPEN,
};

static void our_lines_are_what_the_schema_says(void **state)
{
	const char *const renews[] = {"a-1", "b-2"};
	struct line_breaker pageless = breaker;
	char *line;
	cJSON *json;

	(void)state;
	line = protocol_breaker(&breaker);
	assert_non_null(strstr(line, "\"epoch\":1763850000123456789")); /* all its digits */
	json = check(line, "breaker");
	assert_string_equal(json_text(json, "target"), "postgres://db:5432/a\"b\\c");
	assert_string_equal(json_text(json, "reason"), "refused?? 5 times \xe2\x82\xac");
	assert_string_equal(json_text(json, "scope"), "query");
	assert_string_equal(json_text(json, "state"), "half_open");
	assert_int_equal((int)json_number(json, "slot", 0), 63);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "trial_id")));
	cJSON_Delete(json);
	pageless.slot = -ENOSPC;
	pageless.trial_id = "t1";
	json = check(protocol_breaker(&pageless), "breaker");
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "slot")));
	assert_string_equal(json_text(json, "trial_id"), "t1");
	cJSON_Delete(json);

	json = check(protocol_restart("r1", false, 30000, "crashes", ""), "restart");
	assert_string_equal(json_text(json, "mode"), "graceful");
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "incident")));
	cJSON_Delete(json);
	json = check(protocol_restart("r1", true, 0, NULL, "i"), "restart");
	assert_string_equal(json_text(json, "mode"), "now");
	cJSON_Delete(json);
	cJSON_Delete(check(protocol_drain("d1", 5, "why"), "drain"));
	cJSON_Delete(check(protocol_degrade("d2", "read_only", "why"), "degrade"));
	cJSON_Delete(check(protocol_error("flood", "more than 1000 lines a second"), "error"));
	cJSON_Delete(check(protocol_ping(1, NULL, 0), "ping"));
	json = check(protocol_ping(12, renews, 2), "ping");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "renews")), 2);
	cJSON_Delete(json);
}

static void a_welcome_never_outgrows_a_line(void **state)
{
	struct line_breaker many[128];
	struct line_welcome welcome = {.epoch = 7, .lease_ms = 3000, .heartbeat_ms = 1000, .breakers = many};
	char reason[256], target[SCOPE_TARGET_SIZE];
	cJSON *json, *list;

	(void)state;
	json = check(protocol_welcome(&welcome), "welcome");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "breakers")), 0);
	assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "hold_reason")));
	cJSON_Delete(json);

	memset(reason, '"', sizeof(reason) - 1);
	memset(target, '\\', sizeof(target) - 1);
	reason[sizeof(reason) - 1] = target[sizeof(target) - 1] = '\0';
	for (int i = 0; i < 128; i++) {
		many[i] = breaker;
		many[i].reason = reason;
		many[i].target = target;
		many[i].seq = (uint32_t)i;
	}
	welcome.breaker_count = 128;
	welcome.hold_ms = 4000;
	welcome.hold_reason = "4 crashes in 60 s";
	json = check(protocol_welcome(&welcome), "welcome");
	list = cJSON_GetObjectItem(json, "breakers");
	assert_in_range(cJSON_GetArraySize(list), 50, 127);
	assert_int_equal((int)json_number(cJSON_GetArrayItem(list, cJSON_GetArraySize(list) - 1), "seq", 0),
			 cJSON_GetArraySize(list) - 1);
	assert_string_equal(json_text(json, "hold_reason"), "4 crashes in 60 s");
	cJSON_Delete(json);
}

static void pings_never_outgrow_a_line(void **state)
{
	const char *renews[4096];
	cJSON *json;

	(void)state;
	for (int i = 0; i < 4096; i++)
		renews[i] = "0123456789abcdef-4294967295";
	json = check(protocol_ping(1, renews, 4096), "ping");
	assert_in_range(cJSON_GetArraySize(cJSON_GetObjectItem(json, "renews")), 1000, 4095);
	cJSON_Delete(json);
}

static int load(void **state)
{
	char why[256];

	(void)state;
	if (json_read("rules/schema/protocol.schema.json", 1 << 20, &schema, why, sizeof(why)) != 0)
		print_error("%s\n", why);
	return schema ? 0 : -1;
}

static int unload(void **state)
{
	(void)state;
	cJSON_Delete(schema);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_is_read_whole),
		cmocka_unit_test(what_is_no_sound_object_is_a_breach),
		cmocka_unit_test(wrong_words_are_answered),
		cmocka_unit_test(depth_width_and_length_have_limits),
		cmocka_unit_test(our_lines_are_what_the_schema_says),
		cmocka_unit_test(a_welcome_never_outgrows_a_line),
		cmocka_unit_test(pings_never_outgrow_a_line),
	};

	return cmocka_run_group_tests(tests, load, unload);
}

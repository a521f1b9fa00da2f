// SPDX-License-Identifier: Apache-2.0
/*
 * Any bytes, as a script of peers that come, speak, rest, owe and go, with time passing between; and any
 * texts and numbers as lines of the agent, which must come back from a parser as they went in.
 *
 *   script: steps of {what, peer, size}, then that many bytes where the step takes some
 */
#include <stddef.h>
#include <stdint.h>
#define WORLD_SEATS 8
#include "tests/sessions_world.h"
#include "user/act/protocol_sound.h"
#include "user/base/json.h"

static struct world world;

static void check_text(const cJSON *object, const char *key, const char *in)
{
	char clean[PROTOCOL_TEXT_MAX + 1];
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	text_copy(clean, sizeof(clean), in);
	text_clean(clean);
	if (*clean)
		WORLD_MUST(cJSON_IsString(item) && strcmp(item->valuestring, clean) == 0);
	else
		WORLD_MUST(cJSON_IsNull(item));
}

static cJSON *parse_back(char *line, const char *type)
{
	const char *code, *what;
	size_t size = strlen(line), place;
	cJSON *json;

	WORLD_MUST(size <= PROTOCOL_LINE_MAX && strchr(line, '\n') == line + size - 1);
	WORLD_MUST(protocol_sound(line, size - 1, &code, &what, &place) || strcmp(code, "too_many") == 0);
	json = cJSON_Parse(line);
	WORLD_MUST(json && strcmp(json_text(json, "type"), type) == 0);
	free(line);
	return json;
}

static void check_breaker(const cJSON *json, const struct line_breaker *in)
{
	check_text(json, "id", in->id);
	check_text(json, "target", in->target);
	check_text(json, "reason", in->reason);
	check_text(json, "incident", in->incident);
	WORLD_MUST(strcmp(json_text(json, "scope"), protocol_kind_name(in->kind)) == 0);
	WORLD_MUST(strcmp(json_text(json, "state"), protocol_state_name(in->state)) == 0);
	WORLD_MUST(json_number(json, "seq", -1) == in->seq);
	WORLD_MUST(json_number(json, "lease_ms", -1) == in->lease_ms);
	WORLD_MUST(json_number(json, "slot", -1) == (in->slot < 0 ? -1 : in->slot));
}

/* The bytes as texts of one breaker and of a welcome with up to 255 of it. */
static void say_and_read(const uint8_t *data, size_t size)
{
	char text[5][700];
	struct line_breaker breaker = {0}, many[255];
	struct line_welcome welcome = {0};
	const cJSON *one, *list;
	cJSON *json;

	for (size_t i = 0; i < 5; i++)
		text_copy_bytes(text[i], sizeof(text[i]), data + size * i / 5,
				size * (i + 1) / 5 - size * i / 5);
	if (size >= 24) {
		memcpy(&breaker.epoch, data, sizeof(breaker.epoch));
		memcpy(&breaker.seq, data + 8, sizeof(breaker.seq));
		memcpy(&breaker.lease_ms, data + 12, sizeof(breaker.lease_ms));
		breaker.slot = data[16] - 128;
		breaker.kind = data[17] % 2 ? BREAKER_QUERY : BREAKER_CONNECT;
		breaker.state = (enum breaker_state)(data[18] % 3);
		welcome.breaker_count = data[19];
	}
	breaker.id = text[0];
	breaker.target = text[1];
	breaker.reason = text[2];
	breaker.incident = text[3];
	breaker.trial_id = text[4];
	json = parse_back(protocol_breaker(&breaker), "breaker");
	check_breaker(json, &breaker);
	check_text(json, "trial_id", text[4]);
	WORLD_MUST(json_number(json, "epoch", -1) == (double)breaker.epoch);
	cJSON_Delete(json);

	for (size_t i = 0; i < welcome.breaker_count; i++)
		many[i] = breaker;
	welcome.breakers = many;
	welcome.epoch = breaker.epoch;
	welcome.hold_reason = text[0];
	json = parse_back(protocol_welcome(&welcome), "welcome");
	check_text(json, "hold_reason", text[0]);
	list = cJSON_GetObjectItemCaseSensitive(json, "breakers");
	WORLD_MUST(cJSON_IsArray(list) && cJSON_GetArraySize(list) <= (int)welcome.breaker_count);
	WORLD_MUST(cJSON_GetArraySize(list) == (int)welcome.breaker_count || cJSON_GetArraySize(list) >= 10);
	cJSON_ArrayForEach(one, list) check_breaker(one, &breaker);
	cJSON_Delete(json);
}

static size_t step(uint8_t what, int number, const char *bytes, size_t size)
{
	static const char hello[] = "{\"type\":\"hello\",\"protocol\":1,\"app\":\"shop\"}\n";
	struct seat *seat = &world.seat[number];

	switch (what % 8) {
	case 0:
		if (!seat->session)
			world_open(&world, number, 1 + (uint32_t)number / 2, (uint32_t)number / 4);
		return 0;
	case 1:
		world_pass(&world, size * 10);
		return 0;
	case 2:
		world_owe(&world, number, size * 4096);
		return 0;
	case 3:
		if (seat->session)
			sessions_end(seat->session, size % 2 ? "test" : NULL, "test");
		sessions_reap(world.sessions);
		return 0;
	case 4:
		world_say_all(&world, number, hello);
		return 0;
	case 5:
		seat->not_yet = (int)size;
		return 0;
	default:
		world_feed(&world, number, bytes, size, 1 + what / 8);
		return size;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *at = data, *end = data + size;

	world_init(&world);
	while (end - at >= 3) {
		uint8_t what = at[0], number = at[1] % WORLD_SEATS, many = at[2];

		at += 3;
		if (many > end - at)
			many = (uint8_t)(end - at);
		at += step(what, number, (const char *)at, many);
		WORLD_MUST(sessions_held(world.sessions) <=
			   WORLD_SEATS * (2 * PROTOCOL_LINE_MAX + UNSENT_MAX));
	}
	world_done(&world);
	say_and_read(data, size);
	return 0;
}

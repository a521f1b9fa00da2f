// SPDX-License-Identifier: Apache-2.0
/*
 * Lines of the agent, written straight into their bytes: an order is on its way some microseconds earlier
 * than through a tree, numbers keep all their 64 bits, and a failed allocation loses the line, never a field.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/act/protocol.h"
#include "user/base/text.h"

struct line {
	char *text;
	size_t used, room;
	bool failed;
};

static void put(struct line *line, const char *bytes, size_t size)
{
	size_t room = line->room ? line->room : 512;
	char *bigger;

	while (room < line->used + size + 1)
		room *= 2;
	if (!line->failed && room != line->room) {
		bigger = realloc(line->text, room);
		line->failed = bigger == NULL;
		if (bigger) {
			line->text = bigger;
			line->room = room;
		}
	}
	if (line->failed)
		return;
	memcpy(line->text + line->used, bytes, size);
	line->used += size;
	line->text[line->used] = '\0';
}

static void put_plain(struct line *line, const char *text)
{
	put(line, text, strlen(text));
}

/* A comma where one belongs, and the key. */
static void put_key(struct line *line, const char *key)
{
	char last = line->used ? line->text[line->used - 1] : '{';

	if (last != '{' && last != '[')
		put(line, ",", 1);
	if (!key)
		return;
	put(line, "\"", 1);
	put_plain(line, key);
	put(line, "\":", 2);
}

static void put_text(struct line *line, const char *key, const char *text)
{
	char clean[PROTOCOL_TEXT_MAX + 1];

	put_key(line, key);
	if (!text || !*text) {
		put_plain(line, "null");
		return;
	}
	text_copy(clean, sizeof(clean), text);
	text_clean(clean); /* which leaves no control characters: two need an escape */
	put(line, "\"", 1);
	for (const char *at = clean; *at;) {
		size_t plain = strcspn(at, "\"\\");

		put(line, at, plain);
		at += plain;
		if (*at) {
			put(line, "\\", 1);
			put(line, at++, 1);
		}
	}
	put(line, "\"", 1);
}

static void put_digits(struct line *line, uint64_t number)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
	put_plain(line, digits);
}

static void put_number(struct line *line, const char *key, uint64_t number)
{
	put_key(line, key);
	put_digits(line, number);
}

static struct line line_begin(const char *type)
{
	struct line line = {0};

	put(&line, "{", 1);
	put_text(&line, "type", type);
	return line;
}

static char *line_end(struct line *line)
{
	put(line, "}\n", 2);
	if (!line->failed)
		return line->text;
	free(line->text);
	return NULL;
}

/* --- breakers -------------------------------------------------------------------------------------- */

static void put_breaker(struct line *line, const struct line_breaker *breaker)
{
	put_text(line, "id", breaker->id);
	put_text(line, "target", breaker->target);
	put_key(line, "slot");
	if (breaker->slot < 0) /* the page is full: the socket alone tells */
		put_plain(line, "null");
	else
		put_digits(line, (uint64_t)breaker->slot);
	put_text(line, "scope", protocol_kind_name(breaker->kind));
	put_text(line, "state", protocol_state_name(breaker->state));
	put_number(line, "seq", breaker->seq);
	put_number(line, "lease_ms", breaker->lease_ms);
	put_text(line, "reason", breaker->reason);
	put_text(line, "incident", breaker->incident);
}

char *protocol_breaker(const struct line_breaker *breaker)
{
	struct line line = line_begin("breaker");

	put_breaker(&line, breaker);
	put_number(&line, "epoch", breaker->epoch);
	put_text(&line, "trial_id", breaker->trial_id);
	return line_end(&line);
}

static void put_breakers(struct line *line, const struct line_welcome *welcome)
{
	static const char tail[] = "]}\n";

	put_key(line, "breakers");
	put(line, "[", 1);
	for (size_t i = 0; i < welcome->breaker_count && !line->failed; i++) {
		size_t before = line->used;

		put_key(line, NULL);
		put(line, "{", 1);
		put_breaker(line, &welcome->breakers[i]);
		put(line, "}", 1);
		if (line->used + sizeof(tail) > PROTOCOL_LINE_MAX) {
			line->used = before;
			break;
		}
	}
	put(line, "]", 1);
}

char *protocol_welcome(const struct line_welcome *welcome)
{
	struct line line = line_begin("welcome");

	put_number(&line, "epoch", welcome->epoch);
	put_number(&line, "lease_ms", welcome->lease_ms);
	put_number(&line, "heartbeat_ms", welcome->heartbeat_ms);
	put_number(&line, "hold_ms", welcome->hold_ms);
	put_text(&line, "hold_reason", welcome->hold_reason);
	put_key(&line, "preflight");
	put_plain(&line, "{\"verdict\":\"unknown\",\"problems\":[]}");
	put_breakers(&line, welcome);
	return line_end(&line);
}

/* --- the others ------------------------------------------------------------------------------------ */

char *protocol_restart(const char *id, bool now, uint32_t deadline_ms, const char *reason,
		       const char *incident)
{
	struct line line = line_begin("restart");

	put_text(&line, "id", id);
	put_text(&line, "mode", now ? "now" : "graceful");
	put_number(&line, "deadline_ms", deadline_ms);
	put_text(&line, "reason", reason);
	put_text(&line, "incident", incident);
	return line_end(&line);
}

char *protocol_drain(const char *id, uint32_t deadline_ms, const char *reason)
{
	struct line line = line_begin("drain");

	put_text(&line, "id", id);
	put_number(&line, "deadline_ms", deadline_ms);
	put_text(&line, "reason", reason);
	return line_end(&line);
}

char *protocol_degrade(const char *id, const char *level, const char *reason)
{
	struct line line = line_begin("degrade");

	put_text(&line, "id", id);
	put_text(&line, "level", level);
	put_text(&line, "reason", reason);
	return line_end(&line);
}

char *protocol_ping(uint64_t t, const char *const *renews, size_t count)
{
	struct line line = line_begin("ping");

	put_number(&line, "t", t);
	put_key(&line, "renews");
	put(&line, "[", 1);
	for (size_t i = 0; i < count && line.used + PROTOCOL_TEXT_MAX * 2 < PROTOCOL_LINE_MAX; i++)
		put_text(&line, NULL, renews[i]);
	put(&line, "]", 1);
	return line_end(&line);
}

char *protocol_error(const char *code, const char *message)
{
	struct line line = line_begin("error");

	put_text(&line, "code", code);
	put_text(&line, "message", message);
	return line_end(&line);
}

const char *protocol_kind_name(enum breaker_kind kind)
{
	return kind == BREAKER_CONNECT ? "connect" : "query";
}

const char *protocol_state_name(enum breaker_state state)
{
	switch (state) {
	case BREAKER_OPEN:
		return "open";
	case BREAKER_HALF_OPEN:
		return "half_open";
	default:
		return "closed";
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocol 1 of the app socket, as words: lines of the app to structs, and what the agent says to lines.
 * Pure. Everything that comes in is bounded and checked here, once; whoever gets an app_message can rely on
 * its fields. docs/design.md 7 is the contract.
 */
#ifndef LAPIDARY_PROTOCOL_H
#define LAPIDARY_PROTOCOL_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include "user/act/scope.h"

enum {
	PROTOCOL_LINE_MAX = 65536,
	PROTOCOL_DEPTH_MAX = 16,
	PROTOCOL_VALUES_MAX = 1024, /* of a line: each costs the parser an allocation */
	PROTOCOL_TEXT_MAX = 511,    /* bytes of one text in a line of the agent; more is cut */
	PROTOCOL_ID_SIZE = 40,
	PROTOCOL_DETAIL_SIZE = 200
};

enum app_message_type {
	MESSAGE_HELLO,
	MESSAGE_ACK,
	MESSAGE_POOL,
	MESSAGE_OUTCOME,
	MESSAGE_STATE,
	MESSAGE_ERROR,
};

enum ack_result { ACK_DONE, ACK_REFUSED, ACK_FAILED };

struct app_hello {
	char app[64]; /* letters, digits, '.', '_', '-'; 1 to 63 of them */
	uint32_t role,
		accepts; /* enum app_role, enum app_accepts; unknown names in `accepts` are passed over */
	char server[16], ruby[16];
	enum app_phase state; /* APP_SILENT: not said */
};

struct app_ack {
	char id[PROTOCOL_ID_SIZE];
	enum ack_result result;
	char detail[PROTOCOL_DETAIL_SIZE]; /* cleaned; for a person */
};

struct app_pool {
	char target[SCOPE_TARGET_SIZE];
	uint32_t size, active, idle, waiting;
	uint64_t timeouts, stale_replaced, wait_ms;
};

struct app_outcome {
	char trial_id[PROTOCOL_ID_SIZE];
	char target[SCOPE_TARGET_SIZE];
	bool ok;
	uint32_t ms;
	char error[PROTOCOL_DETAIL_SIZE];
};

struct app_message {
	enum app_message_type type;
	union {
		struct app_hello hello;
		struct app_ack ack;
		struct app_pool pool;
		struct app_outcome outcome;
		struct {
			enum app_phase state;
			uint32_t in_flight;
		} state;
		struct {
			char code[40], message[PROTOCOL_DETAIL_SIZE];
		} error;
	};
};

/*
 * One line without its newline. 0; -EBADMSG: not one sound JSON object in UTF-8, the peer is to be cut off;
 * -EINVAL: sound, but a type or field is wrong, the peer is answered with `error`. `code` gets a static
 * word ("bad_json", "bad_utf8", "too_deep", "unknown_type", "bad_field", ...), `why` a line with the
 * place.
 */
int protocol_read(const char *line, size_t size, struct app_message *out, const char **code, char *why,
		  size_t why_size);

/*
 * Lines of the agent, newline included, malloc'ed; NULL: no memory. Texts are cleaned; NULL and "" become
 * null. A welcome leaves out the last breakers if the line grew past PROTOCOL_LINE_MAX: the state page has
 * them all.
 */
struct line_breaker {                                           /* one breaker, also inside welcome */
	const char *id, *target, *reason, *incident, *trial_id; /* trial_id NULL: not this peer's trial */
	uint64_t epoch;
	uint32_t seq, lease_ms;
	int slot; /* < 0: the page has none for it */
	enum breaker_kind kind;
	enum breaker_state state;
};

struct line_welcome {
	uint64_t epoch;
	uint32_t lease_ms, heartbeat_ms, hold_ms;
	const char *hold_reason; /* NULL or "": none */
	const struct line_breaker *breakers;
	size_t breaker_count;
};

char *
protocol_welcome(const struct line_welcome *welcome); /* preflight: unknown, until issue 5 gives a verdict */
char *protocol_breaker(const struct line_breaker *breaker);
char *protocol_restart(const char *id, bool now, uint32_t deadline_ms, const char *reason,
		       const char *incident);
char *protocol_drain(const char *id, uint32_t deadline_ms, const char *reason);
char *protocol_degrade(const char *id, const char *level, const char *reason);
char *protocol_ping(uint64_t t, const char *const *renews, size_t count);
char *protocol_error(const char *code, const char *message);

const char *protocol_kind_name(enum breaker_kind kind);    /* "connect", "query" */
const char *protocol_state_name(enum breaker_state state); /* "open", "half_open", "closed" */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flight recorder: the last 256 events of each process, so that a crash report can show what led to it.
 * 24 bytes an event and grown from 16 on demand: 200 busy processes cost 1.2 MB, idle ones next to
 * nothing. A fork starts empty. Texts are digests into the statement store.
 */
#include "user/model/state.h"
#include "user/base/digest.h"
#include "user/base/json.h"
#include "user/probe/decode.h"
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct flight_entry) == 24, "flight_entry");

void flight_done(struct flight *flight)
{
	free(flight->entries);
	memset(flight, 0, sizeof(*flight));
}

static struct flight_entry *flight_slot(struct flight *flight)
{
	if (flight->count < flight->size)
		return &flight->entries[flight->count++]; /* first is 0 until the ring is full */
	if (flight->size == FLIGHT_MAX) {
		struct flight_entry *oldest = &flight->entries[flight->first];
		flight->first = (uint16_t)((flight->first + 1) % FLIGHT_MAX);
		return oldest;
	}
	uint16_t size = flight->size ? (uint16_t)(flight->size * 2) : 16;
	struct flight_entry *grown = realloc(flight->entries, size * sizeof(*grown));
	if (!grown)
		return NULL;
	flight->entries = grown;
	flight->size = size;
	return &flight->entries[flight->count++];
}

/* An SQLSTATE is five of 0-9A-Z: it fits 32 bits in base 37, 0 for nothing. */
static uint32_t sqlstate_pack(const char *state)
{
	uint32_t packed = 0;
	for (int i = 0; i < 5 && state[i]; i++) {
		char c = state[i];
		uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0') + 1
				 : c >= 'A' && c <= 'Z' ? (uint32_t)(c - 'A') + 11
							: 0;
		packed = packed * 37 + digit;
	}
	return packed;
}

static void sqlstate_unpack(uint32_t packed, char out[6])
{
	out[5] = '\0';
	for (int i = 4; i >= 0; i--, packed /= 37) {
		uint32_t digit = packed % 37;
		out[i] = digit == 0 ? '?' : digit < 11 ? (char)('0' + digit - 1) : (char)('A' + digit - 11);
	}
}

static const char *const actions[] = {
	"other",        "alert",         "worker.hold", "worker.restart",
	"breaker.open", "breaker.close", "app.drain",   "app.degrade",
};
enum { ACTIONS = sizeof(actions) / sizeof(*actions) };

static uint32_t action_number(const char *name)
{
	for (uint32_t i = 1; i < ACTIONS; i++)
		if (strcmp(actions[i], name) == 0)
			return i;
	return 0;
}

static void add_hello(cJSON *line, const struct flight_entry *entry)
{
	static const char *const roles[] = {"single", "master", "worker"};
	static const char *const orders[] = {"breaker", "restart", "hold", "drain", "degrade"};
	cJSON_AddStringToObject(line, "role", roles[entry->aux <= APP_WORKER ? entry->aux : 0]);
	cJSON *accepts = cJSON_AddArrayToObject(line, "accepts");
	for (unsigned i = 0; i < sizeof(orders) / sizeof(*orders); i++)
		if (entry->detail >> i & 1)
			cJSON_AddItemToArray(accepts, cJSON_CreateString(orders[i]));
}

static void add_action(cJSON *line, const struct flight_entry *entry)
{
	static const char *const outcomes[] = {"?", "done", "observed", "refused", "failed", "sent"};
	char id[17];
	digest_hex(entry->value, id);
	cJSON_AddStringToObject(line, "id", id);
	cJSON_AddStringToObject(line, "action", actions[entry->detail]);
	cJSON_AddStringToObject(line, "outcome", outcomes[entry->aux < ACTION_OUTCOME_END ? entry->aux : 0]);
}

static void flight_fill(struct model *model, struct flight_entry *entry, const struct ev_head *ev)
{
	switch (ev->type) {
	case EV_EXIT: {
		const struct ev_exit *end = (const void *)ev;
		entry->detail = (uint32_t)end->status;
		entry->aux = (uint16_t)end->oom;
		entry->value = end->sender_tgid;
		break;
	}
	case EV_KILL: {
		const struct ev_kill *kill = (const void *)ev;
		entry->aux = (uint16_t)kill->signal;
		entry->detail = kill->sender_tgid;
		break;
	}
	case EV_FATAL:
		entry->aux = (uint16_t)((const struct ev_fatal *)(const void *)ev)->kind;
		break;
	case EV_CONN: {
		const struct ev_conn *conn = (const void *)ev;
		entry->value = conn->conn;
		entry->aux = (uint16_t)conn->what;
		entry->detail = conn->reason;
		break;
	}
	case EV_FAULT: {
		const struct ev_fault *fault = (const void *)ev;
		entry->value = fault->address;
		entry->aux = (uint16_t)fault->signal;
		entry->detail = (uint32_t)fault->code;
		break;
	}
	case EV_QUERY_START: {
		const struct ev_query_start *start = (const void *)ev;
		entry->value = start->conn;
		entry->aux = (uint16_t)start->kind;
		entry->detail = statement_keep(model, start);
		break;
	}
	case EV_QUERY_END: {
		const struct ev_query_end *end = (const void *)ev;
		entry->value = end->conn;
		entry->aux = (uint16_t)end->status;
		entry->detail = sqlstate_pack(end->sqlstate);
		break;
	}
	case EV_HELLO: {
		const struct ev_hello *hello = (const void *)ev;
		entry->aux = (uint16_t)hello->role;
		entry->detail = hello->accepts;
		break;
	}
	case EV_STATE: {
		const struct ev_state *state = (const void *)ev;
		entry->aux = (uint16_t)state->state;
		entry->detail = state->hold_ms;
		break;
	}
	case EV_ACTION: {
		const struct ev_action *action = (const void *)ev;
		entry->value = strtoull(action->id, NULL, 16);
		entry->aux = (uint16_t)action->outcome;
		entry->detail = action_number(action->action);
		break;
	}
	case EV_SAMPLE:
		entry->value = ((const struct ev_sample *)(const void *)ev)->rss_bytes;
		break;
	default:
		break;
	}
}

void flight_note(struct model *model, struct process_state *process, const struct ev_head *ev)
{
	struct flight_entry *entry = flight_slot(&process->flight);
	if (!entry)
		return;
	memset(entry, 0, sizeof(*entry));
	entry->time_ns = ev->time_ns;
	entry->type = (uint8_t)ev->type;
	entry->self = ev->tgid == process->pub.id.tgid && ev->start_ns == process->pub.id.start_ns;
	if (entry->self)
		flight_fill(model, entry, ev);
	else
		entry->value = ev->tgid;
}

static void entry_details(const struct model *model, const struct flight_entry *entry, cJSON *line)
{
	static const char *const whats[] = {"?", "open", "failed", "finish", "broken"};
	static const char *const phases[] = {"", "booting", "serving", "draining", "stopped"};
	char state[6];
	switch (entry->type) {
	case EV_EXIT:
		cJSON_AddNumberToObject(line, "status", (int32_t)entry->detail);
		cJSON_AddBoolToObject(line, "oom", entry->aux);
		break;
	case EV_KILL:
		cJSON_AddNumberToObject(line, "signal", entry->aux);
		cJSON_AddNumberToObject(line, "sender", entry->detail);
		break;
	case EV_FATAL:
		cJSON_AddNumberToObject(line, "kind", entry->aux);
		break;
	case EV_CONN:
		json_add_hex(line, "conn", entry->value);
		cJSON_AddStringToObject(line, "what", whats[entry->aux <= CONN_BROKEN ? entry->aux : 0]);
		cJSON_AddNumberToObject(line, "reason", entry->detail);
		break;
	case EV_FAULT:
		cJSON_AddNumberToObject(line, "signal", entry->aux);
		cJSON_AddNumberToObject(line, "code", (int32_t)entry->detail);
		json_add_hex(line, "address", entry->value);
		break;
	case EV_QUERY_START:
		json_add_hex(line, "conn", entry->value);
		json_add_text(line, "sql", statement_text(model, entry->detail));
		break;
	case EV_QUERY_END:
		json_add_hex(line, "conn", entry->value);
		cJSON_AddNumberToObject(line, "status", entry->aux);
		sqlstate_unpack(entry->detail, state);
		json_add_text(line, "sqlstate", entry->detail ? state : "");
		break;
	case EV_HELLO:
		add_hello(line, entry);
		break;
	case EV_STATE:
		json_add_text(line, "state", phases[entry->aux <= APP_STOPPED ? entry->aux : 0]);
		json_add_count(line, "hold_ms", entry->detail);
		break;
	case EV_ACTION:
		add_action(line, entry);
		break;
	case EV_SAMPLE:
		json_add_count(line, "rss_bytes", entry->value);
		break;
	default:
		break;
	}
}

static char *entry_line(const struct model *model, const struct flight_entry *entry)
{
	cJSON *line = cJSON_CreateObject();
	json_add_time(line, "time", model_wall_ns(model, entry->time_ns));
	cJSON_AddStringToObject(line, "event", event_name(entry->type));
	if (entry->self)
		entry_details(model, entry, line);
	else
		json_add_count(line, "child", entry->value);
	char *text = cJSON_PrintUnformatted(line);
	cJSON_Delete(line);
	return text;
}

char *model_flight(const struct model *model, uint32_t tgid, uint64_t start_ns, size_t *size)
{
	const struct process_state *process = process_peek(model, tgid, start_ns);
	if (!process || process->flight.count == 0)
		return NULL;
	const struct flight *flight = &process->flight;
	char *out = NULL;
	size_t used = 0;
	for (uint16_t i = 0; i < flight->count; i++) {
		char *line = entry_line(model, &flight->entries[(flight->first + i) % flight->count]);
		size_t length = line ? strlen(line) : 0;
		char *grown = line ? realloc(out, used + length + 2) : NULL;
		if (!grown) {
			free(line);
			break;
		}
		out = grown;
		memcpy(out + used, line, length);
		used += length;
		out[used++] = '\n';
		out[used] = '\0';
		free(line);
	}
	if (size)
		*size = used;
	return out;
}

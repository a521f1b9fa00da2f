// SPDX-License-Identifier: Apache-2.0
/*
 * The app socket's peers. Who a peer is comes from the kernel: its pid from the socket, uid, cgroup and
 * network namespace from /proc, read anew for each hello. Its own word names its app inside that scope,
 * unless the configuration has named it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/digest.h"
#include "user/base/log.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/acting.h"
#include "user/probe/procfs.h"

/* Facts so young belong to the hello. */
#define FRESH_NS 500000000ull
/* A worker older than this does not boot: it comes back after the agent was away, and is not held. */
#define BOOT_NS 30000000000ull

enum { TALK_LINES = 20, STATES_TOLD = 4 }; /* a second; the latter of a peer */

/* A peer that has its welcome, for the second one, which ends holds and begins none. */
struct seated {
	bool corrected;      /* was told that it names a database that it was not seen to use */
	enum app_phase told; /* to the model */
	uint64_t told_second;
	uint32_t told_times; /* in that second: the rest is told by the next tick */
};

int peers_new(struct agent *agent)
{
	agent->acting->peers = table_new(sizeof(uint64_t), sizeof(struct seated), PEERS_MAX, NULL, NULL);
	return agent->acting->peers ? 0 : -ENOMEM;
}

struct counted {
	const struct ev_scope *scope;
	uint32_t accepts, count;
};

static void count_peer(void *context, const struct peer *peer)
{
	struct counted *counted = context;

	if (scope_equal(&peer->scope, counted->scope) &&
	    (peer->hello.accepts & counted->accepts) == counted->accepts)
		counted->count++;
}

uint32_t peers_of(struct agent *agent, const struct ev_scope *scope, uint32_t accepts)
{
	struct counted counted = {scope, accepts, 0};

	app_socket_each(agent->acting->socket, count_peer, &counted);
	return counted.count;
}

/* --- who is it -------------------------------------------------------------------------------------- */

/* Who connected as one user and is another now speaks for neither. */
static int refuse_uid(const struct peer *peer, uint32_t uid, char *why, size_t why_size)
{
	snprintf(why, why_size, "process %u has uid %u, but connected as %u", peer->tgid, uid, peer->uid);
	return -EPERM;
}

/* Not a Ruby, but its user may speak by configuration. On the loop: what it could hold up is not read. */
static int identify_stranger(struct agent *agent, struct peer *peer, char *why, size_t why_size)
{
	struct procfs_facts facts;

	peer->start_ns = watch_start_of(agent, peer->tgid);
	if (!peer->start_ns || procfs_scope(peer->tgid, peer->start_ns, &facts) != 0) {
		snprintf(why, why_size, "process %u is gone", peer->tgid);
		return -ESRCH;
	}
	if (facts.uid != peer->uid)
		return refuse_uid(peer, facts.uid, why, why_size);
	scope_set(&peer->scope, facts.uid, facts.netns, digest_text(DIGEST_START, facts.cgroup),
		  peer->hello.app);
	return 0;
}

/* Who is watched was looked at before; of anybody else nothing is read at the door. */
static uint64_t place(void *context, uint32_t tgid)
{
	const struct watched *watched = watch_find(context, tgid, 0);

	return watched ? watched->info.cgroup_id : 0;
}

static int identify(void *context, struct peer *peer, char *why, size_t why_size)
{
	struct agent *agent = context;
	struct watched_facts facts;
	uint64_t now = when_boot_now();

	agent_drain(agent); /* its birth may lie in the ring */
	if (watch_find(agent, peer->tgid, 0) == NULL && config_peer_uid(&agent->config, peer->uid))
		return identify_stranger(agent, peer, why, why_size);
	if (!watch_known(agent, peer->tgid, now - FRESH_NS, &facts)) {
		snprintf(why, why_size,
			 "process %u is not watched; lapidary doctor %u says why, --peer-uids lets others "
			 "speak",
			 peer->tgid, peer->tgid);
		return -EAGAIN;
	}
	if (facts.info->uid != peer->uid)
		return refuse_uid(peer, facts.info->uid, why, why_size);
	peer->start_ns = facts.start_ns;
	scope_set(&peer->scope, facts.info->uid, facts.info->netns, facts.info->cgroup_id,
		  facts.configured ? facts.info->app : peer->hello.app);
	return 0;
}

/* --- the welcome ------------------------------------------------------------------------------------ */

struct listing {
	struct agent *agent;
	const struct ev_scope *scope;
	struct page *page;
	size_t count, room;
};

static void list_breaker(void *context, const struct breaker *breaker)
{
	struct listing *listing = context;
	struct acting *acting = listing->agent->acting;
	uint64_t now = mono_now();

	if (breaker->state == BREAKER_CLOSED || !scope_equal(&breaker->scope, listing->scope) ||
	    listing->count == listing->room)
		return;
	acting_order_id(breaker, acting->listed_ids[listing->count]);
	acting->listed[listing->count] = (struct line_breaker){
		.id = acting->listed_ids[listing->count],
		.target = breaker->target,
		.reason = breaker->reason,
		.incident = breaker->incident,
		.epoch = acting->epoch,
		.seq = breaker->seq,
		.lease_ms =
			breaker->lease_end_ns > now ? (uint32_t)((breaker->lease_end_ns - now) / 1000000) : 0,
		.slot = listing->page ? page_slot(listing->page, breaker->target) : -1,
		.kind = breaker->kind,
		.state = breaker->state,
	};
	listing->count++;
}

static uint32_t hold_of(struct agent *agent, const struct peer *peer)
{
	struct acting *acting = agent->acting;
	uint64_t now = when_boot_now();
	const struct hold *hold;
	uint32_t wait;

	if (table_peek(acting->peers, &peer->id) || peer->hello.role != APP_WORKER ||
	    !(peer->hello.accepts & ACCEPTS_HOLD) || now - peer->start_ns > BOOT_NS ||
	    gate_paused(acting->gate, mono_now(), NULL))
		return 0;
	wait = holds_boot(acting->holds, &peer->scope, mono_now());
	hold = wait ? holds_find(acting->holds, &peer->scope) : NULL;
	text_copy(acting->hold_reason, sizeof(acting->hold_reason), hold ? hold->reason : "");
	if (wait)
		log_say(LOG_INFO, "hold", "%s: the boot of %u waits %u ms: %s", peer->scope.app, peer->tgid,
			wait, acting->hold_reason);
	return wait;
}

static void record_state(struct agent *agent, const struct peer *peer, struct ev_state *state)
{
	if (watch_find(agent, peer->tgid, peer->start_ns))
		agent_make(agent, &state->head, EV_STATE, sizeof(*state), peer->tgid, peer->start_ns);
}

static void welcome(void *context, const struct peer *peer, struct line_welcome *out, int *page_fd_out)
{
	enum { LISTED = PAGE_SLOTS * BREAKER_KINDS };
	struct agent *agent = context;
	struct acting *acting = agent->acting;
	struct listing listing = {.agent = agent, .scope = &peer->scope, .room = LISTED};

	if (!acting->listed)
		acting->listed = calloc(LISTED, sizeof(*acting->listed));
	if (!acting->listed_ids)
		acting->listed_ids = calloc(LISTED, sizeof(*acting->listed_ids));
	if (!acting->listed || !acting->listed_ids)
		listing.room = 0;
	listing.page = pages_of(agent, &peer->scope, true);
	breakers_each(acting->breakers, list_breaker, &listing);
	*out = (struct line_welcome){
		.epoch = acting->epoch,
		.lease_ms = agent->config.lease_ms,
		.heartbeat_ms = agent->config.lease_ms / 3,
		.hold_ms = hold_of(agent, peer),
		.hold_reason = acting->hold_reason,
		.breakers = acting->listed,
		.breaker_count = listing.count,
	};
	if (!out->hold_ms)
		out->hold_reason = NULL;
	*page_fd_out = listing.page ? page_fd(listing.page) : -1;
	acting->hold_ms = out->hold_ms;
	if (table_peek(acting->peers, &peer->id)) /* welcomed again: whatever held it ends */
		record_state(agent, peer,
			     &(struct ev_state){.state = peer->state, .connected = 1, .welcomed = 1});
}

static void record_hello(struct agent *agent, const struct peer *peer)
{
	struct ev_hello hello = {
		.scope = peer->scope, .role = peer->hello.role, .accepts = peer->hello.accepts};

	text_copy(hello.server, sizeof(hello.server), peer->hello.server);
	text_copy(hello.ruby, sizeof(hello.ruby), peer->hello.ruby);
	watch_claim(agent, peer->tgid, peer->start_ns, peer->scope.app);
	if (watch_find(agent, peer->tgid, peer->start_ns))
		agent_make(agent, &hello.head, EV_HELLO, sizeof(hello), peer->tgid, peer->start_ns);
}

/* What peers can make the agent print is theirs to repeat, from ever new connections too. */
static bool may_print(struct agent *agent)
{
	struct acting *acting = agent->acting;
	uint64_t second = mono_now() / 1000000000u;

	if (second != acting->talk_second) {
		if (acting->talk_hidden)
			log_say(LOG_WARN, "peer", "%u more lines about peers were left out",
				acting->talk_hidden);
		acting->talk_second = second;
		acting->talk_lines = acting->talk_hidden = 0;
	}
	if (acting->talk_lines < TALK_LINES) {
		acting->talk_lines++;
		return true;
	}
	acting->talk_hidden++;
	return false;
}

static void joined(void *context, const struct peer *peer)
{
	struct agent *agent = context;
	struct seated *seated = table_put(agent->acting->peers, &peer->id, NULL);

	if (seated)
		*seated = (struct seated){.told = peer->state};
	if (when_boot_now() - peer->start_ns < BOOT_NS && may_print(agent))
		log_say(LOG_INFO, "peer", "%s: %u speaks (%s)", peer->scope.app, peer->tgid,
			peer->hello.server[0] ? peer->hello.server : "no server");
	record_hello(agent, peer);
	record_state(agent, peer,
		     &(struct ev_state){.state = peer->state,
					.connected = 1,
					.welcomed = 1,
					.hold_ms = agent->acting->hold_ms});
	tests_joined(agent, &peer->scope);
}

/* --- what it says ----------------------------------------------------------------------------------- */

/* A peer names only targets that the kernel saw its scope use. */
static void check_pool(struct agent *agent, const struct peer *peer, const struct app_pool *pool)
{
	struct seated *seated = table_peek(agent->acting->peers, &peer->id);
	char *line;

	if (!seated || seated->corrected || tests_knows(agent, &peer->scope, pool->target))
		return;
	seated->corrected = true;
	line = protocol_error("unknown_target", "this app was not seen to use that database");
	if (line)
		app_socket_tell_peer(agent->acting->socket, peer->id, 0, line);
	free(line);
}

/* Each change is a record, but who flutters does not fill the recording. */
static void told_state(void *context, const struct peer *peer)
{
	struct agent *agent = context;
	struct seated *seated = table_peek(agent->acting->peers, &peer->id);
	uint64_t second = mono_now() / 1000000000u;

	if (!seated || seated->told == peer->state)
		return;
	if (seated->told_second != second)
		seated->told_times = 0;
	seated->told_second = second;
	if (seated->told_times++ >= STATES_TOLD && peer->state == APP_SERVING)
		return;
	seated->told = peer->state;
	record_state(agent, peer, &(struct ev_state){.state = peer->state, .connected = 1});
}

void peers_tick(struct agent *agent)
{
	app_socket_each(agent->acting->socket, told_state, agent);
}

static void message(void *context, const struct peer *peer, const struct app_message *message)
{
	struct agent *agent = context;

	switch (message->type) {
	case MESSAGE_ACK:
		orders_ack(agent, peer, &message->ack);
		break;
	case MESSAGE_OUTCOME:
		if (!breakers_outcome(agent->acting->breakers, peer->id, message->outcome.trial_id,
				      message->outcome.ok, mono_now()))
			log_say(LOG_DEBUG, "trial", "%s: %u tells of a trial that is not its own",
				peer->scope.app, peer->tgid);
		break;
	case MESSAGE_ERROR:
		if (may_print(agent))
			log_say(LOG_WARN, "peer", "%s: %u says: %s: %s", peer->scope.app, peer->tgid,
				message->error.code, message->error.message);
		break;
	case MESSAGE_POOL:
		check_pool(agent, peer, &message->pool);
		break;
	case MESSAGE_STATE:
		told_state(agent, peer);
		break;
	default:
		break;
	}
}

static void left(void *context, const struct peer *peer)
{
	struct agent *agent = context;

	table_delete(agent->acting->peers, &peer->id);
	if (!app_socket_peer_of(agent->acting->socket, peer->tgid, peer->start_ns))
		record_state(agent, peer, &(struct ev_state){.state = APP_SILENT});
	breakers_peer_left(agent->acting->breakers, peer->id, mono_now());
	log_say(LOG_DEBUG, "peer", "%s: %u has left", peer->scope.app, peer->tgid);
}

static void cut(void *context, uint32_t tgid, uint32_t uid, const char *code, const char *why, uint64_t more)
{
	(void)context;
	log_say(LOG_WARN, "peer", "%u of uid %u was cut off: %s: %s%s", tgid, uid, code, why,
		more ? " (and others before)" : "");
}

void peers_wire(struct agent *agent, struct app_socket_events *events)
{
	*events = (struct app_socket_events){
		.context = agent,
		.place = place,
		.identify = identify,
		.welcome = welcome,
		.joined = joined,
		.message = message,
		.left = left,
		.cut = cut,
	};
}

/* --- the heartbeat ---------------------------------------------------------------------------------- */

struct renewal {
	const struct ev_scope *scope;
	const char *ids[PAGE_SLOTS * BREAKER_KINDS];
	char text[PAGE_SLOTS * BREAKER_KINDS][40];
	size_t count;
};

static void add_renewal(void *context, const struct breaker *breaker)
{
	struct renewal *renewal = context;

	if (breaker->state == BREAKER_CLOSED || !scope_equal(&breaker->scope, renewal->scope) ||
	    renewal->count == PAGE_SLOTS * BREAKER_KINDS)
		return;
	acting_order_id(breaker, renewal->text[renewal->count]);
	renewal->ids[renewal->count] = renewal->text[renewal->count];
	renewal->count++;
}

static void beat_scope(void *context, const void *key, void *value)
{
	struct agent *agent = context;
	struct renewal *renewal = calloc(1, sizeof(*renewal));
	char *line;

	(void)value;
	if (!renewal)
		return;
	renewal->scope = key;
	breakers_each(agent->acting->breakers, add_renewal, renewal);
	line = protocol_ping(mono_now(), renewal->ids, renewal->count);
	if (line)
		app_socket_tell_scope(agent->acting->socket, key, 0, line, 0);
	free(line);
	free(renewal);
}

void peers_beat(struct agent *agent)
{
	table_each(agent->acting->pages, beat_scope, agent);
}

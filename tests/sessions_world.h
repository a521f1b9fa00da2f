/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers without sockets, on simulated time: everything that happens to each is kept as one running digest, so
 * that two lives can be compared, and what may never happen ends the program.
 */
#ifndef LAPIDARY_TESTS_SESSIONS_WORLD_H
#define LAPIDARY_TESTS_SESSIONS_WORLD_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/act/sessions.h"
#include "user/base/digest.h"
#include "user/base/text.h"

#define WORLD_MS 1000000ull
#define WORLD_MUST(condition)                                                                                \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                      \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

#ifndef WORLD_SEATS
#define WORLD_SEATS 1100
#endif

struct world;

struct seat {
	struct world *world;
	struct session *session; /* NULL: nobody sits here */
	uint32_t tgid, uid;
	uint64_t cgroup;
	int not_yet;   /* so often it is not known; */
	bool stranger; /* then it is, or is refused */
	bool joined;
	uint64_t story; /* digest of all that happened to it */
	uint32_t messages, said, joins, leaves, resumes;
	size_t unsent;
	size_t greet_owes; /* bytes of its welcome that the socket did not take, told a moment after */
	char code[32];     /* of its last words */
};

struct world {
	struct sessions *sessions;
	struct seat seat[WORLD_SEATS];
	uint64_t now;
	uint32_t cuts;
	uint64_t more;
	void (*heard)(struct world *world, struct seat *seat, const struct app_message *message);
};

static inline void world_tell(struct seat *seat, const char *word, const void *bytes, size_t size)
{
	seat->story = digest_fnv(digest_text(seat->story, word), bytes, size);
}

static inline struct seat *world_seat_of(struct world *world, const struct peer *peer)
{
	for (int i = 0; i < WORLD_SEATS; i++)
		if (world->seat[i].tgid == peer->tgid && world->seat[i].joined && world->seat[i].session &&
		    session_peer(world->seat[i].session) == peer)
			return &world->seat[i];
	WORLD_MUST(!"a peer that nobody is");
	return NULL;
}

static inline int world_identify(void *context, struct session *session, struct peer *peer, char *why,
				 size_t why_size)
{
	struct seat *seat = session_owner(session);

	(void)context;
	WORLD_MUST(seat && seat->session == session && !seat->joined);
	if (seat->not_yet > 0) {
		seat->not_yet--;
		return -EAGAIN;
	}
	if (seat->stranger) {
		snprintf(why, why_size, "a stranger");
		return -ENOENT;
	}
	peer->start_ns = peer->tgid + 1;
	scope_set(&peer->scope, peer->uid, 1, seat->cgroup, peer->hello.app);
	return 0;
}

static inline void world_greet(void *context, struct session *session)
{
	struct seat *seat = session_owner(session);

	(void)context;
	seat->joined = true;
	world_tell(seat, "greet", "", 0);
	if (seat->greet_owes)
		sessions_owe(session, seat->greet_owes, seat->world->now + 1);
}

static inline void world_joined(void *context, const struct peer *peer)
{
	struct seat *seat = world_seat_of(context, peer);

	seat->joins++;
	world_tell(seat, "joined", &peer->hello, sizeof(peer->hello));
}

static inline void world_message(void *context, const struct peer *peer, const struct app_message *message)
{
	struct world *world = context;
	struct seat *seat = world_seat_of(world, peer);

	WORLD_MUST(message->type != MESSAGE_HELLO && !session_is_over(seat->session));
	seat->messages++;
	world_tell(seat, "message", message, sizeof(*message));
	if (world->heard)
		world->heard(world, seat, message);
}

static inline void world_say(void *context, struct session *session, const char *line)
{
	struct seat *seat = session_owner(session);

	(void)context;
	seat->said++;
	world_tell(seat, "say", line, strlen(line));
}

static inline void world_resume(void *context, struct session *session)
{
	struct seat *seat = session_owner(session);

	(void)context;
	WORLD_MUST(sessions_wants(session));
	seat->resumes++;
}

static inline void world_gone(void *context, struct session *session, const char *last_words)
{
	struct seat *seat = session_owner(session);

	(void)context;
	WORLD_MUST(seat->session == session && session_is_over(session));
	world_tell(seat, "gone", last_words ? last_words : "", last_words ? strlen(last_words) : 0);
	text_copy(seat->code, sizeof(seat->code), "");
	if (last_words)
		sscanf(last_words, "{\"type\":\"error\",\"code\":\"%31[a-z_0-9]", seat->code);
	seat->session = NULL;
}

static inline void world_left(void *context, const struct peer *peer)
{
	struct world *world = context;

	for (int i = 0; i < WORLD_SEATS; i++) {
		struct seat *seat = &world->seat[i];

		if (seat->joined && !seat->session && seat->tgid == peer->tgid) {
			seat->joined = false;
			seat->leaves++;
			return;
		}
	}
	WORLD_MUST(!"someone left who had not joined");
}

static inline void world_cut(void *context, uint32_t tgid, uint32_t uid, const char *code, const char *why,
			     uint64_t more)
{
	struct world *world = context;

	(void)tgid, (void)uid;
	WORLD_MUST(code && *code && why);
	world->cuts++;
	world->more += more;
}

static inline void world_init(struct world *world)
{
	const struct sessions_events events = {
		.app = {.context = world,
			.joined = world_joined,
			.message = world_message,
			.left = world_left,
			.cut = world_cut},
		.context = world,
		.identify = world_identify,
		.greet = world_greet,
		.say = world_say,
		.resume = world_resume,
		.gone = world_gone,
	};

	memset(world, 0, sizeof(*world));
	world->now = 1000 * WORLD_MS;
	world->sessions = sessions_new(&events);
	WORLD_MUST(world->sessions);
	for (int i = 0; i < WORLD_SEATS; i++)
		world->seat[i].world = world;
}

static inline void world_done(struct world *world)
{
	struct app_socket_stats stats;

	sessions_end_all(world->sessions);
	sessions_reap(world->sessions);
	sessions_stats(world->sessions, &stats);
	WORLD_MUST(stats.peers == 0 && stats.unsent_bytes == 0 && sessions_held(world->sessions) == 0);
	WORLD_MUST(!sessions_busy(world->sessions));
	sessions_free(world->sessions);
}

/* Takes the seat for a new connection; the word that refuses it, or NULL. known: its cgroup is, at the door.
 */
static inline const char *world_open_in(struct world *world, int number, uint32_t tgid, uint32_t uid,
					uint64_t cgroup, bool known)
{
	struct seat *seat = &world->seat[number];
	const char *code = NULL;
	char why[160] = "";
	int err;

	WORLD_MUST(!seat->session);
	*seat = (struct seat){
		.world = world, .tgid = tgid, .uid = uid, .cgroup = cgroup, .story = DIGEST_START};
	err = sessions_open(world->sessions, tgid, uid, known ? cgroup : 0, world->now, &seat->session, &code,
			    why, sizeof(why));
	WORLD_MUST((err == -EUSERS && code && why[0]) || (err == 0 && !code));
	if (err)
		return code;
	session_own(seat->session, seat);
	return NULL;
}

static inline const char *world_open(struct world *world, int number, uint32_t tgid, uint32_t uid)
{
	return world_open_in(world, number, tgid, uid, 2, true);
}

/* As much of the bytes as it takes, in pieces of at most `piece`; how much that was. */
static inline size_t world_feed(struct world *world, int number, const char *bytes, size_t size, size_t piece)
{
	struct seat *seat = &world->seat[number];
	size_t fed = 0;

	while (fed < size && seat->session && sessions_wants(seat->session)) {
		size_t part = size - fed < piece ? size - fed : piece;
		char *exact = malloc(part); /* a sanitizer sees the first byte behind it */

		WORLD_MUST(exact);
		memcpy(exact, bytes + fed, part);
		sessions_feed(seat->session, exact, part, world->now);
		free(exact);
		sessions_reap(world->sessions);
		fed += part;
	}
	return fed;
}

static inline size_t world_say_all(struct world *world, int number, const char *text)
{
	return world_feed(world, number, text, strlen(text), PROTOCOL_LINE_MAX);
}

static inline void world_owe(struct world *world, int number, size_t unsent)
{
	struct seat *seat = &world->seat[number];

	seat->unsent = unsent;
	if (seat->session)
		sessions_owe(seat->session, unsent, world->now);
	sessions_reap(world->sessions);
}

static inline void world_pass(struct world *world, uint64_t ms)
{
	for (uint64_t end = world->now + ms * WORLD_MS; world->now < end;) {
		world->now += 10 * WORLD_MS;
		if (sessions_busy(world->sessions))
			sessions_tick(world->sessions, world->now);
		sessions_reap(world->sessions);
	}
}

#endif

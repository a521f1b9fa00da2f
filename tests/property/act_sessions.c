// SPDX-License-Identifier: Apache-2.0
/*
 * The app socket's peers under generated streams: what a peer says means the same however its bytes are cut,
 * no peer's words change another's life, the numbers hold whoever comes and goes, and memory is bounded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/sessions_world.h"

enum { CASES = 200, STREAM_MAX = 400000 };

static struct world world;

struct stream {
	char bytes[STREAM_MAX];
	size_t size;
};

/* --- drawing what a peer says ---------------------------------------------------------------------- */

static void add(struct stream *stream, const char *bytes, size_t size)
{
	if (stream->size + size <= STREAM_MAX) {
		memcpy(stream->bytes + stream->size, bytes, size);
		stream->size += size;
	}
}

static void add_text(struct stream *stream, const char *text)
{
	add(stream, text, strlen(text));
}

static void add_good(struct stream *stream)
{
	static const char *const states[] = {"serving", "draining", "stopped", "booting"},
				 *const results[] = {"done", "refused", "failed"};
	char line[512];

	switch (draw(4)) {
	case 0:
		snprintf(line, sizeof(line), "{\"type\":\"state\",\"state\":\"%s\",\"in_flight\":%u}\n",
			 states[draw(4)], (unsigned)draw(1000));
		break;
	case 1:
		snprintf(line, sizeof(line),
			 "{\"id\":\"%llx\",\"new\":[[{}],{\"a\":null}],\"type\":\"ack\",\"result\":\"%s\","
			 "\"detail\":\"\\u20ac \xe2\x82\xac \\n\"}\n",
			 (unsigned long long)draw(UINT32_MAX), results[draw(3)]);
		break;
	case 2:
		snprintf(line, sizeof(line),
			 "{\"type\":\"pool\",\"target\":\"postgres://h:%u/"
			 "d\",\"size\":%u,\"timeouts\":%llu}\n",
			 (unsigned)draw(10), (unsigned)draw(100), (unsigned long long)draw(1ull << 53));
		break;
	default:
		snprintf(line, sizeof(line),
			 "{\"type\":\"outcome\",\"trial_id\":\"%u\",\"target\":\"t\",\"ok\":%s}\r\n",
			 (unsigned)draw(100), draw(2) ? "true" : "false");
	}
	add_text(stream, line);
}

static void add_wrong(struct stream *stream)
{
	static const char *const lines[] = {
		"{\"type\":\"dance\"}\n",
		"{}\n",
		"{\"type\":\"pool\",\"target\":\"x\",\"size\":1e999}\n",
		"{\"type\":\"state\",\"state\":\"serving\",\"state\":\"stopped\"}\n",
		"{\"type\":\"hello\",\"protocol\":1,\"app\":\"another\"}\n",
		"{\"type\":\"ack\",\"id\":7,\"result\":\"done\"}\n",
	};

	add_text(stream, lines[draw(sizeof(lines) / sizeof(lines[0]))]);
}

static void add_garbage(struct stream *stream)
{
	char bytes[600];
	size_t size = 1 + draw(sizeof(bytes) - 1);

	switch (draw(5)) {
	case 0:
		for (size_t i = 0; i < size; i++)
			bytes[i] = (char)draw(256);
		add(stream, bytes, size);
		break;
	case 1: /* deep */
		memset(bytes, draw(2) ? '[' : '{', size);
		add(stream, bytes, size);
		break;
	case 2: /* long */
		for (uint64_t i = 0, many = 60 + draw(80); i < many; i++)
			add(stream, bytes, (memset(bytes, 'x', sizeof(bytes)), sizeof(bytes)));
		break;
	case 3: /* a flood */
		for (int i = 0; i < 1100; i++)
			add_text(stream, "{\"type\":\"state\",\"state\":\"serving\"}\n");
		break;
	default: /* a line with one byte that is another */
		add_good(stream);
		stream->bytes[stream->size - 1 - draw(30)] = (char)draw(256);
	}
	if (draw(4))
		add(stream, "\n", 1);
}

/* A life: mostly a hello, mostly good lines, sometimes wrong ones, and often garbage at the end. */
static void draw_stream(struct stream *stream, const char *app)
{
	char hello[160];

	stream->size = 0;
	snprintf(hello, sizeof(hello),
		 "{\"type\":\"hello\",\"protocol\":1,\"app\":\"%s\",\"accepts\":[\"hold\"]}\n", app);
	if (draw(10))
		add_text(stream, hello);
	for (uint64_t i = 0, many = draw(40); i < many; i++) {
		if (draw(6))
			add_good(stream);
		else
			add_wrong(stream);
	}
	if (draw(2))
		add_garbage(stream);
	for (uint64_t i = 0, many = draw(5); i < many; i++)
		add_good(stream);
}

/* Like feeding, and when it is not yet known, time passes until it is; then its end. */
static void live(int seat, const struct stream *stream, size_t (*piece)(void), int not_yet)
{
	size_t fed = 0;

	assert_null(world_open(&world, seat, 10, 1));
	world.seat[seat].not_yet = not_yet;
	while (fed < stream->size && world.seat[seat].session) {
		size_t size = piece();

		if (size > stream->size - fed)
			size = stream->size - fed;
		fed += world_feed(&world, seat, stream->bytes + fed, size, size);
		while (world.seat[seat].session && !sessions_wants(world.seat[seat].session))
			world_pass(&world, 10);
	}
	if (world.seat[seat].session)
		sessions_end(world.seat[seat].session, NULL, NULL);
	sessions_reap(world.sessions);
}

static size_t whole(void)
{
	return PROTOCOL_LINE_MAX;
}

static size_t by_fours(void)
{
	return 4096;
}

static size_t by_bytes(void)
{
	return 1;
}

static size_t by_chance(void)
{
	return 1 + (draw(8) ? draw(60) : draw(9000));
}

/* --- the properties -------------------------------------------------------------------------------- */

static void however_the_bytes_are_cut(void **state)
{
	static size_t (*const ways[])(void) = {whole, by_fours, by_bytes, by_chance};
	static struct stream stream;
	unsigned cut_off = 0, messages = 0;

	(void)state;
	draw_start();
	for (int i = 0; i < CASES; i++) {
		struct seat seat[4];

		draw_stream(&stream, "shop");
		for (int way = 0; way < 4; way++) {
			world_init(&world);
			live(0, &stream, ways[way], i % 3 ? 0 : 3);
			seat[way] = world.seat[0];
			world_done(&world);
			assert_int_equal(seat[way].story, seat[0].story);
			assert_string_equal(seat[way].code, seat[0].code);
			assert_int_equal(seat[way].messages, seat[0].messages);
			assert_int_equal(seat[way].leaves, seat[way].joins);
		}
		cut_off += seat[0].code[0] != '\0';
		messages += seat[0].messages;
	}
	assert_in_range(cut_off, CASES / 10, CASES * 9 / 10); /* both were drawn */
	assert_true(messages > CASES);
}

/* One life alone, and the same with 40 others around it, of its own uid and of others, who do their worst. */
static uint64_t life_among(const struct stream *mine, int others, uint64_t seed)
{
	static struct stream theirs[40];
	size_t fed = 0, fed_theirs[40] = {0};

	world_init(&world);
	draw_seed(seed);
	for (int i = 0; i < others; i++)
		draw_stream(&theirs[i], i % 2 ? "shop" : "bank");
	assert_null(world_open(&world, 50, 10, 1));
	while (fed < mine->size && world.seat[50].session) {
		size_t size = 1 + digest_mix(fed) % 200;

		fed += world_feed(&world, 50, mine->bytes + fed,
				  size < mine->size - fed ? size : mine->size - fed, 4096);
		for (int i = 0; i < others; i++) {
			if (!world.seat[i].session && draw(4) == 0) {
				world_open(&world, i, 100 + (uint32_t)draw(30), 1 + (uint32_t)draw(3));
				world.seat[i].not_yet = (int)draw(3);
				fed_theirs[i] = 0;
			}
			if (world.seat[i].session && draw(3)) {
				size = by_chance();
				fed_theirs[i] += world_feed(&world, i, theirs[i].bytes + fed_theirs[i],
							    size < theirs[i].size - fed_theirs[i]
								    ? size
								    : theirs[i].size - fed_theirs[i],
							    4096);
			}
			if (world.seat[i].session && draw(20) == 0)
				world_owe(&world, i, draw(UNSENT_MAX * 2));
		}
		if (digest_mix(fed) % 16 == 0)
			world_pass(&world, 10);
	}
	if (world.seat[50].session)
		sessions_end(world.seat[50].session, NULL, NULL);
	sessions_reap(world.sessions);
	assert_true(sessions_held(world.sessions) <= HELD_MAX);
	fed = world.seat[50].story;
	world_done(&world);
	return fed;
}

static void no_garbage_changes_anothers_life(void **state)
{
	static struct stream mine;
	uint64_t seed = draw_start(), alone;

	(void)state;
	for (uint64_t i = 0; i < CASES; i++) {
		draw_seed(digest_mix(seed + i));
		draw_stream(&mine, "shop");
		if (mine.size > 20000)
			mine.size = 20000;
		alone = life_among(&mine, 0, seed + i);
		assert_int_equal(life_among(&mine, 40, seed + i), alone);
	}
}

/* Who is in is counted here once more, the plain way. */
static const char *expected(uint32_t tgid, uint32_t uid)
{
	int all = 0, of_process = 0, of_uid = 0;

	for (int i = 0; i < WORLD_SEATS; i++) {
		const struct seat *seat = &world.seat[i];

		if (!seat->session)
			continue;
		all++;
		of_process += seat->tgid == tgid;
		of_uid += seat->uid == uid;
	}
	return tgid == 0                        ? "foreign_process"
	       : all >= PEERS_MAX               ? "too_many"
	       : of_process >= PEERS_OF_PROCESS ? "too_many_of_process"
	       : of_uid >= PEERS_OF_CGROUP      ? "too_many_of_cgroup"
						: NULL;
}

static bool app_fits(uint32_t uid, const char *app)
{
	char names[WORLD_SEATS][64];
	int count = 0;

	for (int i = 0; i < WORLD_SEATS; i++) {
		const struct seat *seat = &world.seat[i];
		const char *name;
		int k = 0;

		if (!seat->session || !seat->joined || seat->uid != uid)
			continue;
		name = session_peer(seat->session)->scope.app;
		if (strcmp(name, app) == 0)
			return true;
		while (k < count && strcmp(names[k], name) != 0)
			k++;
		if (k == count)
			text_copy(names[count++], sizeof(names[0]), name);
	}
	return count < APPS_OF_CGROUP;
}

static void come_or_go(uint64_t processes, uint64_t uids)
{
	int number = (int)draw(WORLD_SEATS);
	struct seat *seat = &world.seat[number];
	uint32_t tgid = (uint32_t)draw(processes), uid = (uint32_t)draw(uids);
	const char *wanted, *got;
	char hello[128], app[16];

	if (seat->session) {
		sessions_end(seat->session, draw(2) ? "test" : NULL, "test");
		sessions_reap(world.sessions);
		return;
	}
	wanted = expected(tgid, uid);
	got = world_open(&world, number, tgid, uid);
	if (wanted)
		assert_string_equal(got, wanted);
	assert_ptr_equal(!got, !wanted);
	if (got)
		return;
	snprintf(app, sizeof(app), "a%u", (unsigned)draw(24));
	snprintf(hello, sizeof(hello), "{\"type\":\"hello\",\"protocol\":1,\"app\":\"%s\"}\n", app);
	if (draw(8) == 0)
		return;
	wanted = app_fits(uid, app) ? "" : "too_many_apps";
	world_say_all(&world, number, hello);
	assert_string_equal(seat->code, wanted);
	assert_int_equal(seat->joins, *wanted ? 0 : 1);
}

static void the_numbers_hold_whoever_comes_and_goes(void **state)
{
	struct app_socket_stats stats;

	(void)state;
	draw_start();
	for (int i = 0; i < CASES; i++) {
		static const uint64_t process_choice[] = {8, 200, 100000}, uid_choice[] = {1, 3, 40};
		uint64_t processes = process_choice[draw(3)], uids = uid_choice[draw(3)];
		size_t welcomed = 0;

		world_init(&world);
		for (int k = 0; k < (i % 20 ? 300 : 3000); k++)
			come_or_go(processes, uids);
		for (int k = 0; k < WORLD_SEATS; k++)
			welcomed += world.seat[k].session && world.seat[k].joined;
		sessions_stats(world.sessions, &stats);
		assert_int_equal(stats.peers, welcomed);
		world_done(&world);
	}
}

/* Unfinished lines and unread bytes of many at once: never more than the limit, and no one light pays. */
static void memory_is_bounded(void **state)
{
	static char filler[PROTOCOL_LINE_MAX];
	unsigned paid = 0;

	(void)state;
	draw_start();
	memset(filler, 'x', sizeof(filler));
	for (int i = 0; i < CASES; i++) {
		int greedy = 100 + (int)draw(100);

		world_init(&world);
		world_open(&world, 0, 1, 1);
		world_say_all(&world, 0,
			      "{\"type\":\"hello\",\"protocol\":1,\"app\":\"good\"}\n{\"unfinished");
		for (int k = 1; k <= greedy; k++) {
			world_open(&world, k, 100 + (uint32_t)k, 10 + (uint32_t)k / 50);
			world_say_all(&world, k, "{\"type\":\"hello\",\"protocol\":1,\"app\":\"greedy\"}\n");
			world_feed(&world, k, filler, draw(PROTOCOL_LINE_MAX + 1), 4096);
			world_owe(&world, k, UNSENT_MAX - draw(UNSENT_MAX / 4));
			assert_true(sessions_held(world.sessions) <= HELD_MAX);
			paid += !strcmp(world.seat[k].code, "memory");
		}
		assert_non_null(world.seat[0].session);
		world_done(&world);
	}
	assert_true(paid > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 10: an app is understood however its bytes are cut", however_the_bytes_are_cut},
		{"Property 11: no peer's garbage changes another's life", no_garbage_changes_anothers_life},
		{"Property 11: the numbers hold whoever comes and goes",
		 the_numbers_hold_whoever_comes_and_goes},
		{"Property 11: what all peers hold is bounded, and the heaviest pays", memory_is_bounded},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

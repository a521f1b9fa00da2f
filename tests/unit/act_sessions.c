// SPDX-License-Identifier: Apache-2.0
/* Peers without sockets: each limit of the app socket at its edge, on simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/sessions_world.h"

#define HELLO "{\"type\":\"hello\",\"protocol\":1,\"app\":\"shop\",\"accepts\":[\"breaker\"]}\n"
#define STATE "{\"type\":\"state\",\"state\":\"draining\",\"in_flight\":3}\n"
#define POOL  "{\"type\":\"pool\",\"target\":\"postgres://h:1/d\",\"size\":5}\n"

static struct world world;
static struct seat *const a = &world.seat[0], *const b = &world.seat[1];

static int start(void **state)
{
	(void)state;
	world_init(&world);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	world_done(&world);
	return 0;
}

static void a_peer_lives_and_leaves(void **state)
{
	const struct peer *peer;
	struct app_socket_stats stats;
	uint64_t id;

	(void)state;
	assert_null(world_open(&world, 0, 10, 1));
	assert_null(sessions_of_process(world.sessions, 10, 11)); /* not welcomed yet */
	world_say_all(&world, 0, HELLO STATE POOL);
	assert_int_equal(a->joins, 1);
	assert_int_equal(a->messages, 2);
	peer = session_peer(sessions_of_process(world.sessions, 10, 11));
	assert_int_equal(peer->state, APP_DRAINING);
	assert_int_equal(peer->in_flight, 3);
	assert_int_equal(peer->pool.size, 5);
	id = peer->id;
	assert_ptr_equal(sessions_find(world.sessions, id), a->session);
	assert_ptr_equal(sessions_of_scope(world.sessions, &peer->scope), a->session);
	assert_null(session_next_of_scope(a->session));
	assert_false(sessions_busy(world.sessions)); /* an idle peer costs no clock */
	assert_int_equal(sessions_held(world.sessions), 0);
	sessions_end(a->session, NULL, NULL);
	assert_null(sessions_find(world.sessions, id)); /* over, though not buried */
	sessions_reap(world.sessions);
	assert_int_equal(a->leaves, 1);
	sessions_stats(world.sessions, &stats);
	assert_int_equal(stats.accepted, 1);
	assert_int_equal(stats.lines, 3);
	assert_int_equal(stats.bytes, strlen(HELLO STATE POOL));
	assert_int_equal(stats.cut + stats.refused + stats.peers, 0);
}

static void hello_has_a_second(void **state)
{
	(void)state;
	world_open(&world, 0, 10, 1);
	world_open(&world, 1, 11, 1);
	world_say_all(&world, 0, "{\"type\":\"hel");
	world_pass(&world, 990);
	assert_non_null(a->session);
	world_say_all(&world, 1, HELLO);
	world_pass(&world, 20);
	assert_null(a->session);
	assert_string_equal(a->code, "no_hello");
	world_pass(&world, 60000);
	assert_non_null(b->session);
}

static void a_welcome_that_is_owed_since_this_tick_is_not_overdue(void **state)
{
	(void)state;
	world_open(&world, 0, 10, 1);
	a->not_yet = 1;
	a->greet_owes = 100;
	world_say_all(&world, 0, HELLO);
	world_pass(&world, 10);
	assert_true(a->joined);
	assert_non_null(a->session);
}

static void a_stopped_agent_blames_nobody(void **state)
{
	(void)state;
	world_open(&world, 0, 10, 1);
	world_open(&world, 1, 11, 1);
	world_say_all(&world, 1, HELLO);
	world_owe(&world, 1, 1000);
	world_pass(&world, 500);
	world.now += 60000 * WORLD_MS; /* SIGSTOP, and SIGCONT */
	world_pass(&world, 10);
	assert_non_null(a->session);
	assert_non_null(b->session);
	world_pass(&world, 600);
	assert_string_equal(a->code, "no_hello");
	world_pass(&world, 10000);
	assert_string_equal(b->code, "not_reading");
	world_open(&world, 1, 11, 1);
	world_say_all(&world, 1, HELLO);
	world.now += 3600000 * WORLD_MS; /* nothing happened, so no clock ran */
	world_owe(&world, 1, 1000);
	world_pass(&world, UNREAD_MS - 100);
	assert_non_null(b->session);
	world_pass(&world, 200);
	assert_null(b->session);
}

/* After SIGCONT the loop may hear a peer before its clock. */
static void a_stopped_agent_blames_nobody_whoever_speaks_first(void **state)
{
	(void)state;
	for (int first = 0; first < 3; first++) {
		world_open(&world, 0, 10, 1);
		world_open(&world, 1, 11, 1);
		world_say_all(&world, 1, HELLO);
		world_owe(&world, 1, 1000);
		world_pass(&world, 500);
		world.now += 60000 * WORLD_MS;
		if (first == 0)
			world_say_all(&world, 1, STATE);
		else if (first == 1)
			world_owe(&world, 1, 1100);
		else
			world_open(&world, 2, 12, 1);
		world_pass(&world, 10);
		assert_non_null(a->session);
		assert_non_null(b->session);
		for (int i = 0; i < 3; i++)
			if (world.seat[i].session)
				sessions_end(world.seat[i].session, NULL, NULL);
		sessions_reap(world.sessions);
	}
}

static void nothing_goes_before_hello_nor_a_second_one_after(void **state)
{
	(void)state;
	world_open(&world, 0, 10, 1);
	world_say_all(&world, 0, STATE HELLO);
	assert_string_equal(a->code, "hello_first");
	assert_int_equal(a->messages + a->joins, 0);
	world_open(&world, 0, 10, 1);
	world_say_all(&world, 0, "{\"type\":\"dance\"}\n");
	assert_string_equal(a->code, "unknown_type");
	world_open(&world, 0, 10, 1);
	world_say_all(&world, 0, HELLO "{\"type\":\"hello\",\"protocol\":1,\"app\":\"bank\"}\n" STATE);
	assert_non_null(a->session);
	assert_int_equal(a->joins, 1);
	assert_int_equal(a->said, 1); /* an error */
	assert_int_equal(a->messages, 1);
	assert_string_equal(session_peer(a->session)->scope.app, "shop");
}

static void mistakes_are_answered_a_few_times_a_second(void **state)
{
	(void)state;
	world_open(&world, 0, 10, 1);
	world_say_all(&world, 0, HELLO);
	for (int i = 0; i < 100; i++)
		world_say_all(&world, 0, "{\"type\":\"dance\"}\n{\"type\":\"state\",\"state\":7}\n");
	assert_int_equal(a->said, ERRORS_PER_SECOND);
	world_pass(&world, 1010);
	world_say_all(&world, 0, "{\"type\":\"dance\"}\n" STATE);
	assert_int_equal(a->said, ERRORS_PER_SECOND + 1);
	assert_int_equal(a->messages, 1);
	assert_non_null(a->session);
}

static void its_own_errors_are_passed_on_a_few_times_a_second(void **state)
{
	(void)state;
	world_open(&world, 0, 10, 1);
	world_say_all(&world, 0, HELLO);
	for (int i = 0; i < 100; i++)
		world_say_all(&world, 0, "{\"type\":\"error\",\"code\":\"x\",\"message\":\"y\"}\n");
	assert_int_equal(a->messages, ERRORS_PER_SECOND);
	assert_non_null(a->session);
}

static void a_thousand_lines_a_second_and_no_more(void **state)
{
	(void)state;
	world_open(&world, 0, 10, 1);
	world_say_all(&world, 0, HELLO);
	for (int i = 1; i < LINES_PER_SECOND; i++)
		world_say_all(&world, 0, STATE);
	assert_non_null(a->session);
	world_pass(&world, 1000);
	for (int i = 0; i < LINES_PER_SECOND; i++)
		world_say_all(&world, 0, STATE);
	assert_non_null(a->session);
	world_say_all(&world, 0, STATE);
	assert_null(a->session);
	assert_string_equal(a->code, "flood");
	assert_int_equal(a->messages, 2 * LINES_PER_SECOND - 1);
	assert_int_equal(a->leaves, 1);
}

static void a_line_may_be_64_kib_long_and_is_held_no_longer_than_needed(void **state)
{
	char *line = malloc(PROTOCOL_LINE_MAX + 2);
	size_t head = (size_t)sprintf(line, "{\"type\":\"state\",\"state\":\"serving\",\"x\":\"");

	(void)state;
	memset(line + head, 'x', PROTOCOL_LINE_MAX - head);
	memcpy(line + PROTOCOL_LINE_MAX - 2, "\"}\n", 3);
	world_open(&world, 0, 10, 1);
	world_say_all(&world, 0, HELLO);
	world_feed(&world, 0, line, PROTOCOL_LINE_MAX + 1, 4096);
	assert_int_equal(a->messages, 1);
	assert_int_equal(sessions_held(world.sessions), 0);
	world_feed(&world, 0, line, 100, 4096);
	assert_in_range(sessions_held(world.sessions), 100, 1024); /* grown only as needed */
	world_feed(&world, 0, line + 100, PROTOCOL_LINE_MAX - 100, 4096);
	assert_in_range(sessions_held(world.sessions), PROTOCOL_LINE_MAX, PROTOCOL_LINE_MAX);
	world_feed(&world, 0, "x", 1, 1);
	assert_null(a->session);
	assert_string_equal(a->code, "long_line");
	assert_int_equal(sessions_held(world.sessions), 0);
	free(line);
}

static void who_sends_much_rests_and_goes_on(void **state)
{
	char *line = malloc(60001);
	size_t head = (size_t)sprintf(line, "{\"type\":\"state\",\"state\":\"serving\",\"x\":\""), sent = 0;

	(void)state;
	memset(line + head, 'x', 60000 - head);
	memcpy(line + 60000 - 3, "\"}\n", 4);
	world_open(&world, 0, 10, 1);
	world_say_all(&world, 0, HELLO);
	while (sessions_wants(a->session))
		sent += world_feed(&world, 0, line, 60000, 4096);
	assert_in_range(sent, BYTES_PER_SECOND - 100, BYTES_PER_SECOND + 4096);
	assert_true(sessions_busy(world.sessions));
	world_pass(&world, 980);
	assert_false(sessions_wants(a->session));
	world_pass(&world, 40);
	assert_true(sessions_wants(a->session));
	assert_int_equal(a->resumes, 1);
	world_feed(&world, 0, line + sent % 60000, 60000 - sent % 60000, 4096);
	assert_int_equal(a->messages, sent / 60000 + 1);
	free(line);
}

static void who_is_not_known_waits_and_its_lines_with_it(void **state)
{
	(void)state;
	world_open(&world, 0, 10, 1);
	a->not_yet = 10;
	world_say_all(&world, 0, HELLO STATE "{\"type\":\"st");
	assert_false(sessions_wants(a->session));
	assert_int_equal(a->messages + a->joins, 0);
	world_pass(&world, 100);
	assert_int_equal(a->joins, 1);
	assert_int_equal(a->messages, 1);
	assert_int_equal(a->resumes, 1);
	world_say_all(&world, 0, "ate\",\"state\":\"serving\"}\n");
	assert_int_equal(a->messages, 2);

	world_open(&world, 1, 11, 1);
	b->not_yet = 1000;
	world_say_all(&world, 1, HELLO);
	world_pass(&world, IDENTIFY_MS - 10);
	assert_non_null(b->session);
	world_pass(&world, 20);
	assert_string_equal(b->code, "unknown_process");

	world_open(&world, 1, 11, 1);
	b->not_yet = 3;
	b->stranger = true;
	world_say_all(&world, 1, HELLO);
	world_pass(&world, 50);
	assert_string_equal(b->code, "refused");
	assert_int_equal(b->joins + b->leaves, 0);
}

static void who_takes_nothing_is_cut(void **state)
{
	(void)state;
	world_open(&world, 0, 10, 1);
	world_open(&world, 1, 11, 1);
	world_say_all(&world, 0, HELLO);
	world_say_all(&world, 1, HELLO);
	world_owe(&world, 0, 5000);
	world_owe(&world, 1, 5000);
	assert_true(sessions_busy(world.sessions));
	for (size_t left = 4900; left > 0; left -= 100) { /* slowly, but it reads */
		world_pass(&world, 5000);
		world_owe(&world, 1, left);
	}
	assert_null(a->session);
	assert_string_equal(a->code, "not_reading");
	assert_non_null(b->session);
	world_owe(&world, 1, UNSENT_MAX);
	assert_non_null(b->session);
	world_owe(&world, 1, UNSENT_MAX + 1);
	assert_string_equal(b->code, "not_reading");
}

static void places_have_their_numbers(void **state)
{
	(void)state;
	assert_string_equal(world_open(&world, 0, 0, 1), "foreign_process");
	assert_null(world_open(&world, 0, 10, 1));
	assert_null(world_open(&world, 1, 10, 2)); /* it changed its user in between */
	assert_string_equal(world_open(&world, 2, 10, 1), "too_many_of_process");
	sessions_end(a->session, NULL, NULL);
	sessions_reap(world.sessions);
	for (int i = 0; i < PEERS_OF_CGROUP; i++)
		assert_null(world_open(&world, 2 + i, 100 + (uint32_t)i, 7));
	assert_string_equal(world_open(&world, 99, 999, 7), "too_many_of_cgroup");
	for (int i = 0; i < PEERS_MAX - PEERS_OF_CGROUP - 1; i++)
		assert_null(world_open(&world, 70 + i, 10000 + (uint32_t)i, 20000 + (uint32_t)i / 32));
	assert_string_equal(world_open(&world, 1090, 999999, 999999), "too_many");
}

/* The pods of a host often run as one user: a flood in one of them is no other's harm. */
static void a_flood_in_one_cgroup_shuts_out_no_other(void **state)
{
	int seats = 0;

	(void)state;
	for (int i = 0; i < 2 * PEERS_OF_CGROUP; i++) {
		const char *refusal = world_open_in(&world, seats, 100 + (uint32_t)i, 7, 1, true);

		seats += refusal == NULL;
		if (refusal)
			assert_string_equal(refusal, "too_many_of_cgroup");
	}
	assert_int_equal(seats, PEERS_OF_CGROUP);
	assert_null(world_open_in(&world, seats, 1000, 7, 2, true));
	world_say_all(&world, seats, "{\"type\":\"hello\",\"protocol\":1,\"app\":\"shop\"}\n");
	assert_int_equal(world.seat[seats].joins, 1);
	/* who is not known at the door is counted among his like, and then where he belongs */
	assert_null(world_open_in(&world, ++seats, 1001, 7, 1, false));
	world_say_all(&world, seats, "{\"type\":\"hello\",\"protocol\":1,\"app\":\"shop\"}\n");
	assert_string_equal(world.seat[seats].code, "too_many_of_cgroup");
	for (int i = 0; i < 2 * PEERS_OF_CGROUP; i++) { /* and keeps no place there once he is known */
		assert_null(
			world_open_in(&world, ++seats, 2000 + (uint32_t)i, 7, 3 + (uint64_t)i / 40, false));
		world_say_all(&world, seats, "{\"type\":\"hello\",\"protocol\":1,\"app\":\"shop\"}\n");
		assert_int_equal(world.seat[seats].joins, 1);
	}
}

static void a_user_has_half_of_all_in_however_many_cgroups(void **state)
{
	int seats = 0;

	(void)state;
	for (int i = 0; i < 2 * PEERS_OF_UID; i++) {
		const char *refusal =
			world_open_in(&world, seats, 100 + (uint32_t)i, 7, 1 + (uint64_t)i, true);

		seats += refusal == NULL;
		if (refusal)
			assert_string_equal(refusal, "too_many_of_uid");
	}
	assert_int_equal(seats, PEERS_OF_UID);
	assert_null(world_open_in(&world, seats, 5000, 8, 1, true));
}

static void app_names_are_counted_over_those_who_are_there(void **state)
{
	char hello[128];

	(void)state;
	for (int i = 0; i <= APPS_OF_CGROUP; i++) {
		world_open(&world, i, 100 + (uint32_t)i, 7);
		snprintf(hello, sizeof(hello), "{\"type\":\"hello\",\"protocol\":1,\"app\":\"a%d\"}\n", i);
		world_say_all(&world, i, hello);
	}
	assert_int_equal(world.seat[APPS_OF_CGROUP - 1].joins, 1);
	assert_string_equal(world.seat[APPS_OF_CGROUP].code, "too_many_apps");
	world_open(&world, 50, 500, 7); /* one of the 16 again */
	world_say_all(&world, 50, "{\"type\":\"hello\",\"protocol\":1,\"app\":\"a3\"}\n");
	assert_int_equal(world.seat[50].joins, 1);
	world_open(&world, 51, 501, 8); /* another user */
	world_say_all(&world, 51, "{\"type\":\"hello\",\"protocol\":1,\"app\":\"a99\"}\n");
	assert_int_equal(world.seat[51].joins, 1);
	sessions_end(world.seat[3].session, NULL, NULL); /* its name is still in use */
	sessions_end(world.seat[4].session, NULL, NULL); /* this one's is free */
	sessions_reap(world.sessions);
	world_open(&world, 3, 103, 7);
	world_say_all(&world, 3, "{\"type\":\"hello\",\"protocol\":1,\"app\":\"b\"}\n");
	assert_int_equal(world.seat[3].joins, 1);
	world_open(&world, 4, 104, 7);
	world_say_all(&world, 4, "{\"type\":\"hello\",\"protocol\":1,\"app\":\"c\"}\n");
	assert_string_equal(world.seat[4].code, "too_many_apps");
}

static void cuts_are_told_once_a_second_of_a_uid(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		world_open(&world, 0, 10, 1);
		world_say_all(&world, 0, "x\n");
	}
	world_open(&world, 0, 10, 2);
	world_say_all(&world, 0, "x\n");
	assert_int_equal(world.cuts, 2);
	world_pass(&world, 1000);
	world_open(&world, 0, 10, 1);
	world_say_all(&world, 0, "x\n");
	assert_int_equal(world.cuts, 3);
	assert_int_equal(world.more, 49);
}

static void the_heaviest_pays_for_all(void **state)
{
	const size_t each = UNSENT_MAX - 4096;
	int seats = 0;

	(void)state;
	for (; (size_t)(seats + 1) * each <= HELD_MAX; seats++) {
		world_open(&world, seats, 100 + (uint32_t)seats, (uint32_t)seats / 32);
		world_say_all(&world, seats, HELLO);
		world_owe(&world, seats, seats == 5 ? each + 1 : each);
	}
	world_open(&world, seats, 5000, 5000);
	world_say_all(&world, seats, HELLO "{\"an unfinished line");
	world_owe(&world, seats, each / 2);
	world_owe(&world, seats, each - 1000);
	assert_string_equal(world.seat[5].code, "memory");
	assert_non_null(world.seat[seats].session);
	assert_true(sessions_held(world.sessions) <= HELD_MAX);
}

/* A message of one peer that ends all, itself too, from within the line that is being taken. */
static void end_all(struct world *w, struct seat *seat, const struct app_message *message)
{
	(void)seat;
	(void)message;
	sessions_end_all(w->sessions);
}

static void a_message_may_end_everybody(void **state)
{
	(void)state;
	world_open(&world, 0, 10, 1);
	world_open(&world, 1, 11, 1);
	world_say_all(&world, 0, HELLO "{\"type\":\"state\""); /* so that the line lies in what is held */
	world_say_all(&world, 1, HELLO);
	world.heard = end_all;
	world_say_all(&world, 0, ",\"state\":\"serving\"}\n" STATE STATE);
	assert_int_equal(a->messages, 1);
	assert_int_equal(a->leaves + b->leaves, 2);
	assert_int_equal(world.cuts, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_peer_lives_and_leaves),
		TEST(hello_has_a_second),
		TEST(a_welcome_that_is_owed_since_this_tick_is_not_overdue),
		TEST(a_stopped_agent_blames_nobody),
		TEST(a_stopped_agent_blames_nobody_whoever_speaks_first),
		TEST(nothing_goes_before_hello_nor_a_second_one_after),
		TEST(mistakes_are_answered_a_few_times_a_second),
		TEST(its_own_errors_are_passed_on_a_few_times_a_second),
		TEST(a_thousand_lines_a_second_and_no_more),
		TEST(a_line_may_be_64_kib_long_and_is_held_no_longer_than_needed),
		TEST(who_sends_much_rests_and_goes_on),
		TEST(who_is_not_known_waits_and_its_lines_with_it),
		TEST(who_takes_nothing_is_cut),
		TEST(places_have_their_numbers),
		TEST(a_flood_in_one_cgroup_shuts_out_no_other),
		TEST(a_user_has_half_of_all_in_however_many_cgroups),
		TEST(app_names_are_counted_over_those_who_are_there),
		TEST(cuts_are_told_once_a_second_of_a_uid),
		TEST(the_heaviest_pays_for_all),
		TEST(a_message_may_end_everybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

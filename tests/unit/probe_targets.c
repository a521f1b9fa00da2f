// SPDX-License-Identifier: Apache-2.0
/* Which files are probed, with a real spawner, examiner and kernel (needs root, otherwise skipped). */
#include "tests/unit/probe_targets.h"
#include <sys/mount.h>

#define MS 1000000ull

static void finds_a_libpq_and_a_ruby(void **state)
{
	struct child *child;
	char *pq, *ruby;

	(void)state;
	bench_start((struct targets_options){0});
	child = child_new();
	pq = copy_of(LIBPQ, "database-driver");
	ruby = copy_of(LIBRUBY, "interpreter");
	map_and_show(child, pq, true);
	map_and_show(child, ruby, true);
	PUMP_UNTIL(targets_idle(bench.targets));
	assert_int_equal(stats().attached, 2);
	assert_int_equal(stats().examined, 2);
	assert_int_equal(all_users(), 2);
	assert_int_equal(bench.rubies, 1);
	assert_int_equal(bench.last_ruby, child->pid);
	assert_true(bench.version[0] >= '2' && bench.version[1] == '.');
	show(child, ruby, true); /* from memory, and counted once */
	assert_int_equal(all_users(), 2);
	assert_int_equal(bench.rubies, 2);
}

static void what_is_neither_is_remembered(void **state)
{
	struct child *one, *two;
	char *path;

	(void)state;
	bench_start((struct targets_options){0});
	one = child_new();
	two = child_new();
	path = copy_of("/bin/true", "neither");
	map_and_show(one, path, true);
	PUMP_UNTIL(targets_idle(bench.targets));
	map_and_show(two, path, true);
	assert_true(targets_idle(bench.targets)); /* nobody was asked */
	assert_int_equal(stats().examined, 1);
	assert_int_equal(stats().attached, 0);
}

static void users_are_counted_over_forks(void **state)
{
	struct child *one;

	(void)state;
	bench_start((struct targets_options){.linger_ns = 200 * MS});
	one = child_new();
	map_and_show(one, copy_of(LIBPQ, "pq"), true);
	PUMP_UNTIL(targets_idle(bench.targets));
	targets_fork(bench.targets, one->pid, one->start_ns, 4000001, 77);
	targets_fork(bench.targets, one->pid, one->start_ns, 4000001, 77);
	assert_int_equal(all_users(), 2);
	targets_gone(bench.targets, one->pid, one->start_ns);
	targets_gone(bench.targets, 4000001, 78); /* the id is the same, the process is not */
	for (uint64_t end = when_boot_now() + 400 * MS; when_boot_now() < end;)
		pump();
	assert_int_equal(stats().attached, 1);
	targets_gone(bench.targets, 4000001, 77);
	PUMP_UNTIL(stats().attached == 0);
}

static void an_attachment_waits_for_its_first_user(void **state)
{
	struct child *child;

	(void)state;
	bench_start((struct targets_options){0});
	child = child_new();
	map_and_show(child, copy_of(LIBRUBY, "ruby"), false); /* watched only when the owner was told */
	PUMP_UNTIL(targets_idle(bench.targets));
	targets_tick(bench.targets, when_boot_now());
	assert_int_equal(stats().attached, 1);
	assert_int_equal(bench.rubies, 1);
}

static void who_is_gone_before_the_answer_is_no_user(void **state)
{
	struct child *child;

	(void)state;
	bench_start((struct targets_options){.linger_ns = 100 * MS});
	child = child_new();
	map_and_show(child, copy_of(LIBRUBY, "ruby"), true);
	targets_gone(bench.targets, child->pid, child->start_ns);
	PUMP_UNTIL(targets_idle(bench.targets));
	assert_int_equal(all_users(), 0);
	assert_int_equal(bench.rubies, 0);
	PUMP_UNTIL(stats().attached == 0);
}

static void everyone_who_waits_is_served(void **state)
{
	struct child *child;
	char *path;

	(void)state;
	bench_start((struct targets_options){0});
	child = child_new();
	path = copy_of(LIBRUBY, "ruby");
	child_tell(child, 'm', path);
	for (int i = 0; i < 200; i++)
		show(child, path, false);
	PUMP_UNTIL(targets_idle(bench.targets));
	assert_int_equal(bench.rubies, 200);
	assert_int_equal(stats().examined, 1);
}

static void many_files_push_no_attached_one_out(void **state)
{
	struct child *child;
	size_t most = 0, before;
	char name[32];

	(void)state;
	bench_start((struct targets_options){0});
	child = child_new();
	map_and_show(child, copy_of(LIBPQ, "pq"), true);
	PUMP_UNTIL(targets_idle(bench.targets));
	before = open_descriptors();
	for (int i = 0; i < 700; i++) {
		snprintf(name, sizeof(name), "file-%d", i);
		map_and_show(child, copy_of("/etc/passwd", name), false);
	}
	while (!targets_idle(bench.targets)) {
		pump();
		if (open_descriptors() > most)
			most = open_descriptors();
	}
	assert_int_equal(stats().examined, 701);
	assert_int_equal(stats().attached, 1);
	assert_in_range(most, before, before + 160);
}

static void a_killed_examiner_costs_no_library(void **state)
{
	struct child *child;
	pid_t examiner = 0, spawner;

	(void)state;
	bench_start((struct targets_options){0});
	child = child_new();
	spawner = spawner_process();
	PUMP_UNTIL((examiner = family(spawner, "lapidary-exam")) != 0);
	assert_int_equal(kill(examiner, SIGSTOP), 0);
	map_and_show(child, copy_of(LIBPQ, "pq"), true);
	for (int i = 0; i < 20; i++) /* until it has the file */
		pump();
	assert_int_equal(kill(examiner, SIGKILL), 0);
	PUMP_UNTIL(targets_idle(bench.targets));
	assert_int_equal(stats().attached, 1);
	assert_int_equal(stats().examiner_deaths, 1);
	assert_int_equal(bench.problems, 0);
}

static void a_stopped_spawner_costs_no_library(void **state)
{
	struct child *child;

	(void)state;
	bench_start((struct targets_options){.answer_ns = 300 * MS});
	child = child_new();
	assert_int_equal(kill(spawner_process(), SIGSTOP), 0);
	map_and_show(child, copy_of(LIBPQ, "pq"), true);
	map_and_show(child, copy_of(LIBRUBY, "ruby"), true);
	PUMP_UNTIL(targets_idle(bench.targets));
	assert_int_equal(stats().attached, 2);
	assert_int_equal(all_users(), 2);
}

static void without_a_nursery_nothing_is_waited_for(void **state)
{
	struct child *child;
	char *known;

	(void)state;
	bench_start((struct targets_options){0});
	child = child_new();
	known = copy_of(LIBRUBY, "ruby");
	map_and_show(child, known, true);
	PUMP_UNTIL(targets_idle(bench.targets));
	assert_int_equal(kill(spawner_process(), SIGSTOP), 0);
	map_and_show(child, copy_of(LIBPQ, "pq"), true);
	assert_int_equal(kill(family(getpid(), "lapidary-nurse"), SIGKILL), 0);
	PUMP_UNTIL(targets_idle(bench.targets));
	map_and_show(child, copy_of(LIBPQ, "pq2"), true);
	assert_true(targets_idle(bench.targets));
	show(child, known, true); /* what is known is still of use */
	assert_int_equal(bench.rubies, 2);
	assert_int_equal(stats().attached, 1);
}

static void a_replaced_file_is_examined_again(void **state)
{
	struct child *child;
	char *path;

	(void)state;
	bench_start((struct targets_options){.fresh_ns = 500 * MS});
	child = child_new();
	path = copy_of(LIBPQ, "pq");
	map_and_show(child, path, true);
	PUMP_UNTIL(targets_idle(bench.targets));
	copy_of(LIBPQ, "pq"); /* the same inode and path, written anew */
	/* being mapped all the time does not keep old knowledge fresh */
	PUMP_UNTIL((show(child, path, true), stats().examined == 2));
	PUMP_UNTIL(targets_idle(bench.targets));
	assert_int_equal(stats().attached, 2);
}

static void overlay(const char *name)
{
	char options[512], path[128];

	for (const char *const *part = (const char *const[]){"", "-upper", "-work", NULL}; *part; part++) {
		snprintf(path, sizeof(path), "%s/%s%s", bench.dir, name, *part);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/%s-upper,workdir=%s/%s-work",
		 bench.dir, bench.dir, name, bench.dir, name);
	snprintf(path, sizeof(path), "%s/%s", bench.dir, name);
	assert_int_equal(mount("overlay", path, "overlay", 0, options), 0);
}

static uint64_t hits(uint64_t *ignored)
{
	struct counters counters;

	assert_int_equal(probe_counters(bench.probe, &counters), 0);
	*ignored = counters.ignored;
	return counters.hits[SITE_PQ_SEND_QUERY];
}

/* The kernel fires both attachments in each process; each hit counts once, also when one was let go. */
static void two_overlays_count_once(void **state)
{
	char dir[160], one_path[160], two_path[160];
	struct child *one, *two;
	uint64_t ignored;

	(void)state;
	bench_start((struct targets_options){.linger_ns = 100 * MS});
	assert_int_equal(unshare(CLONE_NEWNS), 0); /* of this test program; nothing else is run in it */
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("tmpfs", bench.dir, "tmpfs", 0, "mode=0755"), 0);
	snprintf(dir, sizeof(dir), "%s/lower", bench.dir);
	assert_int_equal(mkdir(dir, 0755), 0);
	copy_of(LIBPQ, "lower/pq.so");
	overlay("one");
	overlay("two");
	snprintf(one_path, sizeof(one_path), "%s/one/pq.so", bench.dir);
	snprintf(two_path, sizeof(two_path), "%s/two/pq.so", bench.dir);
	one = child_new();
	two = child_new();
	assert_int_equal(probe_mark(bench.probe, one->pid, one->start_ns), 0);
	map_and_show(one, one_path, true);
	PUMP_UNTIL(targets_idle(bench.targets));
	map_and_show(two, two_path, true);
	PUMP_UNTIL(targets_idle(bench.targets));
	assert_int_equal(stats().attached, 2);
	child_tell(one, 'q', one_path);
	assert_int_equal(hits(&ignored), 10);
	assert_int_equal(ignored, 10);
	targets_gone(bench.targets, two->pid, two->start_ns);
	for (uint64_t end = when_boot_now() + 500 * MS; when_boot_now() < end;)
		pump();
	child_tell(one, 'q', one_path);
	assert_int_equal(hits(&ignored), 20);
	targets_gone(bench.targets, one->pid, one->start_ns);
	PUMP_UNTIL(stats().attached == 0);
}

static int unmount(void **state)
{
	char path[160];
	int err;

	for (const char *const *part = (const char *const[]){"/one", "/two", "", NULL}; *part; part++) {
		snprintf(path, sizeof(path), "%s%s", bench.dir, *part);
		if (bench.dir[0])
			umount2(path, MNT_DETACH);
	}
	err = bench_stop(state);
	return err;
}

#define TEST(function) cmocka_unit_test_teardown(function, bench_stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(finds_a_libpq_and_a_ruby),
		TEST(what_is_neither_is_remembered),
		TEST(users_are_counted_over_forks),
		TEST(an_attachment_waits_for_its_first_user),
		TEST(who_is_gone_before_the_answer_is_no_user),
		TEST(everyone_who_waits_is_served),
		TEST(many_files_push_no_attached_one_out),
		TEST(a_killed_examiner_costs_no_library),
		TEST(a_stopped_spawner_costs_no_library),
		TEST(without_a_nursery_nothing_is_waited_for),
		TEST(a_replaced_file_is_examined_again),
		cmocka_unit_test_teardown(two_overlays_count_once, unmount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

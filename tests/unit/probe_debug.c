// SPDX-License-Identifier: Apache-2.0
/*
 * Separate debug files with a real spawner and examiner: found in the root of the process that maps the
 * stripped file, and nowhere that it points to; only those that belong to the file are taken, and what else
 * lies there costs nothing (needs root, otherwise skipped).
 */
#include "tests/unit/probe_targets.h"
#include <sys/sysmacros.h>

enum { STRANGER = 61234 };

static char library[128], by_id[160]; /* the stripped file, and its debug file's place below a root */

/* A command in the bench's folder. */
static void __attribute__((format(printf, 1, 2))) shell(const char *format, ...)
{
	char command[1024];
	int used = snprintf(command, sizeof(command), "cd %s && ", bench.dir);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command + used, sizeof(command) - (size_t)used, format, arguments);
	va_end(arguments);
	if (system(command) != 0)
		fail_msg("%s", command);
}

/* NAME.so, stripped, and NAME.debug, what was taken out of it. */
static void make_library(const char *name, const char *build_id)
{
	shell("echo '__attribute__((noipa)) static int hidden(int n) { return n + 1; } int %s(int n) { "
	      "return "
	      "hidden(n); }' >%s.c",
	      name, name);
	shell("cc -g -O2 -fPIC -shared -Wl,--build-id%s -o %s.so %s.c", build_id, name, name);
	shell("objcopy --only-keep-debug %s.so %s.debug && strip %s.so", name, name, name);
	shell("objcopy --add-gnu-debuglink=%s.debug %s.so", name, name);
}

static void find_place(void)
{
	struct library found;
	char hex[41];
	int fd = open(library, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(library_examine(fd, &found), 0);
	close(fd);
	assert_int_equal(found.build_id_len, 20);
	for (int i = 0; i < 20; i++)
		snprintf(hex + 2 * i, 3, "%02x", found.build_id[i]);
	snprintf(by_id, sizeof(by_id), "/usr/lib/debug/.build-id/%.2s/%s.debug", hex, hex + 2);
}

static void start(void)
{
	bench_start((struct targets_options){0});
	make_library("named", "");
	make_library("other", "");
	snprintf(library, sizeof(library), "%s/named.so", bench.dir);
	find_place();
}

/* A folder that may be a root, with an empty folder where the debug file goes. Returns that file's path. */
static char *root_new(const char *name)
{
	static char path[400];

	snprintf(path, sizeof(path), "%s/%s%s", bench.dir, name, by_id);
	shell("mkdir -p $(dirname %s%s)", name, by_id);
	return path;
}

/* A child in that root maps a copy of the library, which the targets learn of. Are there symbols of it? */
static bool symbols_in(const char *root, char how)
{
	struct child *child = child_new();
	struct maps_region region;
	char path[128], name[48];
	char *copy;

	snprintf(name, sizeof(name), "of-%s.so", root);
	copy = copy_of(library, name);
	child_tell(child, 'm', copy);
	region = mapping_of(child, copy);
	snprintf(path, sizeof(path), "%s/%s", bench.dir, root);
	child_tell(child, how, path);
	targets_mapping(bench.targets, child->pid, child->start_ns, &region);
	PUMP_UNTIL(targets_idle(bench.targets));
	assert_true(targets_copy(bench.targets, &region) >= 0);
	return targets_copy_debug(bench.targets, &region) >= 0;
}

static void in_the_root_of_the_process(void **state)
{
	(void)state;
	start();
	shell("cp named.debug %s", root_new("with"));
	root_new("without");
	assert_true(symbols_in("with", 'c'));
	assert_false(symbols_in("without", 'c'));
	assert_int_equal(bench.problems, 0); /* that there is none is the rule */
}

static void anothers_is_refused(void **state)
{
	(void)state;
	start();
	shell("cp other.debug %s", root_new("wrong"));
	assert_false(symbols_in("wrong", 'c'));
	assert_int_equal(bench.problems, 1);
	shell("cp named.so %s", root_new("stripped"));
	assert_false(symbols_in("stripped", 'c'));
	assert_int_equal(bench.problems, 2);
}

/* Who may not write the file may not name its functions. */
static void a_strangers_is_refused(void **state)
{
	char *place;

	(void)state;
	start();
	place = root_new("stranger");
	shell("cp named.debug %s", place);
	assert_int_equal(chown(place, STRANGER, STRANGER), 0);
	assert_false(symbols_in("stranger", 'c'));
	assert_int_equal(bench.problems, 1);
}

static void what_means_harm_costs_nothing(void **state)
{
	pid_t spawner;
	char *place;

	(void)state;
	start();
	spawner = spawner_process();
	assert_int_equal(mkfifo(root_new("fifo"), 0644), 0);
	assert_false(symbols_in("fifo", 'c'));
	assert_int_equal(mknod(root_new("device"), S_IFCHR | 0644, makedev(1, 5)), 0); /* endless */
	assert_false(symbols_in("device", 'c'));
	assert_int_equal(mkdir(root_new("folder"), 0755), 0);
	assert_false(symbols_in("folder", 'c'));
	/* outside of the root lies the very file that is sought */
	shell("ln -s %s/named.debug %s", bench.dir, root_new("absolute"));
	assert_false(symbols_in("absolute", 'c'));
	shell("ln -s ../../../../../../named.debug %s", root_new("relative"));
	assert_false(symbols_in("relative", 'c'));
	place = root_new("short");
	shell("cp named.debug %s", place);
	assert_int_equal(truncate(place, 4000), 0);
	assert_false(symbols_in("short", 'c'));
	assert_int_equal(truncate(root_new("short"), 0), 0);
	assert_false(symbols_in("short", 'c'));
	shell("cp named.debug %s", root_new("whole"));
	assert_true(symbols_in("whole", 'c'));
	assert_int_equal(spawner_process(), spawner);
	assert_int_equal(stats().examiner_deaths, 0);
}

/* Inside of the root symlinks are followed, as the process's own loader would. */
static void a_symlink_within_the_root_leads_there(void **state)
{
	char *place;

	(void)state;
	start();
	place = root_new("inside");
	shell("cp named.debug inside/real.debug && ln -s /real.debug %s", place);
	assert_true(symbols_in("inside", 'c'));
}

/* A process of the host in a root of its own: what the host has installed counts; in a container it does not.
 */
static void of_the_host_for_its_chroots(void **state)
{
	char *place;
	bool chrooted, contained;

	(void)state;
	start();
	root_new("container");
	place = root_new("bare"); /* with nothing in it */
	shell("mkdir -p $(dirname %s) && cp named.debug %s", by_id, by_id);
	chrooted = symbols_in("bare", 'c');
	contained = symbols_in("container", 'n');
	shell("rm %s && rmdir -p --ignore-fail-on-non-empty $(dirname %s)", by_id, by_id);
	assert_true(chrooted);
	assert_false(contained);
	assert_int_equal(access(place, F_OK), -1);
}

/* The mapped file is linked.so in the bench's folder, or in one below it. Are there symbols of it? */
static bool symbols_by_link(const char *name)
{
	struct child *child = child_new();
	struct maps_region region;
	char *copy;

	copy = copy_of(library, name);
	map_and_show(child, copy, true);
	region = mapping_of(child, copy);
	PUMP_UNTIL(targets_idle(bench.targets));
	return targets_copy_debug(bench.targets, &region) >= 0;
}

static void by_link_where_there_is_no_build_id(void **state)
{
	(void)state;
	start();
	make_library("linked", "=none");
	snprintf(library, sizeof(library), "%s/linked.so", bench.dir);
	shell("mkdir beside below below/.debug none wrong && cp linked.debug beside && cp linked.debug "
	      "below/.debug && "
	      "cp named.debug wrong/linked.debug");
	assert_true(symbols_by_link("beside/mapped.so"));
	assert_true(symbols_by_link("below/mapped.so"));
	assert_false(symbols_by_link("none/mapped.so"));
	assert_int_equal(bench.problems, 0);
	assert_false(symbols_by_link("wrong/mapped.so")); /* another sum */
	assert_int_equal(bench.problems, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(in_the_root_of_the_process, bench_stop),
		cmocka_unit_test_teardown(anothers_is_refused, bench_stop),
		cmocka_unit_test_teardown(a_strangers_is_refused, bench_stop),
		cmocka_unit_test_teardown(what_means_harm_costs_nothing, bench_stop),
		cmocka_unit_test_teardown(a_symlink_within_the_root_leads_there, bench_stop),
		cmocka_unit_test_teardown(of_the_host_for_its_chroots, bench_stop),
		cmocka_unit_test_teardown(by_link_where_there_is_no_build_id, bench_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

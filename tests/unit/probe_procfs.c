// SPDX-License-Identifier: Apache-2.0
/* What is read of a process, of which process, and what is left out. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/base/file.h"
#include "user/base/when.h"
#include "user/probe/maps_text.h"
#include "user/probe/procfs.h"

#define TITLE(text, out) title_of(text, sizeof(text) - 1, out)

static void title_of(const char *cmdline, size_t size, const char *expected)
{
	char out[128];

	procfs_title(cmdline, size, out, sizeof(out));
	assert_string_equal(out, expected);
}

static void titles_hold_no_secret(void **state)
{
	char longer[300];

	(void)state;
	TITLE("", "");
	TITLE("ruby\0server.rb\0--port\0", "ruby server.rb");
	TITLE("ruby\0-e\0puts 'x'\0", "ruby");
	TITLE("/usr/bin/ruby3.1\0-W0\0-I\0lib\0-rjson\0server.rb\0secret\0", "/usr/bin/ruby3.1 server.rb");
	TITLE("ruby\0--disable-gems\0--\0-odd.rb\0", "ruby");
	TITLE("ruby\0-r\0json\0-C\0/srv\0--\0app.rb\0", "ruby app.rb");
	TITLE("ruby\0-w\0-\0typed\0", "ruby");
	TITLE("ruby\0-W0\0", "ruby");
	TITLE("ruby\0-I\0", "ruby");
	TITLE("python3\0-c\0x\0", "python3");
	TITLE("ruby\0--password=x\0", "ruby");
	TITLE("env\0SECRET=x\0ruby\0", "env");
	TITLE("psql\0postgres://u:p@h/d\0", "psql");
	TITLE("psql\0u@h\0", "psql");
	TITLE("puma: cluster worker 0: 1234 [shop]\0\0\0\0", "puma: cluster worker 0: 1234 [shop]");
	TITLE("puma: cluster worker 0: 1234 [shop]      ", "puma: cluster worker 0: 1234 [shop]");
	TITLE("puma 5.6.5 (tcp://0.0.0.0:9292) [shop]\0", "puma [shop]");
	TITLE("worker password=x", "worker");
	TITLE("worker of u:p@h", "worker");
	TITLE("a\x1b[31m\nb\0c\xff", "a?[31m?b c?");

	/* an argument is judged by all of it, not by what would fit */
	memset(longer, 'x', sizeof(longer));
	memcpy(longer, "ruby", 5);
	longer[250] = '=';
	title_of(longer, sizeof(longer), "ruby");
	/* and what fits is cut */
	memset(longer, 'y', sizeof(longer));
	procfs_title(longer, 200, longer + 200, 100);
	assert_int_equal(strlen(longer + 200), 99);
}

static void servers_are_known_by_a_word_of_their_own(void **state)
{
	(void)state;
	assert_string_equal(procfs_server("puma: cluster worker 0: 1234 [shop]"), "puma");
	assert_string_equal(procfs_server("ruby /usr/bin/puma"), "puma");
	assert_string_equal(procfs_server("unicorn master"), "unicorn");
	assert_string_equal(procfs_server("pitchfork worker[1]"), "pitchfork");
	assert_string_equal(procfs_server("ruby bin/iodine"), "iodine");
	assert_string_equal(procfs_server("ruby pumapark.rb"), "");
	assert_string_equal(procfs_server("ruby"), "");
}

static pid_t spawn(const char *title)
{
	char *argv[] = {(char *)title, "600", NULL}, *environment[] = {"SECRET=QZJXVWKYQ", NULL};
	pid_t pid;

	assert_int_equal(posix_spawn(&pid, "/bin/sleep", NULL, NULL, argv, environment), 0);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A process has no arguments yet when its spawner already goes on. */
static int has_arguments(pid_t pid)
{
	uint64_t limit = when_boot_now() + 5000000000ull;
	size_t size = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	while (size == 0 && when_boot_now() < limit) {
		char *text;

		if (file_read(path, 65536, &text, &size) != 0)
			return 0;
		free(text);
		sched_yield();
	}
	return size > 0;
}

static uint64_t start_of(pid_t pid)
{
	unsigned long long start = 0;
	char path[64], *text, *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	assert_int_equal(file_read(path, 65536, &text, NULL), 0);
	at = strrchr(text, ')') + 2;
	for (int field = 3; field < 22; field++)
		at = strchr(at, ' ') + 1;
	start = strtoull(at, NULL, 10);
	free(text);
	return start * 10000000ull + 1234567; /* the kernel's own is finer */
}

static void facts_are_of_the_process(void **state)
{
	pid_t pid = spawn("puma: cluster worker 0: 1 [shop]");
	struct procfs_facts facts;
	struct stat sleep, network;
	int ready = has_arguments(pid), err = procfs_facts((uint32_t)pid, start_of(pid), &facts);

	(void)state;
	end(pid); /* before anything can fail */
	assert_true(ready);
	assert_int_equal(err, 0);
	assert_int_equal(facts.uid, getuid());
	assert_int_equal(facts.gid, getgid());
	assert_int_equal(facts.parent_tgid, getpid());
	assert_string_equal(facts.comm, "sleep");
	assert_string_equal(facts.title, "puma: cluster worker 0: 1 [shop] 600");
	assert_int_equal(stat("/bin/sleep", &sleep), 0);
	assert_int_equal(facts.exe_inode, sleep.st_ino);
	assert_non_null(strstr(facts.exe, "/sleep"));
	assert_int_equal(facts.cgroup[0], '/');
	assert_int_equal(stat("/proc/self/ns/net", &network), 0);
	assert_int_equal(facts.netns, network.st_ino);
	assert_null(memmem(&facts, sizeof(facts), "QZJXVWKYQ", 9));
}

static void assert_no_such(pid_t pid, uint64_t start_ns)
{
	struct procfs_facts facts = {.uid = 77};
	struct procfs_usage usage = {.cpu_ns = 77};
	uint64_t pss = 77;
	char *text = NULL;
	size_t size;

	assert_int_equal(procfs_check((uint32_t)pid, start_ns), -ESRCH);
	assert_int_equal(procfs_facts((uint32_t)pid, start_ns, &facts), -ESRCH);
	assert_int_equal(procfs_usage((uint32_t)pid, start_ns, &usage), -ESRCH);
	assert_int_equal(procfs_pss((uint32_t)pid, start_ns, &pss), -ESRCH);
	assert_int_equal(procfs_maps((uint32_t)pid, start_ns, &text, &size), -ESRCH);
	assert_int_equal(facts.uid, 77);
	assert_int_equal(usage.cpu_ns, 77);
	assert_int_equal(pss, 77);
}

static void another_process_of_that_pid_is_refused(void **state)
{
	uint64_t start = start_of(getpid());
	pid_t child;

	(void)state;
	assert_int_equal(procfs_check((uint32_t)getpid(), start), 0);
	assert_int_equal(procfs_check((uint32_t)getpid(), 0), 0);
	assert_no_such(getpid(), start + 10000000);
	assert_no_such(getpid(), start - 10000000);
	child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_no_such(child, 0);
}

static void usage_grows_with_use(void **state)
{
	uint64_t start = start_of(getpid()), pss = 0;
	struct procfs_usage before, after;
	size_t size = 32 << 20;
	char *memory;

	(void)state;
	assert_int_equal(procfs_usage((uint32_t)getpid(), start, &before), 0);
	memory = malloc(size);
	for (size_t i = 0; i < size; i += 4096)
		((volatile char *)memory)[i] = 1;
	assert_int_equal(procfs_usage((uint32_t)getpid(), start, &after), 0);
	assert_true(after.rss_bytes >= before.rss_bytes + (24 << 20));
	assert_true(after.minor_faults > before.minor_faults);
	assert_true(after.cpu_ns >= before.cpu_ns);
	assert_int_equal(procfs_pss((uint32_t)getpid(), start, &pss), 0);
	assert_true(pss >= (24 << 20) && pss <= after.rss_bytes + (8 << 20));
	free(memory);
}

static void maps_are_the_whole_text(void **state)
{
	char *text = NULL;
	size_t size = 0;

	(void)state;
	assert_int_equal(procfs_maps((uint32_t)getpid(), start_of(getpid()), &text, &size), 0);
	assert_int_equal(strlen(text), size);
	assert_int_equal(text[size - 1], '\n');
	assert_non_null(strstr(text, "probe_procfs"));
	free(text);
}

static void paths_are_those_of_the_process(void **state)
{
	static const char in_a_chroot[] = "1000-2000 r-xp 00000000 fe:00 7    /srv/root/usr/bin/ruby\n"
					  "2000-3000 rw-p 00000000 00:00 0 \n"
					  "3000-4000 r-xp 00000000 fe:00 8    /srv/rootless/lib.so\n"
					  "4000-5000 r-xp 00000000 fe:00 9    /srv/root/a (deleted)\n";
	char text[sizeof(in_a_chroot)];
	size_t size = sizeof(text) - 1;

	(void)state;
	memcpy(text, in_a_chroot, sizeof(text));
	maps_text_inside(text, &size, "/");
	assert_string_equal(text, in_a_chroot);
	assert_int_equal(size, sizeof(text) - 1);
	maps_text_inside(text, &size, "/srv/root");
	assert_string_equal(text, "1000-2000 r-xp 00000000 fe:00 7    /usr/bin/ruby\n"
				  "2000-3000 rw-p 00000000 00:00 0 \n"
				  "3000-4000 r-xp 00000000 fe:00 8    /srv/rootless/lib.so\n"
				  "4000-5000 r-xp 00000000 fe:00 9    /a (deleted)\n");
	assert_int_equal(size, strlen(text));
}

static void a_scope_is_read_without_the_memory_of_its_process(void **state)
{
	struct procfs_facts facts = {.comm = "before"}, all = {0};

	(void)state;
	assert_int_equal(procfs_facts((uint32_t)getpid(), start_of(getpid()), &all), 0);
	assert_int_equal(procfs_scope((uint32_t)getpid(), start_of(getpid()), &facts), 0);
	assert_int_equal(facts.uid, all.uid);
	assert_int_equal(facts.netns, all.netns);
	assert_int_equal(facts.parent_tgid, all.parent_tgid);
	assert_string_equal(facts.cgroup, all.cgroup);
	assert_string_equal(facts.title, ""); /* lies in its memory, whose lock it may hold for long */
	assert_string_equal(facts.comm, "");
	assert_int_equal(procfs_scope((uint32_t)getpid(), 1, &facts), -ESRCH);
	assert_int_equal(facts.uid, all.uid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(titles_hold_no_secret),
		cmocka_unit_test(servers_are_known_by_a_word_of_their_own),
		cmocka_unit_test(facts_are_of_the_process),
		cmocka_unit_test(another_process_of_that_pid_is_refused),
		cmocka_unit_test(usage_grows_with_use),
		cmocka_unit_test(maps_are_the_whole_text),
		cmocka_unit_test(paths_are_those_of_the_process),
		cmocka_unit_test(a_scope_is_read_without_the_memory_of_its_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

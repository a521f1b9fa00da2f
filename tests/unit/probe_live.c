/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life, death and faults of processes on the running kernel (needs root, otherwise skipped).
 */
#include "tests/unit/probe_watch.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <bpf/bpf.h>

static const char sentinel[] = "sentinel-of-the-environment";
static const struct probe_options options = {
	.life_ring_bytes = 1 << 20,
	.capture_ring_bytes = 8 << 20,
	.flow_ring_bytes = 1 << 16,
	.stack_bytes = EV_STACK_MAX,
};

static struct watch watch;

static int open_marked(void **state)
{
	(void)state;
	if (geteuid())
		return 0;
	watch_open(&watch, &options);
	assert_int_equal(probe_mark(watch.probe, getpid(), watch.own_start), 0);
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	if (!geteuid())
		watch_close(&watch);
	return 0;
}

#define needs_root()                                                                                         \
	do {                                                                                                 \
		if (geteuid())                                                                               \
			skip();                                                                              \
	} while (0)

static void touch_null(void)
{
	__asm__ volatile("movl $1, (%0)" : : "r"(8L) : "memory");
}

static bool holds(const void *bytes, size_t size, const char *text)
{
	return memmem(bytes, size, text, strlen(text)) != NULL;
}

/* --- faults ----------------------------------------------------------------------------------------- */

__attribute__((noipa)) static void die_by_default(void)
{
	char marker[] = "marker-on-the-stack";

	signal(SIGSEGV, SIG_DFL);
	__asm__ volatile("movl $1, (%0)" : : "r"(8L), "r"(marker) : "memory");
}

static void test_default_action(void **state)
{
	const struct ev_fault *fault;
	const struct ev_birth *birth;
	const struct ev_exit *end;
	pid_t pid;

	(void)state;
	needs_root();
	pid = watch_fork(die_by_default);
	assert_true(WIFSIGNALED(watch_reap(pid)));
	birth = watch_wait(&watch, EV_FORK, pid, 0);
	assert_int_equal(birth->parent_tgid, getpid());
	assert_int_equal(birth->parent_start_ns, watch.own_start);
	fault = watch_wait(&watch, EV_FAULT, pid, 0);
	assert_int_equal(fault->head.lane, LANE_CAPTURE);
	assert_int_equal(fault->head.start_ns, birth->head.start_ns);
	assert_int_equal(fault->signal, SIGSEGV);
	assert_int_equal(fault->code, SEGV_MAPERR);
	assert_int_equal(fault->address, 8);
	assert_int_equal(fault->cr2, 8);
	assert_int_equal(fault->trap_nr, 14);
	assert_int_equal(fault->handler, 0);
	assert_int_equal(fault->flags & (FAULT_DEFAULT_ACTION | FAULT_SMALL | FAULT_SELF),
			 FAULT_DEFAULT_ACTION);
	assert_in_range(fault->regs[REG_IP_] - (uintptr_t)die_by_default, 1, 1024);
	assert_true(fault->regs[REG_FS_BASE_] != 0);
	assert_true(fault->stack_len > 0);
	assert_true(fault->regs[REG_SP_] + fault->stack_len <= fault->arg_start);
	assert_true(holds(fault->stack, fault->stack_len, "marker-on-the-stack"));
	assert_false(holds(fault, fault->head.size, sentinel));
	end = watch_wait(&watch, EV_EXIT, pid, 0);
	assert_int_equal(end->status & 0x7f, SIGSEGV);
	assert_int_equal(end->oom, 0);
	assert_true(end->minor_faults > 0 && end->user_faults > 0);
	assert_int_equal(watch_count(&watch, EV_FAULT, pid), 1);
}

static void leave_with_3(int signal_number)
{
	(void)signal_number;
	_exit(3);
}

static void die_in_handler(void)
{
	static char stack[65536];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = leave_with_3, .sa_flags = SA_ONSTACK};

	sigaltstack(&alternate, NULL);
	sigaction(SIGSEGV, &action, NULL);
	touch_null();
}

static void test_handler(void **state)
{
	const struct ev_fault *fault;
	const struct ev_exit *end;
	pid_t pid;

	(void)state;
	needs_root();
	pid = watch_fork(die_in_handler);
	assert_int_equal(WEXITSTATUS(watch_reap(pid)), 3);
	fault = watch_wait(&watch, EV_FAULT, pid, 0);
	assert_int_equal(fault->handler, (uintptr_t)leave_with_3);
	assert_int_equal(fault->flags & (FAULT_DEFAULT_ACTION | FAULT_ON_ALTSTACK), 0);
	end = watch_wait(&watch, EV_EXIT, pid, 0);
	assert_int_equal(end->status, 3 << 8);
}

static void abort_by_default(void)
{
	abort();
}

static void test_abort(void **state)
{
	const struct ev_fault *fault;
	pid_t pid;

	(void)state;
	needs_root();
	pid = watch_fork(abort_by_default);
	watch_reap(pid);
	fault = watch_wait(&watch, EV_FAULT, pid, 0);
	assert_int_equal(fault->signal, SIGABRT);
	assert_int_equal(fault->code, SI_TKILL);
	assert_int_equal(fault->sender_tgid, pid);
	assert_int_equal(fault->address, 0);
	assert_true(fault->flags & FAULT_SELF);
	assert_int_equal(watch_count(&watch, EV_KILL, pid), 0);
	assert_int_equal(((const struct ev_exit *)watch_wait(&watch, EV_EXIT, pid, 0))->sender_tgid, 0);
}

/* --- lanes that are not in step --------------------------------------------------------------------- */

static pid_t born_meanwhile;

/* Looks so long at the first fault that another process is born and dies. */
static int keep_slowly(void *context, const void *record, size_t size)
{
	const struct ev_head *head = record;

	watch_keep(context, record, size);
	if (head->type == EV_FAULT && !born_meanwhile) {
		born_meanwhile = watch_fork(die_by_default);
		watch_reap(born_meanwhile);
	}
	return 0;
}

static size_t place_of(const struct watch *of, enum event_type type, uint32_t tgid)
{
	const struct ev_head *head = watch_find(of, type, tgid, 0);
	size_t i = 0;

	assert_non_null(head);
	while (of->kept[i] != head)
		i++;
	return i;
}

static void test_birth_before_fault(void **state)
{
	bool more;
	int got;

	(void)state;
	needs_root();
	watch_drain(&watch);
	watch_reap(watch_fork(die_by_default));
	got = probe_drain(watch.probe, 1000, keep_slowly, &watch, &more);
	assert_true(got >= 6);
	assert_true(born_meanwhile > 0);
	assert_true(place_of(&watch, EV_FORK, born_meanwhile) < place_of(&watch, EV_FAULT, born_meanwhile));
}

/* --- the budget ------------------------------------------------------------------------------------- */

enum { RESCUED = 20000 };
static sigjmp_buf rescued;

static void rescue(int signal_number)
{
	(void)signal_number;
	siglongjmp(rescued, 1);
}

static void rescue_in_a_loop(void)
{
	volatile int left = RESCUED;

	signal(SIGSEGV, rescue);
	sigsetjmp(rescued, 1);
	if (left-- > 0)
		touch_null();
	die_by_default();
}

static void test_budget(void **state)
{
	const struct ev_fault *fault, *last = NULL;
	size_t full = 0, small = 0, suppressed = 0, n;
	uint64_t seconds;
	struct counters count;
	pid_t pid;

	(void)state;
	needs_root();
	pid = watch_fork(rescue_in_a_loop);
	assert_true(WIFSIGNALED(watch_reap(pid)));
	seconds = ((const struct ev_exit *)watch_wait(&watch, EV_EXIT, pid, 0))->head.time_ns;
	seconds = (seconds - ((const struct ev_birth *)watch_find(&watch, EV_FORK, pid, 0))->head.time_ns) /
			  1000000000 +
		  1;
	for (n = 0; (fault = watch_find(&watch, EV_FAULT, pid, n)); n++) {
		suppressed += fault->suppressed;
		if (fault->flags & FAULT_DEFAULT_ACTION)
			last = fault;
		else if (fault->flags & FAULT_SMALL)
			small++;
		else
			full++;
		if (fault->flags & FAULT_SMALL) {
			assert_int_equal(fault->head.lane, LANE_LIFE);
			assert_int_equal(fault->stack_len, 0);
			assert_int_equal(fault->address, 8);
			assert_true(fault->regs[REG_IP_] != 0);
		}
	}
	assert_in_range(full, 1, EV_CAPTURES_PER_SECOND * seconds);
	assert_in_range(small, 1, 16 * seconds);
	assert_non_null(last);
	assert_true(last->stack_len > 0);
	assert_int_equal(full + small + suppressed, RESCUED);
	assert_int_equal(probe_counters(watch.probe, &count), 0);
	assert_true(count.suppressed >= suppressed);
	assert_int_equal(count.dropped[LANE_LIFE] + count.dropped[LANE_CAPTURE], 0);
}

/* --- life ------------------------------------------------------------------------------------------- */

static void *thread_body(void *argument)
{
	return argument;
}

static void exec_true(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, thread_body, NULL);
	pthread_join(thread, NULL);
	execl("/bin/sh", "sh", "-c", "exit 0", NULL);
}

static void test_exec(void **state)
{
	const struct ev_exec *exec;
	pid_t pid, after;

	(void)state;
	needs_root();
	pid = watch_fork(exec_true);
	watch_reap(pid);
	exec = watch_wait(&watch, EV_EXEC, pid, 0);
	assert_string_equal(exec->file, "/bin/sh");
	assert_string_equal(exec->comm, "sh");
	assert_int_equal(watch_count(&watch, EV_FORK, pid), 1); /* none for the thread */
	/* what ends after it has its record, so one of the exec'd process would be there by now */
	after = watch_fork(exec_true);
	watch_reap(after);
	watch_wait(&watch, EV_EXEC, after, 0);
	assert_int_equal(watch_count(&watch, EV_EXIT, pid), 0);
}

static void wait_for_ever(void)
{
	for (;;)
		pause();
}

static void test_kill(void **state)
{
	const struct ev_kill *kill_seen;
	const struct ev_exit *end;
	pid_t pid;

	(void)state;
	needs_root();
	pid = watch_fork(wait_for_ever);
	watch_wait(&watch, EV_FORK, pid, 0);
	assert_int_equal(kill(pid, SIGTERM), 0);
	watch_reap(pid);
	kill_seen = watch_wait(&watch, EV_KILL, pid, 0);
	assert_int_equal(kill_seen->signal, SIGTERM);
	assert_int_equal(kill_seen->code, SI_USER);
	assert_int_equal(kill_seen->sender_tgid, getpid());
	end = watch_wait(&watch, EV_EXIT, pid, 0);
	assert_int_equal(end->status, SIGTERM);
	assert_int_equal(end->sender_tgid, getpid());
}

static void test_injected(void **state)
{
	const struct ev_fault *fault;
	pid_t pid;

	(void)state;
	needs_root();
	pid = watch_fork(wait_for_ever);
	watch_wait(&watch, EV_FORK, pid, 0);
	assert_int_equal(kill(pid, SIGSEGV), 0);
	watch_reap(pid);
	fault = watch_wait(&watch, EV_FAULT, pid, 0);
	assert_int_equal(fault->code, SI_USER);
	assert_int_equal(fault->address, 0);
	assert_int_equal(fault->sender_tgid, getpid());
	assert_false(fault->flags & FAULT_SELF);
}

/* --- marks ------------------------------------------------------------------------------------------ */

static void test_marks(void **state)
{
	struct mark mark;
	pid_t pid;

	(void)state;
	needs_root();
	assert_int_equal(probe_mark(watch.probe, getpid(), watch.own_start), 0);
	assert_int_equal(probe_mark(watch.probe, getpid(), watch.own_start + 1000000000), -ESRCH);
	assert_int_equal(probe_read_mark(watch.probe, getpid(), watch.own_start, &mark), 0);
	assert_int_equal(mark.start_ns, watch.own_start);
	assert_true(mark.user_faults > 0);
	assert_int_equal(probe_read_mark(watch.probe, getpid(), watch.own_start + 1, &mark), -ENOENT);
	assert_int_equal(probe_unmark(watch.probe, getpid(), watch.own_start), 0);
	assert_int_equal(probe_read_mark(watch.probe, getpid(), watch.own_start, &mark), -ENOENT);
	pid = watch_fork(die_by_default);
	watch_reap(pid);
	assert_int_equal(probe_mark(watch.probe, pid, watch.own_start), -ESRCH);
	assert_int_equal(probe_mark(watch.probe, getpid(), watch.own_start), 0);
	watch_reap(watch_fork(exec_true));
	watch_drain(&watch);
	assert_null(watch_find(&watch, EV_FORK, pid, 0)); /* it was not watched */
	assert_null(watch_find(&watch, EV_FAULT, pid, 0));
}

static void test_memory(void **state)
{
	size_t rings, maps;

	(void)state;
	needs_root();
	probe_memory(watch.probe, &rings, &maps);
	assert_true(rings >= options.life_ring_bytes + options.capture_ring_bytes + options.flow_ring_bytes);
	assert_in_range(maps, 1, 1 << 20);
}

/* --- the end: nothing lost, nothing left -------------------------------------------------------------- */

static size_t own_links(uint32_t *ids, size_t room)
{
	char path[300], line[128];
	struct dirent *entry;
	size_t count = 0;
	DIR *dir = opendir("/proc/self/fdinfo");
	FILE *file;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", entry->d_name);
		file = fopen(path, "re");
		while (file && fgets(line, sizeof(line), file))
			if (count < room && sscanf(line, "link_id: %u", &ids[count]) == 1)
				count++;
		if (file)
			fclose(file);
	}
	closedir(dir);
	return count;
}

/* A link goes in the background once its descriptor is closed. */
static bool link_is_gone(uint32_t id)
{
	int fd, left;

	for (left = WAIT_MS; left > 0; left -= 10) {
		fd = bpf_link_get_fd_by_id(id);
		if (fd < 0)
			return errno == ENOENT;
		close(fd);
		poll(NULL, 0, 10);
	}
	return false;
}

static void test_nothing_left(void **state)
{
	struct watch own;
	uint32_t links[32];
	size_t count, i;

	(void)state;
	needs_root();
	watch_drain(&watch);
	assert_no_hole(&watch);
	watch_open(&own, &options);
	count = own_links(links, 32);
	assert_int_equal(count, 14); /* seven tracepoints, here and in `watch` */
	watch_close(&own);
	watch_close(&watch);
	for (i = 0; i < count; i++)
		assert_true(link_is_gone(links[i]));
	open_marked(NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default_action), cmocka_unit_test(test_handler),
		cmocka_unit_test(test_abort),          cmocka_unit_test(test_birth_before_fault),
		cmocka_unit_test(test_budget),         cmocka_unit_test(test_exec),
		cmocka_unit_test(test_kill),           cmocka_unit_test(test_injected),
		cmocka_unit_test(test_marks),          cmocka_unit_test(test_memory),
		cmocka_unit_test(test_nothing_left),
	};

	(void)argc;
	/* only what a program is started with lies where the kernel put it, above its stack */
	if (!getenv("LAPIDARY_TEST_SENTINEL")) {
		setenv("LAPIDARY_TEST_SENTINEL", sentinel, 1);
		execv("/proc/self/exe", argv);
	}
	return cmocka_run_group_tests(tests, open_marked, close_all);
}

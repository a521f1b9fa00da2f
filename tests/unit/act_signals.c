/* SPDX-License-Identifier: Apache-2.0 */
/* Signals to real processes: who gets one, and who is spared because a fact does not hold. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/act/signals.h"
#include "user/base/digest.h"
#include "user/base/file.h"
#include "user/probe/procfs.h"

enum { PATIENCE_MS = 10000, TICK_NS = 10000000 };

enum kind { CATCHES, PLAIN, IGNORES, CALLS_ITSELF_PUMA, OF_TWO_UIDS };

struct child {
	pid_t pid;
	int said; /* "r" when it is ready, "g" when it got the signal */
};

static int say_fd;
static char why[256];

static void on_signal(int signal)
{
	(void)signal;
	if (write(say_fd, "g", 1) != 1)
		_exit(2);
}

static void live(enum kind kind)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (kind == IGNORES)
		signal(SIGTERM, SIG_IGN);
	if (kind == CATCHES || kind == OF_TWO_UIDS)
		signal(SIGTERM, on_signal);
	if (kind == CALLS_ITSELF_PUMA)
		prctl(PR_SET_NAME, "puma: cluster m");
	if (kind == OF_TWO_UIDS && setresuid(0, 12345, 0) != 0)
		_exit(3);
	if (write(say_fd, "r", 1) != 1)
		_exit(2);
	for (;;)
		pause();
}

static char hear(const struct child *child)
{
	struct pollfd ready = {.fd = child->said, .events = POLLIN};
	char word = 0;

	if (poll(&ready, 1, PATIENCE_MS) != 1 || read(child->said, &word, 1) != 1)
		return 0;
	return word;
}

static struct child begin(enum kind kind, unsigned long flags)
{
	struct child child;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	child.pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0);
	if (child.pid == 0) {
		close(ends[0]);
		say_fd = ends[1];
		live(kind);
	}
	close(ends[1]);
	child.said = ends[0];
	assert_true(child.pid > 0);
	assert_int_equal(hear(&child), 'r');
	return child;
}

/* Its wait status; 0 while it lives. */
static int status_of(const struct child *child)
{
	int status = 0;

	return waitpid(child->pid, &status, WNOHANG) == child->pid ? status : 0;
}

static void end(const struct child *child)
{
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	close(child->said);
}

static uint64_t start_of(pid_t pid)
{
	char path[64], *text, *at;
	uint64_t ticks;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	assert_int_equal(file_read(path, 65536, &text, NULL), 0);
	at = strrchr(text, ')');
	for (int i = 2; i < 22; i++)
		at = strchr(at + 1, ' ');
	ticks = strtoull(at, NULL, 10);
	free(text);
	return ticks * TICK_NS + 1234567; /* the kernel's own time is finer than a tick */
}

static uint64_t cgroup_of(pid_t pid)
{
	struct procfs_facts facts;

	assert_int_equal(procfs_facts((uint32_t)pid, 0, &facts), 0);
	return digest_text(DIGEST_START, facts.cgroup);
}

static struct signal_order order_for(const struct child *child, int signal)
{
	return (struct signal_order){
		.tgid = (uint32_t)child->pid,
		.start_ns = start_of(child->pid),
		.uid = getuid(),
		.cgroup_id = cgroup_of(child->pid),
		.signal = signal,
	};
}

/* The order is refused with a reason, and the child neither got it nor died. */
static void is_spared(const struct child *child, const struct signal_order *order, int err,
		      const char *reason)
{
	struct pollfd ready = {.fd = child->said, .events = POLLIN};

	why[0] = '\0';
	assert_int_equal(signals_check(order, why, sizeof(why)), err);
	assert_int_equal(signals_send(order, why, sizeof(why)), err);
	if (!strstr(why, reason))
		fail_msg("\"%s\" does not say \"%s\"", why, reason);
	assert_int_equal(status_of(child), 0);
	assert_int_equal(poll(&ready, 1, 0), 0);
}

static void it_arrives(void **state)
{
	struct child child = begin(CATCHES, 0);
	struct signal_order order = order_for(&child, SIGTERM);

	(void)state;
	assert_int_equal(signals_check(&order, why, sizeof(why)), 0);
	assert_int_equal(signals_send(&order, why, sizeof(why)), 0);
	assert_int_equal(hear(&child), 'g');
	end(&child);
}

static void another_identity_is_spared(void **state)
{
	struct child child = begin(CATCHES, 0);
	struct signal_order order = order_for(&child, SIGTERM), other;

	(void)state;
	other = order;
	other.start_ns -= TICK_NS; /* the number is used again */
	is_spared(&child, &other, -ESRCH, "another one");
	other.start_ns = 0;
	is_spared(&child, &other, -ESRCH, "another one");
	other = order;
	other.uid = 54321;
	is_spared(&child, &other, -EPERM, "uid");
	other = order;
	other.cgroup_id ^= 1;
	is_spared(&child, &other, -EPERM, "cgroup");
	other.cgroup_id = 0; /* not known */
	is_spared(&child, &other, -EPERM, "cgroup");
	other = order;
	other.signal = 0;
	is_spared(&child, &other, -EINVAL, "cannot");
	other.signal = 65;
	is_spared(&child, &other, -EINVAL, "cannot");
	other.signal = SIGKILL; /* KILL is not excepted from the facts */
	other.uid = 54321;
	is_spared(&child, &other, -EPERM, "uid");
	end(&child);
}

static void one_that_changed_its_uid_is_spared(void **state)
{
	struct child child = begin(OF_TWO_UIDS, 0);
	struct signal_order order = order_for(&child, SIGTERM);

	(void)state;
	is_spared(&child, &order, -EPERM, "uid");
	order.uid = 12345;
	is_spared(&child, &order, -EPERM, "uid");
	end(&child);
}

static void who_does_not_catch_it_survives(void **state)
{
	static const struct {
		enum kind kind;
		int signal;
	} rows[] = {
		{PLAIN, SIGTERM},   {IGNORES, SIGTERM}, {CALLS_ITSELF_PUMA, SIGUSR1},
		{CATCHES, SIGUSR1}, {CATCHES, SIGSTOP}, /* cannot be caught by anybody */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct child child = begin(rows[i].kind, 0);
		struct signal_order order = order_for(&child, rows[i].signal);

		print_message("# %d, signal %d\n", rows[i].kind, rows[i].signal);
		is_spared(&child, &order, -ENOTSUP, "does not catch SIG");
		end(&child);
	}
}

static void kill_needs_no_handler(void **state)
{
	struct child child = begin(IGNORES, 0);
	struct signal_order order = order_for(&child, SIGKILL);
	int status;

	(void)state;
	assert_int_equal(signals_send(&order, why, sizeof(why)), 0);
	assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	/* and now it is gone */
	assert_int_equal(signals_send(&order, why, sizeof(why)), -ESRCH);
	close(child.said);
}

static void who_has_ended_is_left_alone(void **state)
{
	struct child child = begin(CATCHES, 0);
	struct signal_order order = order_for(&child, SIGTERM);
	siginfo_t info;

	(void)state;
	kill(child.pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0); /* a zombie */
	assert_int_equal(signals_send(&order, why, sizeof(why)), -ESRCH);
	assert_non_null(strstr(why, "has ended"));
	order.signal = SIGKILL;
	assert_int_equal(signals_send(&order, why, sizeof(why)), -ESRCH);
	end(&child);
}

static void process_1_is_spared_unless_configured(void **state)
{
	struct child child = begin(CATCHES, CLONE_NEWPID);
	struct signal_order order = order_for(&child, SIGTERM);

	(void)state;
	is_spared(&child, &order, -EPERM, "process 1");
	order.signal = SIGKILL;
	is_spared(&child, &order, -EPERM, "process 1");
	order.signal = SIGTERM;
	order.init_allowed = true;
	assert_int_equal(signals_send(&order, why, sizeof(why)), 0);
	assert_int_equal(hear(&child), 'g');
	end(&child);
	/* our own process 1 never */
	order = (struct signal_order){
		.tgid = 1, .start_ns = start_of(1), .uid = 0, .signal = SIGTERM, .init_allowed = true};
	assert_int_equal(signals_check(&order, why, sizeof(why)), -EPERM);
}

static void what_is_no_process(void **state)
{
	struct signal_order order = {
		.tgid = 0, .start_ns = start_of(getpid()), .uid = getuid(), .signal = SIGTERM};

	(void)state;
	assert_int_equal(signals_send(&order, why, sizeof(why)), -EINVAL);
	order.tgid = 0xffffffff; /* would be everybody, for kill(2) */
	assert_int_equal(signals_send(&order, why, sizeof(why)), -EINVAL);
	order.tgid = 4194304; /* one more than the kernel ever gives */
	assert_int_equal(signals_send(&order, why, sizeof(why)), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_arrives),
		cmocka_unit_test(another_identity_is_spared),
		cmocka_unit_test(one_that_changed_its_uid_is_spared),
		cmocka_unit_test(who_does_not_catch_it_survives),
		cmocka_unit_test(kill_needs_no_handler),
		cmocka_unit_test(who_has_ended_is_left_alone),
		cmocka_unit_test(process_1_is_spared_unless_configured),
		cmocka_unit_test(what_is_no_process),
	};

	return cmocka_run_group_tests_name("act: signals", tests, NULL, NULL);
}

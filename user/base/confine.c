// SPDX-License-Identifier: Apache-2.0
/*
 * Capabilities with libcap-ng, system calls with libseccomp.
 *
 * The examiner's filter kills rather than answering EPERM: a parser that asks for a socket was taken over,
 * and an examiner costs nothing to replace. The list is what libelf, Capstone and malloc call, plus the two
 * calls of its socket; memory may be had, but never mapped from a file or made executable.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>
#include <cap-ng.h>
#include <seccomp.h>
#include "user/base/confine.h"
#include "user/base/confine_private.h"
#include "user/base/urgency.h"

#define ROWS(table) (sizeof(table) / sizeof(*(table)))

enum {
	EXAMINER_CPU_SECONDS = 3600, /* in all, between two questions renewed in small */
	EXAMINER_FILES = 8,          /* its socket, the file in question, room for one that came too early */
	UNWINDER_FILES = 260,        /* its socket, and a message full of copies of files */
	INSPECTOR_FILES = 80,        /* its socket, a batch of files, the file of its answers */
	EXAMINER_COPY =
		256 << 20, /* how far into a copy it may write; no file that has a name is ever open */
};

static const struct confine_capability agent[] = {
	{CAP_BPF, "bpf", "load programs and maps, attach uprobes by inode"},
	{CAP_PERFMON, "perfmon", "tracing programs, perf records of new mappings"},
	{CAP_SYS_PTRACE, "sys_ptrace", "read /proc/PID of other users' processes"},
	{CAP_DAC_READ_SEARCH, "dac_read_search", "read what is below /proc/PID/root and cgroup folders"},
	{CAP_KILL, "kill", "signal workers, replace a hanging child of ours"},
	{CAP_SYS_NICE, "sys_nice", "be run at once when a process dies; LimitRTPRIO=1 does it as well"},
};

static const struct confine_capability spawner[] = {
	{CAP_SYS_ADMIN, "sys_admin",
	 "perf uprobes, /proc/PID/map_files, an examiner's network namespace, a prober's way into others"},
	{CAP_SYS_CHROOT, "sys_chroot", "take a prober into the mount namespace and the root of a process"},
	{CAP_SYS_PTRACE, "sys_ptrace",
	 "reach /proc/PID/map_files, root and namespaces of other users' processes"},
	{CAP_DAC_READ_SEARCH, "dac_read_search",
	 "open a watched file, or a password file, whatever its mode"},
	{CAP_SETUID, "setuid", "give examiner and prober uids of their own"},
	{CAP_SETGID, "setgid", "and no groups"},
	{CAP_SETPCAP, "setpcap", "empty their bounding sets"},
	{CAP_KILL, "kill", "end examiner and prober, which have other uids"},
};

const struct confine_capability *confine_agent_capabilities(size_t *count)
{
	*count = ROWS(agent) - urgency_by_limit(); /* the last one is needed where the limit does not do */
	return agent;
}

const struct confine_capability *confine_spawner_capabilities(size_t *count)
{
	*count = ROWS(spawner);
	return spawner;
}

/*
 * Empties the bounding set, so that no exec gives anything back. Where even the right to do so is missing,
 * no_new_privs says the same.
 */
static int drop_bounds(void)
{
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		return 0;
	capng_clear(CAPNG_SELECT_BOUNDS);
	return capng_apply(CAPNG_SELECT_BOUNDS) ? -EPERM : 0;
}

/* Keeps those of the table that are there; the rest goes. */
static int keep(const struct confine_capability *table, size_t count)
{
	bool has[CAP_LAST_CAP + 1];
	int err = drop_bounds();

	if (err)
		return err;
	for (size_t i = 0; i < count; i++)
		has[i] = capng_have_capability(CAPNG_PERMITTED, table[i].number);
	capng_clear(CAPNG_SELECT_ALL);
	for (size_t i = 0; i < count; i++)
		if (has[i] &&
		    capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, table[i].number) != 0)
			return -EINVAL;
	if (capng_apply(CAPNG_SELECT_AMBIENT) != 0 || capng_apply(CAPNG_SELECT_CAPS) != 0)
		return -EPERM;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

int confine_agent(const char **missing)
{
	const struct confine_capability *kept;
	size_t count;

	if (capng_get_caps_process() != 0)
		return -EPERM;
	kept = confine_agent_capabilities(&count);
	for (size_t i = 0; i < count; i++)
		if (kept[i].number != CAP_SYS_NICE &&
		    !capng_have_capability(CAPNG_PERMITTED, kept[i].number)) {
			if (missing)
				*missing = kept[i].name;
			return -EPERM;
		}
	return keep(kept, count);
}

int confine_spawner(void)
{
	return capng_get_caps_process() != 0 ? -EPERM : keep(spawner, ROWS(spawner));
}

int confine_limits(const struct confine_limit *limits, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct rlimit pair = {limits[i].value, limits[i].value}, now;

		if (getrlimit(limits[i].resource, &now) == 0 && now.rlim_max < pair.rlim_max)
			pair.rlim_cur = pair.rlim_max = now.rlim_max; /* already tighter */
		if (setrlimit(limits[i].resource, &pair) != 0)
			return -errno;
	}
	return 0;
}

static int limit_examiner(unsigned int files, unsigned int file_size)
{
	const struct confine_limit limits[] = {
		{RLIMIT_CORE, 0},        {RLIMIT_FSIZE, file_size}, {RLIMIT_NOFILE, files},
		{RLIMIT_NPROC, 0},       {RLIMIT_MEMLOCK, 0},       {RLIMIT_CPU, EXAMINER_CPU_SECONDS},
#ifndef __SANITIZE_ADDRESS__ /* whose shadow takes terabytes of address space */
		{RLIMIT_AS, 512u << 20},
#endif
	};

	return confine_limits(limits, ROWS(limits));
}

int confine_renew_cpu(unsigned int seconds)
{
	struct rusage used;
	struct rlimit pair;

	if (getrusage(RUSAGE_SELF, &used) != 0 || getrlimit(RLIMIT_CPU, &pair) != 0)
		return -errno;
	/* whole seconds, so one more: a soft limit that has passed already would kill at once */
	pair.rlim_cur = used.ru_utime.tv_sec + used.ru_stime.tv_sec + seconds + 1;
	if (pair.rlim_cur > pair.rlim_max)
		pair.rlim_cur = pair.rlim_max;
	return setrlimit(RLIMIT_CPU, &pair) ? -errno : 0;
}

/*
 * Bounding set first (it needs CAP_SETPCAP), then the identity (SETUID, SETGID), then what is left. `uid` 0:
 * who is not root anyway keeps the identity that it has.
 */
static int drop_identity(uint32_t uid)
{
	if (capng_get_caps_process() != 0 || drop_bounds() != 0)
		return -EPERM;
	if (uid &&
	    (setgroups(0, NULL) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0))
		return -errno;
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_AMBIENT) != 0 || capng_apply(CAPNG_SELECT_CAPS) != 0)
		return -EPERM;
	if (capng_get_caps_process() != 0 || capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
		return -EPERM;
	return 0;
}

/* sigaltstack is what a sanitizer's run-time library asks before each exit; it harms no one. */
static int allow_calls(scmp_filter_ctx filter)
{
	static const int calls[] = {
		SCMP_SYS(read),          SCMP_SYS(pread64),        SCMP_SYS(recvmsg),
		SCMP_SYS(pwrite64), /* into a copy that it was handed */
		SCMP_SYS(sendmsg),       SCMP_SYS(close),          SCMP_SYS(fstat),
		SCMP_SYS(lseek),         SCMP_SYS(munmap),         SCMP_SYS(mremap),
		SCMP_SYS(brk),           SCMP_SYS(madvise),        SCMP_SYS(futex),
		SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday),   SCMP_SYS(getrandom),
		SCMP_SYS(getrusage),     SCMP_SYS(sysinfo), /* the C library's qsort() asks how much memory
							       there is */
		SCMP_SYS(rt_sigreturn),  SCMP_SYS(rt_sigprocmask), SCMP_SYS(restart_syscall),
		SCMP_SYS(sigaltstack),   SCMP_SYS(exit),           SCMP_SYS(exit_group),
	};

	for (size_t i = 0; i < ROWS(calls); i++) {
		int err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);

		if (err)
			return err;
	}
	return 0;
}

static int allow_with_arguments(scmp_filter_ctx filter)
{
	int err;

	/* the C library's fstat(); with a path it could look around, but not open */
	err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
			       SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH));
	/* libelf asks whether its descriptor is open */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
				       SCMP_A1(SCMP_CMP_EQ, F_GETFD));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
				       SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* its own limits alone, and those only within the hard ones */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
				       SCMP_A0(SCMP_CMP_EQ, 0));
	return err;
}

static int filter_examiner(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err;

	if (!filter)
		return -ENOMEM;
	err = allow_calls(filter);
	if (!err)
		err = allow_with_arguments(filter);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

static int confine_parser(uint32_t uid, unsigned int files, unsigned int file_size)
{
	pid_t parent = getppid();
	int err;

	unshare(CLONE_NEWNET);    /* a second fence: there is no system call left to reach a network with */
	signal(SIGXFSZ, SIG_IGN); /* a copy that is too large fails, and no more */
	err = limit_examiner(files, file_size);
	if (!err)
		err = drop_identity(uid);
	if (err)
		return err;
	/* after the change of identity, which forgets it */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	if (getppid() != parent)
		return -ESRCH;
	return filter_examiner();
}

int confine_examiner(uint32_t uid)
{
	return uid ? confine_parser(uid, EXAMINER_FILES, EXAMINER_COPY) : -EINVAL;
}

int confine_unwinder(uint32_t uid)
{
	return uid ? confine_parser(uid, UNWINDER_FILES, 0) : -EINVAL;
}

int confine_inspector(uint32_t uid)
{
	if (uid == 0 && geteuid() == 0)
		return -EINVAL;
	return confine_parser(geteuid() == 0 ? uid : 0, INSPECTOR_FILES, EXAMINER_COPY);
}

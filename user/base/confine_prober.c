// SPDX-License-Identifier: Apache-2.0
/*
 * The prober runs libpq, OpenSSL and a resolver against a server, a root and name servers that may be
 * hostile. What it needs is sockets and files to read; whatever takes it over has those, as a uid that owns
 * nothing, for a few seconds. No memory becomes executable any more, so a library that the resolver would
 * load from a container's root (a name service, an engine) fails softly instead of running.
 *
 * The capabilities go by plain system calls: libcap-ng asks /proc, which here is another root's, or nobody's.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "user/base/confine.h"
#include "user/base/confine_private.h"

#define ROWS(table) (sizeof(table) / sizeof(*(table)))

enum {
	CPU_SECONDS = 10,
	FILES = 24,
	SOCKET_TYPE = 0xf, /* without SOCK_CLOEXEC and SOCK_NONBLOCK */
	WRITING = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY),
};

static int limit_prober(void)
{
	static const struct confine_limit limits[] = {
		{RLIMIT_CORE, 0},        {RLIMIT_FSIZE, 0},   {RLIMIT_NOFILE, FILES},
		{RLIMIT_NPROC, 0},       {RLIMIT_MEMLOCK, 0}, {RLIMIT_CPU, CPU_SECONDS},
#ifndef __SANITIZE_ADDRESS__ /* whose shadow takes terabytes of address space */
		{RLIMIT_AS, 256u << 20},
#endif
	};

	return confine_limits(limits, ROWS(limits));
}

/*
 * The bounding set first (it needs CAP_SETPCAP; the spawner's was empty already, where it could be), then the
 * identity, then what is left.
 */
static int drop_identity(uint32_t uid)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0}, left[_LINUX_CAPABILITY_U32S_3];

	for (unsigned long number = 0; number < 64; number++)
		prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
	if (setgroups(0, NULL) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)
		return -errno;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) != 0 || syscall(SYS_capget, &header, left) != 0)
		return -errno;
	for (size_t i = 0; i < ROWS(left); i++)
		if (left[i].effective || left[i].permitted || left[i].inheritable)
			return -EPERM;
	return 0;
}

static int allow_calls(scmp_filter_ctx filter)
{
	static const int calls[] = {
		/* files that are there, to read, and sockets */
		SCMP_SYS(read),
		SCMP_SYS(readv),
		SCMP_SYS(pread64),
		SCMP_SYS(write),
		SCMP_SYS(writev),
		SCMP_SYS(lseek),
		SCMP_SYS(close),
		SCMP_SYS(fstat),
		SCMP_SYS(stat),
		SCMP_SYS(lstat),
		SCMP_SYS(newfstatat),
		SCMP_SYS(statx),
		SCMP_SYS(access),
		SCMP_SYS(faccessat),
		SCMP_SYS(faccessat2),
		SCMP_SYS(connect),
		SCMP_SYS(bind),
		SCMP_SYS(shutdown),
		SCMP_SYS(getsockname),
		SCMP_SYS(getpeername),
		SCMP_SYS(getsockopt),
		SCMP_SYS(sendto),
		SCMP_SYS(sendmsg),
		SCMP_SYS(sendmmsg),
		SCMP_SYS(recvfrom),
		SCMP_SYS(recvmsg),
		SCMP_SYS(recvmmsg),
		SCMP_SYS(poll),
		SCMP_SYS(ppoll),
		SCMP_SYS(select),
		SCMP_SYS(pselect6),
		/* memory and time */
		SCMP_SYS(munmap),
		SCMP_SYS(mremap),
		SCMP_SYS(brk),
		SCMP_SYS(madvise),
		SCMP_SYS(futex),
		SCMP_SYS(clock_gettime),
		SCMP_SYS(clock_nanosleep),
		SCMP_SYS(nanosleep),
		SCMP_SYS(gettimeofday),
		SCMP_SYS(time),
		SCMP_SYS(getrandom),
		SCMP_SYS(getrusage),
		SCMP_SYS(sysinfo),
		SCMP_SYS(uname),
		SCMP_SYS(sched_yield),
		SCMP_SYS(sched_getaffinity),
		/* itself */
		SCMP_SYS(getpid),
		SCMP_SYS(getppid),
		SCMP_SYS(gettid),
		SCMP_SYS(getuid),
		SCMP_SYS(geteuid),
		SCMP_SYS(getgid),
		SCMP_SYS(getegid),
		SCMP_SYS(rt_sigaction),
		SCMP_SYS(rt_sigprocmask),
		SCMP_SYS(rt_sigpending),
		SCMP_SYS(rt_sigreturn),
		SCMP_SYS(restart_syscall),
		SCMP_SYS(sigaltstack),
		SCMP_SYS(exit),
		SCMP_SYS(exit_group),
	};

	for (size_t i = 0; i < ROWS(calls); i++) {
		int err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);

		if (err)
			return err;
	}
	return 0;
}

static int allow_sockets(scmp_filter_ctx filter)
{
	static const struct {
		int family, type;
	} sockets[] = {
		{AF_INET, SOCK_STREAM}, {AF_INET, SOCK_DGRAM},  {AF_INET6, SOCK_STREAM},
		{AF_INET6, SOCK_DGRAM}, {AF_UNIX, SOCK_STREAM},
	};
	static const struct {
		int level, name;
	} options[] = {
		{SOL_SOCKET, SO_KEEPALIVE},   {IPPROTO_TCP, TCP_NODELAY},
		{IPPROTO_IP, IP_RECVERR},     {IPPROTO_IP, IP_MTU_DISCOVER},
		{IPPROTO_IPV6, IPV6_RECVERR}, {IPPROTO_IPV6, IPV6_MTU_DISCOVER},
	};
	int err = 0;

	for (size_t i = 0; !err && i < ROWS(sockets); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
				       SCMP_A0(SCMP_CMP_EQ, sockets[i].family),
				       SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_TYPE, sockets[i].type));
	if (!err) /* getaddrinfo() asks which families have an address */
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
				       SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_EQ, NETLINK_ROUTE));
	for (size_t i = 0; !err && i < ROWS(options); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
				       SCMP_A1(SCMP_CMP_EQ, options[i].level),
				       SCMP_A2(SCMP_CMP_EQ, options[i].name));
	return err;
}

static int allow_with_arguments(scmp_filter_ctx filter)
{
	static const int commands[] = {F_GETFD, F_SETFD, F_GETFL};
	int err = 0;

	for (size_t i = 0; !err && i < ROWS(commands); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
				       SCMP_A1(SCMP_CMP_EQ, commands[i]));
	if (!err) /* O_ASYNC with another owner would be a signal to that one */
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 2,
				       SCMP_A1(SCMP_CMP_EQ, F_SETFL),
				       SCMP_A2(SCMP_CMP_MASKED_EQ, O_ASYNC, 0));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
				       SCMP_A1(SCMP_CMP_MASKED_EQ, WRITING, O_RDONLY));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, WRITING, O_RDONLY));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				       SCMP_A1(SCMP_CMP_EQ, FIONREAD));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!err) /* its own limits alone, and those only within the hard ones */
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
				       SCMP_A0(SCMP_CMP_EQ, 0));
	return err;
}

/*
 * A probe that someone has on libpq or OpenSSL may reach the kernel by a call of its own from a trampoline
 * (Linux 6.11, 6.18); refused, it would kill the prober. The kernel lets it come from there alone.
 */
static int allow_being_probed(scmp_filter_ctx filter)
{
	int err = 0;

#ifdef __x86_64__
	for (int number = 335; !err && number <= 336; number++) /* uretprobe, uprobe */
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
#endif
	return err;
}

static int filter_prober(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err;

	if (!filter)
		return -ENOMEM;
	err = allow_calls(filter);
	if (!err)
		err = allow_sockets(filter);
	if (!err)
		err = allow_with_arguments(filter);
	if (!err)
		err = allow_being_probed(filter);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

int confine_prober(uint32_t uid)
{
	pid_t parent = getppid();
	int err;

	if (uid == 0)
		return -EINVAL;
	err = limit_prober();
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
	return filter_prober();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a prober may not do once it is confined, each try in a process of its own that was root before; and
 * what it must still be able to do. Needs root.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "user/base/confine.h"

enum { TEST_UID = 64324, CONFINE_FAILED = 77 };

/* Each returns 0 when it succeeded, else an errno. */
#define TRY(call) ((call) < 0 ? errno : 0)

static int become_root(void)
{
	return TRY(setuid(0));
}
static int write_a_file(void)
{
	return TRY(open("/tmp/lapidary-confined", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}
static int open_to_write(void)
{
	return TRY(open("/dev/null", O_WRONLY | O_CLOEXEC));
}
static int open_to_write_by_its_old_name(void)
{
	return TRY(syscall(SYS_open, "/dev/null", O_RDWR));
}
static int make_a_nameless_file(void)
{
	return TRY(open("/tmp", O_TMPFILE | O_RDONLY | O_CLOEXEC, 0600));
}
static int truncate_a_file(void)
{
	return TRY(open("/dev/null", O_RDONLY | O_TRUNC | O_CLOEXEC));
}
static int open_through_another_call(void)
{
	uint64_t how[3] = {O_RDONLY, 0, 0};

	return TRY(syscall(SYS_openat2, AT_FDCWD, "/dev/null", how, sizeof(how)));
}
static int remove_a_file(void)
{
	return TRY(unlink("/tmp/lapidary-not-there"));
}
static int change_a_mode(void)
{
	return TRY(chmod("/tmp/lapidary-not-there", 0777));
}
static int run_a_program(void)
{
	return TRY(execl("/bin/true", "true", NULL));
}
static int fork_another(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return TRY(pid);
}
static int trace_its_parent(void)
{
	return TRY(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}
static int read_another_process(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {(void *)become_root, 1};

	return TRY(process_vm_readv(getppid(), &here, 1, &there, 1, 0));
}
static int signal_another(void)
{
	return TRY(kill(getppid(), 0));
}
static int signal_through_a_descriptor(void)
{
	return TRY(syscall(SYS_pidfd_open, getppid(), 0));
}
static int signal_through_its_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? 0 : TRY(fcntl(fd, F_SETOWN, getppid()));
}
static int map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
		       ? errno
		       : 0;
}
static int map_a_library(void)
{
	int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);

	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED ? errno : 0;
}
static int make_memory_code(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? 0 : TRY(mprotect(at, 4096, PROT_READ | PROT_EXEC));
}
static int make_a_file_of_memory(void)
{
	return TRY(syscall(SYS_memfd_create, "x", 0));
}
static int read_packets(void)
{
	return TRY(socket(AF_PACKET, SOCK_RAW, 0));
}
static int send_raw(void)
{
	return TRY(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}
static int ask_the_kernel_for_netfilter(void)
{
	return TRY(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
}
static int send_to_a_datagram_socket(void)
{
	return TRY(socket(AF_UNIX, SOCK_DGRAM, 0));
}
static int serve(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? 0 : TRY(listen(fd, 1));
}
static int enter_a_namespace(void)
{
	return TRY(unshare(CLONE_NEWUSER));
}
static int change_its_root(void)
{
	return TRY(chroot("/tmp"));
}
static int mount_something(void)
{
	return TRY(mount("none", "/mnt", "tmpfs", 0, NULL));
}
static int load_a_filter_for_the_kernel(void)
{
	return TRY(syscall(SYS_bpf, 0, NULL, 0));
}
static int use_a_ring(void)
{
	return TRY(syscall(SYS_io_uring_setup, 1, NULL));
}
static int be_dumpable(void)
{
	return TRY(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}
static int set_the_limit_of_another(void)
{
	struct rlimit limit;

	return TRY(prlimit(getppid(), RLIMIT_CPU, NULL, &limit));
}
static int raise_its_own_limit(void)
{
	struct rlimit limit = {1024, 1024};

	return TRY(setrlimit(RLIMIT_NPROC, &limit));
}

static const struct {
	const char *name;
	int (*attempt)(void);
} forbidden[] = {
#define ROW(name)                                                                                            \
	{                                                                                                    \
#name, name                                                                                  \
	}
	ROW(become_root),
	ROW(write_a_file),
	ROW(open_to_write),
	ROW(open_to_write_by_its_old_name),
	ROW(make_a_nameless_file),
	ROW(truncate_a_file),
	ROW(open_through_another_call),
	ROW(remove_a_file),
	ROW(change_a_mode),
	ROW(run_a_program),
	ROW(fork_another),
	ROW(trace_its_parent),
	ROW(read_another_process),
	ROW(signal_another),
	ROW(signal_through_a_descriptor),
	ROW(signal_through_its_socket),
	ROW(map_code),
	ROW(map_a_library),
	ROW(make_memory_code),
	ROW(make_a_file_of_memory),
	ROW(read_packets),
	ROW(send_raw),
	ROW(ask_the_kernel_for_netfilter),
	ROW(send_to_a_datagram_socket),
	ROW(serve),
	ROW(enter_a_namespace),
	ROW(change_its_root),
	ROW(mount_something),
	ROW(load_a_filter_for_the_kernel),
	ROW(use_a_ring),
	ROW(be_dumpable),
	ROW(set_the_limit_of_another),
	ROW(raise_its_own_limit),
#undef ROW
};

/* In a process of its own, confined; returns what it ended with: an errno, 0, or CONFINE_FAILED. */
static int confined(int (*attempt)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(confine_prober(TEST_UID) != 0 ? CONFINE_FAILED : attempt());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status)); /* refused, not killed */
	return WEXITSTATUS(status);
}

static void a_prober_may_not(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++) {
		int got = confined(forbidden[i].attempt);

		print_message("%s: %s\n", forbidden[i].name, strerror(got));
		assert_int_equal(got, EPERM);
	}
}

static int kernel_says_nothing_is_left(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[256];
	int good = 0;

	if (!status)
		return 1;
	while (fgets(line, sizeof(line), status)) {
		unsigned long long number = 1;
		unsigned int ids[4];

		if (sscanf(line, "Cap%*[A-Za-z]: %llx", &number) == 1)
			good += number == 0; /* Inh, Prm, Eff, Bnd, Amb */
		else if (sscanf(line, "Uid: %u %u %u %u", ids, ids + 1, ids + 2, ids + 3) == 4 ||
			 sscanf(line, "Gid: %u %u %u %u", ids, ids + 1, ids + 2, ids + 3) == 4)
			good += ids[0] == TEST_UID && ids[1] == TEST_UID && ids[2] == TEST_UID &&
				ids[3] == TEST_UID;
		else if (strncmp(line, "Groups:", 7) == 0)
			good += strspn(line + 7, " \t\n") == strlen(line + 7);
		else if (sscanf(line, "NoNewPrivs: %llu", &number) == 1)
			good += number == 1;
		else if (sscanf(line, "Seccomp: %llu", &number) == 1)
			good += number == 2;
	}
	fclose(status);
	return good == 10 ? 0 : good + 100;
}

static int connects_and_resolves(void)
{
	struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/nonexistent"};
	struct addrinfo *found = NULL;
	int inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
	    local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	nobody.sin_port = htons(1);
	if (inet < 0 || local < 0)
		return 1;
	if (connect(inet, (struct sockaddr *)&nobody, sizeof(nobody)) == 0 ||
	    (errno != ECONNREFUSED && errno != EINPROGRESS))
		return 2;
	if (connect(local, (struct sockaddr *)&path, sizeof(path)) == 0 || errno != ENOENT)
		return 3;
	if (getaddrinfo("localhost", NULL, NULL, &found) != 0)
		return 4;
	freeaddrinfo(found);
	return getuid() == TEST_UID ? 0 : 5;
}

static void a_prober_may(void **state)
{
	(void)state;
	assert_int_equal(confined(kernel_says_nothing_is_left), 0);
	assert_int_equal(confined(connects_and_resolves), 0);
}

static void a_prober_is_never_root(void **state)
{
	(void)state;
	assert_int_equal(confine_prober(0), -EINVAL);
}

static int need_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_prober_may_not),
		cmocka_unit_test(a_prober_may),
		cmocka_unit_test(a_prober_is_never_root),
	};

	return cmocka_run_group_tests(tests, need_root, NULL);
}

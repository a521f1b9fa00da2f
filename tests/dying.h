/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that dies in a chain of functions that is known, held at its fault: what a capture would take of
 * it, the files it maps, and gdb's own word about the very same process.
 *
 * ptrace stops it before the signal is delivered, which is where the probes look too.
 */
#ifndef LAPIDARY_TESTS_DYING_H
#define LAPIDARY_TESTS_DYING_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bpf/event.h"
#include "user/elf/unwind.h"

enum { DYING_SECONDS = 30 }; /* no step takes a tenth of it */
enum { DYING_SOURCES = 64, DYING_STACK = 128 * 1024, DYING_THREAD = 3, DYING_ROOMY = 40 };

struct dying {
	pid_t pid;   /* of the thread that dies */
	pid_t child; /* of its process */
	uint64_t regs[REG_COUNT];
	uint8_t *stack;
	size_t stack_size;
	struct ev_window windows[WINDOW_COUNT]; /* behind the stack */
	uint64_t interrupted;                   /* stack pointer that SIGUSR1 came to */
	uint8_t missing[DYING_STACK / EV_PAGE / 8 + 4];
	struct unwind_source sources[DYING_SOURCES];
	char paths[DYING_SOURCES][PATH_MAX];
	size_t source_count;
	uint64_t vdso;
};

static inline void dying_write(const char *folder, const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

/* cc in the folder, with what comes after it. */
static inline void dying_compile(const char *folder, const char *arguments)
{
	char command[2 * PATH_MAX];

	snprintf(command, sizeof(command), "cd %s && cc -w -O2 -fPIC -shared %s", folder, arguments);
	assert_int_equal(system(command), 0);
}

/* The library whose entry(number) ends the process. A thread that is to die calls PTRACE_TRACEME itself. */
static inline void dying_child(const char *library, int number)
{
	void *handle = dlopen(library, RTLD_NOW);
	void (*entry)(int) = handle ? (void (*)(int))dlsym(handle, "entry") : NULL;
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(null, 2);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL); /* a sanitizer's handlers as well */
	if (!entry ||
	    (number != DYING_THREAD && number != DYING_ROOMY && ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0))
		_exit(9);
	entry(number);
	_exit(8);
}

static inline void dying_take_maps(struct dying *dying)
{
	char name[64], line[PATH_MAX + 128];
	FILE *maps;

	snprintf(name, sizeof(name), "/proc/%d/maps", dying->pid);
	maps = fopen(name, "r");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		struct unwind_source *source = &dying->sources[dying->source_count];
		unsigned long long start, end, offset;
		char protection[8], path[PATH_MAX] = "";

		assert_true(sscanf(line, "%llx-%llx %7s %llx %*s %*s %4095[^\n]", &start, &end, protection,
				   &offset, path) >= 4);
		if (strcmp(path, "[vdso]") == 0)
			dying->vdso = start;
		if (protection[2] != 'x' || strcmp(path, "[vsyscall]") == 0)
			continue;
		assert_true(dying->source_count < DYING_SOURCES);
		strcpy(dying->paths[dying->source_count], path);
		*source = (struct unwind_source){start, end, offset, open(path, O_RDONLY | O_CLOEXEC), -1};
		dying->source_count++;
	}
	fclose(maps);
}

static inline void dying_take_window(struct dying *dying, int fd, enum stack_window which, uint64_t from,
				     size_t size)
{
	uint8_t *at = dying->stack + dying->stack_size;
	ssize_t n;

	for (int i = 0; i < WINDOW_COUNT; i++)
		at += dying->windows[i].size;
	n = pread(fd, at, size, (off_t)from);
	assert_true(n > 0);
	dying->windows[which] = (struct ev_window){from, (uint32_t)n, 0};
}

static inline void dying_take_windows(struct dying *dying, int fd)
{
	uint64_t end = dying->regs[REG_FS_BASE_], taken = dying->regs[REG_SP_] + dying->stack_size;

	if (dying->interrupted)
		dying_take_window(dying, fd, WINDOW_INTERRUPTED, dying->interrupted, EV_STACK_INTERRUPTED);
	if (end > taken && end - taken < 16 << 20)
		dying_take_window(dying, fd, WINDOW_FIRST, end - EV_STACK_FIRST, EV_STACK_FIRST);
}

static inline void dying_take_stack(struct dying *dying)
{
	char name[64];
	int fd;
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/%d/mem", dying->pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	dying->stack = calloc(1, DYING_STACK + EV_STACK_INTERRUPTED + EV_STACK_FIRST);
	assert_non_null(dying->stack);
	n = pread(fd, dying->stack, DYING_STACK, (off_t)dying->regs[REG_SP_]); /* as far as the stack goes */
	assert_true(n > 0);
	dying->stack_size = (size_t)n;
	dying_take_windows(dying, fd);
	close(fd);
}

/* SIGCHLD is blocked, so that one that came before the wait ends it. */
static inline sigset_t dying_block(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
	return set;
}

/* The next child or thread of one that stops or ends; the test fails when none does in time. */
static inline pid_t dying_wait(pid_t child, int *status)
{
	const sigset_t set = dying_block();
	const struct timespec most = {.tv_sec = DYING_SECONDS};
	pid_t pid;

	while ((pid = waitpid(-1, status, __WALL | WNOHANG)) == 0)
		if (sigtimedwait(&set, NULL, &most) < 0 && errno == EAGAIN) {
			kill(child, SIGKILL);
			fail_msg("%d neither stopped nor ended in %d s", child, DYING_SECONDS);
		}
	assert_true(pid > 0);
	return pid;
}

/* Runs entry(number) of the library up to its fatal signal; signals that it handles itself pass. */
static inline struct dying *dying_start(const char *library, int number)
{
	struct dying *dying = calloc(1, sizeof(*dying));
	struct user_regs_struct regs;
	int status;

	assert_non_null(dying);
	dying_block();
	dying->child = fork();
	if (dying->child == 0)
		dying_child(library, number);
	for (;;) {
		dying->pid = dying_wait(dying->child, &status);
		assert_true(WIFSTOPPED(status));
		if (WSTOPSIG(status) != SIGUSR1)
			break;
		assert_int_equal(ptrace(PTRACE_GETREGS, dying->pid, NULL, &regs), 0);
		dying->interrupted = regs.rsp;
		ptrace(PTRACE_CONT, dying->pid, NULL, SIGUSR1);
	}
	_Static_assert(sizeof(regs) == sizeof(dying->regs), "the same order");
	assert_int_equal(ptrace(PTRACE_GETREGS, dying->pid, NULL, &regs), 0);
	memcpy(dying->regs, &regs, sizeof(regs));
	dying_take_stack(dying);
	dying_take_maps(dying);
	return dying;
}

static inline void dying_question(const struct dying *dying, struct unwind_question *question)
{
	*question = (struct unwind_question){
		.regs = dying->regs,
		.stack = dying->stack,
		.stack_size = dying->stack_size,
		.missing = dying->missing,
		.windows = dying->windows,
		.sources = dying->sources,
		.source_count = dying->source_count,
		.vdso = dying->vdso,
	};
}

/* gdb's program counters of the same process, innermost first, without the frames that it only infers from
 * debugging information (inlined and tail calls). It is left stopped where it was. */
static inline size_t dying_ask_gdb(const struct dying *dying, uint64_t *pcs, size_t room)
{
	static const char script[] =
		"set backtrace past-main on\nset backtrace past-entry on\npython\nf = "
		"gdb.newest_frame()\nwhile f:\n"
		"    if f.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME): print('PC %x' % f.pc())\n"
		"    f = f.older()\nend\n";
	char name[] = "/tmp/lapidary-gdb.XXXXXX", command[256], line[512];
	int fd = mkstemp(name);
	size_t count = 0;
	FILE *gdb;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, script, sizeof(script) - 1), sizeof(script) - 1);
	close(fd);
	assert_int_equal(ptrace(PTRACE_DETACH, dying->pid, NULL, SIGSTOP), 0);
	snprintf(command, sizeof(command), "gdb -nx -batch -p %d -x %s 2>/dev/null", dying->pid, name);
	gdb = popen(command, "r");
	assert_non_null(gdb);
	while (fgets(line, sizeof(line), gdb))
		if (strncmp(line, "PC ", 3) == 0 && count < room)
			pcs[count++] = strtoull(line + 3, NULL, 16);
	assert_int_equal(pclose(gdb), 0);
	unlink(name);
	return count;
}

static inline void dying_end(struct dying *dying)
{
	int status;

	kill(dying->child, SIGKILL);
	while (dying_wait(dying->child, &status) != dying->child)
		;
	for (size_t i = 0; i < dying->source_count; i++) {
		if (dying->sources[i].fd >= 0)
			close(dying->sources[i].fd);
		if (dying->sources[i].debug_fd >= 0)
			close(dying->sources[i].debug_fd);
	}
	free(dying->stack);
	free(dying);
}

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * The examiner of crashes as it runs: a real child, confined, asked about a process that died, with distilled
 * copies of its files; damaged copies; and the agent's side against a child that dies, hangs or lies. Needs
 * root, as the agent does.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "tests/dying.h"
#include "tests/draw.h"
#include "user/elf/distil.h"
#include "user/probe/copies.h"
#include "user/probe/message.h"
#include "user/probe/unwinder.h"
#include "user/probe/unwinder_wire.h"

enum { TEST_UID = 64321, PATIENCE_MS = 10000, DAMAGED = 150 };

static char folder[64];
static const char library_c[] = "volatile int sink;\n"
				"__attribute__((noinline)) int fail(int *p) { return *p + 1; }\n"
				"__attribute__((noinline)) int deep(int n) { return n ? deep(n - 1) + sink : "
				"fail((int *)8) + 1; }\n"
				"void entry(int n) { sink = deep(n); sink++; }\n";

static int group_setup(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/lapidary-unwinder.XXXXXX");
	assert_non_null(mkdtemp(folder));
	dying_write(folder, "library.c", library_c);
	dying_compile(folder, "-o library.so library.c");
	return 0;
}

static int group_teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static int need_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	return 0;
}

static struct dying *die(void)
{
	char library[PATH_MAX];

	snprintf(library, sizeof(library), "%s/library.so", folder);
	return dying_start(library, 20);
}

/* Nothing more can be had, and of what was had less than a file's tables take is left. */
static void eat_memory(void)
{
	struct rlimit limit = {1 << 20, 1 << 20};

	setrlimit(RLIMIT_AS, &limit);
	for (size_t size = 1 << 20; size >= 16 * 1024; size /= 2)
		while (malloc(size))
			;
}

static struct unwinder *start(pid_t *pid, bool hungry)
{
	struct unwinder *unwinder;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	*pid = fork();
	assert_true(*pid >= 0);
	if (*pid == 0) {
		close(pair[0]);
		if (hungry)
			eat_memory();
		unwinder_main(pair[1], TEST_UID);
	}
	close(pair[1]);
	unwinder = unwinder_new(pair[0]);
	assert_non_null(unwinder);
	return unwinder;
}

static void end(struct unwinder *unwinder, pid_t pid)
{
	unwinder_free(unwinder);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Waits for an answer; -ETIME when none comes. */
static int read_answer(struct unwinder *unwinder, struct unwind_result *out)
{
	struct pollfd one = {.fd = unwinder_fd(unwinder), .events = POLLIN};

	return poll(&one, 1, PATIENCE_MS) == 1 ? unwinder_read(unwinder, 0, out) : -ETIME;
}

/* In place of each file a distilled copy of it, as the agent holds them. */
static struct copies *distil_all(struct dying *dying)
{
	struct copies *copies = copies_new();

	assert_non_null(copies);
	for (size_t i = 0; i < dying->source_count; i++) {
		struct file_key key = {.inode = i + 1};
		int fd = dying->sources[i].fd, copy;

		if (fd < 0)
			continue;
		copy = copies_make(fd);
		assert_true(copy >= 0);
		assert_true(distil(fd, copy) > 0);
		assert_int_equal(copies_keep(copies, &key, copy), 0);
		close(fd);
		dying->sources[i].fd = dup(copies_find(copies, &key));
	}
	return copies;
}

static void copies_do_as_well_as_the_files(void **state)
{
	struct unwind_result *with_files = malloc(sizeof(*with_files)), *answer = malloc(sizeof(*answer));
	struct dying *dying = die();
	struct unwind_question question;
	struct unwinder *unwinder;
	struct copies *copies;
	struct stat st;
	pid_t pid;

	(void)state;
	assert_true(with_files && answer);
	dying_question(dying, &question);
	assert_int_equal(unwind(&question, with_files), 0);
	assert_string_equal(with_files->frames[0].symbol, "fail");
	assert_string_equal(with_files->frames[22].symbol, "entry");
	assert_int_equal(with_files->end, UNWIND_OUTERMOST);
	copies = distil_all(dying);
	unwinder = start(&pid, false);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(unwinder_ask(unwinder, &question, 0), 0);
		assert_true(unwinder_busy(unwinder));
		assert_int_equal(unwinder_ask(unwinder, &question, 0), -EBUSY);
		assert_int_equal(read_answer(unwinder, answer), 1);
		assert_memory_equal(answer, with_files, sizeof(*answer));
	}
	/* nobody can change or cut a copy */
	assert_int_equal(fstat(dying->sources[0].fd, &st), 0);
	assert_int_equal(ftruncate(dying->sources[0].fd, 0), -1);
	assert_int_equal(pwrite(dying->sources[0].fd, "x", 1, 0), -1);
	assert_true(copies_bytes(copies) > 0 && copies_bytes(copies) < (uint64_t)COPIES_BYTES_MAX);
	end(unwinder, pid);
	copies_free(copies);
	dying_end(dying);
	free(with_files);
	free(answer);
}

/* Headers are changed as often as all the rest together; sizes of all ones are among the changes. */
static int damaged_copy(int file, bool cut)
{
	int copy = memfd_create("damaged", MFD_CLOEXEC);
	struct stat st;

	assert_int_equal(fstat(file, &st), 0);
	assert_true(copy >= 0);
	assert_int_equal(ftruncate(copy, st.st_size), 0);
	assert_true(distil(file, copy) > 0);
	for (int n = (int)draw(40); n > 0; n--) {
		uint64_t value = n % 3 ? draw(256) : UINT64_MAX;
		size_t size = n % 3 ? 1 : 8;

		assert_int_equal(pwrite(copy, &value, size, (off_t)draw(n % 2 ? 1024 : st.st_size)), size);
	}
	if (cut)
		assert_int_equal(ftruncate(copy, (off_t)draw(st.st_size)), 0);
	return copy;
}

/* Changed copies of all its files and a changed stack: an answer that is sound, or an examiner that is lost.
 */
static void damaged_files_cost_an_examiner_at_most(void **state)
{
	struct unwind_result *answer = malloc(sizeof(*answer));
	struct dying *dying = die();
	struct unwind_question question;
	int files[DYING_SOURCES], answers = 0;
	pid_t pid;
	struct unwinder *unwinder = start(&pid, false);

	(void)state;
	draw_start();
	dying_question(dying, &question);
	for (size_t i = 0; i < dying->source_count; i++)
		files[i] = dying->sources[i].fd;
	for (int round = 0; round < DAMAGED; round++) {
		for (size_t i = 0; i < dying->source_count; i++)
			dying->sources[i].fd = files[i] < 0 ? -1 : damaged_copy(files[i], round % 7 == 0);
		if (round % 5 == 0)
			dying->stack[draw(512)] = (uint8_t)draw(256);
		assert_int_equal(unwinder_ask(unwinder, &question, 0), 0);
		if (read_answer(unwinder, answer) == 1) {
			answers++;
			assert_true(answer->count >= 1);
			assert_true(answer->frames[0].pc == dying->regs[REG_IP_]);
		} else {
			end(unwinder, pid);
			unwinder = start(&pid, false);
		}
		for (size_t i = 0; i < dying->source_count; i++)
			if (files[i] >= 0)
				close(dying->sources[i].fd);
	}
	for (size_t i = 0; i < dying->source_count; i++)
		dying->sources[i].fd = files[i];
	printf("# %d of %d were answered\n", answers, DAMAGED);
	assert_true(answers > DAMAGED / 2);
	end(unwinder, pid);
	dying_end(dying);
	free(answer);
}

static void a_killed_unwinder_is_told(void **state)
{
	struct unwind_result *answer = malloc(sizeof(*answer));
	struct dying *dying = die();
	struct unwind_question question;
	pid_t pid;
	struct unwinder *unwinder = start(&pid, false);

	(void)state;
	dying_question(dying, &question);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(unwinder_ask(unwinder, &question, 0), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(read_answer(unwinder, answer), -EIO);
	assert_false(unwinder_busy(unwinder));
	assert_int_equal(unwinder_ask(unwinder, &question, 0), -EPIPE);
	end(unwinder, pid);
	dying_end(dying);
	free(answer);
}

static void a_hanging_unwinder_is_given_up(void **state)
{
	const uint64_t limit_ns = UNWINDER_WAIT_MS * UINT64_C(1000000);
	struct unwind_result *answer = malloc(sizeof(*answer));
	struct dying *dying = die();
	struct unwind_question question;
	pid_t pid;
	struct unwinder *unwinder = start(&pid, false);

	(void)state;
	dying_question(dying, &question);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(unwinder_ask(unwinder, &question, 1000), 0);
	assert_int_equal(unwinder_read(unwinder, 1000 + limit_ns, answer), 0);
	assert_int_equal(unwinder_read(unwinder, 1001 + limit_ns, answer), -ETIMEDOUT);
	assert_int_equal(unwinder_ask(unwinder, &question, 0), -EPIPE);
	end(unwinder, pid);
	dying_end(dying);
	free(answer);
}

#ifndef __SANITIZE_ADDRESS__ /* which needs terabytes of address space itself */
static void an_unwinder_without_memory_says_less_or_dies(void **state)
{
	struct unwind_result *answer = malloc(sizeof(*answer));
	struct dying *dying = die();
	struct unwind_question question;
	pid_t pid;
	struct unwinder *unwinder = start(&pid, true);
	int got;

	(void)state;
	dying_question(dying, &question);
	assert_int_equal(unwinder_ask(unwinder, &question, 0), 0);
	got = read_answer(unwinder, answer);
	assert_true(got == -ENOMEM || got == -EIO || (got == 1 && answer->count < 23));
	end(unwinder, pid);
	dying_end(dying);
	free(answer);
}
#endif

static void lie(const struct unwind_question *question, const void *data, size_t size)
{
	struct unwind_result *answer = malloc(sizeof(*answer));
	struct unwinder *unwinder;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	unwinder = unwinder_new(pair[0]);
	assert_int_equal(unwinder_ask(unwinder, question, 0), 0);
	assert_int_equal(message_send(pair[1], data, size, pair[1], 0),
			 0); /* and a descriptor nobody wants */
	assert_int_equal(read_answer(unwinder, answer), -EPROTO);
	assert_int_equal(unwinder_ask(unwinder, question, 0), -EPIPE);
	close(pair[1]);
	unwinder_free(unwinder);
	free(answer);
}

static void a_lying_unwinder_is_not_believed(void **state)
{
	static struct unwinder_answer good, bad;
	const uint64_t regs[REG_COUNT] = {0};
	const struct unwind_source source = {0x1000, 0x2000, 0, -1, -1};
	const struct unwind_question question = {.regs = regs, .sources = &source, .source_count = 1};

	(void)state;
	good.number = 1;
	good.unwound.end = UNWIND_OUTERMOST;
	good.unwound.count = good.unwound.module_count = 1;
	good.unwound.modules[0] = (struct unwind_module){.start = 0x1000, .end = 0x2000};
	good.unwound.frames[0] = (struct unwind_frame){.pc = 0x1001, .how = UNWIND_REGISTERS};
	assert_true(unwind_check(&good.unwound, 1));
	lie(&question, "short", 5);
	bad = good;
	bad.number = 2;
	lie(&question, &bad, sizeof(bad));
	bad = good;
	bad.result = 1;
	lie(&question, &bad, sizeof(bad));
	bad = good;
	bad.unwound.count = UNWIND_FRAMES + 1;
	lie(&question, &bad, sizeof(bad));
	bad = good;
	bad.unwound.frames[0].module = 1;
	lie(&question, &bad, sizeof(bad));
	bad = good;
	bad.unwound.modules[0].region = 1;
	lie(&question, &bad, sizeof(bad));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(copies_do_as_well_as_the_files, need_root),
		cmocka_unit_test_setup(damaged_files_cost_an_examiner_at_most, need_root),
		cmocka_unit_test_setup(a_killed_unwinder_is_told, need_root),
		cmocka_unit_test_setup(a_hanging_unwinder_is_given_up, need_root),
#ifndef __SANITIZE_ADDRESS__
		cmocka_unit_test_setup(an_unwinder_without_memory_says_less_or_dies, need_root),
#endif
		cmocka_unit_test(a_lying_unwinder_is_not_believed),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Ruby frames that the kernel side walks, against what Ruby itself says of them: each case of
 * probe_ruby.rb dies of a real fault, and method, file and line of every frame must be those of its own
 * crash report (needs root, otherwise skipped). On this host's Ruby, and on each one that scripts/rubies has
 * made: 2.7 with its global context, 3.3 stripped of the symbol that names it.
 */
#include "tests/unit/probe_watch.h"
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include "user/elf/library.h"
#include "user/probe/decode.h"

enum { GROUP = 3, LINES = 512, TEXT = 1 << 20 };

static const struct probe_options options = {
	.life_ring_bytes = 1 << 20,
	.capture_ring_bytes = 8 << 20,
	.flow_ring_bytes = 1 << 16,
	.stack_bytes = EV_STACK_LARGE,
};

static struct watch watch;
static const char *root = ""; /* of the Ruby that is tested */
static char script[64];       /* as it sees it */
static struct library library;

/* One line of the report. */
struct line {
	char method[256], path[512];
	int line;
};

static void open_library(void)
{
	char pattern[300];
	glob_t found;
	int fd;

	snprintf(pattern, sizeof(pattern), "%s/usr/lib/*/libruby-*.so.*.*.*", root);
	if (glob(pattern, 0, NULL, &found) != 0)
		fail_msg("no %s", pattern);
	fd = open(found.gl_pathv[0], O_RDONLY | O_CLOEXEC);
	globfree(&found);
	assert_true(fd >= 0);
	assert_int_equal(library_examine(fd, &library), 0);
	assert_int_equal(library.kind, LIBRARY_RUBY);
	assert_int_not_equal(library.ruby.column, RUBY_NONE);
	assert_int_not_equal(library.ruby.how, RUBY_CONTEXT_UNKNOWN);
	assert_true(library.ruby.names != 0);
	for (uint32_t i = 0; i < library.site_count; i++) {
		struct probe_site site = {library.sites[i].site, library.sites[i].offset};

		if (site.site == SITE_RUBY_START)
			assert_true(probe_attach(watch.probe, fd, &site, 1, GROUP, 1, NULL, NULL) >= 0);
	}
	close(fd);
	assert_int_equal(probe_set_layout(watch.probe, GROUP, &library.layout, &library.ruby), 0);
}

static void copy_script(void)
{
	char path[400], text[16384];
	FILE *from = fopen("tests/unit/probe_ruby.rb", "re"), *to;
	size_t size;

	assert_non_null(from);
	snprintf(script, sizeof(script), "/tmp/probe_ruby.%d.rb", getpid());
	snprintf(path, sizeof(path), "%s%s", root, script);
	to = fopen(path, "we");
	assert_non_null(to);
	size = fread(text, 1, sizeof(text), from);
	assert_in_range(size, 1, sizeof(text) - 1);
	assert_int_equal(fwrite(text, 1, size, to), size);
	fclose(from);
	fclose(to);
}

static int open_all(void **state)
{
	(void)state;
	if (geteuid())
		return 0;
	watch_open(&watch, &options);
	open_library();
	copy_script();
	return 0;
}

static int close_all(void **state)
{
	char path[400];

	(void)state;
	if (geteuid())
		return 0;
	watch_close(&watch);
	snprintf(path, sizeof(path), "%s%s", root, script);
	unlink(path);
	return 0;
}

/* Runs a case to its end; what it wrote to stderr is in `text`. */
static pid_t run(const char *name, char *text, size_t room)
{
	int pipes[2];
	size_t used = 0;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(pipes[1], 2);
		if (chroot(root[0] ? root : "/") || chdir("/"))
			_exit(126);
		for (int signal_number = 1; signal_number < 32; signal_number++)
			signal(signal_number, SIG_DFL);
		execlp("ruby", "ruby", script, name, NULL);
		_exit(127);
	}
	close(pipes[1]);
	while (used < room - 1 && (got = read(pipes[0], text + used, room - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	close(pipes[0]);
	watch_reap(pid);
	return pid;
}

/* "path:line:in `method'" or, since 3.4, "in 'method'". */
static bool read_line(const char *text, struct line *out)
{
	const char *end = strchr(text, '\n'), *in = strstr(text, ":in "), *number;
	size_t size;

	if (!end || !in || in > end || end - in < 7)
		return false;
	for (number = in; number > text && number[-1] != ':';)
		number--;
	if (number == text)
		return false;
	out->line = atoi(number);
	size = (size_t)(number - 1 - text);
	snprintf(out->path, sizeof(out->path), "%.*s", (int)size, text);
	snprintf(out->method, sizeof(out->method), "%.*s", (int)(end - 1 - (in + 5)), in + 5);
	return true;
}

/* The report's frames, innermost first: it prints them the other way round. */
static size_t read_report(const char *text, struct line *out)
{
	const char *at = strstr(text, "-- Ruby level backtrace information");
	struct line *lines = calloc(LINES, sizeof(*lines));
	size_t count = 0;

	assert_non_null(at);
	assert_non_null(lines);
	at = strchr(at, '\n');
	while (at && count < LINES && read_line(at + 1, &lines[count])) {
		count++;
		at = strchr(at + 1, '\n');
	}
	for (size_t i = 0; i < count; i++)
		out[i] = lines[count - 1 - i];
	free(lines);
	return count;
}

static void assert_ends(const char *whole, const char *kept, size_t room, const char *what)
{
	size_t length = strlen(whole);

	if (strcmp(length < room ? whole : whole + length - (room - 1), kept) != 0)
		fail_msg("%s '%s' is not '%s'", what, kept, whole);
}

static void compare(const struct ev_ruby *ruby, const struct line *lines, size_t count)
{
	bool whole = count <= EV_RUBY_FRAMES;

	assert_int_equal(ruby->state, whole ? RUBY_STACK_COMPLETE : RUBY_STACK_CLIPPED);
	assert_int_equal(ruby->count, whole ? count : EV_RUBY_FRAMES);
	for (size_t i = 0; i < ruby->count; i++) {
		const struct ev_ruby_frame *frame = &ruby->frames[i];
		char begin[EV_RUBY_LABEL];

		snprintf(begin, sizeof(begin), "%s", lines[i].method);
		assert_string_equal(frame->label, begin);
		if (i + 1 == ruby->count && !whole && frame->kind == RUBY_FRAME_C)
			continue; /* its caller is beyond the last */
		/* a C function that nobody called (Enumerator): Ruby puts the program's name there */
		if (lines[i].line == 0 && frame->kind == RUBY_FRAME_C)
			assert_string_equal(frame->path, "");
		else
			assert_ends(lines[i].path, frame->path, sizeof(frame->path), "path");
		assert_int_equal(frame->line, lines[i].line);
	}
}

/* The frames of the first capture of a process, or of the last process that was forked by it. */
static const struct ev_ruby *first_frames(pid_t pid, bool child)
{
	static _Alignas(8) unsigned char room[EV_RECORD_MAX];
	const struct ev_birth *birth = child ? watch_wait(&watch, EV_FORK, 0, 0) : NULL;
	const struct ev_ruby *raw;
	const struct ev_fault *fault;
	const char *why = NULL;

	for (size_t n = 0; child && birth && birth->parent_tgid != (uint32_t)pid; n++)
		birth = watch_wait(&watch, EV_FORK, 0, n);
	pid = birth ? (pid_t)birth->head.tgid : pid;
	raw = watch_wait(&watch, EV_RUBY, pid, 0);
	fault = watch_wait(&watch, EV_FAULT, pid, 0);
	assert_int_equal(raw->fault_time_ns, fault->head.time_ns);
	assert_int_equal(raw->head.tid, fault->head.tid);
	assert_true(fault->capture_ns > 0);
	assert_int_equal(decode(raw, raw->head.size, (struct ev_head *)room, &why), 0);
	return (const struct ev_ruby *)room;
}

static void test_case(void **state)
{
	const char *name = *state;
	struct line *lines = calloc(LINES, sizeof(*lines));
	char *text = malloc(TEXT);
	size_t count;
	pid_t pid;

	if (geteuid())
		skip();
	assert_non_null(lines);
	assert_non_null(text);
	pid = run(name, text, TEXT);
	count = read_report(text, lines);
	assert_true(count >= 2);
	compare(first_frames(pid, !strcmp(name, "forked")), lines, count);
	free(text);
	free(lines);
}

static const char *const cases[] = {
	"plain",  "blocks",  "operator", "made",  "spaces",    "rescued",    "long",
	"longer", "longest", "deep",     "class", "evaluated", "symbol",     "fiber",
	"thread", "trap",    "at_exit",  "gc",    "forked",    "comparison", "enumerator",
};

enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static int run_all(void)
{
	struct CMUnitTest tests[CASES] = {0};

	for (size_t i = 0; i < CASES; i++)
		tests[i] = (struct CMUnitTest){cases[i], test_case, NULL, NULL, (void *)cases[i]};
	return _cmocka_run_group_tests(root[0] ? root : "this host's Ruby", tests, CASES, open_all,
				       close_all);
}

int main(void)
{
	const char *folder = getenv("LAPIDARY_RUBIES");
	char pattern[300];
	int failed = run_all();
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s/*/usr/bin/ruby", folder ? folder : "build/rubies");
	if (glob(pattern, 0, NULL, &found) != 0)
		return failed;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		found.gl_pathv[i][strlen(found.gl_pathv[i]) - strlen("/usr/bin/ruby")] = '\0';
		root = found.gl_pathv[i];
		failed += run_all();
	}
	globfree(&found);
	return failed;
}

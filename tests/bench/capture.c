/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a capture takes in the dying task's own time: deaths of forked Ruby processes with at least 64 KiB of
 * stack and 20 Ruby frames, one at a time. The record itself says how long it took; p50 and p99 of those are
 * printed beside the aims (DESIGN.md, issue 4: 75 and 150 microseconds).
 *
 *     capture LIBRUBY COUNT LEVELS
 */
#include <fcntl.h>
#include "tests/unit/probe_watch.h"
#include "user/elf/library.h"

enum { GROUP = 1, STACK_MIN = 64 * 1024, FRAMES_MIN = 20, AIM_P50 = 75, AIM_P99 = 150, NS = 1000 };

static const struct probe_options options = {
	.life_ring_bytes = 1 << 20,
	.capture_ring_bytes = 8 << 20,
	.flow_ring_bytes = 1 << 16,
	.stack_bytes = EV_STACK_LARGE,
};

static void attach(struct probe *probe, const char *path)
{
	struct library library = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || library_examine(fd, &library) != 0 || library.kind != LIBRARY_RUBY)
		fail_msg("%s is no Ruby", path);
	for (uint32_t i = 0; i < library.site_count; i++) {
		struct probe_site site = {library.sites[i].site, library.sites[i].offset};

		if (site.site == SITE_RUBY_START)
			assert_true(probe_attach(probe, fd, &site, 1, GROUP, 1, NULL, NULL) >= 0);
	}
	assert_int_equal(probe_set_layout(probe, GROUP, &library.layout, &library.ruby), 0);
	close(fd);
}

struct result {
	uint64_t *took;
	size_t count, frames, stack, others;
};

/* The last record of frames is that of the fault which follows it: nobody else dies here. */
static int take(void *context, const void *record, size_t size)
{
	static uint32_t frames;
	struct result *result = context;
	const struct ev_head *head = record;
	const struct ev_fault *fault = record;

	(void)size;
	if (head->type == EV_RUBY)
		frames = ((const struct ev_ruby *)record)->count;
	if (head->type != EV_FAULT || fault->signal != SIGSEGV)
		return 0;
	if (fault->stack_len < STACK_MIN || frames < FRAMES_MIN) {
		result->others++;
		return 0;
	}
	result->took[result->count++] = fault->capture_ns;
	result->frames += frames;
	result->stack += fault->stack_len;
	return 0;
}

static void run(struct probe *probe, char **argv, struct result *result)
{
	struct pollfd fd = {.fd = probe_fd(probe), .events = POLLIN};
	pid_t pid = fork(), gone = 0;
	bool more;

	if (!pid) {
		execlp("ruby", "ruby", "tests/bench/capture.rb", argv[2], argv[3], NULL);
		_exit(127);
	}
	while (!gone) {
		gone = waitpid(pid, NULL, WNOHANG);
		poll(&fd, 1, 20);
		assert_true(probe_drain(probe, 1000, take, result, &more) >= 0);
	}
}

static unsigned long long rank(const struct result *result, unsigned int percent)
{
	size_t at = result->count * percent / 100;

	return result->took[at < result->count ? at : result->count - 1] / NS;
}

int main(int argc, char **argv)
{
	struct result result = {0};
	struct watch watch;
	size_t count;

	if (argc != 4) {
		fprintf(stderr, "usage: capture LIBRUBY COUNT LEVELS\n");
		return 2;
	}
	count = strtoul(argv[2], NULL, 10);
	result.took = calloc(count + 1, sizeof(*result.took));
	assert_non_null(result.took);
	watch_open(&watch, &options);
	attach(watch.probe, argv[1]);
	run(watch.probe, argv, &result);
	watch_close(&watch);
	if (result.count < count * 9 / 10) {
		fprintf(stderr,
			"lapidary: bench-capture: only %zu of %zu deaths were captured with enough of a "
			"stack\n",
			result.count, count);
		return 1;
	}
	qsort(result.took, result.count, sizeof(*result.took), by_value);
	printf("%zu captures of %zu KiB of stack and %zu Ruby frames in the mean: p50 %llu us (aim %d), p99 "
	       "%llu us (aim %d), "
	       "worst %llu us\n",
	       result.count, result.stack / result.count / 1024, result.frames / result.count,
	       rank(&result, 50), AIM_P50, rank(&result, 99), AIM_P99, rank(&result, 100));
	free(result.took);
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "lapidary.skel.h"
#include "user/probe/probe_private.h"
#include "user/probe/reporter.h"

/*
 * A crash that is being written keeps the probe on; one that takes longer than LONGEST_NS is cut. It stays on
 * for LEAST_NS after the last, because attaching soon after detaching is what takes long. A fault that nobody
 * has confirmed yet attaches it once in PENDING_NS at most: a Ruby that rescues stack overflows all day must
 * not make the host pay all day.
 */
#define LONGEST_NS 5000000000ull
#define LEAST_NS   1000000000ull
#define PENDING_NS 10000000000ull

enum { LOOK_MS = 100 };

struct reporter {
	struct probe *probe;
	struct bpf_link *link; /* NULL: not attached */
	struct ring_buffer *ring;
	uint64_t called_ns;  /* the latest call that counted */
	uint64_t pending_ns; /* the latest that no confirmation backed */
	bool wanted;
	int epoll, stop;
	bool running;
	pthread_t thread;
};

static uint64_t boot_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int words_fd(const struct reporter *reporter)
{
	return bpf_map__fd(reporter->probe->skeleton->maps.report_words);
}

static void since_set(const struct reporter *reporter, uint64_t since_ns)
{
	uint32_t key = REPORT_SINCE;

	bpf_map_update_elem(words_fd(reporter), &key, &since_ns, BPF_ANY);
}

static int attach(struct reporter *reporter)
{
	if (reporter->link)
		return 0;
	reporter->link = bpf_program__attach(reporter->probe->skeleton->progs.report_write);
	if (!reporter->link)
		return -errno;
	since_set(reporter, boot_now());
	return 0;
}

static void detach(struct reporter *reporter)
{
	since_set(reporter, 0);
	bpf_link__destroy(reporter->link);
	reporter->link = NULL;
}

static int called(void *context, void *data, size_t size)
{
	struct reporter *reporter = context;
	const struct report_call *call = data;

	if (size < sizeof(*call))
		return 0;
	if (!call->confirmed && !reporter->link) {
		if (reporter->pending_ns && call->time_ns < reporter->pending_ns + PENDING_NS)
			return 0;
		reporter->pending_ns = call->time_ns;
	}
	if (call->confirmed || !reporter->link) /* pending ones alone do not keep it on */
		reporter->called_ns = boot_now();
	reporter->wanted = true;
	return 0;
}

static bool is_over(const struct reporter *reporter)
{
	uint64_t passed = boot_now() - reporter->called_ns, open = 0;
	uint32_t key = REPORT_OPEN;

	if (passed < LEAST_NS)
		return false;
	bpf_map_lookup_elem(words_fd(reporter), &key, &open);
	return open == 0 || passed > LONGEST_NS;
}

static void *reporter_run(void *argument)
{
	struct reporter *reporter = argument;
	struct epoll_event event;
	int got;

	for (;;) {
		got = epoll_wait(reporter->epoll, &event, 1, reporter->link ? LOOK_MS : -1);
		if (got > 0 && event.data.fd == reporter->stop)
			return NULL;
		reporter->wanted = false;
		ring_buffer__consume(reporter->ring);
		if (reporter->wanted)
			attach(reporter); /* one that fails costs this report and no other */
		else if (reporter->link && is_over(reporter))
			detach(reporter);
	}
}

static int watch(struct reporter *reporter, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(reporter->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int start(struct reporter *reporter)
{
	int wake = bpf_map__fd(reporter->probe->skeleton->maps.report_wake), err;

	reporter->ring = ring_buffer__new(wake, called, reporter, NULL);
	reporter->epoll = epoll_create1(EPOLL_CLOEXEC);
	reporter->stop = eventfd(0, EFD_CLOEXEC);
	if (!reporter->ring || reporter->epoll < 0 || reporter->stop < 0)
		return -errno;
	err = watch(reporter, wake);
	if (!err)
		err = watch(reporter, reporter->stop);
	if (!err)
		err = -pthread_create(&reporter->thread, NULL, reporter_run, reporter);
	reporter->running = !err;
	return err;
}

int reporter_new(struct probe *probe, bool always, struct reporter **out)
{
	struct reporter *reporter;
	int err;

	if (!bpf_program__autoload(probe->skeleton->progs.report_write))
		return -ENOTSUP;
	reporter = calloc(1, sizeof(*reporter));
	if (!reporter)
		return -ENOMEM;
	reporter->probe = probe;
	reporter->epoll = reporter->stop = -1;
	err = always ? attach(reporter) : start(reporter);
	if (err)
		reporter_free(reporter);
	else
		*out = reporter;
	return err;
}

void reporter_free(struct reporter *reporter)
{
	uint64_t one = 1;

	if (!reporter)
		return;
	if (reporter->running && write(reporter->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(reporter->thread, NULL);
	if (reporter->link)
		detach(reporter);
	ring_buffer__free(reporter->ring);
	if (reporter->epoll >= 0)
		close(reporter->epoll);
	if (reporter->stop >= 0)
		close(reporter->stop);
	free(reporter);
}

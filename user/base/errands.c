// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include "user/base/errands.h"

enum { STACK = 512 * 1024 };

struct row {
	struct errand *first, **end;
	size_t count;
};

struct runner {
	struct errands *all;
	struct runner *next;
	const struct errand *errand; /* NULL: idle */
	uint64_t begun_ns;
	bool placed; /* its errand's owner is known and has a place for it */
	bool off;
};

struct errands {
	struct errands_settings settings;
	struct errands_events events;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct row queue, waiting, done; /* waiting: for a place of their owner */
	struct runner *runners;
	uint32_t threads, idle, off; /* threads: those written off as well */
	bool stopping;
};

static void row_init(struct row *row)
{
	*row = (struct row){.end = &row->first};
}

static void row_add(struct row *row, struct errand *errand)
{
	errand->next = NULL;
	*row->end = errand;
	row->end = &errand->next;
	row->count++;
}

static struct errand *row_take(struct row *row, struct errand **link)
{
	struct errand *errand = *link;

	if (!errand)
		return NULL;
	*link = errand->next;
	if (row->end == &errand->next)
		row->end = link;
	row->count--;
	errand->next = NULL;
	return errand;
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

struct tally {
	uint32_t owner, group, owner_off, group_off;
};

static struct tally count(const struct errands *errands, const struct errand *of)
{
	struct tally tally = {0};

	for (const struct runner *runner = errands->runners; runner; runner = runner->next) {
		bool same;

		if (!runner->errand || !runner->placed || runner->errand->group != of->group)
			continue;
		same = runner->errand->owner == of->owner;
		tally.group += !runner->off;
		tally.owner += !runner->off && same;
		tally.group_off += runner->off;
		tally.owner_off += runner->off && same;
	}
	return tally;
}

static bool has_place(const struct errands *errands, const struct errand *errand)
{
	struct tally tally = count(errands, errand);

	return tally.owner < errands->settings.of_owner && tally.group < errands->settings.of_group;
}

static void give_back(struct errands *errands, struct errand *errand, bool refused)
{
	errand->refused = refused;
	row_add(&errands->done, errand);
	errands->events.wake(errands->events.context);
}

static void wait_for_place(struct errands *errands, struct errand *errand)
{
	uint32_t before = 0;

	for (const struct errand *one = errands->waiting.first; one; one = one->next)
		before += one->owner == errand->owner && one->group == errand->group;
	if (before < errands->settings.waiting_of_owner)
		row_add(&errands->waiting, errand);
	else
		give_back(errands, errand, true);
}

/* A place is free: the first that it fits goes to the queue, where it is looked at once more. */
static void call_next(struct errands *errands)
{
	struct errand **link = &errands->waiting.first;

	while (*link && !has_place(errands, *link))
		link = &(*link)->next;
	if (*link) {
		row_add(&errands->queue, row_take(&errands->waiting, link));
		pthread_cond_signal(&errands->more);
	}
}

/* Locked, and locked again when it returns. */
static void do_one(struct errands *errands, struct runner *self, struct errand *errand)
{
	self->errand = errand;
	self->begun_ns = now();
	self->placed = false;
	if (!errand->known) {
		pthread_mutex_unlock(&errands->lock);
		errands->events.whose(errand);
		pthread_mutex_lock(&errands->lock);
		errand->known = true;
	}
	if (errands->stopping || !has_place(errands, errand)) {
		self->errand = NULL;
		if (errands->stopping)
			give_back(errands, errand, true);
		else
			wait_for_place(errands, errand);
		return;
	}
	self->placed = true;
	pthread_mutex_unlock(&errands->lock);
	errands->events.run(errand);
	pthread_mutex_lock(&errands->lock);
	self->errand = NULL;
	errands->off -= self->off;
	self->off = false;
	give_back(errands, errand, false);
	call_next(errands);
}

static void leave(struct errands *errands, struct runner *self)
{
	struct runner **link = &errands->runners;

	while (*link != self)
		link = &(*link)->next;
	*link = self->next;
	errands->threads--;
	free(self);
}

static void *run(void *context)
{
	struct runner *self = context;
	struct errands *errands = self->all;

	pthread_mutex_lock(&errands->lock);
	/* one that was written off and came back is one too many when another has its place */
	while (!errands->stopping && errands->threads - errands->off <= errands->settings.threads) {
		struct errand *errand = row_take(&errands->queue, &errands->queue.first);

		if (errand) {
			do_one(errands, self, errand);
			continue;
		}
		errands->idle++;
		pthread_cond_wait(&errands->more, &errands->lock);
		errands->idle--;
	}
	leave(errands, self);
	pthread_mutex_unlock(&errands->lock);
	return NULL;
}

/* Locked. No signal of the program's is ever delivered to one of these. */
static int start_one(struct errands *errands)
{
	struct runner *runner = calloc(1, sizeof(*runner));
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;
	int err;

	if (!runner)
		return -ENOMEM;
	runner->all = errands;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, &attributes, run, runner);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (err) {
		free(runner);
		return -err;
	}
	runner->next = errands->runners;
	errands->runners = runner;
	errands->threads++;
	return 0;
}

struct errands *errands_new(const struct errands_settings *settings, const struct errands_events *events)
{
	struct errands *errands = calloc(1, sizeof(*errands));

	if (!errands)
		return NULL;
	errands->settings = *settings;
	errands->events = *events;
	row_init(&errands->queue);
	row_init(&errands->waiting);
	row_init(&errands->done);
	pthread_mutex_init(&errands->lock, NULL);
	pthread_cond_init(&errands->more, NULL);
	return errands;
}

int errands_add(struct errands *errands, struct errand *errand)
{
	int err = 0;

	pthread_mutex_lock(&errands->lock);
	if (errands->idle <= errands->queue.count &&
	    errands->threads - errands->off < errands->settings.threads)
		err = start_one(errands);
	if (errands->stopping || errands->threads == errands->off) {
		err = err ? err : -EAGAIN;
	} else {
		err = 0; /* another one will come to it */
		row_add(&errands->queue, errand);
		pthread_cond_signal(&errands->more);
	}
	pthread_mutex_unlock(&errands->lock);
	return err ? -EAGAIN : 0;
}

struct errand *errands_done(struct errands *errands)
{
	struct errand *errand;

	pthread_mutex_lock(&errands->lock);
	errand = row_take(&errands->done, &errands->done.first);
	pthread_mutex_unlock(&errands->lock);
	return errand;
}

static bool may_write_off(const struct errands *errands, const struct runner *runner)
{
	struct tally tally;

	if (errands->off >= errands->settings.off)
		return false;
	tally = count(errands, runner->errand);
	return tally.owner_off < errands->settings.off_of_owner &&
	       tally.group_off < errands->settings.off_of_group;
}

void errands_tick(struct errands *errands, uint64_t now_ns)
{
	pthread_mutex_lock(&errands->lock);
	for (struct runner *runner = errands->runners; runner; runner = runner->next) {
		if (!runner->errand || !runner->placed || runner->off ||
		    now_ns < runner->begun_ns + errands->settings.patience_ns ||
		    !may_write_off(errands, runner))
			continue;
		runner->off = true;
		errands->off++;
		start_one(errands);
		call_next(errands);
	}
	pthread_mutex_unlock(&errands->lock);
}

uint32_t errands_written_off(struct errands *errands)
{
	uint32_t off;

	pthread_mutex_lock(&errands->lock);
	off = errands->off;
	pthread_mutex_unlock(&errands->lock);
	return off;
}

void errands_stop(struct errands *errands)
{
	struct errand *errand;

	if (!errands)
		return;
	pthread_mutex_lock(&errands->lock);
	errands->stopping = true;
	while ((errand = row_take(&errands->queue, &errands->queue.first)) ||
	       (errand = row_take(&errands->waiting, &errands->waiting.first)))
		give_back(errands, errand, true);
	pthread_cond_broadcast(&errands->more);
	pthread_mutex_unlock(&errands->lock);
}

bool errands_free(struct errands *errands)
{
	bool over;

	if (!errands)
		return true;
	pthread_mutex_lock(&errands->lock);
	for (const struct runner *runner = errands->runners; runner; runner = runner->next)
		if (runner->errand) {
			pthread_mutex_unlock(&errands->lock);
			return false;
		}
	pthread_mutex_unlock(&errands->lock);
	/* who is idle leaves at once */
	do {
		pthread_mutex_lock(&errands->lock);
		over = errands->threads == 0;
		pthread_cond_broadcast(&errands->more);
		pthread_mutex_unlock(&errands->lock);
		if (!over)
			sched_yield();
	} while (!over);
	pthread_mutex_destroy(&errands->lock);
	pthread_cond_destroy(&errands->more);
	free(errands);
	return true;
}

// SPDX-License-Identifier: Apache-2.0
/* Questions to spawner and examiner. Neither is waited for. */
#include <unistd.h>
#include "user/base/when.h"
#include "user/probe/targets_private.h"

struct question *ask_new(struct targets *targets, const struct spawner_request *request)
{
	struct question *question;
	uint64_t token = targets->next_token + 1;

	if (table_count(targets->questions) >= QUESTIONS) {
		targets->stats.overflowed++;
		return NULL;
	}
	question = targets->stats.spawner_lost ? NULL : table_put(targets->questions, &token, NULL);
	if (!question)
		return NULL;
	targets->next_token = token;
	question->request = *request;
	question->request.token = token;
	return question;
}

void ask_again(struct targets *targets, const struct question *question)
{
	struct question *again = ask_new(targets, &question->request);
	uint64_t token = targets->next_token;

	if (!again)
		return;
	*again = *question;
	again->request.token = token;
	again->tries++;
}

/* False: the spawner has no room. */
static bool send_one(struct targets *targets, uint64_t token, struct question *question)
{
	const struct file *file = NULL;
	int err;

	/* who asked the same just before may have been answered meanwhile */
	if (question->request.verb == SPAWNER_OPEN_MAPPED && answer_from_memory(targets, &question->asker)) {
		table_delete(targets->questions, &token);
		return true;
	}
	if (question->request.verb == SPAWNER_PERF_UPROBE)
		file = table_peek(targets->files, &question->file);
	err = spawner_ask(targets->options.spawner, &question->request, file ? file->fd : -1);
	return err == 0;
}

static void count_waiting(void *context, const void *key, void *value)
{
	const struct file *file = value;

	(void)key;
	*(uint32_t *)context += file->state == FILE_OPEN || file->state == FILE_EXAMINING;
}

/*
 * The spawner opens faster than the examiner looks. Without a limit the descriptors on apps' mounts would
 * pile up, and the table of files would make room for them by letting attached ones go.
 */
static bool has_room(struct targets *targets)
{
	uint32_t waiting = 0;

	table_each(targets->files, count_waiting, &waiting);
	return waiting < EXAMINED_MAX;
}

void ask_send(struct targets *targets)
{
	bool room = has_room(targets);

	while (targets->sent_token < targets->next_token) {
		uint64_t token = targets->sent_token + 1;
		struct question *question = table_peek(targets->questions, &token);

		/* perf events are asked for by files that wait for nothing else */
		if (question && !room && question->request.verb == SPAWNER_OPEN_MAPPED)
			break;
		if (question && question->request.verb == SPAWNER_OPEN_DEBUG && !debug_has_room(targets))
			break;
		if (question && !send_one(targets, token, question))
			break;
		targets->sent_token = token;
	}
}

void ask_for_examiner(struct targets *targets)
{
	struct spawner_request request = {.verb = SPAWNER_EXAMINER, .uid = targets->options.examiner_uid};
	uint64_t now = when_boot_now();

	if (targets->examiner || targets->examiner_asked || now - targets->examiner_since_ns < RESTART_NS)
		return;
	targets->examiner_since_ns = now;
	targets->examiner_asked = spawner_ask(targets->options.spawner, &request, -1) == 0;
}

/*
 * One file at a time, so that an examiner that dies or hangs names its murderer: that file is taken for
 * neither, the others are asked about again.
 */
static void find_open(void *context, const void *key, void *value)
{
	const struct file_key **found = context;

	if (!*found && ((struct file *)value)->state == FILE_OPEN)
		*found = key;
}

void ask_close_copy(struct targets *targets)
{
	if (targets->copy_fd >= 0)
		close(targets->copy_fd);
	targets->copy_fd = -1;
}

/* By a process that is watched, so that it may have to be unwound. */
bool ask_is_wanted(const struct file *file)
{
	for (uint32_t i = 0; i < file->waiting_count; i++)
		if (file->waiting[i].start_ns)
			return true;
	return false;
}

void ask_examiner(struct targets *targets)
{
	const struct file_key *key = NULL;
	struct file *file;

	if (!targets->examiner) {
		ask_for_examiner(targets);
		return;
	}
	if (targets->busy)
		return;
	table_each(targets->files, find_open, &key);
	if (!key) {
		debug_examine(targets);
		return;
	}
	file = table_peek(targets->files, key);
	targets->examining = *key;
	ask_close_copy(targets);
	targets->copy_fd = copies_find(targets->copies, key) < 0 ? copies_make(file->fd) : -1;
	file->wanted = ask_is_wanted(file);
	if (examiner_ask_copy(targets->examiner, targets->examine_token = ++targets->next_token, file->fd,
			      targets->copy_fd,
			      file->wanted ? EXAMINER_COPY_ALL : EXAMINER_COPY_LIBRARY) != 0)
		return; /* a dead examiner is noticed when its descriptor is read */
	targets->busy = true;
	targets->examining_since_ns = when_boot_now();
	file->state = FILE_EXAMINING;
}

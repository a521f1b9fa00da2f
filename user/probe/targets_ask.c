// SPDX-License-Identifier: Apache-2.0
/* Questions to spawner and examiner. Neither is waited for. */
#include "user/base/when.h"
#include "user/probe/targets_private.h"

struct question *ask_new(struct targets *targets, uint64_t *token)
{
	struct question *question;

	if (table_count(targets->questions) >= QUESTIONS) {
		targets->stats.overflowed++;
		return NULL;
	}
	*token = ++targets->next_token;
	question = table_put(targets->questions, token, NULL);
	if (question)
		question->asked_ns = when_boot_now();
	return question;
}

void ask_spawner(struct targets *targets, struct spawner_request *request, int fd)
{
	int err = spawner_ask(targets->options.spawner, request, fd);

	if (err) {
		table_delete(targets->questions, &request->token);
		targets->stats.overflowed++;
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
	if (!key)
		return;
	file = table_peek(targets->files, key);
	targets->examining = *key;
	if (examiner_ask(targets->examiner, targets->examine_token = ++targets->next_token, file->fd) != 0)
		return; /* a dead examiner is noticed when its descriptor is read */
	targets->busy = true;
	file->state = FILE_EXAMINING;
	file->asked_ns = when_boot_now();
}

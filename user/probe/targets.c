// SPDX-License-Identifier: Apache-2.0
/*
 * The state of a file: a mapping with an unknown (or old) first key asks the spawner to open it; the
 * descriptor that comes back names the file; an unknown file goes to the examiner; a libpq or a Ruby is
 * attached (after its perf events are opened, where uprobe_multi is missing). Everyone who asked in
 * between waits in the file's list.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "user/base/digest.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/probe/targets_private.h"

void targets_report(struct targets *targets, const char *path, const char *what, int err)
{
	char line[160];

	targets->stats.failed++;
	snprintf(line, sizeof(line), "%s: %s", what, strerror(-err));
	if (targets->events.problem)
		targets->events.problem(targets->events.context, path, err ? line : what);
}

static void release_file(void *context, const void *key, void *value)
{
	struct targets *targets = context;
	struct file *file = value;

	(void)key;
	if (file->state == FILE_ATTACHED)
		targets->stats.attached--;
	file_done(file, targets->options.probe, targets->groups);
}

struct sweep {
	struct targets *targets;
	uint64_t now_ns;
};

/* A file whose group has others stays while a process counts through it (bpf/shared.h). */
static void let_go(struct sweep *sweep, struct file *file, const struct file_key *key)
{
	if (groups_files(sweep->targets->groups, file->group) > 1 && users_claim(sweep->targets, file))
		file->idle_since_ns = sweep->now_ns;
	else
		table_delete(sweep->targets->files, key);
}

/* Goes on without perf events that never came; lets idle files go. */
static void sweep_file(void *context, const void *key, void *value)
{
	struct sweep *sweep = context;
	struct file_key copy = *(const struct file_key *)key;
	struct file *file = value;

	if (file->state == FILE_OPENING_EVENTS && sweep->now_ns - file->asked_ns > EVENTS_NS)
		answer_attach(sweep->targets, file, &copy);
	else if (file->state == FILE_ATTACHED && file->users == 0 &&
		 sweep->now_ns - file->idle_since_ns > sweep->targets->options.linger_ns)
		let_go(sweep, file, &copy);
}

void targets_tick(struct targets *targets, uint64_t now_ns)
{
	struct sweep sweep = {targets, now_ns};
	uint64_t limit_ns = targets->options.answer_ns;

	spawner_watchdog(targets->options.spawner, now_ns / 1000000, limit_ns / 1000000);
	if (targets->busy && targets->examiner && now_ns > targets->examining_since_ns + limit_ns)
		answer_lost_examiner(targets, -ETIMEDOUT);
	ask_send(targets);
	table_each(targets->files, sweep_file, &sweep);
	ask_examiner(targets);
}

static struct mapping_key mapping_key_of(const struct maps_region *region)
{
	return (struct mapping_key){
		.inode = region->inode,
		.path_digest = digest_text(DIGEST_START, region->path),
		.device_major = region->device_major,
		.device_minor = region->device_minor,
	};
}

void targets_mapping(struct targets *targets, uint32_t tgid, uint64_t start_ns,
		     const struct maps_region *region)
{
	struct asker asker = {.tgid = tgid,
			      .start_ns = start_ns,
			      .seen_ns = when_boot_now(),
			      .start = region->start,
			      .end = region->end,
			      .offset = region->offset,
			      .mapping = mapping_key_of(region)};
	struct spawner_request request = {.verb = SPAWNER_OPEN_MAPPED,
					  .tgid = tgid,
					  .start_ns = start_ns,
					  .start = region->start,
					  .end = region->end};
	struct question *question;

	if (region->inode == 0 || answer_from_memory(targets, &asker))
		return;
	text_copy(request.path, sizeof(request.path), region->path);
	question = ask_new(targets, &request);
	if (!question)
		return;
	question->asker = asker;
	ask_send(targets);
}

uint8_t targets_build_id(struct targets *targets, const struct maps_region *region, uint8_t out[20])
{
	struct mapping_key key = mapping_key_of(region);
	const struct kind *kind = table_peek(targets->kinds, &key);

	if (!kind)
		return 0;
	memcpy(out, kind->build_id, kind->build_id_len);
	return kind->build_id_len;
}

int targets_copy(struct targets *targets, const struct maps_region *region)
{
	struct mapping_key key = mapping_key_of(region);
	const struct kind *kind = table_peek(targets->kinds, &key);

	return kind ? copies_find(targets->copies, &kind->file) : -1;
}

int targets_copy_debug(struct targets *targets, const struct maps_region *region)
{
	struct mapping_key key = mapping_key_of(region);
	const struct kind *kind = table_peek(targets->kinds, &key);

	return kind ? copies_find_debug(targets->copies, &kind->file) : -1;
}

struct each {
	targets_file_fn fn;
	void *context;
};

static void each_file(void *context, const void *key, void *value)
{
	const struct each *each = context;
	const struct file *file = value;

	(void)key;
	if (file->state == FILE_ATTACHED)
		each->fn(each->context, file->path, &file->library, file->users);
}

void targets_each(const struct targets *targets, targets_file_fn fn, void *context)
{
	struct each each = {fn, context};

	table_each(targets->files, each_file, &each);
}

void targets_stats(const struct targets *targets, struct targets_stats *out)
{
	*out = targets->stats;
	out->copies = copies_count(targets->copies);
	out->copy_bytes = copies_bytes(targets->copies);
}

static void count_unfinished(void *context, const void *key, void *value)
{
	const struct file *file = value;

	(void)key;
	*(size_t *)context += file->state != FILE_ATTACHED && file->state != FILE_REFUSED;
}

bool targets_idle(const struct targets *targets)
{
	size_t unfinished = table_count(targets->questions) + table_count(targets->debugs);

	table_each(targets->files, count_unfinished, &unfinished);
	return unfinished == 0;
}

int targets_fd(const struct targets *targets)
{
	return targets->epoll_fd;
}

int targets_new(const struct targets_options *options, const struct targets_events *events,
		struct targets **out)
{
	struct targets *targets = calloc(1, sizeof(*targets));
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = 0};
	int err = -ENOMEM;

	if (!targets)
		return -ENOMEM;
	targets->options = *options;
	targets->options.fresh_ns = options->fresh_ns ? options->fresh_ns : FRESH_NS;
	targets->options.linger_ns = options->linger_ns ? options->linger_ns : LINGER_NS;
	targets->options.answer_ns = options->answer_ns ? options->answer_ns : ANSWER_NS;
	targets->events = *events;
	targets->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	targets->kinds = table_new(sizeof(struct mapping_key), sizeof(struct kind), KINDS, NULL, NULL);
	targets->questions = table_new(sizeof(uint64_t), sizeof(struct question), QUESTIONS + 1, NULL, NULL);
	targets->files = table_new(sizeof(struct file_key), sizeof(struct file), TARGETS_FILES * 2,
				   release_file, targets);
	targets->users = table_new(sizeof(struct user_key), sizeof(struct user), USERS, users_gone, targets);
	targets->groups = groups_new();
	targets->copies = copies_new();
	if (debug_new(targets) != 0)
		goto out;
	targets->copy_fd = -1;
	if (!targets->kinds || !targets->questions || !targets->files || !targets->users ||
	    !targets->groups || !targets->copies)
		goto out;
	if (targets->epoll_fd < 0 ||
	    epoll_ctl(targets->epoll_fd, EPOLL_CTL_ADD, spawner_fd(options->spawner), &event) != 0) {
		err = -errno;
		goto out;
	}
	ask_for_examiner(targets);
	*out = targets;
	return 0;
out:
	targets_free(targets);
	return err;
}

void targets_free(struct targets *targets)
{
	if (!targets)
		return;
	table_free(targets->users);
	table_free(targets->debugs);
	table_free(targets->files);
	table_free(targets->questions);
	table_free(targets->kinds);
	groups_free(targets->groups);
	copies_free(targets->copies);
	if (targets->copy_fd >= 0)
		close(targets->copy_fd);
	examiner_free(targets->examiner);
	if (targets->epoll_fd >= 0)
		close(targets->epoll_fd);
	free(targets);
}

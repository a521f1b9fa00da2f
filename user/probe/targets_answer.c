// SPDX-License-Identifier: Apache-2.0
/* What the answers mean: a file is known, examined, attached; who waited for it is served. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "user/base/when.h"
#include "user/probe/targets_private.h"

static void remember_kind(struct targets *targets, const struct asker *asker, const struct file *file,
			  const struct file_key *key)
{
	struct kind *kind = table_put(targets->kinds, &asker->mapping, NULL);

	if (!kind)
		return;
	kind->checked_ns = when_boot_now();
	kind->library = file->library.kind;
	kind->file = *key;
	kind->build_id_len = file->library.build_id_len;
	memcpy(kind->build_id, file->library.build_id, sizeof(kind->build_id));
}

bool answer_from_memory(struct targets *targets, const struct asker *asker)
{
	struct kind *kind = table_get(targets->kinds, &asker->mapping);
	struct file *file;

	if (!kind || when_boot_now() - kind->checked_ns > FRESH_NS)
		return false;
	if (kind->library == LIBRARY_NEITHER || (kind->library == LIBRARY_LIBPQ && asker->start_ns == 0))
		return true;
	file = table_get(targets->files, &kind->file);
	if (file)
		answer_serve(targets, file, &kind->file, asker);
	return file != NULL;
}

/* The file is what the asker wanted to know of: a Ruby makes its process a watched one. */
void answer_serve(struct targets *targets, struct file *file, const struct file_key *key,
		  const struct asker *asker)
{
	remember_kind(targets, asker, file, key);
	if (file->state != FILE_ATTACHED)
		return;
	users_note(targets, file, key, asker->tgid, asker->start_ns);
	if (file->library.kind == LIBRARY_RUBY && targets->events.ruby)
		targets->events.ruby(targets->events.context, asker->tgid, asker->start_ns,
				     file->library.version);
}

static void serve_all(struct targets *targets, struct file *file, const struct file_key *key)
{
	for (uint32_t i = 0; i < file->waiting_count; i++) {
		struct asker asker = file->waiting[i];

		answer_serve(targets, file, key, &asker);
	}
	file_forget_waiting(file);
}

struct uid_count {
	uint32_t uid, attached;
};

static void count_uid(void *context, const void *key, void *value)
{
	struct uid_count *count = context;
	const struct file *file = value;

	(void)key;
	count->attached += file->state == FILE_ATTACHED && file->uid == count->uid;
}

/* The host's files are root's, whoever maps them first; the limit is for what a user may make. */
static bool over_limit(struct targets *targets, uint32_t uid)
{
	struct uid_count count = {.uid = uid};

	table_each(targets->files, count_uid, &count);
	return targets->stats.attached >= TARGETS_FILES ||
	       (uid != 0 && count.attached >= TARGETS_FILES_PER_UID);
}

/* The descriptor is closed either way: none is kept on an app's mount. */
void answer_attach(struct targets *targets, struct file *file, const struct file_key *key)
{
	int err = 0;

	if (over_limit(targets, file->uid)) {
		targets->stats.overflowed++;
		targets_report(targets, file->path, "not probed: too many different files are probed already",
			       0);
		file->state = FILE_REFUSED;
	} else {
		err = file_attach(file, targets->options.probe, targets->groups, ++targets->next_attachment);
		file->state = err ? FILE_REFUSED : FILE_ATTACHED;
	}
	file_close(file);
	if (err) {
		targets_report(targets, file->path, "not probed", err);
	} else if (file->state == FILE_ATTACHED) {
		targets->stats.attached++;
		if (targets->events.attached)
			targets->events.attached(targets->events.context, &file->library, file->path);
		if (file->library.problem[0])
			targets_report(targets, file->path, file->library.problem, 0);
	}
	serve_all(targets, file, key);
}

/* perf uprobes: one event a site, opened by the spawner, then all are attached at once. */
static void open_perf_events(struct targets *targets, struct file *file, const struct file_key *key)
{
	if (file_expect_events(file) != 0)
		return;
	file->state = FILE_OPENING_EVENTS;
	file->asked_ns = when_boot_now();
	for (uint32_t i = 0; i < file->library.site_count; i++) {
		struct spawner_request request = {.verb = SPAWNER_PERF_UPROBE,
						  .offset = file->library.sites[i].offset};
		struct question *question = ask_new(targets, &request);

		if (!question)
			continue;
		question->file = *key;
		question->site = i;
		file->events_open++;
	}
	ask_send(targets);
	if (file->events_open == 0)
		answer_attach(targets, file, key);
}

static void examined(struct targets *targets, struct file *file, const struct file_key *key,
		     const struct examiner_answer *answer)
{
	targets->stats.examined++;
	if (answer->result == 0)
		file->library = answer->library;
	else if (answer->result != -ENOEXEC && answer->result != -ENOTSUP)
		targets_report(targets, file->path, "could not be examined", answer->result);
	if (file->library.kind == LIBRARY_NEITHER) {
		file_close(file);
		serve_all(targets, file, key);
		table_delete(targets->files, key); /* its kind is remembered, the file need not be */
	} else if (targets->options.uprobe_multi) {
		answer_attach(targets, file, key);
	} else {
		open_perf_events(targets, file, key);
	}
}

static void opened(struct targets *targets, const struct question *question, struct spawner_answer *answer)
{
	struct file_key key = {
		.device = answer->device, .inode = answer->inode, .changed_ns = answer->changed_ns};
	struct file *file;
	bool fresh;

	if (answer->result) {
		/* the process went, or unmapped it: nothing to tell. Anything else is worth a line. */
		if (answer->result != -ESRCH && answer->result != -ENOENT)
			targets_report(targets, question->request.path, "could not be opened",
				       answer->result);
		return;
	}
	file = table_put(targets->files, &key, &fresh);
	if (!file)
		return;
	if (!fresh && (file->state == FILE_ATTACHED || file->state == FILE_REFUSED)) {
		answer_serve(targets, file, &key, &question->asker);
		return;
	}
	if (fresh) {
		file_start(file, question->request.path, answer->uid, answer->fd);
		answer->fd = -1;
	}
	file_wait(file, &question->asker);
	ask_examiner(targets);
}

static void event_opened(struct targets *targets, const struct question *question,
			 struct spawner_answer *answer)
{
	struct file *file = table_peek(targets->files, &question->file);

	if (!file || file->state != FILE_OPENING_EVENTS)
		return;
	if (answer->result)
		targets_report(targets, file->path, "a perf uprobe could not be opened", answer->result);
	else
		file->event_fds[question->site] = answer->fd;
	if (!answer->result)
		answer->fd = -1;
	if (--file->events_open == 0)
		answer_attach(targets, file, &question->file);
}

static void adopt_examiner(struct targets *targets, struct spawner_answer *answer)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1};

	targets->examiner_asked = false;
	if (answer->result || targets->examiner)
		return;
	targets->examiner = examiner_new(answer->fd);
	if (!targets->examiner)
		return;
	answer->fd = -1;
	epoll_ctl(targets->epoll_fd, EPOLL_CTL_ADD, examiner_fd(targets->examiner), &event);
}

static void spawner_ready(struct targets *targets)
{
	struct spawner_answer answer;
	int got;

	while ((got = spawner_read(targets->options.spawner, &answer)) == 1) {
		struct question *question = table_peek(targets->questions, &answer.token), copy;

		if (answer.verb == SPAWNER_EXAMINER) {
			adopt_examiner(targets, &answer);
		} else if (question) {
			copy = *question;
			table_delete(targets->questions, &answer.token);
			(answer.verb == SPAWNER_PERF_UPROBE ? event_opened : opened)(targets, &copy, &answer);
		}
		if (answer.fd >= 0)
			close(answer.fd);
	}
	if (got == -EPIPE && !targets->spawner_lost) {
		targets->spawner_lost = true;
		/* the nursery is gone, and with it the capabilities: what is probed stays probed */
		epoll_ctl(targets->epoll_fd, EPOLL_CTL_DEL, spawner_fd(targets->options.spawner), NULL);
		targets_report(targets, "spawner",
			       "died with its parent: no new file can be probed; restart the agent", 0);
	}
	ask_send(targets);
}

static void answered(struct targets *targets, const struct examiner_answer *answer)
{
	struct file_key key = targets->examining;
	struct file *file = table_peek(targets->files, &key);

	if (!targets->busy)
		return;
	targets->busy = false;
	if (file && file->state == FILE_EXAMINING)
		examined(targets, file, &key, answer);
}

void answer_lost_examiner(struct targets *targets, int err)
{
	struct examiner_answer none = {.result = err};

	epoll_ctl(targets->epoll_fd, EPOLL_CTL_DEL, examiner_fd(targets->examiner), NULL);
	examiner_free(targets->examiner);
	targets->examiner = NULL;
	targets->stats.examiner_deaths++;
	answered(targets, &none);
}

static void examiner_ready(struct targets *targets)
{
	struct examiner_answer answer;
	int got = 0;

	while (targets->examiner && (got = examiner_read(targets->examiner, &answer)) == 1)
		if (answer.token == targets->examine_token)
			answered(targets, &answer);
	if (got == -EPIPE)
		answer_lost_examiner(targets, -EPIPE);
	ask_examiner(targets);
}

void targets_ready(struct targets *targets)
{
	spawner_ready(targets);
	examiner_ready(targets);
}

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
	kind->refused = file->state == FILE_REFUSED;
	kind->copied = file->wanted || file->library.kind != LIBRARY_NEITHER;
	kind->file = *key;
	memcpy(kind->version, file->library.version, sizeof(kind->version));
	kind->build_id_len = file->library.build_id_len;
	memcpy(kind->build_id, file->library.build_id, sizeof(kind->build_id));
}

/* A Ruby makes its process a watched one. */
static void tell_ruby(struct targets *targets, uint32_t library, const struct asker *asker,
		      const char *version)
{
	if (library == LIBRARY_RUBY && asker->tgid && targets->events.ruby)
		targets->events.ruby(targets->events.context, asker->tgid, asker->start_ns, asker->seen_ns,
				     version);
}

/* A Ruby that ran before its file was known could not note where it lies. Who is gone needs no place. */
static void place(struct targets *targets, const struct file *file, const struct asker *asker)
{
	const struct library *library = &file->library;

	if (library->kind != LIBRARY_RUBY || !asker->start_ns || library->code_offset < asker->offset ||
	    library->code_offset - asker->offset >= asker->end - asker->start)
		return;
	probe_set_place(targets->options.probe, asker->tgid, asker->start_ns, file->group,
			asker->start + (library->code_offset - asker->offset) - library->code_address);
}

static void serve(struct targets *targets, struct file *file, const struct file_key *key,
		  const struct asker *asker)
{
	if (file->state == FILE_ATTACHED && asker->tgid) {
		users_note(targets, file, key, asker->tgid, asker->start_ns);
		place(targets, file, asker);
	}
	tell_ruby(targets, file->library.kind, asker, file->library.version);
}

/* What is remembered is not made fresh by this: that takes a look at the file. */
bool answer_from_memory(struct targets *targets, const struct asker *asker)
{
	struct kind *kind = table_get(targets->kinds, &asker->mapping);
	struct file *file;

	if (!kind || when_boot_now() - kind->checked_ns > targets->options.fresh_ns ||
	    (asker->start_ns && !kind->copied))
		return false;
	if (kind->library == LIBRARY_NEITHER || (kind->library == LIBRARY_LIBPQ && asker->start_ns == 0))
		return true;
	if (kind->refused) {
		tell_ruby(targets, kind->library, asker, kind->version);
		return true;
	}
	file = table_get(targets->files, &kind->file);
	if (!file)
		return false; /* let go meanwhile */
	if (file->state != FILE_ATTACHED)
		return file_wait(file, asker) == 0; /* and on its way again */
	serve(targets, file, &kind->file, asker);
	return true;
}

static void serve_all(struct targets *targets, struct file *file, const struct file_key *key)
{
	for (uint32_t i = 0; i < file->waiting_count; i++) {
		remember_kind(targets, &file->waiting[i], file, key);
		serve(targets, file, key, &file->waiting[i]);
	}
	file_forget_waiting(file);
	/* what it is is remembered; the file need not be, and is looked at again when that is old */
	if (file->state != FILE_ATTACHED)
		table_delete(targets->files, key);
}

struct uid_count {
	uint32_t uid, attached, of_uid;
};

static void count_uid(void *context, const void *key, void *value)
{
	struct uid_count *count = context;
	const struct file *file = value;

	(void)key;
	if (file->state != FILE_ATTACHED && file->state != FILE_OPENING_EVENTS)
		return;
	count->attached++;
	count->of_uid += file->uid == count->uid;
}

/* The host's files are root's, whoever maps them first; the limit is for what a user may make. */
static bool over_limit(struct targets *targets, uint32_t uid)
{
	struct uid_count count = {.uid = uid};

	table_each(targets->files, count_uid, &count);
	return count.attached >= TARGETS_FILES || (uid != 0 && count.of_uid >= TARGETS_FILES_PER_UID);
}

/* Whoever makes such files may make any number of them: one line a minute. */
static void refuse(struct targets *targets, struct file *file, const struct file_key *key)
{
	uint64_t now = when_boot_now();

	targets->stats.refused++;
	if (!targets->limit_told_ns || now - targets->limit_told_ns > FRESH_NS) {
		targets->limit_told_ns = now;
		targets_report(targets, file->path, "not probed: too many different files are probed already",
			       0);
	}
	file->state = FILE_REFUSED;
	file_close(file);
	serve_all(targets, file, key);
}

/* The descriptor is closed either way: none is kept on an app's mount. */
void answer_attach(struct targets *targets, struct file *file, const struct file_key *key)
{
	int err = file_attach(file, targets->options.probe, targets->groups, ++targets->next_attachment);

	file->state = err ? FILE_REFUSED : FILE_ATTACHED;
	file_close(file);
	if (err) {
		targets_report(targets, file->path, "not probed", err);
	} else {
		file->idle_since_ns = when_boot_now(); /* its first user may have to be adopted yet */
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
	if (file_expect_events(file) != 0) {
		answer_attach(targets, file, key); /* says what is missing */
		return;
	}
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

bool answer_was_lost(int result)
{
	return result == -EIO || result == -EPIPE || result == -EPROTO || result == -ETIMEDOUT;
}

static void keep_copy(struct targets *targets, const struct file_key *key,
		      const struct examiner_answer *answer)
{
	if (targets->copy_fd >= 0 && answer->result == 0 && answer->copied)
		copies_keep(targets->copies, key, targets->copy_fd); /* closes it when it cannot */
	else if (targets->copy_fd >= 0)
		close(targets->copy_fd);
	targets->copy_fd = -1;
}

/* One that is there; the one that came last is the likeliest. */
static const struct asker *any_asker(const struct file *file)
{
	for (uint32_t i = file->waiting_count; i-- > 0;)
		if (file->waiting[i].tgid)
			return &file->waiting[i];
	return NULL;
}

static void examined(struct targets *targets, struct file *file, const struct file_key *key,
		     const struct examiner_answer *answer)
{
	if (answer_was_lost(answer->result) && ++file->tries < TRIES) {
		file->state = FILE_OPEN;
		table_get(targets->files, key); /* behind the others */
		return;
	}
	targets->stats.examined++;
	keep_copy(targets, key, answer);
	if (answer->result == 0) {
		file->library = answer->library;
		debug_look(targets, file, key, any_asker(file));
	} else if (answer->result != -ENOEXEC && answer->result != -ENOTSUP) {
		targets_report(targets, file->path, "could not be examined", answer->result);
	}
	if (file->library.kind == LIBRARY_NEITHER && ask_is_wanted(file) && !file->wanted) {
		file->state = FILE_OPEN; /* who came meanwhile is watched: once more, for its copy */
	} else if (file->library.kind == LIBRARY_NEITHER) {
		file_close(file);
		serve_all(targets, file, key);
	} else if (over_limit(targets, file->uid)) {
		refuse(targets, file, key);
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
	if (!fresh && file->state == FILE_ATTACHED) {
		remember_kind(targets, &question->asker, file, &key);
		debug_look(targets, file, &key, &question->asker);
		serve(targets, file, &key, &question->asker);
		return;
	}
	if (fresh) {
		file_start(file, question->request.path, answer->uid, answer->fd);
		answer->fd = -1;
	}
	if (file_wait(file, &question->asker) != 0)
		targets->stats.overflowed++;
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

static void drop_question(void *targets, const void *key, void *value)
{
	(void)value;
	table_delete(((struct targets *)targets)->questions, key);
}

static void drop_unfinished(void *targets, const void *key, void *value)
{
	const struct file_key copy = *(const struct file_key *)key;

	if (((struct file *)value)->state != FILE_ATTACHED)
		table_delete(((struct targets *)targets)->files, &copy);
}

/* The nursery is gone, and with it the capabilities: what is probed stays probed, nothing is waited for. */
static void lose_spawner(struct targets *targets)
{
	targets->stats.spawner_lost = true;
	epoll_ctl(targets->epoll_fd, EPOLL_CTL_DEL, spawner_fd(targets->options.spawner), NULL);
	table_each(targets->questions, drop_question, targets);
	table_each(targets->files, drop_unfinished, targets);
	targets->examiner_asked = false;
	targets_report(targets, "spawner",
		       "died with its parent: no new file can be probed; restart the agent", 0);
}

static void take_answer(struct targets *targets, struct spawner_answer *answer)
{
	struct question *question = table_peek(targets->questions, &answer->token), copy;

	if (!question)
		return;
	copy = *question;
	table_delete(targets->questions, &answer->token);
	/* what was in work when the spawner was lost may be innocent */
	if ((answer->result == -EPIPE || answer->result == -ETIMEDOUT) && copy.tries + 1 < TRIES)
		ask_again(targets, &copy);
	else if (answer->verb == SPAWNER_PERF_UPROBE)
		event_opened(targets, &copy, answer);
	else if (answer->verb == SPAWNER_OPEN_DEBUG)
		debug_opened(targets, &copy, answer);
	else
		opened(targets, &copy, answer);
}

static void pass_on(struct targets *targets, struct spawner_answer *answer)
{
	if (!targets->events.prober)
		return;
	targets->events.prober(targets->events.context, answer->token, answer->result, answer->fd);
	answer->fd = -1;
}

static void pass_on_unwinder(struct targets *targets, struct spawner_answer *answer)
{
	if (!targets->events.unwinder)
		return;
	targets->events.unwinder(targets->events.context, answer->result, answer->fd);
	answer->fd = -1;
}

static void spawner_ready(struct targets *targets)
{
	struct spawner_answer answer;
	int got;

	while ((got = spawner_read(targets->options.spawner, &answer)) == 1) {
		if (answer.token == TARGETS_UNWINDER)
			pass_on_unwinder(targets, &answer);
		else if (answer.verb == SPAWNER_EXAMINER)
			adopt_examiner(targets, &answer);
		else if (answer.verb == SPAWNER_PROBER)
			pass_on(targets, &answer);
		else
			take_answer(targets, &answer);
		if (answer.fd >= 0)
			close(answer.fd);
	}
	if (got == -EPIPE && !targets->stats.spawner_lost)
		lose_spawner(targets);
}

static void answered(struct targets *targets, const struct examiner_answer *answer)
{
	struct file_key key = targets->examining;
	struct file *file = table_peek(targets->files, &key);

	if (!targets->busy)
		return;
	targets->busy = false;
	if (targets->busy_debug)
		debug_examined(targets, answer);
	else if (file && file->state == FILE_EXAMINING)
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
	ask_send(targets);
}

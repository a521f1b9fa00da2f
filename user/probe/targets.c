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
#include "user/base/table.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/probe/examiner.h"
#include "user/probe/targets.h"
#include "user/probe/targets_file.h"

enum {
	KINDS = 16384,   /* mappings remembered */
	QUESTIONS = 256, /* open at once */
	USERS = 8192,    /* processes that use an attached file */
	USER_FILES = 4,  /* libraries a process uses; as many as a mark holds */
};

#define FRESH_NS   60000000000ull /* a first key is believed for so long */
#define LINGER_NS  60000000000ull /* an attachment nobody uses any more */
#define ANSWER_NS  5000000000ull  /* spawner and examiner owe an answer for so long at most */
#define RESTART_NS 1000000000ull  /* at most one new examiner a second */

/* What a mapping turned out to be. */
struct kind {
	uint64_t checked_ns;
	uint32_t library; /* enum library_kind */
	struct file_key file;
	uint8_t build_id_len;
	uint8_t build_id[20];
};

/* A question to the spawner that is not answered yet. */
struct question {
	uint64_t asked_ns;
	struct asker asker;
	struct file_key file; /* PERF: which file it is about */
	uint32_t site;        /* PERF: index of the site */
	bool perf;            /* else: to open a mapping */
	char path[256];
};

struct user_key {
	uint64_t start_ns;
	uint32_t tgid, pad;
};

struct user {
	uint32_t count;
	struct file_key files[USER_FILES];
};

struct targets {
	struct targets_options options;
	struct targets_events events;
	int epoll_fd;
	struct examiner *examiner;
	bool examiner_asked;
	bool busy; /* the examiner has `examining` */
	struct file_key examining;
	uint64_t examiner_since_ns;
	uint64_t next_token, examine_token;
	struct table *kinds;     /* mapping_key → kind */
	struct table *questions; /* token → question */
	struct table *files;     /* file_key → file */
	struct table *users;     /* user_key → user */
	struct groups *groups;
	uint16_t next_attachment;
	struct targets_stats stats;
};

static void report(struct targets *targets, const char *path, const char *what, int err)
{
	char line[160];

	targets->stats.failed++;
	snprintf(line, sizeof(line), "%s: %s", what, strerror(-err));
	if (targets->events.problem)
		targets->events.problem(targets->events.context, path, err ? line : what);
}

/* --- files and who uses them ------------------------------------------------------------------------ */

static void release_file(void *context, const void *key, void *value)
{
	struct targets *targets = context;
	struct file *file = value;

	(void)key;
	if (file->state == FILE_ATTACHED)
		targets->stats.attached--;
	file_done(file, targets->options.probe, targets->groups);
}

static void drop_user(void *context, const void *key, void *value)
{
	struct targets *targets = context;
	struct user *user = value;

	(void)key;
	for (uint32_t i = 0; i < user->count; i++) {
		struct file *file = table_peek(targets->files, &user->files[i]);

		if (file && file->users > 0 && --file->users == 0)
			file->idle_since_ns = when_boot_now();
	}
}

static void note_user(struct targets *targets, struct file *file, const struct file_key *key, uint32_t tgid,
		      uint64_t start_ns)
{
	struct user_key user_key = {.start_ns = start_ns, .tgid = tgid};
	struct user *user = start_ns ? table_put(targets->users, &user_key, NULL) : NULL;

	if (!user || user->count == USER_FILES)
		return;
	for (uint32_t i = 0; i < user->count; i++)
		if (memcmp(&user->files[i], key, sizeof(*key)) == 0)
			return;
	user->files[user->count++] = *key;
	file->users++;
}

void targets_fork(struct targets *targets, uint32_t parent, uint64_t parent_start_ns, uint32_t child,
		  uint64_t child_start_ns)
{
	struct user_key key = {.start_ns = parent_start_ns, .tgid = parent};
	struct user *user = table_get(targets->users, &key), copy;

	if (!user)
		return;
	copy = *user; /* noting the child may move the parent out of a full table */
	for (uint32_t i = 0; i < copy.count; i++) {
		struct file *file = table_peek(targets->files, &copy.files[i]);

		if (file)
			note_user(targets, file, &copy.files[i], child, child_start_ns);
	}
}

void targets_gone(struct targets *targets, uint32_t tgid, uint64_t start_ns)
{
	struct user_key key = {.start_ns = start_ns, .tgid = tgid};

	table_delete(targets->users, &key);
}

/* --- asking ------------------------------------------------------------------------------------------ */

static struct question *new_question(struct targets *targets, uint64_t *token)
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

static void ask_spawner(struct targets *targets, struct spawner_request *request, int fd)
{
	int err = spawner_ask(targets->options.spawner, request, fd);

	if (err) {
		table_delete(targets->questions, &request->token);
		targets->stats.overflowed++;
	}
}

static void ask_for_examiner(struct targets *targets)
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

static void examine_next(struct targets *targets)
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

/* --- what a file turned out to be -------------------------------------------------------------------- */

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

/* The file is what the asker wanted to know of: a Ruby makes its process a watched one. */
static void serve(struct targets *targets, struct file *file, const struct file_key *key,
		  const struct asker *asker)
{
	remember_kind(targets, asker, file, key);
	if (file->state != FILE_ATTACHED)
		return;
	note_user(targets, file, key, asker->tgid, asker->start_ns);
	if (file->library.kind == LIBRARY_RUBY && targets->events.ruby)
		targets->events.ruby(targets->events.context, asker->tgid, asker->start_ns,
				     file->library.version);
}

static void serve_all(struct targets *targets, struct file *file, const struct file_key *key)
{
	for (uint32_t i = 0; i < file->waiting_count; i++) {
		struct asker asker = file->waiting[i];

		serve(targets, file, key, &asker);
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
static void attach(struct targets *targets, struct file *file, const struct file_key *key)
{
	int err = 0;

	if (over_limit(targets, file->uid)) {
		targets->stats.overflowed++;
		report(targets, file->path, "not probed: too many different files are probed already", 0);
		file->state = FILE_REFUSED;
	} else {
		err = file_attach(file, targets->options.probe, targets->groups, ++targets->next_attachment);
		file->state = err ? FILE_REFUSED : FILE_ATTACHED;
	}
	file_close(file);
	if (err) {
		report(targets, file->path, "not probed", err);
	} else if (file->state == FILE_ATTACHED) {
		targets->stats.attached++;
		if (targets->events.attached)
			targets->events.attached(targets->events.context, &file->library, file->path);
		if (file->library.problem[0])
			report(targets, file->path, file->library.problem, 0);
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
		struct question *question = new_question(targets, &request.token);

		if (!question)
			continue;
		question->perf = true;
		question->file = *key;
		question->site = i;
		file->events_open++;
		ask_spawner(targets, &request, file->fd);
	}
	if (file->events_open == 0)
		attach(targets, file, key);
}

static void examined(struct targets *targets, struct file *file, const struct file_key *key,
		     const struct examiner_answer *answer)
{
	targets->stats.examined++;
	if (answer->result == 0)
		file->library = answer->library;
	else if (answer->result != -ENOEXEC && answer->result != -ENOTSUP)
		report(targets, file->path, "could not be examined", answer->result);
	if (file->library.kind == LIBRARY_NEITHER) {
		file_close(file);
		serve_all(targets, file, key);
		table_delete(targets->files, key); /* its kind is remembered, the file need not be */
	} else if (targets->options.uprobe_multi) {
		attach(targets, file, key);
	} else {
		open_perf_events(targets, file, key);
	}
}

/* --- answers ----------------------------------------------------------------------------------------- */

static void opened(struct targets *targets, const struct question *question, struct spawner_answer *answer)
{
	struct file_key key = {
		.device = answer->device, .inode = answer->inode, .changed_ns = answer->changed_ns};
	struct file *file;
	bool fresh;

	if (answer->result) {
		/* the process went, or unmapped it: nothing to tell. Anything else is worth a line. */
		if (answer->result != -ESRCH && answer->result != -ENOENT)
			report(targets, question->path, "could not be opened", answer->result);
		return;
	}
	file = table_put(targets->files, &key, &fresh);
	if (!file)
		return;
	if (!fresh && (file->state == FILE_ATTACHED || file->state == FILE_REFUSED)) {
		serve(targets, file, &key, &question->asker);
		return;
	}
	if (fresh) {
		file_start(file, question->path, answer->uid, answer->fd);
		answer->fd = -1;
	}
	file_wait(file, &question->asker);
	examine_next(targets);
}

static void event_opened(struct targets *targets, const struct question *question,
			 struct spawner_answer *answer)
{
	struct file *file = table_peek(targets->files, &question->file);

	if (!file || file->state != FILE_OPENING_EVENTS)
		return;
	if (answer->result)
		report(targets, file->path, "a perf uprobe could not be opened", answer->result);
	else
		file->event_fds[question->site] = answer->fd;
	if (!answer->result)
		answer->fd = -1;
	if (--file->events_open == 0)
		attach(targets, file, &question->file);
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
			(copy.perf ? event_opened : opened)(targets, &copy, &answer);
		}
		if (answer.fd >= 0)
			close(answer.fd);
	}
	if (got == -EPIPE)
		targets->examiner_asked = false;
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

static void lose_examiner(struct targets *targets, int err)
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
		lose_examiner(targets, -EPIPE);
	examine_next(targets);
}

void targets_ready(struct targets *targets)
{
	spawner_ready(targets);
	examiner_ready(targets);
}

/* --- once a second ----------------------------------------------------------------------------------- */

struct sweep {
	struct targets *targets;
	uint64_t now_ns;
};

/* Goes on without perf events that never came; lets idle files go. */
static void sweep_file(void *context, const void *key, void *value)
{
	struct sweep *sweep = context;
	struct file_key copy = *(const struct file_key *)key;
	struct file *file = value;

	if (file->state == FILE_OPENING_EVENTS && sweep->now_ns - file->asked_ns > 2 * ANSWER_NS)
		attach(sweep->targets, file, &copy);
	else if (file->state == FILE_ATTACHED && file->users == 0 &&
		 sweep->now_ns - file->idle_since_ns > LINGER_NS)
		table_delete(sweep->targets->files, &copy);
}

/* The spawner died with it, or overran its time. */
static void sweep_question(void *context, const void *key, void *value)
{
	struct sweep *sweep = context;
	const struct question *question = value;

	if (sweep->now_ns - question->asked_ns > 2 * ANSWER_NS)
		table_delete(sweep->targets->questions, key);
}

void targets_tick(struct targets *targets, uint64_t now_ns)
{
	struct sweep sweep = {targets, now_ns};

	struct file *file = targets->busy ? table_peek(targets->files, &targets->examining) : NULL;

	spawner_watchdog(targets->options.spawner, now_ns / 1000000, ANSWER_NS / 1000000);
	if (file && targets->examiner && now_ns - file->asked_ns > ANSWER_NS)
		lose_examiner(targets, -ETIMEDOUT);
	table_each(targets->questions, sweep_question, &sweep);
	table_each(targets->files, sweep_file, &sweep);
	examine_next(targets);
}

/* --- the way in -------------------------------------------------------------------------------------- */

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
	struct asker asker = {.tgid = tgid, .start_ns = start_ns, .mapping = mapping_key_of(region)};
	struct spawner_request request = {.verb = SPAWNER_OPEN_MAPPED,
					  .tgid = tgid,
					  .start_ns = start_ns,
					  .start = region->start,
					  .end = region->end};
	struct kind *kind = table_get(targets->kinds, &asker.mapping);
	struct question *question;

	if (region->inode == 0)
		return;
	if (kind && when_boot_now() - kind->checked_ns < FRESH_NS) {
		struct file *file = table_get(targets->files, &kind->file);

		if (kind->library == LIBRARY_NEITHER || (kind->library == LIBRARY_LIBPQ && start_ns == 0))
			return;
		if (file) {
			serve(targets, file, &kind->file, &asker);
			return;
		}
	}
	question = new_question(targets, &request.token);
	if (!question)
		return;
	question->asker = asker;
	text_copy(question->path, sizeof(question->path), region->path);
	text_copy(request.path, sizeof(request.path), region->path);
	ask_spawner(targets, &request, -1);
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
	targets->events = *events;
	targets->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	targets->kinds = table_new(sizeof(struct mapping_key), sizeof(struct kind), KINDS, NULL, NULL);
	targets->questions = table_new(sizeof(uint64_t), sizeof(struct question), QUESTIONS + 1, NULL, NULL);
	targets->files = table_new(sizeof(struct file_key), sizeof(struct file), TARGETS_FILES * 2,
				   release_file, targets);
	targets->users = table_new(sizeof(struct user_key), sizeof(struct user), USERS, drop_user, targets);
	targets->groups = groups_new();
	if (!targets->kinds || !targets->questions || !targets->files || !targets->users || !targets->groups)
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
	table_free(targets->files);
	table_free(targets->questions);
	table_free(targets->kinds);
	groups_free(targets->groups);
	examiner_free(targets->examiner);
	if (targets->epoll_fd >= 0)
		close(targets->epoll_fd);
	free(targets);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What targets*.c share: the tables, and the steps that call each other over the files. */
#ifndef LAPIDARY_TARGETS_PRIVATE_H
#define LAPIDARY_TARGETS_PRIVATE_H

#include "user/base/table.h"
#include "user/elf/distil.h"
#include "user/probe/copies.h"
#include "user/probe/examiner.h"
#include "user/probe/targets.h"
#include "user/probe/targets_file.h"

enum {
	KINDS = 16384,     /* mappings remembered */
	QUESTIONS = 4096,  /* open at once: what a host full of processes maps when the agent starts */
	USERS = 8192,      /* processes that use an attached file */
	USER_FILES = 4,    /* libraries a process uses; as many as a mark holds */
	EXAMINED_MAX = 64, /* files that wait for the examiner with an open descriptor, more or less */
	TRIES = 2, /* of what was in work when a spawner or an examiner was lost: it may be innocent */
};

#define FRESH_NS   60000000000ull /* a first key is believed for so long */
#define LINGER_NS  10000000000ull /* an attachment nobody uses any more */
#define ANSWER_NS  5000000000ull  /* spawner and examiner owe an answer for so long at most */
#define EVENTS_NS  30000000000ull /* a file goes on without perf events that do not come */
#define RESTART_NS 1000000000ull  /* at most one new examiner a second */

/* What a mapping turned out to be. */
struct kind {
	uint64_t checked_ns;
	uint32_t library; /* enum library_kind */
	bool refused;     /* it is not probed */
	bool copied;      /* a copy was asked for, whatever came of it */
	char version[16]; /* of a Ruby */
	struct file_key file;
	uint8_t build_id_len;
	uint8_t build_id[20];
};

/* A question to the spawner that is not answered, or not even sent yet. */
struct question {
	struct spawner_request request;
	struct asker asker;
	struct file_key file;      /* PERF, DEBUG: which file it is about */
	struct distil_debug debug; /* DEBUG: what is sought */
	uint32_t owner;            /* DEBUG: the file's */
	uint32_t site;             /* PERF: index of the site */
	uint32_t tries;
};

/* A separate debug file on its way through the examiner; by the key of the file that it describes. */
struct debug_file {
	struct distil_debug wanted;
	int fd;
	uint32_t tries;
	char path[256]; /* of the file that it describes */
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
	bool busy;       /* the examiner has `examining` */
	bool busy_debug; /* … and of it the debug file */
	uint64_t examining_since_ns;
	uint64_t limit_told_ns; /* when it was last said that there are too many files */
	struct file_key examining;
	struct copies *copies;
	int copy_fd; /* of the file in work, -1: none is made */
	uint64_t examiner_since_ns;
	uint64_t next_token, sent_token, examine_token; /* questions up to sent_token were sent */
	struct table *kinds;                            /* mapping_key → kind */
	struct table *questions;                        /* token → question */
	struct table *files;                            /* file_key → file */
	struct table *users;                            /* user_key → user */
	struct table *debugs;                           /* file_key → debug_file */
	struct groups *groups;
	uint16_t next_attachment;
	struct targets_stats stats;
};

/* targets.c: says it through the owner's event; err 0: `what` alone is the line. */
void targets_report(struct targets *targets, const char *path, const char *what, int err);

/* targets_users.c: who uses which file, so that an attachment goes with its last user. */
void users_note(struct targets *targets, struct file *file, const struct file_key *key, uint32_t tgid,
		uint64_t start_ns);
/* True when a process counts its hits through this attachment although it maps another of its group. */
bool users_claim(struct targets *targets, const struct file *file);
void users_gone(void *targets, const void *key, void *user); /* of the table of users */

/* targets_ask.c */
/* Queues a question; NULL when too many are open. The caller fills in who asks, then calls ask_send. */
struct question *ask_new(struct targets *targets, const struct spawner_request *request);
/* Once more, behind all others. */
void ask_again(struct targets *targets, const struct question *question);
void ask_send(struct targets *targets); /* what the spawner has room for */
void ask_for_examiner(struct targets *targets);
void ask_examiner(struct targets *targets); /* about the next file that waits for it */

void ask_close_copy(struct targets *targets); /* the one in work, if any */

/* A watched process waits for it. */
bool ask_is_wanted(const struct file *file);

/* targets_answer.c */
void answer_attach(struct targets *targets, struct file *file, const struct file_key *key);
/* True when the asker's mapping is known well enough: it is served, if there is anything to serve. */
bool answer_from_memory(struct targets *targets, const struct asker *asker);
/* targets_debug.c: separate debug files, for the names of static functions in stripped ones. */
int debug_new(struct targets *targets); /* -ENOMEM */
/* Asks for the file's if it has no symbols and nobody asked of late, in the root of who maps it. */
void debug_look(struct targets *targets, const struct file *file, const struct file_key *key,
		const struct asker *asker);
bool debug_has_room(struct targets *targets); /* for one more to be opened */
void debug_opened(struct targets *targets, const struct question *question, struct spawner_answer *answer);
/* Has the examiner look at the next one; nothing else may be in work. */
void debug_examine(struct targets *targets);
void debug_examined(struct targets *targets, const struct examiner_answer *answer);

/* The examiner was lost with the file in work. */
bool answer_was_lost(int result);
void answer_lost_examiner(struct targets *targets, int err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* One file on its way to being probed, and the groups (build-id and layout) that probed files belong to.
 * Inner header of user/probe/targets.c. */
#ifndef LAPIDARY_TARGETS_FILE_H
#define LAPIDARY_TARGETS_FILE_H

#include <stdint.h>
#include "user/elf/library.h"
#include "user/probe/probe.h"

/* A file as fstat sees it; the change time tells a reused inode or a file written in place from the old one.
 */
struct file_key {
	uint64_t device, inode, changed_ns;
};

/* One mapping by which a file is known: enough to remember what it was. */
struct mapping_key {
	uint64_t inode;
	uint64_t path_digest;
	uint32_t device_major, device_minor;
};

/* Who wants to know what a file is: a process, by one of its mappings. */
struct asker {
	uint32_t tgid;               /* 0: it ended meanwhile, nobody is to be told */
	uint64_t start_ns;           /* 0: not watched yet */
	uint64_t seen_ns;            /* when its mapping was */
	uint64_t start, end, offset; /* of the mapping */
	struct mapping_key mapping;
};

enum file_state {
	FILE_OPEN,           /* has a descriptor, is to be examined */
	FILE_EXAMINING,      /* the examiner has it */
	FILE_OPENING_EVENTS, /* perf uprobes are being opened */
	FILE_ATTACHED,
	FILE_REFUSED, /* a library that is not probed: a limit, or it failed; it is about to be deleted */
};

struct file {
	enum file_state state;
	int fd;         /* -1 once attached or refused */
	int handle;     /* of probe_attach, -1 */
	uint32_t uid;   /* its owner */
	uint32_t users; /* processes that map it */
	uint16_t group, attachment;
	bool wanted;    /* a watched process maps it: a copy is made, whatever it is */
	uint32_t tries; /* examiners that were lost with it */
	uint64_t asked_ns, idle_since_ns;
	uint32_t events_open; /* perf events not answered yet */
	int *event_fds;       /* one a site, -1; NULL with uprobe_multi */
	struct asker *waiting;
	uint32_t waiting_count, waiting_room;
	struct library library;
	char path[256];
};

struct groups;
struct groups *groups_new(void);
void groups_free(struct groups *groups);
/* How many attached files the group has. */
uint32_t groups_files(const struct groups *groups, uint16_t group);

/* fd becomes the file's. */
void file_start(struct file *file, const char *path, uint32_t uid, int fd);
int file_wait(struct file *file, const struct asker *asker); /* -ENOMEM */
void file_forget_waiting(struct file *file);
/* Makes room for event_fds. */
int file_expect_events(struct file *file);
/* Attaches all sites. 0 or -errno. */
int file_attach(struct file *file, struct probe *probe, struct groups *groups, uint16_t attachment);
void file_close(struct file *file); /* the descriptors, not the attachment */
/* Everything, the attachment too. */
void file_done(struct file *file, struct probe *probe, struct groups *groups);

#endif

// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "user/base/text.h"
#include "user/probe/targets_file.h"

/*
 * A group is a build-id together with what its accessors say. A hostile copy that keeps the build-id of
 * the system's libpq but has other code would otherwise change the offsets that honest processes are
 * read with: it gets a group of its own.
 */
struct group {
	uint32_t files;
	uint8_t build_id_len;
	uint8_t build_id[20];
	struct libpq_layout layout;
	struct ruby_layout ruby;
};

struct groups {
	struct group group[GROUPS_MAX]; /* index 0 is never used: a mark's free slot */
};

struct groups *groups_new(void)
{
	return calloc(1, sizeof(struct groups));
}

void groups_free(struct groups *groups)
{
	free(groups);
}

static bool group_is(const struct group *group, const struct library *library)
{
	return group->files > 0 && group->build_id_len == library->build_id_len &&
	       memcmp(group->build_id, library->build_id, sizeof(group->build_id)) == 0 &&
	       memcmp(&group->layout, &library->layout, sizeof(group->layout)) == 0 &&
	       memcmp(&group->ruby, &library->ruby, sizeof(group->ruby)) == 0;
}

/* The group's number with one more file in it, 0 when all are taken. */
static uint16_t group_join(struct groups *groups, const struct library *library)
{
	uint16_t empty = 0;

	for (uint16_t i = 1; i < GROUPS_MAX; i++) {
		struct group *group = &groups->group[i];

		/* without a build-id nothing says that two files are the same */
		if (library->build_id_len && group_is(group, library)) {
			group->files++;
			return i;
		}
		if (group->files == 0 && !empty)
			empty = i;
	}
	if (empty) {
		struct group *group = &groups->group[empty];

		group->files = 1;
		group->build_id_len = library->build_id_len;
		memcpy(group->build_id, library->build_id, sizeof(group->build_id));
		group->layout = library->layout;
		group->ruby = library->ruby;
	}
	return empty;
}

uint32_t groups_files(const struct groups *groups, uint16_t group)
{
	return groups->group[group].files;
}

void file_start(struct file *file, const char *path, uint32_t uid, int fd)
{
	file->state = FILE_OPEN;
	file->fd = fd;
	file->handle = -1;
	file->uid = uid;
	text_copy(file->path, sizeof(file->path), path);
}

/* As many as map it while it is examined: at most one a question, and those are counted. */
int file_wait(struct file *file, const struct asker *asker)
{
	if (file->waiting_count == file->waiting_room) {
		uint32_t room = file->waiting_room ? file->waiting_room * 2 : 16;
		struct asker *bigger = reallocarray(file->waiting, room, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		file->waiting = bigger;
		file->waiting_room = room;
	}
	file->waiting[file->waiting_count++] = *asker;
	return 0;
}

void file_forget_waiting(struct file *file)
{
	free(file->waiting);
	file->waiting = NULL;
	file->waiting_count = file->waiting_room = 0;
}

int file_expect_events(struct file *file)
{
	file->event_fds = malloc(LIBRARY_SITES * sizeof(*file->event_fds));
	if (!file->event_fds)
		return -ENOMEM;
	for (int i = 0; i < LIBRARY_SITES; i++)
		file->event_fds[i] = -1;
	return 0;
}

/* probe_attach asks for the perf event of an offset; it takes the descriptor over. */
static int take_event(void *context, int file_fd, uint64_t offset)
{
	struct file *file = context;

	(void)file_fd;
	for (uint32_t i = 0; file->event_fds && i < file->library.site_count; i++) {
		if (file->library.sites[i].offset == offset && file->event_fds[i] >= 0) {
			int fd = file->event_fds[i];

			file->event_fds[i] = -1;
			return fd;
		}
	}
	return -ENOENT;
}

int file_attach(struct file *file, struct probe *probe, struct groups *groups, uint16_t attachment)
{
	struct probe_site sites[LIBRARY_SITES];
	uint16_t group;
	int handle;

	for (uint32_t i = 0; i < file->library.site_count; i++)
		sites[i] = (struct probe_site){file->library.sites[i].site, file->library.sites[i].offset};
	group = group_join(groups, &file->library);
	if (!group)
		return -ENOSPC;
	/* also for a Ruby: it may have libpq linked in, and the group's last owner left a layout behind */
	handle = probe_set_layout(probe, group, &file->library.layout, &file->library.ruby);
	if (handle == 0)
		handle = probe_attach(probe, file->fd, sites, file->library.site_count, group, attachment,
				      file->event_fds ? take_event : NULL, file);
	if (handle < 0) {
		groups->group[group].files--;
		return handle;
	}
	file->handle = handle;
	file->group = group;
	file->attachment = attachment;
	return 0;
}

void file_close(struct file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	for (int i = 0; file->event_fds && i < LIBRARY_SITES; i++)
		if (file->event_fds[i] >= 0)
			close(file->event_fds[i]);
	free(file->event_fds);
	file->event_fds = NULL;
}

void file_done(struct file *file, struct probe *probe, struct groups *groups)
{
	file_close(file);
	file_forget_waiting(file);
	if (file->handle < 0)
		return;
	probe_detach(probe, file->handle);
	groups->group[file->group].files--;
	file->handle = -1;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * The tree's child: everything that touches the root happens here. It runs no code of the root and reads no
 * content: names and what stat says is all it needs; opened files are handed to whoever may parse them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "user/base/digest.h"
#include "user/base/text.h"
#include "user/probe/gem_tree_private.h"
#include "user/probe/message.h"

int tree_open_below(int root, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	long fd;

	do {
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	} while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

int tree_open_file(int root, const char *path)
{
	int looked = tree_open_below(root, path, O_PATH), fd;
	char name[40];
	struct stat st;

	if (looked < 0)
		return looked;
	if (fstat(looked, &st) != 0) {
		fd = -errno;
	} else if (!S_ISREG(st.st_mode)) {
		fd = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	} else {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", looked);
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			fd = -errno;
	}
	close(looked);
	return fd;
}

void tree_step(struct tree_walk *walk, const char *path)
{
	text_copy(walk->shared->now, sizeof(walk->shared->now), path);
	atomic_fetch_add_explicit(&walk->shared->steps, 1, memory_order_release);
}

static void add_record(struct tree_walk *walk, const struct tree_record *head, const char *path)
{
	uint64_t used = atomic_load_explicit(&walk->shared->used, memory_order_relaxed);
	size_t length = strlen(path) + 1;
	struct tree_record *record = (struct tree_record *)(walk->shared->records + used);
	size_t size = (sizeof(*record) + length + 7) & ~(size_t)7;

	if (length > TREE_PATH_MAX || used + size > TREE_SHARED_BYTES)
		return;
	*record = *head;
	record->size = (uint32_t)size;
	record->path_size = (uint16_t)length;
	memcpy(record->path, path, length);
	atomic_store_explicit(&walk->shared->used, used + size, memory_order_release);
}

void tree_problem(struct tree_walk *walk, const char *path, int result)
{
	struct tree_record record = {.kind = TREE_PROBLEM, .result = result};

	add_record(walk, &record, path);
}

static void tell_full(struct tree_walk *walk, const char *path)
{
	if (!walk->full)
		tree_problem(walk, path, -E2BIG);
	walk->full = true;
}

void tree_found(struct tree_walk *walk, enum tree_kind kind, const char *path, const struct stat *st)
{
	struct tree_record record = {
		.kind = (uint16_t)kind,
		.uid = st->st_uid,
		.mode = st->st_mode,
		.device = st->st_dev,
		.inode = st->st_ino,
		.bytes = (uint64_t)st->st_size,
		.mtime_ns = st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
		.ctime_ns = st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
	};

	if (walk->found >= TREE_ENTRIES) {
		tell_full(walk, path);
		return;
	}
	walk->found++;
	add_record(walk, &record, path);
}

bool tree_add_file(struct tree_walk *walk, enum tree_kind kind, const char *path)
{
	int fd = tree_open_below(walk->root, path, O_PATH);
	struct stat st;

	if (fd == -ENOENT || fd == -ENOTDIR)
		return false;
	if (fd < 0) {
		tree_problem(walk, path, fd);
		return true;
	}
	if (fstat(fd, &st) != 0)
		tree_problem(walk, path, -errno);
	else if (!S_ISREG(st.st_mode))
		tree_problem(walk, path, -EINVAL);
	else
		tree_found(walk, kind, path, &st);
	close(fd);
	return true;
}

static bool visited_grow(struct tree_walk *walk)
{
	size_t size = walk->visited_size ? walk->visited_size * 2 : 1024;
	uint64_t *moved = calloc(size, 2 * sizeof(*moved));

	if (!moved)
		return false;
	for (size_t i = 0; i < walk->visited_size; i++) {
		uint64_t device = walk->visited[2 * i], inode = walk->visited[2 * i + 1];
		size_t at = digest_mix(inode ^ device << 40) & (size - 1);

		if (!inode)
			continue;
		while (moved[2 * at + 1])
			at = (at + 1) & (size - 1);
		moved[2 * at] = device;
		moved[2 * at + 1] = inode;
	}
	free(walk->visited);
	walk->visited = moved;
	walk->visited_size = size;
	return true;
}

bool tree_visit(struct tree_walk *walk, const struct stat *st)
{
	uint64_t device = st->st_dev, inode = st->st_ino;
	size_t at;

	if (walk->visited_count * 2 >= walk->visited_size && !visited_grow(walk))
		return false;
	at = digest_mix(inode ^ device << 40) & (walk->visited_size - 1);
	while (walk->visited[2 * at + 1]) {
		if (walk->visited[2 * at] == device && walk->visited[2 * at + 1] == inode)
			return false;
		at = (at + 1) & (walk->visited_size - 1);
	}
	walk->visited[2 * at] = device;
	walk->visited[2 * at + 1] = inode;
	walk->visited_count++;
	return true;
}

bool tree_skipped(const struct tree_walk *walk, const char *path)
{
	for (size_t i = 0; i < walk->skip_count; i++)
		if (strcmp(walk->skip[i], path) == 0)
			return true;
	return false;
}

int tree_each_name(struct tree_walk *walk, const char *path, tree_name_fn fn, void *context)
{
	struct dirent *name;
	DIR *folder;
	int fd;

	if (tree_skipped(walk, path))
		return 0;
	tree_step(walk, path);
	if (walk->folders++ >= TREE_FOLDERS) {
		tell_full(walk, path);
		return 0;
	}
	fd = tree_open_below(walk->root, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
	if (fd < 0)
		return fd;
	folder = fdopendir(fd);
	if (!folder) {
		close(fd);
		return -ENOMEM;
	}
	while ((errno = 0, name = readdir(folder))) {
		if (strcmp(name->d_name, ".") == 0 || strcmp(name->d_name, "..") == 0)
			continue;
		if (walk->names++ >= TREE_NAMES) {
			tell_full(walk, path);
			break;
		}
		if (walk->names % 256 == 0)
			tree_step(walk, path);
		if (!fn(walk, context, fd, path, name->d_name, name->d_type))
			break;
	}
	if (!name && errno)
		tree_problem(walk, path, -errno);
	closedir(folder);
	return 0;
}

static void serve_walk(struct tree_walk *walk, const struct tree_question *question)
{
	const char *at = walk->shared->question, *end = at + sizeof(walk->shared->question);

	for (uint32_t i = 0; i < question->count && at < end; i++) {
		size_t length = strnlen(at, (size_t)(end - at));

		if (length == (size_t)(end - at))
			return;
		tree_walk_place(walk, (enum tree_place_kind)(*at - 'A'), at + 1);
		at += length + 1;
	}
}

static size_t serve_open(struct tree_walk *walk, const struct tree_question *question,
			 struct tree_answer *answer, int *fds)
{
	const char *at = walk->shared->question, *end = at + sizeof(walk->shared->question);
	size_t count = 0;

	for (uint32_t i = 0; i < question->count && i < TREE_OPEN_MAX && at < end; i++) {
		size_t length = strnlen(at, (size_t)(end - at));

		if (length == (size_t)(end - at))
			break;
		tree_step(walk, at);
		answer->result[i] = walk->root < 0 ? walk->root : tree_open_file(walk->root, at);
		if (answer->result[i] >= 0) {
			if (fstat(answer->result[i], &answer->stats[i]) != 0)
				memset(&answer->stats[i], 0, sizeof(answer->stats[i]));
			fds[count++] = answer->result[i];
			answer->result[i] = 0;
		}
		answer->count = i + 1;
		at += length + 1;
	}
	return count;
}

void tree_child(const char *root, int socket_fd, struct tree_shared *shared, const char *const *skip,
		size_t skip_count)
{
	struct tree_question question;
	struct tree_walk walk = {.shared = shared, .skip = skip, .skip_count = skip_count};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	walk.root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (walk.root < 0)
		walk.root = -errno;
	for (;;) {
		static struct tree_answer answer;
		int fds[TREE_OPEN_MAX], unwanted, got;
		size_t count = 0;

		memset(&answer, 0, sizeof(answer));
		got = message_receive(socket_fd, &question, sizeof(question), &unwanted, 0);
		if (got != 1)
			_exit(0);
		if (question.verb == TREE_WALK)
			serve_walk(&walk, &question);
		else
			count = serve_open(&walk, &question, &answer, fds);
		got = message_send_many(socket_fd, &answer, sizeof(answer), fds, count, 0);
		for (size_t i = 0; i < count; i++)
			close(fds[i]);
		if (got != 0)
			_exit(0);
	}
}

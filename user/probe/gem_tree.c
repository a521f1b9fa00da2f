// SPDX-License-Identifier: Apache-2.0
/*
 * The caller's side. A child that does not move for two seconds, or takes longer than all may, is killed and
 * left to die (in a read of a dead file system it cannot even do that): the caller never waits for it. The
 * walk then begins anew in another child that leaves out where the first one hung.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "user/base/text.h"
#include "user/probe/gem_tree_private.h"
#include "user/probe/message.h"

enum { SOCKET = 3 /* of the child */ };

struct gem_tree {
	char root[TREE_PATH_MAX];
	pid_t child; /* 0: none */
	int socket;
	struct tree_shared *shared;
	uint64_t taken; /* of the shared records */
	char *skips[TREE_SKIPS];
	size_t skip_count;
	struct tree_entry *entries;
	size_t count, room;
	struct tree_question question;
	char text[TREE_QUESTION_TEXT];
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Ends the child without waiting for it longer than a moment: it may be beyond the reach of signals. */
static void end_child(struct gem_tree *tree)
{
	if (tree->child) {
		close(tree->socket);
		kill(tree->child, SIGKILL);
		for (int i = 0; i < 50 && waitpid(tree->child, NULL, WNOHANG) == 0; i++)
			poll(NULL, 0, 2);
		tree->child = 0;
	}
	if (tree->shared)
		munmap(tree->shared, sizeof(*tree->shared));
	tree->shared = NULL;
}

static int start_child(struct gem_tree *tree)
{
	int pair[2];

	if (tree->child)
		return 0;
	tree->shared = mmap(NULL, sizeof(*tree->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (tree->shared == MAP_FAILED) {
		tree->shared = NULL;
		return -ENOMEM;
	}
	tree->taken = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -errno;
	tree->child = fork();
	if (tree->child == 0) {
		if (dup3(pair[1], SOCKET, 0) != SOCKET && pair[1] != SOCKET)
			_exit(1);
		close_range(SOCKET + 1, ~0u, 0);
		tree_child(tree->root, SOCKET, tree->shared, (const char *const *)tree->skips,
			   tree->skip_count);
	}
	close(pair[1]);
	tree->socket = pair[0];
	if (tree->child < 0) {
		tree->child = 0;
		close(pair[0]);
		return -EAGAIN;
	}
	return 0;
}

/* Waits until the child has answered. -ETIMEDOUT: it hangs; -EPIPE: it died. */
static int wait_answer(struct gem_tree *tree, struct tree_answer *answer, int fds[MESSAGE_FDS], size_t *count)
{
	uint64_t start = now_ms(), moved = start;
	uint64_t steps = atomic_load(&tree->shared->steps);

	for (;;) {
		struct pollfd wait = {.fd = tree->socket, .events = POLLIN};
		uint64_t now, at;

		if (poll(&wait, 1, 100) > 0) {
			int got = message_receive_many(tree->socket, answer, sizeof(*answer), fds, count, 0);

			return got == 1 ? 0 : -EPIPE;
		}
		now = now_ms();
		at = atomic_load(&tree->shared->steps);
		if (at != steps) {
			steps = at;
			moved = now;
		}
		if (now - moved > TREE_STALL_MS || now - start > TREE_WALK_MS)
			return -ETIMEDOUT;
	}
}

int gem_tree_new(const char *root, struct gem_tree **out)
{
	struct gem_tree *tree;
	const char *slash = "/";
	int err, fd;

	if (strlen(root) >= sizeof(tree->root))
		return -ENAMETOOLONG;
	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return -ENOMEM;
	text_copy(tree->root, sizeof(tree->root), root);
	gem_tree_open(tree, &slash, 1, &fd, NULL); /* by the child, since it may hang */
	err = fd == -EISDIR ? 0 : fd;
	if (err)
		gem_tree_free(tree);
	else
		*out = tree;
	return err;
}

static void forget_entries(struct gem_tree *tree)
{
	for (size_t i = 0; i < tree->count; i++)
		free((char *)tree->entries[i].path);
	tree->count = 0;
}

void gem_tree_free(struct gem_tree *tree)
{
	if (!tree)
		return;
	end_child(tree);
	forget_entries(tree);
	for (size_t i = 0; i < tree->skip_count; i++)
		free(tree->skips[i]);
	free(tree->entries);
	free(tree);
}

static int add_entry(struct gem_tree *tree, const struct tree_entry *entry, const char *path)
{
	if (tree->count == tree->room) {
		size_t room = tree->room * 2 + 256;
		struct tree_entry *moved = realloc(tree->entries, room * sizeof(*moved));

		if (!moved)
			return -ENOMEM;
		tree->entries = moved;
		tree->room = room;
	}
	tree->entries[tree->count] = *entry;
	tree->entries[tree->count].path = strdup(path);
	return tree->entries[tree->count].path ? (tree->count++, 0) : -ENOMEM;
}

/* Takes what the child has written since. It is our own code, but it walked a hostile tree: sizes are held
 * against each other all the same. */
static int take_records(struct gem_tree *tree)
{
	uint64_t used = atomic_load_explicit(&tree->shared->used, memory_order_acquire);
	int err = 0;

	if (used > TREE_SHARED_BYTES)
		return -EPROTO;
	while (tree->taken + sizeof(struct tree_record) <= used && !err) {
		const struct tree_record *record = (const void *)(tree->shared->records + tree->taken);
		struct tree_entry entry = {
			record->kind,     record->result,   record->device, record->inode, record->bytes,
			record->mtime_ns, record->ctime_ns, record->uid,    record->mode,  NULL};
		size_t room = record->size - sizeof(*record);

		if (record->size < sizeof(*record) || record->size > used - tree->taken ||
		    record->path_size == 0 || record->path_size > room || record->kind >= TREE_KINDS ||
		    record->path[record->path_size - 1] != '\0')
			return -EPROTO;
		err = add_entry(tree, &entry, record->path);
		tree->taken += record->size;
	}
	return err;
}

static int by_path(const void *a, const void *b)
{
	const struct tree_entry *left = a, *right = b;
	int order = strcmp(left->path, right->path);

	return order ? order : (int)left->kind - (int)right->kind;
}

/* The place where it hung: told, and left out by the next child. */
static int note_hang(struct gem_tree *tree, int result)
{
	struct tree_entry entry = {.kind = TREE_PROBLEM, .result = result};
	char now[TREE_PATH_MAX];
	int err;

	memcpy(now, tree->shared->now, sizeof(now));
	now[sizeof(now) - 1] = '\0';
	end_child(tree);
	err = add_entry(tree, &entry, *now ? now : "/");
	if (!err && tree->skip_count < TREE_SKIPS) {
		tree->skips[tree->skip_count] = strdup(*now ? now : "/");
		err = tree->skips[tree->skip_count] ? (tree->skip_count++, 0) : -ENOMEM;
	}
	return err;
}

static int put_text(struct gem_tree *tree, size_t *used, char letter, const char *text)
{
	size_t size = strlen(text) + 1 + (letter != '\0');

	if (size > sizeof(tree->text) - *used || strlen(text) >= TREE_PATH_MAX)
		return -ENAMETOOLONG;
	if (letter)
		tree->text[(*used)++] = letter;
	strcpy(tree->text + *used, text);
	*used += strlen(text) + 1;
	tree->question.count++;
	return 0;
}

static int send_question(struct gem_tree *tree, size_t used)
{
	memcpy(tree->shared->question, tree->text, used);
	return message_send(tree->socket, &tree->question, sizeof(tree->question), -1, 0);
}

/* Removes what was found since `from`, but not the problems: the next child finds it again. */
static void forget_found(struct gem_tree *tree, size_t from)
{
	size_t kept = from;

	for (size_t i = from; i < tree->count; i++) {
		if (tree->entries[i].kind == TREE_PROBLEM && tree->entries[i].result == -ETIMEDOUT)
			tree->entries[kept++] = tree->entries[i];
		else
			free((char *)tree->entries[i].path);
	}
	tree->count = kept;
}

int gem_tree_walk(struct gem_tree *tree, const struct tree_place *places, size_t count)
{
	size_t used = 0, before = tree->count;
	int err = 0;

	tree->question.verb = TREE_WALK;
	tree->question.count = 0;
	for (size_t i = 0; i < count && !err; i++)
		err = put_text(tree, &used, (char)('A' + (int)places[i].kind),
			       places[i].path ? places[i].path : "");
	while (!err) {
		struct tree_answer answer;
		int fds[MESSAGE_FDS], waited;
		size_t opened = 0;

		err = start_child(tree);
		if (err)
			break;
		err = send_question(tree, used);
		waited = err ? -EPIPE : wait_answer(tree, &answer, fds, &opened);
		err = take_records(tree);
		if (err || !waited)
			break;
		err = note_hang(tree, waited);
		if (tree->skip_count == TREE_SKIPS)
			break; /* a root that hangs everywhere is told so, with what was found until now */
		if (!err)
			forget_found(tree, before);
	}
	if (tree->count)
		qsort(tree->entries, tree->count, sizeof(*tree->entries), by_path);
	return err;
}

size_t gem_tree_count(const struct gem_tree *tree)
{
	return tree->count;
}

const struct tree_entry *gem_tree_entry(const struct gem_tree *tree, size_t i)
{
	return &tree->entries[i];
}

/* One question; the descriptors in order of those that could be opened. */
static int ask_open(struct gem_tree *tree, const char *const *paths, size_t count, int *fds,
		    struct stat *stats)
{
	struct tree_answer answer;
	int opened[MESSAGE_FDS], err = start_child(tree);
	size_t used = 0, opened_count = 0, at = 0;

	tree->question.verb = TREE_OPEN;
	tree->question.count = 0;
	for (size_t i = 0; i < count && !err; i++)
		err = put_text(tree, &used, '\0', paths[i]);
	if (!err)
		err = send_question(tree, used);
	if (!err)
		err = wait_answer(tree, &answer, opened, &opened_count);
	for (size_t i = 0; i < count; i++) {
		fds[i] = err ? err : i < answer.count ? answer.result[i] : -EPROTO;
		if (stats && fds[i] == 0)
			stats[i] = answer.stats[i];
		if (fds[i] == 0)
			fds[i] = at < opened_count ? opened[at++] : -EPROTO;
	}
	for (; !err && at < opened_count; at++)
		close(opened[at]);
	return err;
}

void gem_tree_open(struct gem_tree *tree, const char *const *paths, size_t count, int *fds,
		   struct stat *stats)
{
	int err;

	for (size_t i = 0; i < count; i++)
		fds[i] = -E2BIG;
	if (count > TREE_OPEN_MAX)
		return;
	err = ask_open(tree, paths, count, fds, stats);
	if (err != -ETIMEDOUT && err != -EPIPE && err != -ENAMETOOLONG)
		return;
	/* one of them hangs: each is asked for alone, so that one fails and no more */
	if (err != -ENAMETOOLONG)
		end_child(tree);
	for (size_t i = 0, hangs = 0; i < count; i++) {
		if (hangs == TREE_HANGS) {
			fds[i] = -ETIMEDOUT;
			continue;
		}
		err = ask_open(tree, paths + i, 1, fds + i, stats ? stats + i : NULL);
		if (err == -ETIMEDOUT || err == -EPIPE) {
			end_child(tree);
			hangs++;
		}
	}
}

// SPDX-License-Identifier: Apache-2.0
/*
 * The file: a head, then entries one behind the other, each with its key, result, reason and answer. It is
 * read whole; entries are found by an index made then, and checked when they are asked for.
 *
 * A file that changed within the last second may change again without its times showing it, so what was said
 * of it is not written down.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "user/base/digest.h"
#include "user/base/file.h"
#include "user/base/text.h"
#include "user/probe/answer_cache.h"
#include "user/probe/inspector_wire.h"

#define CACHE_NAME "answers.cache"
#define MAGIC      "lapidary answers 1\n"

enum { CACHE_MAX = 128 << 20, FRESH_NS = 1000000000 };

struct head {
	char magic[24];
	uint64_t build; /* of the program that wrote it: answers are of its shape */
};

struct entry {
	uint64_t size; /* of all, a multiple of 8 */
	struct answer_key key;
	int32_t result;
	uint32_t checked; /* 0 in the file, 1 once it was, 2: it never was in the file */
	uint64_t answer_size;
	char why[160];
	unsigned char answer[];
};

struct slot {
	const struct entry *entry;
	void *fresh; /* the answer, when it is not in the entry */
	bool used;
};

struct answer_cache {
	char folder[512];
	char *bytes; /* the file as it was read */
	struct slot *slots;
	size_t count, size; /* slots: a power of two */
	bool changed;
};

static uint64_t build_digest(void)
{
	const uint64_t sizes[] = {sizeof(struct entry), sizeof(struct answer_key), INSPECT_KINDS};

	return digest_fnv(digest_text(DIGEST_START, LAPIDARY_VERSION), sizes, sizeof(sizes));
}

void answer_key_fill(struct answer_key *key, enum inspection_kind kind, const struct stat *st)
{
	*key = (struct answer_key){
		.device = st->st_dev,
		.inode = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime_ns = st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
		.ctime_ns = st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
		.kind = kind,
	};
}

static struct slot *find(const struct answer_cache *cache, const struct answer_key *key)
{
	size_t at = digest_mix(key->inode ^ key->device << 40 ^ (uint64_t)key->kind << 56);

	while (cache->slots[at & (cache->size - 1)].entry) {
		struct slot *slot = &cache->slots[at & (cache->size - 1)];

		if (memcmp(&slot->entry->key, key, sizeof(*key)) == 0)
			return slot;
		at++;
	}
	return &cache->slots[at & (cache->size - 1)];
}

static bool grow(struct answer_cache *cache)
{
	struct slot *old = cache->slots;
	size_t old_size = cache->size;

	cache->size = old_size ? old_size * 2 : 4096;
	cache->slots = calloc(cache->size, sizeof(*cache->slots));
	if (!cache->slots) {
		cache->slots = old;
		cache->size = old_size;
		return false;
	}
	for (size_t i = 0; i < old_size; i++)
		if (old[i].entry)
			*find(cache, &old[i].entry->key) = old[i];
	free(old);
	return true;
}

static bool add(struct answer_cache *cache, const struct entry *entry, void *fresh, bool used)
{
	struct slot *slot;

	if ((cache->count + 1) * 2 > cache->size && !grow(cache))
		return false;
	slot = find(cache, &entry->key);
	if (slot->entry)
		return false;
	*slot = (struct slot){entry, fresh, used};
	cache->count++;
	return true;
}

static void index_entries(struct answer_cache *cache, size_t size)
{
	const struct head *head = (const struct head *)cache->bytes;
	size_t at = sizeof(*head);

	if (size < sizeof(*head) || strncmp(head->magic, MAGIC, sizeof(head->magic)) != 0 ||
	    head->build != build_digest())
		return;
	while (size - at >= sizeof(struct entry)) {
		const struct entry *entry = (const struct entry *)(cache->bytes + at);

		if (entry->size % 8 || entry->size < sizeof(*entry) || entry->size > size - at ||
		    entry->answer_size > entry->size - sizeof(*entry))
			return;
		add(cache, entry, NULL, false);
		at += entry->size;
	}
}

static void read_file(struct answer_cache *cache)
{
	int folder = open(cache->folder, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;
	struct stat st;
	size_t size;

	if (folder < 0)
		return;
	fd = openat(folder, CACHE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	close(folder);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0 &&
	    file_read_fd(fd, CACHE_MAX, &cache->bytes, &size) == 0)
		index_entries(cache, size);
	close(fd);
}

struct answer_cache *answer_cache_new(const char *folder)
{
	struct answer_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	if (!grow(cache)) {
		free(cache);
		return NULL;
	}
	text_copy(cache->folder, sizeof(cache->folder), folder);
	if (*cache->folder)
		read_file(cache);
	return cache;
}

static bool is_of_file(const struct slot *slot)
{
	return !slot->fresh && slot->entry->checked == 0;
}

void answer_cache_free(struct answer_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < cache->size; i++)
		if (cache->slots[i].entry && cache->slots[i].entry->checked == 2) {
			free(cache->slots[i].fresh);
			free((void *)cache->slots[i].entry);
		}
	free(cache->slots);
	free(cache->bytes);
	free(cache);
}

bool answer_cache_get(struct answer_cache *cache, const struct answer_key *key, struct inspection *out)
{
	struct slot *slot = find(cache, key);
	struct entry *entry = (struct entry *)slot->entry; /* of bytes that are the cache's own */

	if (!entry)
		return false;
	if (is_of_file(slot)) {
		/* once: from here on nobody else can change it */
		if (!memchr(entry->why, '\0', sizeof(entry->why)) || entry->result > 0 ||
		    (entry->result == 0 &&
		     !inspector_check((enum inspection_kind)key->kind, entry->answer, entry->answer_size)))
			return false;
		text_clean(entry->why);
		entry->checked = 1;
	}
	slot->used = true;
	out->result = entry->result;
	text_copy(out->why, sizeof(out->why), entry->why);
	out->answer = entry->result ? NULL : slot->fresh ? slot->fresh : entry->answer;
	out->size = entry->result ? 0 : entry->answer_size;
	return true;
}

bool answer_cache_put(struct answer_cache *cache, const struct answer_key *key, struct inspection *answer)
{
	struct entry *entry;

	if (answer->result != 0 && answer->result != -ENOEXEC && answer->result != -EBADMSG)
		return false; /* it may be otherwise the next time */
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return false;
	entry->key = *key;
	entry->result = answer->result;
	entry->checked = 2;
	entry->answer_size = answer->size;
	text_copy(entry->why, sizeof(entry->why), answer->why);
	if (!add(cache, entry, answer->answer, true)) {
		free(entry);
		return false;
	}
	cache->changed = true;
	return true;
}

static bool is_worth_keeping(const struct slot *slot, int64_t now_ns)
{
	return slot->entry && slot->used && now_ns - slot->entry->key.ctime_ns > FRESH_NS;
}

static size_t entry_size(const struct entry *entry)
{
	return (sizeof(*entry) + entry->answer_size + 7) & ~(size_t)7;
}

int answer_cache_save(struct answer_cache *cache)
{
	struct head head = {.magic = MAGIC, .build = build_digest()};
	struct timespec now;
	size_t size = sizeof(head), at = sizeof(head);
	int folder, err;
	char *bytes;

	if (!cache->changed || !*cache->folder)
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	for (size_t i = 0; i < cache->size; i++)
		if (is_worth_keeping(&cache->slots[i], now.tv_sec * 1000000000 + now.tv_nsec))
			size += entry_size(cache->slots[i].entry);
	if (size > CACHE_MAX)
		return -EFBIG;
	bytes = calloc(1, size);
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, &head, sizeof(head));
	for (size_t i = 0; i < cache->size; i++) {
		const struct slot *slot = &cache->slots[i];
		struct entry *entry = (struct entry *)(bytes + at);

		if (!is_worth_keeping(slot, now.tv_sec * 1000000000 + now.tv_nsec))
			continue;
		*entry = *slot->entry;
		entry->size = entry_size(slot->entry);
		entry->checked = 0;
		if (entry->answer_size)
			memcpy(entry->answer, slot->fresh ? slot->fresh : slot->entry->answer,
			       entry->answer_size);
		at += entry->size;
	}
	folder = open(cache->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = folder < 0 ? -errno : file_replace_at(folder, CACHE_NAME, bytes, size, 0600);
	if (folder >= 0)
		close(folder);
	free(bytes);
	return err;
}

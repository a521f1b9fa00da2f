// SPDX-License-Identifier: Apache-2.0
/*
 * A perf event says of a mapping either which inode it is of or which build-id the file has, never both.
 * Both are wanted: the inode finds the file (targets.h), the build-id names it in a report even when it is
 * gone by then. So each CPU has two events that write into one ring, and the two records of a mapping,
 * which lie side by side there, are put together again. Where the kernel knows no build-ids one is opened.
 * Each record names its event, since the flag that says what it holds is not to be believed: the kernel
 * (6.18) leaves it set for the events that it serves next, other programs' among them.
 *
 * A record is copied out before it is looked at: it may run over the end of the ring, and its space is
 * free for the kernel again at once.
 */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "user/probe/mmap_records.h"

struct mmap2 {
	struct perf_event_header header;
	uint32_t pid, tid;
	uint64_t address, length, offset;
	union {
		struct {
			uint32_t major, minor;
			uint64_t inode, generation;
		} file;
		struct {
			uint8_t size, reserved[3];
			uint8_t bytes[20];
		} build_id;
	};
	uint32_t protection, flags;
	char path[];
};

struct lost {
	struct perf_event_header header;
	uint64_t id, count;
};

/* What sample_id_all puts behind each record. */
struct sample_id {
	uint32_t pid, tid;
	uint64_t time;
	uint64_t event;
};

_Static_assert(offsetof(struct mmap2, path) == 72, "mmap2");
_Static_assert(sizeof(struct sample_id) == 24, "sample_id");

enum { RECORD_MAX = 8192 }; /* a path of PATH_MAX and the rest */

struct ring {
	int fd, build_id_fd; /* -1: none */
	uint64_t build_id_event;
	struct perf_event_mmap_page *page;
	size_t size; /* of the data, a power of two */
};

/* A record taken apart. */
struct seen {
	bool there;
	uint32_t tgid;
	uint64_t time_ns;
	struct maps_region region;
	_Alignas(8) unsigned char bytes[RECORD_MAX];
};

struct mmap_records {
	int epoll_fd;
	size_t count, page_size;
	struct seen fresh, held;
	struct ring rings[];
};

static int open_event(int cpu, bool build_id)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_IDENTIFIER,
		.exclude_kernel = 1,
		.mmap = 1,
		.mmap2 = 1,
		.sample_id_all = 1,
		.use_clockid = 1,
		.clockid = CLOCK_BOOTTIME,
		.build_id = build_id,
		.watermark = 1,
		.wakeup_watermark = 1,
	};
	long fd = syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

/* The second event of a CPU; its ring works without. */
static void open_build_ids(struct ring *ring, int cpu)
{
	int fd = open_event(cpu, true);

	if (fd < 0)
		return;
	if (ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, ring->fd) < 0 ||
	    ioctl(fd, PERF_EVENT_IOC_ID, &ring->build_id_event) < 0)
		close(fd);
	else
		ring->build_id_fd = fd;
}

static int open_ring(struct mmap_records *records, int cpu, size_t pages)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct ring *ring = &records->rings[records->count];
	void *page;

	ring->fd = open_event(cpu, false);
	if (ring->fd == -ENODEV)
		return 0; /* this CPU is off */
	if (ring->fd < 0)
		return ring->fd;
	ring->build_id_fd = -1;
	records->count++;
	page = mmap(NULL, (1 + pages) * records->page_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	ring->page = page;
	ring->size = pages * records->page_size;
	open_build_ids(ring, cpu);
	return epoll_ctl(records->epoll_fd, EPOLL_CTL_ADD, ring->fd, &event) < 0 ? -errno : 0;
}

int mmap_records_open(unsigned ring_pages, struct mmap_records **out)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct mmap_records *records;
	int err;

	if (ring_pages == 0 || (ring_pages & (ring_pages - 1)))
		return -EINVAL;
	if (cpus < 1)
		cpus = 1;
	records = calloc(1, sizeof(*records) + (size_t)cpus * sizeof(records->rings[0]));
	if (!records)
		return -ENOMEM;
	records->page_size = (size_t)sysconf(_SC_PAGESIZE);
	records->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	err = records->epoll_fd < 0 ? -errno : 0;
	for (int cpu = 0; cpu < cpus && !err; cpu++)
		err = open_ring(records, cpu, ring_pages);
	if (err) {
		mmap_records_close(records);
		return err;
	}
	*out = records;
	return 0;
}

void mmap_records_close(struct mmap_records *records)
{
	if (!records)
		return;
	for (size_t i = 0; i < records->count; i++) {
		struct ring *ring = &records->rings[i];

		if (ring->page)
			munmap(ring->page, ring->size + records->page_size);
		if (ring->build_id_fd >= 0)
			close(ring->build_id_fd);
		close(ring->fd);
	}
	if (records->epoll_fd >= 0)
		close(records->epoll_fd);
	free(records);
}

int mmap_records_fd(const struct mmap_records *records)
{
	return records->epoll_fd;
}

static void copy_out(const struct ring *ring, size_t page_size, uint64_t at, void *out, size_t size)
{
	const char *data = (const char *)ring->page + page_size;
	size_t from = at & (ring->size - 1), first = ring->size - from;

	if (first > size)
		first = size;
	memcpy(out, data + from, first);
	memcpy((char *)out + first, data, size - first);
}

/* Takes apart a mapping; false when it is none, or malformed. */
static bool read_mapping(const struct ring *ring, struct seen *seen, size_t size)
{
	const struct mmap2 *record = (const struct mmap2 *)seen->bytes;
	size_t fixed = offsetof(struct mmap2, path);
	struct sample_id id;

	if (size < fixed + 1 + sizeof(id) || !memchr(record->path, '\0', size - fixed - sizeof(id)))
		return false;
	memcpy(&id, seen->bytes + size - sizeof(id), sizeof(id));
	seen->tgid = record->pid;
	seen->time_ns = id.time;
	seen->region = (struct maps_region){
		.start = record->address,
		.end = record->address + record->length,
		.offset = record->offset,
		.protection = record->protection,
		.path = strcmp(record->path, "//anon") == 0 ? "" : record->path,
	};
	if (seen->region.path[0] != '/')
		seen->region.offset = 0; /* of memory without a file: its address */
	if (ring->build_id_fd < 0 || id.event != ring->build_id_event ||
	    !(record->header.misc & PERF_RECORD_MISC_MMAP_BUILD_ID)) {
		seen->region.inode = record->file.inode;
		seen->region.device_major = record->file.major;
		seen->region.device_minor = record->file.minor;
	} else if (record->build_id.size <= sizeof(record->build_id.bytes)) {
		seen->region.build_id_len = record->build_id.size;
		memcpy(seen->region.build_id, record->build_id.bytes, record->build_id.size);
	}
	return seen->region.start < seen->region.end;
}

struct receiver {
	mmap_record_fn fn;
	void *context;
	int count;
};

static void hand_over(struct seen *seen, struct receiver *to)
{
	if (!seen->there)
		return;
	seen->there = false;
	to->fn(to->context, seen->tgid, seen->time_ns, &seen->region, 0);
	to->count++;
}

/* Adds what `fresh` knows of the mapping that is held; false when it is another. */
static bool join(struct seen *held, const struct seen *fresh)
{
	struct maps_region *a = &held->region;
	const struct maps_region *b = &fresh->region;

	if (!held->there || held->tgid != fresh->tgid || a->start != b->start || a->end != b->end ||
	    a->offset != b->offset || strcmp(a->path, b->path) != 0)
		return false;
	if (b->build_id_len) {
		a->build_id_len = b->build_id_len;
		memcpy(a->build_id, b->build_id, sizeof(a->build_id));
	}
	if (b->inode) {
		a->inode = b->inode;
		a->device_major = b->device_major;
		a->device_minor = b->device_minor;
	}
	return true;
}

static void take_mapping(struct mmap_records *records, const struct ring *ring, size_t size,
			 struct receiver *to)
{
	struct seen *fresh = &records->fresh, *held = &records->held;
	size_t path;

	if (!read_mapping(ring, fresh, size))
		return;
	if (join(held, fresh)) {
		hand_over(held, to);
		return;
	}
	hand_over(held, to);
	memcpy(held, fresh, offsetof(struct seen, bytes));
	memcpy(held->bytes, fresh->bytes, size);
	path = offsetof(struct mmap2, path);
	held->region.path = fresh->region.path[0] ? (const char *)held->bytes + path : "";
	held->there = true;
}

static void take_record(struct mmap_records *records, const struct ring *ring, size_t size,
			struct receiver *to)
{
	const struct perf_event_header *header = (const struct perf_event_header *)records->fresh.bytes;
	const struct lost *lost = (const struct lost *)records->fresh.bytes;
	struct sample_id id;

	if (header->type == PERF_RECORD_MMAP2) {
		take_mapping(records, ring, size, to);
	} else if (header->type == PERF_RECORD_LOST && size >= sizeof(*lost) + sizeof(id)) {
		memcpy(&id, records->fresh.bytes + size - sizeof(id), sizeof(id));
		hand_over(&records->held, to);
		to->fn(to->context, 0, id.time, NULL, lost->count);
		to->count++;
	}
}

static void drain_ring(struct mmap_records *records, struct ring *ring, int batch, struct receiver *to,
		       int *more)
{
	uint64_t head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
	uint64_t at = ring->page->data_tail;
	struct perf_event_header header;
	int limit = to->count + batch;

	while (at < head && to->count < limit) {
		size_t size;

		copy_out(ring, records->page_size, at, &header, sizeof(header));
		size = header.size;
		if (size < sizeof(header) || size > head - at) {
			at = head; /* not what a kernel writes: give the rest up rather than loop */
			break;
		}
		if (size <= RECORD_MAX) {
			copy_out(ring, records->page_size, at, records->fresh.bytes, size);
			take_record(records, ring, size, to);
		}
		at += size;
	}
	hand_over(&records->held, to);
	__atomic_store_n(&ring->page->data_tail, at, __ATOMIC_RELEASE);
	if (at < __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE))
		*more = 1;
}

int mmap_records_drain(struct mmap_records *records, int batch, mmap_record_fn fn, void *context, int *more)
{
	struct receiver to = {.fn = fn, .context = context};

	*more = 0;
	for (size_t i = 0; i < records->count; i++)
		drain_ring(records, &records->rings[i], batch, &to, more);
	return to.count;
}

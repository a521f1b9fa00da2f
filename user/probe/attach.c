/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching uprobes to an open file: one uprobe_multi link for all places of a site, or, where the kernel
 * has none, one perf uprobe a place.
 *
 * Opening a perf uprobe needs more than the agent keeps: the spawner does it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "lapidary.skel.h"
#include "user/probe/closer.h"
#include "user/probe/probe_private.h"
#include "user/probe/uprobe_multi.h"

enum { ATTACHMENTS_MAX = 256 };

static struct bpf_program *site_program(const struct probe *probe, enum site site)
{
	const struct lapidary_bpf *bpf = probe->skeleton;
	struct bpf_program *const programs[SITE_COUNT] = {
		[SITE_RUBY_START] = bpf->progs.ruby_start,
		[SITE_RUBY_BUG] = bpf->progs.ruby_bug,
		[SITE_RUBY_FATAL] = bpf->progs.ruby_fatal,
		[SITE_RUBY_MEMERROR] = bpf->progs.ruby_memerror,
		[SITE_RUBY_ASSERT] = bpf->progs.ruby_assert,
		[SITE_RUBY_CONFIRM] = bpf->progs.ruby_confirm,
		[SITE_PQ_SEND_QUERY] = bpf->progs.libpq_send_query,
		[SITE_PQ_SEND_PARAMS] = bpf->progs.libpq_send_params,
		[SITE_PQ_SEND_PREPARE] = bpf->progs.libpq_send_prepare,
		[SITE_PQ_SEND_PREPARED] = bpf->progs.libpq_send_prepared,
		[SITE_PQ_RESULT_STATUS] = bpf->progs.libpq_result_status,
		[SITE_PQ_CONNECT_POLL] = bpf->progs.libpq_connect_poll,
		[SITE_PQ_CONNECT_POLL_RETURN] = bpf->progs.libpq_connect_poll_return,
		[SITE_PQ_FINISH] = bpf->progs.libpq_finish,
		[SITE_PQ_ERROR_MESSAGE] = bpf->progs.libpq_error_message,
	};

	return programs[site];
}

void attach_prepare(struct probe *probe)
{
	int site;

	for (site = 0; site < SITE_COUNT; site++)
		bpf_program__set_expected_attach_type(site_program(probe, site),
						      probe->multi ? (enum bpf_attach_type)TRACE_UPROBE_MULTI
								   : 0);
}

/* The link keeps the perf event; its descriptor is no longer needed then. */
static int perf_link(int program_fd, int perf_fd, uint64_t cookie)
{
	LIBBPF_OPTS(bpf_link_create_opts, options, .perf_event.bpf_cookie = cookie);
	int fd = bpf_link_create(program_fd, perf_fd, BPF_PERF_EVENT, &options);

	return fd < 0 ? -errno : fd;
}

struct attach_job {
	struct probe *probe;
	int file_fd;
	uint64_t cookie;
	probe_perf_open_fn perf_open;
	void *context;
	struct attachment made;
};

static int link_keep(struct attach_job *job, int fd)
{
	if (fd < 0)
		return fd;
	job->made.links[job->made.count++] = fd;
	return 0;
}

static int site_attach(struct attach_job *job, enum site site, const uint64_t *offsets, uint32_t count)
{
	int program_fd = bpf_program__fd(site_program(job->probe, site));
	int err = 0, perf_fd;
	uint32_t i;

	if (job->probe->multi)
		return link_keep(job,
				 uprobe_multi_link(program_fd, job->file_fd, offsets, count, job->cookie));
	if (!job->perf_open)
		return -EOPNOTSUPP;
	for (i = 0; i < count && !err; i++) {
		perf_fd = job->perf_open(job->context, job->file_fd, offsets[i]);
		if (perf_fd < 0)
			return perf_fd;
		err = link_keep(job, perf_link(program_fd, perf_fd, job->cookie));
		close(perf_fd);
	}
	return err;
}

static int sites_attach(struct attach_job *job, const struct probe_site *sites, size_t count)
{
	uint64_t offsets[UPROBE_MULTI_MAX];
	uint32_t of_site;
	int site, err;
	size_t i;

	for (site = 0; site < SITE_COUNT; site++) {
		of_site = 0;
		for (i = 0; i < count; i++)
			if ((int)sites[i].site == site)
				offsets[of_site++] = sites[i].offset;
		if (!of_site)
			continue;
		err = site_attach(job, site, offsets, of_site);
		if (err)
			return err;
	}
	return 0;
}

static void attachment_done(struct probe *probe, struct attachment *attachment)
{
	size_t i;

	for (i = 0; i < attachment->count; i++)
		closer_close(probe->closer, attachment->links[i]);
	free(attachment->links);
	memset(attachment, 0, sizeof(*attachment));
}

/* A free slot of the table, which grows up to ATTACHMENTS_MAX. */
static int attachment_slot(struct probe *probe)
{
	struct attachment *grown;
	size_t i, room = probe->attachment_room;

	for (i = 0; i < room; i++)
		if (!probe->attachments[i].links)
			return i;
	if (room >= ATTACHMENTS_MAX)
		return -ENOSPC;
	grown = reallocarray(probe->attachments, room ? room * 2 : 8, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	probe->attachments = grown;
	probe->attachment_room = room ? room * 2 : 8;
	memset(grown + room, 0, (probe->attachment_room - room) * sizeof(*grown));
	return room;
}

int probe_attach(struct probe *probe, int file_fd, const struct probe_site *sites, size_t count,
		 uint16_t group, uint16_t attachment, probe_perf_open_fn perf_open, void *context)
{
	struct attach_job job = {
		.probe = probe,
		.file_fd = file_fd,
		.cookie = (uint64_t)group << 16 | attachment,
		.perf_open = perf_open,
		.context = context,
	};
	int slot, err;
	size_t i;

	if (!group || group > GROUPS_MAX || !count || count > UPROBE_MULTI_MAX)
		return -EINVAL;
	for (i = 0; i < count; i++)
		if ((unsigned)sites[i].site >= SITE_COUNT)
			return -EINVAL;
	slot = attachment_slot(probe);
	if (slot < 0)
		return slot;
	job.made.links = calloc(count, sizeof(int));
	if (!job.made.links)
		return -ENOMEM;
	err = sites_attach(&job, sites, count);
	if (err) {
		attachment_done(probe, &job.made);
		return err;
	}
	probe->attachments[slot] = job.made;
	return slot;
}

void probe_detach(struct probe *probe, int handle)
{
	if (handle >= 0 && (size_t)handle < probe->attachment_room)
		attachment_done(probe, &probe->attachments[handle]);
}

void attachments_close(struct probe *probe)
{
	size_t i;

	for (i = 0; i < probe->attachment_room; i++)
		attachment_done(probe, &probe->attachments[i]);
	free(probe->attachments);
	closer_free(probe->closer);
}

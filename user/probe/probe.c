/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading: sizes the maps, chooses the programs this kernel can have, loads, attaches what needs no file.
 *
 * libbpf says why a load failed through a print callback of the whole process; it is borrowed during the
 * load, its first warning becomes the reason, and it is given back.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "lapidary.skel.h"
#include "user/probe/closer.h"
#include "user/probe/probe_private.h"
#include "user/probe/reporter.h"

static char first_warning[160];

/*
 * Keeps the first line of the first warning: the later ones follow from it. That memory could not be
 * locked is never the reason, kernels since 5.11 do not ask for it.
 */
static int warning_keep(enum libbpf_print_level level, const char *format, va_list args)
{
	static const char prefix[] = "libbpf: ";
	char line[160], *text = line;

	if (level != LIBBPF_WARN || first_warning[0])
		return 0;
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = '\0';
	if (!strncmp(line, prefix, strlen(prefix)))
		text += strlen(prefix);
	if (!strstr(text, "RLIMIT_MEMLOCK"))
		snprintf(first_warning, sizeof(first_warning), "%s", text);
	return 0;
}

static void maps_size(struct lapidary_bpf *bpf, const struct probe_options *options)
{
	bpf_map__set_max_entries(bpf->maps.life, options->life_ring_bytes);
	bpf_map__set_max_entries(bpf->maps.capture, options->capture_ring_bytes);
	bpf_map__set_max_entries(bpf->maps.flow, options->flow_ring_bytes);
	bpf->rodata->stack_bytes = options->stack_bytes < EV_STACK_MAX ? options->stack_bytes : EV_STACK_MAX;
	bpf->rodata->no_captures = options->no_captures;
}

/* Programs whose feature is missing are left out; features_missing has refused the needed ones already. */
static void programs_choose(struct lapidary_bpf *bpf, const struct features *features)
{
	const struct {
		enum feature feature;
		struct bpf_program *program;
	} optional[] = {
		{FEATURE_TP_PAGE_FAULT, bpf->progs.memory_fault},
		{FEATURE_TP_SIGNAL_GENERATE, bpf->progs.process_signal},
		{FEATURE_TASK_ITERATOR, bpf->progs.process_list},
		{FEATURE_TP_SYS_ENTER, bpf->progs.report_write},
	};
	size_t i;

	for (i = 0; features && i < sizeof(optional) / sizeof(optional[0]); i++)
		if (!features->state[optional[i].feature].present)
			bpf_program__set_autoload(optional[i].program, false);
}

/* Attaches every loaded tracepoint program; the skeleton keeps the links. */
static int tracepoints_attach(struct probe *probe)
{
	struct lapidary_bpf *bpf = probe->skeleton;
	const struct {
		struct bpf_program *program;
		struct bpf_link **link;
	} all[] = {
		{bpf->progs.process_fork, &bpf->links.process_fork},
		{bpf->progs.process_exec, &bpf->links.process_exec},
		{bpf->progs.process_exit, &bpf->links.process_exit},
		{bpf->progs.process_signal, &bpf->links.process_signal},
		{bpf->progs.crash_signal, &bpf->links.crash_signal},
		{bpf->progs.memory_fault, &bpf->links.memory_fault},
		{bpf->progs.process_list, &bpf->links.process_list},
	};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!bpf_program__autoload(all[i].program))
			continue;
		*all[i].link = bpf_program__attach(all[i].program);
		if (!*all[i].link)
			return -errno;
	}
	probe->list_link = bpf->links.process_list ? bpf_link__fd(bpf->links.process_list) : -1;
	return 0;
}

static int probe_load(struct probe *probe, const struct probe_options *options,
		      const struct features *features, const char **step)
{
	int err;

	*step = "open the BPF programs";
	probe->skeleton = lapidary_bpf__open();
	if (!probe->skeleton)
		return -errno;
	maps_size(probe->skeleton, options);
	programs_choose(probe->skeleton, features);
	probe->multi =
		!options->no_uprobe_multi && (!features || features->state[FEATURE_UPROBE_MULTI].present);
	attach_prepare(probe);
	*step = "load the BPF programs";
	err = lapidary_bpf__load(probe->skeleton);
	if (err)
		return err;
	*step = "attach the BPF programs";
	err = tracepoints_attach(probe);
	if (err)
		return err;
	*step = "map the ring buffers";
	return lanes_open(probe);
}

static void why_fill(char *why, size_t size, const char *step, int err)
{
	const char *todo = err == -EPERM || err == -EACCES ? "run as root or with CAP_BPF and CAP_PERFMON"
							   : "see `lapidary features`";

	snprintf(why, size, "%s: %s%s%s; %s", step, strerror(-err), first_warning[0] ? ": " : "",
		 first_warning, todo);
}

int probe_open(const struct probe_options *options, const struct features *features, struct probe **out,
	       char *why, size_t why_size)
{
	struct probe *probe = calloc(1, sizeof(*probe));
	const char *step = "allocate";
	libbpf_print_fn_t before;
	int err;

	if (!probe)
		return -ENOMEM;
	probe->closer = closer_new(); /* without one, links are closed on the spot */
	probe->epoll = -1;
	probe->list_link = -1;
	probe->cpus = libbpf_num_possible_cpus();
	first_warning[0] = '\0';
	before = libbpf_set_print(warning_keep);
	err = probe_load(probe, options, features, &step);
	libbpf_set_print(before);
	if (err) {
		why_fill(why, why_size, step, err);
		probe_close(probe);
		return err;
	}
	*out = probe;
	return 0;
}

void probe_close(struct probe *probe)
{
	if (!probe)
		return;
	reporter_free(probe->reporter);
	attachments_close(probe);
	lanes_close(probe);
	lapidary_bpf__destroy(probe->skeleton);
	free(probe);
}

int probe_reports(struct probe *probe, bool always)
{
	return probe->reporter ? -EALREADY : reporter_new(probe, always, &probe->reporter);
}

int probe_set_layout(struct probe *probe, uint16_t group, const struct libpq_layout *libpq,
		     const struct ruby_layout *ruby)
{
	const struct lapidary_bpf *bpf = probe->skeleton;
	uint32_t key = group;

	if (!group || group > GROUPS_MAX)
		return -EINVAL;
	if (bpf_map_update_elem(bpf_map__fd(bpf->maps.layouts), &key, libpq, BPF_ANY) ||
	    bpf_map_update_elem(bpf_map__fd(bpf->maps.rubies), &key, ruby, BPF_ANY))
		return -errno;
	return 0;
}

int probe_counters(const struct probe *probe, struct counters *out)
{
	const size_t words = sizeof(*out) / sizeof(uint64_t);
	uint64_t *sum = (uint64_t *)out;
	struct counters *each;
	uint32_t key = 0;
	int err = 0, cpu;
	size_t i;

	each = calloc(probe->cpus, sizeof(*each));
	if (!each)
		return -ENOMEM;
	if (bpf_map_lookup_elem(bpf_map__fd(probe->skeleton->maps.counters), &key, each)) {
		err = -errno;
		goto out;
	}
	memset(out, 0, sizeof(*out));
	for (cpu = 0; cpu < probe->cpus; cpu++)
		for (i = 0; i < words; i++)
			sum[i] += ((const uint64_t *)&each[cpu])[i];
out:
	free(each);
	return err;
}

/* What the kernel charges for a map, from the descriptor's fdinfo; 0 when it does not say. */
static size_t map_charge(int fd)
{
	char path[64], line[128];
	unsigned long long bytes = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	fclose(file);
	return bytes;
}

void probe_memory(const struct probe *probe, size_t *ring_bytes, size_t *map_bytes)
{
	struct bpf_map *map;

	*ring_bytes = 0;
	*map_bytes = 0;
	bpf_object__for_each_map(map, probe->skeleton->obj)
	{
		size_t charge = map_charge(bpf_map__fd(map));

		if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF)
			*ring_bytes += charge;
		else
			*map_bytes += charge;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds out what the kernel offers by trying it.
 *
 * All tiny programs are loaded together first, which is the common case and one load; only where that
 * fails is each tried alone. Attaching is tried where attaching is what may be refused: uprobes and perf
 * events. Everything is closed again at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "features.skel.h"
#include "user/probe/features.h"
#include "user/probe/uprobe_multi.h"

enum { HOST_PID_NS_INODE = (int)0xEFFFFFFC };

static const struct feature_state unknown[FEATURE_COUNT] = {
	[FEATURE_BTF] = {"btf", "programs that fit this kernel", true},
	[FEATURE_HOST_PID_NS] = {"host_pid_namespace", "process ids that mean the same to all", true},
	[FEATURE_RING_BUFFER] = {"ring_buffer", "records from the kernel", true},
	[FEATURE_TASK_STORAGE] = {"task_storage", "marks of watched processes", true},
	[FEATURE_TP_SIGNAL_DELIVER] = {"signal_deliver", "faults, with registers and stack", true},
	[FEATURE_TP_SIGNAL_GENERATE] = {"signal_generate", "who sent a kill", false},
	[FEATURE_TP_PROCESS] = {"process_life", "fork, exec and exit of watched processes", true},
	[FEATURE_TP_PAGE_FAULT] = {"page_fault", "page faults of watched processes", false},
	[FEATURE_TP_SYS_ENTER] = {"sys_enter", "what a crashing process writes", false},
	[FEATURE_TASK_ITERATOR] = {"task_iterator", "processes that already run at start", true},
	[FEATURE_UPROBE_MULTI] = {"uprobe_multi", "libpq and libruby, attached by the agent itself", false},
	[FEATURE_PERF_UPROBE] = {"perf_uprobe", "libpq and libruby where uprobe_multi is missing", false},
	[FEATURE_PERF_MMAP] = {"perf_mmap", "libraries that are mapped late", false},
	[FEATURE_PERF_BUILD_ID] = {"perf_build_id", "build-ids of mapped files without reading them", false},
	[FEATURE_PIDFD] = {"pidfd", "marks and signals that cannot hit another process", true},
};

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

/* `what` was tried: the detail says so, or why it failed. */
static void state_set(struct features *out, enum feature feature, int err, const char *what)
{
	struct feature_state *state = &out->state[feature];

	state->present = !err;
	if (err)
		snprintf(state->detail, sizeof(state->detail), "%s: %s", what, strerror(-err));
	else
		snprintf(state->detail, sizeof(state->detail), "%s: tried", what);
}

/* --- programs --------------------------------------------------------------------------------------- */

static const struct {
	enum feature feature;
	const char *program;
	const char *what;
} trials[] = {
	{FEATURE_RING_BUFFER, "feature_ring_buffer", "a program with a ring"},
	{FEATURE_TASK_STORAGE, "feature_task_storage", "a program with task storage"},
	{FEATURE_TP_SIGNAL_DELIVER, "feature_signal_deliver", "a program on tp_btf/signal_deliver"},
	{FEATURE_TP_SIGNAL_GENERATE, "feature_signal_generate", "a program on tp_btf/signal_generate"},
	{FEATURE_TP_PROCESS, "feature_fork", "a program on tp_btf/sched_process_fork"},
	{FEATURE_TP_PROCESS, "feature_exec", "a program on tp_btf/sched_process_exec"},
	{FEATURE_TP_PROCESS, "feature_exit", "a program on tp_btf/sched_process_exit"},
	{FEATURE_TP_PAGE_FAULT, "feature_page_fault", "a program on tp_btf/page_fault_user"},
	{FEATURE_TP_SYS_ENTER, "feature_sys_enter", "a program on tp_btf/sys_enter"},
	{FEATURE_TASK_ITERATOR, "feature_iterator", "a program on iter/task"},
};

enum { TRIALS = sizeof(trials) / sizeof(trials[0]) };

/* Loads the named program with its maps, or all when `program` is NULL. 0 with *out loaded, or -errno. */
static int programs_load(const char *program, bool multi, struct features_bpf **out)
{
	struct features_bpf *bpf = features_bpf__open();
	struct bpf_program *each;
	struct bpf_map *map;
	int err;

	if (!bpf)
		return -errno;
	bpf_object__for_each_program(each, bpf->obj)
	{
		const char *name = bpf_program__name(each);
		bool uprobe = !strcmp(name, "feature_uprobe");

		bpf_program__set_autoload(each, program ? !strcmp(name, program) : !uprobe);
		if (uprobe && multi)
			bpf_program__set_expected_attach_type(each, (enum bpf_attach_type)TRACE_UPROBE_MULTI);
	}
	/* a map that this kernel cannot make must not spoil the trial of a program that has no use for it */
	bpf_object__for_each_map(
		map, bpf->obj) if (program &&
				   ((map == bpf->maps.ring && strcmp(program, "feature_ring_buffer")) ||
				    (map == bpf->maps.storage && strcmp(program, "feature_task_storage"))))
		bpf_map__set_autocreate(map, false);
	err = features_bpf__load(bpf);
	if (err) {
		features_bpf__destroy(bpf);
		return err;
	}
	*out = bpf;
	return 0;
}

static int program_try(const char *program)
{
	struct features_bpf *bpf;
	int err = programs_load(program, false, &bpf);

	if (!err)
		features_bpf__destroy(bpf);
	return err;
}

static void programs_probe(struct features *out)
{
	bool all = !program_try(NULL);
	size_t i;

	for (i = 0; i < TRIALS; i++) {
		int err = all ? 0 : program_try(trials[i].program);

		/* several trials of one feature: the first that failed stays */
		if (!i || trials[i].feature != trials[i - 1].feature || out->state[trials[i].feature].present)
			state_set(out, trials[i].feature, err, trials[i].what);
	}
}

/* --- uprobes and perf events ------------------------------------------------------------------------ */

/* Attaching needs a place in a file: the first instruction of our own program's text will do. */
static uint64_t own_offset(void)
{
	const uintptr_t wanted = (uintptr_t)&features_probe;
	unsigned long long start, end, offset;
	uint64_t found = 0;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && !found && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%llx %*4s %llx", &start, &end, &offset) == 3 && wanted >= start &&
		    wanted < end)
			found = wanted - start + offset;
	if (maps)
		fclose(maps);
	return found;
}

static int uprobe_multi_try(int file, uint64_t offset)
{
	struct features_bpf *bpf;
	int err, fd;

	err = programs_load("feature_uprobe", true, &bpf);
	if (err)
		return err;
	fd = uprobe_multi_link(bpf_program__fd(bpf->progs.feature_uprobe), file, &offset, 1, 1);
	if (fd >= 0)
		close(fd);
	features_bpf__destroy(bpf);
	return fd < 0 ? fd : 0;
}

static int perf_open(struct perf_event_attr *attr, int pid, int cpu)
{
	int fd;

	attr->size = sizeof(*attr);
	fd = syscall(SYS_perf_event_open, attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int perf_try(struct perf_event_attr *attr, int pid, int cpu)
{
	int fd = perf_open(attr, pid, cpu);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static int perf_uprobe_try(uint64_t offset)
{
	struct perf_event_attr attr = {
		.config1 = (uintptr_t) "/proc/self/exe", .config2 = offset, .disabled = 1};
	FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	int got;

	if (!file)
		return -ENOENT;
	got = fscanf(file, "%u", &attr.type);
	fclose(file);
	if (got != 1)
		return -EBADMSG;
	return perf_try(&attr, -1, 0);
}

static int perf_mmap_try(bool build_id)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.mmap = 1,
		.mmap2 = 1,
		.disabled = 1,
		.build_id = build_id,
	};

	return perf_try(&attr, -1, 0);
}

static void perf_probe(struct features *out)
{
	uint64_t offset = own_offset();
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int err = file < 0 ? -errno : offset ? uprobe_multi_try(file, offset) : -ENOENT;

	state_set(out, FEATURE_UPROBE_MULTI, err, "a link to this program");
	state_set(out, FEATURE_PERF_UPROBE, offset ? perf_uprobe_try(offset) : -ENOENT,
		  "an event on this program");
	state_set(out, FEATURE_PERF_MMAP, perf_mmap_try(false), "mmap2 records of CPU 0");
	state_set(out, FEATURE_PERF_BUILD_ID, perf_mmap_try(true), "mmap2 records with build-ids");
	if (file >= 0)
		close(file);
}

/* --- the rest --------------------------------------------------------------------------------------- */

static int pid_namespace_try(void)
{
	struct stat st;

	if (stat("/proc/self/ns/pid", &st))
		return -errno;
	return st.st_ino == (uint32_t)HOST_PID_NS_INODE ? 0 : -EREMOTE;
}

static void pid_namespace_probe(struct features *out)
{
	struct feature_state *state = &out->state[FEATURE_HOST_PID_NS];
	int err = pid_namespace_try();

	state_set(out, FEATURE_HOST_PID_NS, err, "/proc/self/ns/pid");
	if (err == -EREMOTE)
		snprintf(state->detail, sizeof(state->detail),
			 "this is a container's: run in the host's (hostPID)");
}

static int pidfd_try(void)
{
	int fd = syscall(SYS_pidfd_open, getpid(), 0);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

void features_probe(struct features *out)
{
	libbpf_print_fn_t before = libbpf_set_print(quiet);

	memcpy(out->state, unknown, sizeof(out->state));
	state_set(out, FEATURE_BTF, access("/sys/kernel/btf/vmlinux", R_OK) ? -errno : 0,
		  "/sys/kernel/btf/vmlinux");
	pid_namespace_probe(out);
	state_set(out, FEATURE_PIDFD, pidfd_try(), "pidfd_open");
	programs_probe(out);
	perf_probe(out);
	libbpf_set_print(before);
}

const struct feature_state *features_missing(const struct features *features)
{
	int i;

	for (i = 0; i < FEATURE_COUNT; i++)
		if (features->state[i].needed && !features->state[i].present)
			return &features->state[i];
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link_create arm of union bpf_attr for uprobe_multi, spelled out. The file is named by /proc/self/fd:
 * no path of a watched process is resolved, and the inode is the one that was examined.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/bpf.h>
#include "user/probe/uprobe_multi.h"

struct uprobe_multi_attr {
	uint32_t program_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint64_t path;
	uint64_t offsets;
	uint64_t reference_offsets;
	uint64_t cookies;
	uint32_t count;
	uint32_t multi_flags;
	uint32_t pid;
	uint32_t reserved;
};

_Static_assert(sizeof(struct uprobe_multi_attr) == 64, "union bpf_attr");

int uprobe_multi_link(int program_fd, int file_fd, const uint64_t *offsets, uint32_t count, uint64_t cookie)
{
	uint64_t cookies[UPROBE_MULTI_MAX];
	char path[32];
	struct uprobe_multi_attr attr = {
		.program_fd = program_fd,
		.attach_type = TRACE_UPROBE_MULTI,
		.path = (uintptr_t)path,
		.offsets = (uintptr_t)offsets,
		.cookies = (uintptr_t)cookies,
		.count = count,
	};
	uint32_t i;
	int fd;

	if (!count || count > UPROBE_MULTI_MAX)
		return -EINVAL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file_fd);
	for (i = 0; i < count; i++)
		cookies[i] = cookie;
	fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return fd < 0 ? -errno : fd;
}

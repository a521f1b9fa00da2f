/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * User page faults of watched processes, counted in the mark. Never an event: a growing heap takes
 * thousands a second, and the model wants the rate alone.
 */
#include "bpf/common.bpf.h"

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("tp_btf/page_fault_user")
int BPF_PROG(memory_fault)
{
	struct mark *mark = mark_get(bpf_get_current_task_btf()->group_leader);

	if (mark)
		add_once(mark->user_faults);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crash from what is known at its confirmation: the fault with its place, the VM's own message, the last
 * statement, the losses that may have taken something away. A process has one at most.
 */
#include "user/model/state.h"
#include "user/base/digest.h"
#include "user/base/text.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void add_id(struct crash *crash)
{
	uint64_t parts[3] = {crash->process.tgid, crash->process.start_ns, crash->time_ns};
	digest_hex(digest_mix(digest_fnv(DIGEST_START, parts, sizeof(parts))), crash->id);
}

static void add_fatal(struct crash *crash, const struct ev_fatal *fatal)
{
	if (!fatal || crash->oom || (crash->has_fault && crash->fault.signal != SIGABRT))
		return;
	if (fatal->head.time_ns <= crash->confirmed_ns && fatal->head.time_ns + FATAL_NS >= crash->time_ns)
		crash->fatal = *fatal;
}

static void add_statement(struct model *model, struct process_state *process, struct crash *crash)
{
	const struct ev_fault *fault = &crash->fault;
	const struct connection *connection = NULL;
	if (crash->has_fault && fault->sql_len) {
		uint32_t length = fault->sql_len < sizeof(fault->sql) ? fault->sql_len : sizeof(fault->sql);
		text_copy_bytes(crash->sql, sizeof(crash->sql), fault->sql, length);
		crash->sql_in_flight = fault->sql_end_ns == 0;
		connection = connection_find(model, process, fault->conn);
	} else if ((connection = connection_latest(process))) {
		text_copy(crash->sql, sizeof(crash->sql), statement_text(model, connection->statement));
		crash->sql_in_flight = *crash->sql && connection->in_flight;
	}
	if (connection && *crash->sql)
		text_copy(crash->target, sizeof(crash->target), connection->target);
}

static uint64_t losses(const struct model *model, uint64_t from_ns, uint64_t to_ns)
{
	uint32_t kept = model->gap_count < GAPS_KEPT ? model->gap_count : GAPS_KEPT;
	uint64_t lost = 0;
	for (uint32_t i = 0; i < kept; i++)
		if (model->gaps[i].to_ns >= from_ns && model->gaps[i].from_ns <= to_ns)
			lost += model->gaps[i].lost;
	return lost;
}

static void count_it(struct model *model, struct process_state *process, const struct crash *crash)
{
	struct process_state *parent =
		process_peek(model, process->pub.parent.tgid, process->pub.parent.start_ns);
	if (parent && process->pub.role == ROLE_WORKER) {
		parent->pub.worker_crashes++;
		parent->had_worker = true;
		process_trouble(parent, crash->time_ns, "worker %u crashed: %s", crash->process.tgid,
				crash->id);
	}
	process_trouble(process, crash->time_ns, "crash %s", crash->id);
	app_crash(app_of(process), crash->time_ns);
	if (crash->time_ns > model->last_crash_ns)
		model->last_crash_ns = crash->time_ns;
}

void crash_make(struct model *model, struct process_state *process, const struct pending *pending,
		enum confirmation confirmed_by, uint64_t time_ns, uint64_t confirmed_ns)
{
	struct crash *crash = process->crash ? NULL : calloc(1, sizeof(*crash));
	if (!crash)
		return;
	if (pending) {
		crash->has_fault = true;
		crash->fault = pending->fault;
		crash->location = pending->location;
		time_ns = pending->fault.head.time_ns;
	}
	crash->process = process->pub.id;
	crash->parent = process->pub.parent;
	text_copy(crash->app, sizeof(crash->app), process->pub.app->name);
	text_copy(crash->comm, sizeof(crash->comm), process->pub.comm);
	crash->uid = process->uid;
	crash->role = process->pub.role;
	crash->time_ns = time_ns;
	crash->confirmed_ns = confirmed_ns;
	crash->confirmed_by = confirmed_by;
	crash->status = process->buried ? process->status : -1;
	crash->oom = process->oom;
	crash->lost_records = losses(model, time_ns > GAP_NS ? time_ns - GAP_NS : 0, confirmed_ns);
	crash->live_workers = process->pub.app->workers + (process->counted ? 0 : 1);
	add_id(crash);
	add_fatal(crash, process->fatal);
	add_statement(model, process, crash);
	process->crash = crash;
	process->pub.crashing = true;
	process_uncount(process);
	fault_forget(process);
	count_it(model, process, crash);
	model_say_crash(model, NOTICE_CRASH, confirmed_ns, process);
}

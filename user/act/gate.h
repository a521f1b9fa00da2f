/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one gate: every decision passes here, and nothing else acts. In this version the gate only observes:
 * it answers what it would have done and why it did not (no consent), and writes the audit line.
 */
#ifndef LAPIDARY_GATE_H
#define LAPIDARY_GATE_H

#include <cjson/cJSON.h>
#include <stdint.h>

enum gate_outcome { GATE_DONE, GATE_OBSERVED, GATE_REFUSED };

/* What the gate needs to know of a decision; strings are borrowed. */
struct gate_request {
	const char *decision, *incident, *action, *app, *target, *reason;
	uint32_t pid, live_workers;
	uint64_t wall_ns;
};

struct gate;
struct gate *gate_new(void);
void gate_free(struct gate *gate);
/* Decides and audits; *audit gets a new document (the caller deletes it). */
enum gate_outcome gate_pass(struct gate *gate, const struct gate_request *request, cJSON **audit);

#endif

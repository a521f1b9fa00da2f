/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A finished crash report as the sinks take it: the row's columns and the contents of the bundle's files.
 * No word of the model here, so that a sink need not know it.
 */
#ifndef LAPIDARY_BUNDLE_H
#define LAPIDARY_BUNDLE_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/event.h"

struct blame {
	char module[256];
	char gem[64]; /* "" when the path names none */
	char version[32];
	char confidence[8]; /* "high", "medium", "low", "none" */
	char how[128];
};

/* What the store writes: the row's columns and the bundle's files. All owned, freed by crash_report_free; the
 * struct comes from crash_report_new. */
struct crash_report {
	char id[20], fingerprint[20], time[36], start_time[36];
	char app[64], comm[EV_COMM], signal[12], code[16], fault_address[20], cause[24], confirmed_by[16];
	char host[64];
	uint32_t pid, uid;
	uint64_t fault_ns; /* CLOCK_BOOTTIME */
	int32_t status;    /* as wait(2) gives it, -1: it has not ended yet */
	struct blame blame;
	char *report_json; /* NUL-terminated, schema rules/schema/report.schema.json */
	char *maps_txt;    /* /proc/PID/maps format plus build-ids; NULL when nothing is known */
	char *events_jsonl;
	uint8_t *stack; /* raw bytes, file "stack.bin"; NULL when there are none */
	size_t stack_size;
};

void crash_report_free(struct crash_report *report);           /* NULL-safe */
size_t crash_report_memory(const struct crash_report *report); /* bytes it holds, for queue limits */

/* "SIGSEGV". */
void signal_name(int signal, char out[12]);
/* {"status","signal","code"} of a wait status, as report.json's "exit" has it; null when negative. */
cJSON *crash_exit(int32_t status);

#endif

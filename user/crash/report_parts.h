/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the crash floor: the sections of report.json and the text of maps.txt. */
#ifndef LAPIDARY_REPORT_PARTS_H
#define LAPIDARY_REPORT_PARTS_H

#include "user/crash/blame.h"

/* Each returns a new object, array or null that the caller adds; NULL: no memory. */
cJSON *part_registers(const struct crash_input *input);
cJSON *part_fault(const struct crash *crash);
cJSON *part_location(const struct crash *crash);
cJSON *part_frames(const struct crash_input *input, const struct scan *scan);
cJSON *part_vm_error(const struct crash *crash);
cJSON *part_sql(const struct crash *crash, uint64_t wall_offset_ns);
cJSON *part_memory(const struct crash_input *input);
cJSON *part_gems(const struct crash_input *input);
/* What of the report is complete, partial or missing, and why: {"registers":{"state","why"},…}. */
cJSON *part_states(const struct crash_input *input);

/* maps.txt, malloc'ed; NULL: no memory. */
char *maps_txt(const struct maps_region *regions, size_t count);

#endif

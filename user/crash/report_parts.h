/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the crash floor: the sections of report.json and the text of maps.txt. */
#ifndef LAPIDARY_REPORT_PARTS_H
#define LAPIDARY_REPORT_PARTS_H

#include "user/crash/blame.h"
#include "user/crash/frames.h"

#define STDERR_NOT_YET "what the process wrote is added when it has ended"

/* Each returns a new object, array or null that the caller adds; NULL: no memory. */
cJSON *part_registers(const struct crash_input *input);
cJSON *part_fault(const struct crash *crash);
cJSON *part_location(const struct crash *crash);
cJSON *part_frames(const struct crash_input *input, const struct frames *frames);
cJSON *part_ruby_frames(const struct crash_input *input);
/* Both as one: [{"native": 0}, {"native": 1, "ruby": 0}, {"ruby": 1}, …]. */
cJSON *part_whole_stack(const struct crash_input *input, const struct frames *frames);
cJSON *part_unwind(const struct crash_input *input);
cJSON *part_modules(const struct crash_input *input);
cJSON *part_vm_error(const struct crash *crash);
cJSON *part_sql(const struct crash *crash, uint64_t wall_offset_ns);
cJSON *part_memory(const struct crash_input *input);
cJSON *part_gems(const struct crash_input *input);
/* What the check knew of the file; null: nothing. */
cJSON *part_extension_verdict(const struct crash_input *input, const char *path);
cJSON *part_capture(const struct crash_input *input);
cJSON *part_auxv(const struct crash_input *input);
cJSON *part_code(const struct crash_input *input);
cJSON *part_stderr(const struct crash_input *input);
/* What of the report is complete, partial or missing, and why: {"registers":{"state","why"},…}. */
cJSON *part_states(const struct crash_input *input);

/* Cleaned of what is not printable; null when "". */
void json_add_clean(cJSON *object, const char *key, const char *text);
void json_add_build_id(cJSON *object, const uint8_t *id, size_t size);
size_t ruby_count(const struct crash_input *input);
/* Pieces of the captured stack, without its windows. */
size_t stack_pages(const struct crash_input *input);
/* Pieces that could not be read, those of the windows as well; *pages: of how many. */
size_t pages_missing(const struct crash_input *input, size_t *pages);
bool page_missing(const struct ev_fault *fault, size_t page);

/* maps.txt, malloc'ed; NULL: no memory. */
char *maps_txt(const struct maps_region *regions, size_t count);

#endif

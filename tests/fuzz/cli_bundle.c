// SPDX-License-Identifier: Apache-2.0
/*
 * An exported file from anybody, through everything that is done with one: shown, made into a core, compared
 * with itself, redacted. The first byte says what the rest is: an archive as it came, or the files of a
 * bundle one after the other, so that what lies behind the checksums is reached as well: maps, events, stderr
 * and stack, each as long as two bytes say, then report.json.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/cli/crash.h"
#include "user/cli/crash_diff.h"
#include "user/cli/crash_show.h"

static FILE *nowhere;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	nowhere = fopen("/dev/null", "w");
	return nowhere ? 0 : -1;
}

static void fill(struct bundle_files *bundle, int file, const uint8_t *bytes, size_t size)
{
	bundle->files[file].bytes = malloc(size + 1);
	if (!bundle->files[file].bytes)
		abort();
	memcpy(bundle->files[file].bytes, bytes, size);
	bundle->files[file].bytes[size] = '\0';
	bundle->files[file].size = size;
}

static void split(struct bundle_files *bundle, const uint8_t *data, size_t size)
{
	static const int order[] = {BUNDLE_MAPS, BUNDLE_EVENTS, BUNDLE_STDERR, BUNDLE_STACK};

	for (size_t i = 0; i < sizeof(order) / sizeof(*order) && size >= 2; i++) {
		size_t length = data[0] | (size_t)data[1] << 8;

		data += 2;
		size -= 2;
		length = length < size ? length : size;
		if (length)
			fill(bundle, order[i], data, length);
		data += length;
		size -= length;
	}
	fill(bundle, BUNDLE_REPORT, data, size);
}

static void use(const struct bundle_files *bundle)
{
	struct core_gaps gaps;
	uint8_t *core = NULL;
	size_t size;
	char why[256], *events;

	story_print(nowhere, true, bundle, NULL, true);
	if (!core_new(bundle, "\177ELF", 4, &core, &size, &gaps, why, sizeof(why)) && size < 64)
		abort();
	free(core);
	cJSON_Delete(crash_compare(bundle, bundle));
	cJSON_Delete(crash_redact(bundle));
	events = crash_redact_events(bundle->files[BUNDLE_EVENTS].bytes ? bundle->files[BUNDLE_EVENTS].bytes
									: "");
	free(events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bundle_files bundle = {.place = "fuzz"};
	char why[5000] = "";
	int err = 0;

	if (!size)
		return 0;
	if (data[0] % 2)
		split(&bundle, data + 1, size - 1);
	else
		err = bundle_unpack(data + 1, size - 1, &bundle, why, sizeof(why));
	if (!err)
		err = bundle_files_parse(&bundle, why, sizeof(why));
	if (err && !*why)
		abort(); /* whatever is refused is told */
	if (!err)
		use(&bundle);
	bundle_files_done(&bundle);
	return 0;
}

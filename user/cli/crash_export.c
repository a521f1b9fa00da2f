// SPDX-License-Identifier: Apache-2.0
/* `lapidary crash export ID`: a bundle as one file, for the colleague or for the authors of the gem. */
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/tar.h"
#include "user/base/when.h"
#include "user/cli/crash.h"

static const struct help export_help = {
	"crash export ID [-o FILE] [--redact] [--force]",
	"Writes one file (.tar.gz) to hand on: report.json, maps.txt, events.jsonl, stderr.txt, stack.bin.\n"
	"Every verb of 'lapidary crash' takes it instead of an id, on any machine, without an agent.\n"
	"Without --redact it is as private as the process's memory: mode 0600.\n\n"
	"--redact leaves out stack.bin and stderr.txt, the words in the registers (what they pointed at\n"
	"stays), statements, the host's name and the thread's. In stay: file paths and versions, addresses,\n"
	"symbols, Ruby methods with file and line, code bytes, app and process name, times. What was left\n"
	"out stands in report.json under 'redacted'.\n",
	"  -o FILE    where to (default crash-ID.tar.gz here); '-' is stdout, which must be no terminal\n"
	"  --redact   leave out what may be private\n"
	"  --force    replace FILE\n",
	"  lapidary crash export 3f2a --redact -o for-the-authors.tar.gz\n"
	"  lapidary crash show --from for-the-authors.tar.gz\n"
	"  tar -tzf for-the-authors.tar.gz\n",
};

static uint64_t seconds_of(const cJSON *report)
{
	uint64_t wall_ns = 0;

	when_parse(json_text(report, "time"), &wall_ns);
	return wall_ns / 1000000000;
}

/* 0 or -ENOMEM and the like, of tar_finish. */
static int pack_whole(const struct bundle_files *bundle, struct tar *tar)
{
	for (int i = 0; i < BUNDLE_FILES; i++)
		if (bundle->files[i].bytes)
			tar_add(tar, bundle_file_kinds[i].name, bundle->files[i].bytes, bundle->files[i].size,
				seconds_of(bundle->report));
	return 0;
}

static int pack_redacted(const struct bundle_files *bundle, struct tar *tar)
{
	const char *maps = bundle->files[BUNDLE_MAPS].bytes, *given = bundle->files[BUNDLE_EVENTS].bytes;
	uint64_t time = seconds_of(bundle->report);
	cJSON *report = crash_redact(bundle);
	char *text = report ? cJSON_Print(report) : NULL;
	char *events = given ? crash_redact_events(given) : NULL;
	int err = text && (events || !given) ? 0 : -1;

	if (!err) {
		tar_add(tar, bundle_file_kinds[BUNDLE_REPORT].name, text, strlen(text), time);
		if (maps)
			tar_add(tar, bundle_file_kinds[BUNDLE_MAPS].name, maps,
				bundle->files[BUNDLE_MAPS].size, time);
		if (events)
			tar_add(tar, bundle_file_kinds[BUNDLE_EVENTS].name, events, strlen(events), time);
	}
	free(events);
	cJSON_free(text);
	cJSON_Delete(report);
	return err;
}

static int export_bundle(const struct bundle_files *bundle, const char *command, const char *path,
			 bool redact, bool force)
{
	struct tar *tar = tar_new();
	uint8_t *packed = NULL;
	size_t size = 0;
	char name[64];
	int err = !tar, code;

	if (!err)
		err = redact ? pack_redacted(bundle, tar) : pack_whole(bundle, tar);
	if (!err)
		err = tar_finish(tar, &packed, &size);
	tar_free(tar);
	if (err)
		return command_error(EXIT_INTERNAL, "%s: out of memory", command);
	snprintf(name, sizeof(name), "crash-%.19s.tar.gz", json_text(bundle->report, "id"));
	code = crash_output(command, path ? path : name, force, packed, size);
	free(packed);
	return code;
}

int crash_export(int argc, char **argv)
{
	bool redact = option_take(&argc, argv, "--redact"), force = option_take(&argc, argv, "--force");
	struct bundle_files bundle = {0};
	struct listing listing;
	const char *path = NULL;
	int code = option_value(&argc, argv, "-o", "a file's name", &path);

	if (code < 0)
		code = listing_start(&listing, argc, argv, &export_help, 0, 1);
	if (code >= 0)
		return code;
	code = listing.count == 1 ? bundle_read_any(&listing, listing.words[0], &bundle)
				  : usage_error("crash export: which? as in: lapidary crash export ID");
	if (code < 0) {
		code = export_bundle(&bundle, argv[0], path, redact, force);
		bundle_files_done(&bundle);
	}
	listing_done(&listing);
	return code;
}

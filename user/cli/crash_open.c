// SPDX-License-Identifier: Apache-2.0
/*
 * `lapidary crash open ID`: becomes gdb on a core that exists in memory alone, so that no raw memory is left
 * on disk. gdb reads the files that the process had mapped from their paths; one that was replaced since
 * would give wrong frames without a word, so each is compared by its build-id first.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/crash.h"
#include "user/elf/file.h"

static const struct help open_help = {
	"crash open ID [--root DIR] [-- GDB-ARGUMENT…]",
	"Opens a crash in gdb, on a core made from the bundle: the failing instruction, the whole "
	"backtrace,\n"
	"the shared libraries, $_siginfo. Files that were replaced since are named. ID may be an exported\n"
	"file or a bundle's folder.\n",
	"  --root DIR   where the process's files are: the root of its container, or an unpacked image\n"
	"  -- …         what follows is gdb's own\n",
	"  lapidary crash open 3f2a\n"
	"  lapidary crash open 3f2a -- -batch -ex bt -ex 'info registers'\n"
	"  lapidary crash open 3f2a --root /var/lib/machines/shop\n",
};

enum { GDB_ARGUMENTS = 64 };

/* The build-id of the file there now: "" when it has none, NULL when there is no such file. */
static const char *build_id_of(const char *path, char out[2 * ELF_FILE_BUILD_ID_MAX + 1])
{
	struct elf_file *file = NULL;
	int fd = crash_file_open(path, &file, out);

	elf_file_free(file);
	if (fd < 0)
		return NULL;
	close(fd);
	return out;
}

static void tell_of_files(const cJSON *report, const char *root, const char *command)
{
	const cJSON *module;

	cJSON_ArrayForEach(module, report_part(report, "modules"))
	{
		const char *was = json_text(module, "build_id"), *name = json_text(module, "path"), *is;
		char path[PATH_MAX], hex[2 * ELF_FILE_BUILD_ID_MAX + 1];

		if (*name != '/' || !*was)
			continue;
		snprintf(path, sizeof(path), "%s%s", root, name);
		is = build_id_of(path, hex);
		if (!is)
			command_error(0, "%s: %s: is not there any more: no symbols of it", command, path);
		else if (strcmp(is, was) != 0)
			command_error(
				0,
				"%s: %s: is not the file that ran (its build-id was %.12s…): its frames "
				"may be wrong; --root DIR looks elsewhere",
				command, path, was);
	}
}

/* The core behind a descriptor that gdb inherits, or -errno. */
static int core_descriptor(const void *core, size_t size)
{
	int fd = memfd_create("lapidary-core", 0), err;

	if (fd < 0)
		return -errno;
	err = file_write_all(fd, core, size);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* Returns only when gdb could not be started. */
static int become_gdb(const char *command, const char *root, const char *program, int fd, char **more,
		      int count)
{
	char core[48], sysroot[PATH_MAX + 16], file[PATH_MAX] = "";
	const char *argv[GDB_ARGUMENTS + 12];
	int n = 0;

	snprintf(core, sizeof(core), "--core=/proc/self/fd/%d", fd);
	snprintf(sysroot, sizeof(sysroot), "set sysroot %s", *root ? root : "/");
	snprintf(file, sizeof(file), "%s%s", root, program ? program : "");
	argv[n++] = "gdb";
	argv[n++] = "-q";
	argv[n++] = "-iex";
	argv[n++] = "set auto-load libthread-db off"; /* its tables were not captured */
	argv[n++] = "-iex";
	argv[n++] = sysroot;
	for (int i = 0; i < count && i < GDB_ARGUMENTS; i++)
		argv[n++] = more[i];
	argv[n++] = core;
	if (program)
		argv[n++] = file;
	argv[n] = NULL;
	execvp("gdb", (char *const *)argv);
	if (errno == ENOENT)
		return command_error(EXIT_HOST,
				     "%s: gdb is not installed; apt-get install gdb, or take the core to "
				     "where it is: lapidary crash core",
				     command);
	return command_error(EXIT_HOST, "%s: gdb: %s", command, strerror(errno));
}

static int open_bundle(struct bundle_files *bundle, const char *command, const char *root, char **more,
		       int count)
{
	struct core_gaps gaps = {0};
	uint8_t *core = NULL;
	size_t size = 0;
	int code = crash_core_make(bundle, command, &core, &size, &gaps), fd;

	if (code >= 0)
		return code;
	crash_core_tell(&gaps, command);
	tell_of_files(bundle->report, root, command);
	fd = core_descriptor(core, size);
	free(core);
	if (fd < 0)
		return command_error(EXIT_INTERNAL, "%s: %s", command, strerror(-fd));
	return become_gdb(command, root, core_program(bundle->report), fd, more, count);
}

int crash_open(int argc, char **argv)
{
	struct bundle_files bundle = {0};
	struct listing listing;
	const char *root = "";
	char **more = NULL;
	int count = 0, code;

	for (int i = 1; i < argc && !more; i++) {
		if (strcmp(argv[i], "--") != 0)
			continue;
		more = &argv[i + 1];
		count = argc - i - 1;
		argv[argc = i] = NULL;
	}
	code = option_value(&argc, argv, "--root", "a folder", &root);
	if (code < 0)
		code = listing_start(&listing, argc, argv, &open_help, 0, 1);
	if (code >= 0)
		return code;
	code = listing.count == 1 ? bundle_read_any(&listing, listing.words[0], &bundle)
				  : usage_error("crash open: which? as in: lapidary crash open ID");
	if (code < 0) {
		code = open_bundle(&bundle, argv[0], root, more, count);
		bundle_files_done(&bundle);
	}
	listing_done(&listing);
	return code;
}

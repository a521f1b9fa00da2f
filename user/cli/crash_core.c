// SPDX-License-Identifier: Apache-2.0
/*
 * `lapidary crash core ID`: the bundle as an ELF core. The vdso is not in the bundle; this process has one
 * as well, and it is the same when the crash happened on this host since it booted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>
#include <elf.h>
#include "user/base/file.h"
#include "user/base/json.h"
#include "user/base/when.h"
#include "user/cli/crash.h"

static const struct help core_help = {
	"crash core ID [-o FILE] [--force]",
	"Writes an ELF core of a crash that gdb opens with its full backtrace, shared libraries and "
	"siginfo.\n"
	"It holds the stack, so it is as private as the process's memory: mode 0600. ID may be an exported\n"
	"file or a bundle's folder.\n",
	"  -o FILE   where to (default crash-ID.core here); '-' is stdout, which must be no terminal\n"
	"  --force   replace FILE\n",
	"  lapidary crash core 3f2a -o /tmp/shop.core\n"
	"  gdb -ex bt /usr/bin/ruby /tmp/shop.core\n"
	"  lapidary crash core 3f2a -o - | ssh other 'cat >shop.core'\n",
};

/* Our own vdso: one image for all processes of a kernel. Its size: headers, segments, then section headers.
 */
static const void *own_vdso(size_t *size)
{
	const Elf64_Ehdr *head =
		(const void *)getauxval(AT_SYSINFO_EHDR); // NOLINT(performance-no-int-to-ptr)

	if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0)
		return NULL;
	*size = head->e_shoff + (size_t)head->e_shnum * head->e_shentsize;
	return head;
}

static bool is_of_this_boot(const cJSON *report)
{
	uint64_t time, now = when_wall_now(), up = when_boot_now();
	char host[65] = "";

	return gethostname(host, sizeof(host) - 1) == 0 && !strcmp(host, json_text(report, "host")) &&
	       when_parse(json_text(report, "time"), &time) && time <= now && now - time < up;
}

int crash_core_make(struct bundle_files *bundle, const char *command, uint8_t **out, size_t *size,
		    struct core_gaps *gaps)
{
	size_t vdso_size = 0;
	const void *vdso = is_of_this_boot(bundle->report) ? own_vdso(&vdso_size) : NULL;
	char why[256] = "";
	int err = crash_find_modules(bundle);

	if (!err)
		err = core_new(bundle, vdso, vdso_size, out, size, gaps, why, sizeof(why));

	if (!err)
		return -1;
	if (err == -ENOMEM)
		return command_error(EXIT_INTERNAL, "%s: out of memory", command);
	return command_error(EXIT_PROBLEMS,
			     "%s: no core can be made: %s; 'lapidary crash show %s' has what there is",
			     command, why, json_text(bundle->report, "id"));
}

void crash_core_tell(const struct core_gaps *gaps, const char *command)
{
	if (gaps->auxv)
		command_error(0, "%s: no auxiliary vector in the report: a debugger cannot place the program",
			      command);
	else if (gaps->modules)
		command_error(0, "%s: no list of loaded files in the report: a debugger sees no libraries",
			      command);
	if (gaps->modules_without_place)
		command_error(0, "%s: %u loaded files could not be read in time: not in the list", command,
			      gaps->modules_without_place);
	if (gaps->pages)
		command_error(0, "%s: %u pages of the stack could not be read: left out", command,
			      gaps->pages);
}

/*
 * -EEXIST: something is there, and may not be replaced. -EISNAM: what is there is no regular file. A device
 * or a FIFO is never put aside, whatever was asked for: as root that would be the host's own /dev/null.
 */
static int write_new(const char *path, bool force, const void *bytes, size_t size)
{
	struct stat there;
	int fd, err;

	if (force && lstat(path, &there) == 0) {
		if (!S_ISREG(there.st_mode))
			return -EISNAM;
		if (unlink(path) < 0)
			return -errno;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = file_write_all(fd, bytes, size);
	if (close(fd) < 0 && !err)
		err = -errno;
	if (err)
		unlink(path);
	return err;
}

int crash_output(const char *command, const char *path, bool force, const void *bytes, size_t size)
{
	int err;

	if (!strcmp(path, "-")) {
		if (isatty(STDOUT_FILENO))
			return usage_error("%s: this is no text for a terminal; give a file with -o FILE",
					   command);
		err = file_write_all(STDOUT_FILENO, bytes, size);
		return err ? command_error(EXIT_PROBLEMS, "%s: output: %s", command, strerror(-err))
			   : EXIT_FINE;
	}
	err = write_new(path, force, bytes, size);
	if (err == -EEXIST)
		return command_error(EXIT_PROBLEMS, "%s: %s: is there already; --force replaces it", command,
				     path);
	if (err == -EISNAM)
		return command_error(EXIT_PROBLEMS,
				     "%s: %s: is no regular file and stays; '-o -' writes to stdout", command,
				     path);
	if (err)
		return command_error(EXIT_PROBLEMS, "%s: %s: %s", command, path, strerror(-err));
	printf("%s: %zu bytes\n", path, size);
	return EXIT_FINE;
}

int crash_core(int argc, char **argv)
{
	struct bundle_files bundle = {0};
	struct listing listing;
	struct core_gaps gaps = {0};
	const char *path = NULL;
	bool force = option_take(&argc, argv, "--force");
	char name[64];
	uint8_t *core = NULL;
	size_t size = 0;
	int code = option_value(&argc, argv, "-o", "a file's name", &path);

	if (code < 0)
		code = listing_start(&listing, argc, argv, &core_help, 0, 1);
	if (code >= 0)
		return code;
	code = listing.count == 1 ? bundle_read_any(&listing, listing.words[0], &bundle)
				  : usage_error("crash core: whose? as in: lapidary crash core ID");
	if (code >= 0)
		goto out;
	code = crash_core_make(&bundle, argv[0], &core, &size, &gaps);
	if (code < 0) {
		snprintf(name, sizeof(name), "crash-%.19s.core", json_text(bundle.report, "id"));
		crash_core_tell(&gaps, argv[0]);
		code = crash_output(argv[0], path ? path : name, force, core, size);
	}
	free(core);
	bundle_files_done(&bundle);
out:
	listing_done(&listing);
	return code;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * What is read here may come from anybody: a folder may hold links, an archive may hold anything. Names are
 * those of a bundle's files and no others, sizes are bounded before memory is taken, nothing is unpacked to
 * disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/tar.h"
#include "user/base/text.h"
#include "user/cli/bundle_read.h"

static int take_member(void *context, const char *name, const uint8_t *bytes, size_t size, char *why,
		       size_t why_size)
{
	struct bundle_files *out = context;

	for (int i = 0; i < BUNDLE_FILES; i++) {
		if (strcmp(name, bundle_file_kinds[i].name) != 0)
			continue;
		if (size > bundle_file_kinds[i].limit || out->files[i].bytes) {
			snprintf(why, why_size, "%s: %s", name,
				 out->files[i].bytes ? "there twice"
						     : "larger than any that Lapidary writes");
			return -EBADMSG;
		}
		out->files[i].bytes = malloc(size + 1);
		if (!out->files[i].bytes)
			return -ENOMEM;
		memcpy(out->files[i].bytes, bytes, size);
		out->files[i].bytes[size] = '\0';
		out->files[i].size = size;
		return 0;
	}
	snprintf(why, why_size, "%s: no file of a bundle", name);
	return -EBADMSG;
}

int bundle_unpack(const uint8_t *bytes, size_t size, struct bundle_files *out, char *why, size_t why_size)
{
	int err = tar_read(bytes, size, BUNDLE_ARCHIVE_MAX, take_member, out, why, why_size);

	if (err == -ENOMEM)
		snprintf(why, why_size, "out of memory");
	else if (err == -EFBIG)
		snprintf(why, why_size, "larger than any export of Lapidary");
	return err;
}

/* The folder's files; what is not there stays out. */
static int read_folder(int dir_fd, struct bundle_files *out, char *why, size_t why_size)
{
	for (int i = 0; i < BUNDLE_FILES; i++) {
		int err = file_read_at(dir_fd, bundle_file_kinds[i].name, bundle_file_kinds[i].limit,
				       &out->files[i].bytes, &out->files[i].size);

		if (err && err != -ENOENT) {
			out->files[i].bytes = NULL;
			snprintf(why, why_size, "%s: %s", bundle_file_kinds[i].name, strerror(-err));
			return err;
		}
	}
	return 0;
}

static int read_file(int fd, struct bundle_files *out, char *why, size_t why_size)
{
	char *bytes = NULL;
	size_t size = 0;
	int err = file_read_fd(fd, BUNDLE_ARCHIVE_MAX, &bytes, &size);

	if (err)
		snprintf(why, why_size, "%s",
			 err == -EFBIG ? "larger than any export of Lapidary" : strerror(-err));
	else
		err = bundle_unpack((const uint8_t *)bytes, size, out, why, why_size);
	free(bytes);
	return err;
}

int bundle_read_place(const char *path, struct bundle_files *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), err = fd < 0 ? -errno : 0;
	char why[256] = "", line[4900];
	struct stat st;

	*out = (struct bundle_files){0};
	text_copy(out->place, sizeof(out->place), path);
	if (!err && fstat(fd, &st) < 0)
		err = -errno;
	if (err)
		snprintf(why, sizeof(why), "%s", strerror(-err));
	else if (S_ISDIR(st.st_mode))
		err = read_folder(fd, out, why, sizeof(why));
	else if (S_ISREG(st.st_mode))
		err = read_file(fd, out, why, sizeof(why));
	else
		err = command_error(-EINVAL, "crash: %s: neither a file nor a folder", path);
	if (fd >= 0)
		close(fd);
	if (err && *why)
		command_error(0, "crash: %s: %s; an export is made by 'lapidary crash export ID'", path, why);
	else if (!err) {
		err = bundle_files_parse(out, line, sizeof(line));
		if (err)
			command_error(0, "crash: %s", line);
	}
	if (!err)
		return -1;
	bundle_files_done(out);
	return EXIT_PROBLEMS;
}

/* What store_report says, for a person. */
static int tell(int err, const char *id, const char *place)
{
	switch (err) {
	case -ENOENT:
		return command_error(
			EXIT_PROBLEMS,
			"crash: no crash whose id begins with '%s'; 'lapidary crashes' lists them", id);
	case -ENOTUNIQ:
		return command_error(EXIT_PROBLEMS, "crash: '%s' fits several crashes; give more letters",
				     id);
	case -ESTALE:
		return command_error(
			EXIT_PROBLEMS,
			"crash: %s: there is no bundle of it: over the limit of its group, taken by "
			"quota or age, or by hand; its row is in 'lapidary crashes', and one of a like "
			"crash in 'lapidary crashes --group'",
			id);
	default:
		return command_error(
			EXIT_PROBLEMS,
			"crash: %s: damaged bundle; what else is in its folder may still be of use", place);
	}
}

int bundle_read_id(const struct listing *listing, const char *id, struct bundle_files *out)
{
	struct store_reader *reader = NULL;
	char place[4608] = "", why[256];
	int code = listing_store(listing, "crash", &reader), err, fd;

	if (code >= 0)
		return code;
	*out = (struct bundle_files){0};
	err = store_report(reader, id, &out->report, place, sizeof(place));
	store_reader_close(reader);
	if (err)
		return tell(err, id, place);
	text_copy(out->place, sizeof(out->place), place);
	/* the report is the store's, judged by its id; the other files lie beside it */
	fd = open(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = fd < 0 ? -errno : read_folder(fd, out, why, sizeof(why));
	if (fd >= 0)
		close(fd);
	if (!err)
		return -1;
	code = command_error(EXIT_PROBLEMS, "crash: %s: %s", place, fd < 0 ? strerror(-err) : why);
	bundle_files_done(out);
	return code;
}

bool bundle_is_place(const char *word)
{
	return strpbrk(word, "/.") != NULL;
}

int bundle_read_any(const struct listing *listing, const char *word, struct bundle_files *out)
{
	return bundle_is_place(word) ? bundle_read_place(word, out) : bundle_read_id(listing, word, out);
}

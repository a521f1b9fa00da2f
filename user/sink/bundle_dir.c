/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bundle on disk. The order is the promise. Every other file is written first, then report.json, which is
 * synced and renamed into place: from then on the report is finished, and whole, if the agent dies or is
 * killed. Only then, off the way of the next crash, are the other files synced, and only then is the row
 * committed, without which nothing is listed. A bundle without a report.json is rubbish that the next start
 * takes away; one without a row was finished, but if the machine itself stopped its other files may never
 * have reached the disk (reconcile.c).
 *
 * All paths are opened below the descriptor of crashes/, without following symbolic links, and the folder
 * names are our own ids: nothing here can be led elsewhere.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/json.h"
#include "user/base/when.h"
#include "user/sink/store_parts.h"

enum { REPORT_LIMIT = 8 << 20 };

/* What is beside report.json from the start. */
static const char *const raw_names[] = {"stack.bin", "maps.txt", "events.jsonl"};

bool bundle_id_good(const char *id)
{
	size_t size = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz");

	return size > 0 && size < sizeof(((struct crash_report *)0)->id) && id[size] == '\0';
}

int bundle_open(int crashes_fd, const char *id)
{
	int fd;

	if (!bundle_id_good(id))
		return -EINVAL;
	fd = openat(crashes_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int write_file(int dir_fd, const char *name, const void *data, size_t size)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return -errno;
	err = file_write_all(fd, data, size);
	if (close(fd) < 0 && !err)
		err = -errno;
	return err;
}

static int sync_file(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int err;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	err = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return err;
}

/* Like file_replace_at, but the folder is synced later, with the other files. */
static int write_report(int dir_fd, const char *text, uint64_t *finished_ns)
{
	int err = write_file(dir_fd, "report.json.tmp", text, strlen(text));

	if (!err)
		err = sync_file(dir_fd, "report.json.tmp");
	if (!err && renameat(dir_fd, "report.json.tmp", dir_fd, "report.json") < 0)
		err = -errno;
	if (!err)
		*finished_ns = when_boot_now();
	return err;
}

/* The report as it was printed, or with the stack's loss written in. */
static char *report_text(const struct crash_report *report, bool stack_shed)
{
	cJSON *json, *stack;
	char *printed, *text = NULL;

	if (!stack_shed)
		return asprintf(&text, "%s\n", report->report_json) < 0 ? NULL : text;
	json = cJSON_Parse(report->report_json);
	stack = cJSON_CreateObject();
	cJSON_AddStringToObject(stack, "state", "missing");
	cJSON_AddStringToObject(stack, "why", "dropped: the store's queue was full");
	if (!cJSON_ReplaceItemInObject(cJSON_GetObjectItem(json, "parts"), "stack", stack))
		cJSON_Delete(stack);
	stack = cJSON_CreateNull();
	if (!cJSON_ReplaceItemInObject(cJSON_GetObjectItem(json, "memory"), "stack", stack))
		cJSON_Delete(stack);
	printed = json ? cJSON_Print(json) : NULL;
	if (printed && asprintf(&text, "%s\n", printed) < 0)
		text = NULL;
	cJSON_free(printed);
	cJSON_Delete(json);
	return text;
}

int bundle_write(int crashes_fd, const struct crash_report *report, bool stack_shed, size_t *bytes,
		 uint64_t *finished_ns)
{
	const struct {
		const char *name;
		const void *data;
		size_t size;
	} files[] = {
		{raw_names[0], report->stack, report->stack_size},
		{raw_names[1], report->maps_txt, report->maps_txt ? strlen(report->maps_txt) : 0},
		{raw_names[2], report->events_jsonl, report->events_jsonl ? strlen(report->events_jsonl) : 0},
	};
	char *text = report_text(report, stack_shed);
	int dir_fd = -1, err = 0;

	*bytes = 0;
	if (!text)
		return -ENOMEM;
	if (mkdirat(crashes_fd, report->id, 0700) < 0 && errno != EEXIST) {
		err = -errno;
		goto out;
	}
	dir_fd = bundle_open(crashes_fd, report->id);
	if (dir_fd < 0) {
		err = dir_fd;
		goto out;
	}
	for (size_t i = 0; !err && i < sizeof(files) / sizeof(*files); i++) {
		if (!files[i].data)
			continue;
		err = write_file(dir_fd, files[i].name, files[i].data, files[i].size);
		*bytes += files[i].size;
	}
	if (!err)
		err = write_report(dir_fd, text, finished_ns);
	*bytes += strlen(text);
out:
	free(text);
	if (dir_fd >= 0)
		close(dir_fd);
	return err;
}

int bundle_sync(int crashes_fd, const char *id)
{
	int dir_fd = bundle_open(crashes_fd, id), err = 0;

	if (dir_fd < 0)
		return dir_fd;
	for (size_t i = 0; !err && i < sizeof(raw_names) / sizeof(*raw_names); i++)
		err = sync_file(dir_fd, raw_names[i]);
	if (!err && fsync(dir_fd) < 0)
		err = -errno;
	close(dir_fd);
	return err;
}

int bundle_drop_raw(int crashes_fd, const char *id)
{
	int dir_fd = bundle_open(crashes_fd, id), err = 0;

	if (dir_fd < 0)
		return dir_fd;
	for (size_t i = 0; i < sizeof(raw_names) / sizeof(*raw_names); i++)
		if (unlinkat(dir_fd, raw_names[i], 0) < 0 && errno != ENOENT)
			err = -errno;
	close(dir_fd);
	return err;
}

static size_t dir_bytes(int dir_fd)
{
	static const char *const names[] = {"report.json", "stack.bin", "maps.txt", "events.jsonl",
					    "stderr.txt"};
	size_t bytes = 0;
	struct stat st;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (fstatat(dir_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			bytes += (size_t)st.st_size;
	return bytes;
}

int bundle_read(int crashes_fd, const char *id, cJSON **out, size_t *bytes, char *why, size_t why_size)
{
	int dir_fd = bundle_open(crashes_fd, id), err;
	cJSON *json = NULL;
	char *text = NULL, name[64];

	if (dir_fd < 0) {
		snprintf(why, why_size, "crashes/%s: %s", id, strerror(-dir_fd));
		return dir_fd == -ENOENT ? -ENOENT : -EBADMSG;
	}
	snprintf(name, sizeof(name), "crashes/%s/report.json", id);
	if (bytes)
		*bytes = dir_bytes(dir_fd);
	err = file_read_at(dir_fd, "report.json", REPORT_LIMIT, &text, NULL);
	close(dir_fd);
	if (err) {
		snprintf(why, why_size, "%s: %s", name, strerror(-err));
		return err == -ENOENT ? -ENOENT : -EBADMSG;
	}
	if (!json_parse(name, text, &json, why, why_size) && strcmp(json_text(json, "id"), id)) {
		snprintf(why, why_size, "%s: not the report of this crash", name);
		cJSON_Delete(json);
		json = NULL;
	}
	free(text);
	if (!json)
		return -EBADMSG;
	*out = json;
	return 0;
}

/* report.json goes first: what is left of a removal that was cut short is half a bundle, and taken away. */
int bundle_remove(int crashes_fd, const char *id)
{
	int dir_fd = bundle_open(crashes_fd, id), copy, err = 0;
	struct dirent *entry;
	DIR *dir;

	if (dir_fd < 0)
		return dir_fd;
	copy = dup(dir_fd);
	dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		err = -errno;
		if (copy >= 0)
			close(copy);
		close(dir_fd);
		return err;
	}
	unlinkat(dir_fd, "report.json", 0);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
		    unlinkat(dir_fd, entry->d_name, 0) < 0)
			err = -errno;
	closedir(dir);
	close(dir_fd);
	if (unlinkat(crashes_fd, id, AT_REMOVEDIR) < 0 && !err)
		err = -errno;
	return err;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a bundle learns after it was finished: how the process ended, what it wrote as it died, what the disk
 * did not keep. report.json is read, changed and replaced by rename, so a reader sees the old or the new one.
 * stderr.txt is there and synced before the report names it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/json.h"
#include "user/sink/store_parts.h"

static void replace(cJSON *object, const char *key, cJSON *item)
{
	if (!cJSON_IsObject(object))
		cJSON_Delete(item);
	else if (cJSON_HasObjectItem(object, key))
		cJSON_ReplaceItemInObject(object, key, item);
	else
		cJSON_AddItemToObject(object, key, item);
}

static cJSON *state_json(const char *state, const char *why)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddStringToObject(json, "state", state);
	json_add_text(json, "why", why);
	return json;
}

static void add_stderr(cJSON *report, const struct stderr_text *written)
{
	cJSON *json = state_json(written->state, written->why);

	if (written->size)
		cJSON_AddStringToObject(json, "file", "stderr.txt");
	else
		cJSON_AddNullToObject(json, "file");
	json_add_count(json, "bytes", written->size);
	replace(report, "stderr", json);
	replace(cJSON_GetObjectItem(report, "parts"), "stderr", state_json(written->state, written->why));
}

static void add_losses(cJSON *report, const char *why)
{
	static const char *const parts[] = {"stack", "maps", "events", "core"};
	cJSON *states = cJSON_GetObjectItem(report, "parts");

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (strcmp(json_text(cJSON_GetObjectItem(states, parts[i]), "state"), "missing"))
			replace(states, parts[i], state_json("missing", why));
	replace(cJSON_GetObjectItem(report, "memory"), "stack", cJSON_CreateNull());
}

/* Names the file only when it is there. */
static int write_stderr(int dir_fd, const struct amendment *amendment)
{
	const struct stderr_text *written = amendment->written;

	if (!written || !written->size)
		return 0;
	return file_replace_at(dir_fd, "stderr.txt", written->text, written->size, 0600);
}

int bundle_amend(int crashes_fd, const char *id, const struct amendment *amendment)
{
	char why[192], *printed = NULL, *text = NULL;
	cJSON *json = NULL;
	int dir_fd = -1, err = bundle_read(crashes_fd, id, &json, NULL, why, sizeof(why));

	if (err)
		return err;
	dir_fd = bundle_open(crashes_fd, id);
	err = dir_fd < 0 ? dir_fd : write_stderr(dir_fd, amendment);
	if (err)
		goto out;
	if (amendment->ended)
		replace(json, "exit", crash_exit(amendment->status));
	if (amendment->written)
		add_stderr(json, amendment->written);
	if (amendment->lost)
		add_losses(json, amendment->lost);
	printed = cJSON_Print(json);
	err = !printed || asprintf(&text, "%s\n", printed) < 0
		      ? -ENOMEM
		      : file_replace_at(dir_fd, "report.json", text, strlen(text), 0600);
out:
	if (dir_fd >= 0)
		close(dir_fd);
	free(text);
	cJSON_free(printed);
	cJSON_Delete(json);
	return err;
}

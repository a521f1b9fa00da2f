/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns are read as rules are: one a file, every *.json in name order, and one bad file refuses them all.
 * They stay the documents that they are, since they are asked a few times a day.
 */
#include "user/crash/diagnosis.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/schema.h"
#include "user/crash/diagnosis_match.h"

enum { FILE_LIMIT = 64 * 1024, SCHEMA_LIMIT = 256 * 1024 };

struct diagnoses {
	cJSON *documents[DIAGNOSES_MAX];
	size_t count;
};

static int is_document(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_schema(const char *rules_dir, cJSON **out, char *why, size_t why_size)
{
	static const char name[] = "schema/diagnosis.schema.json";
	char path[4096];
	int err;

	snprintf(path, sizeof(path), "%s/%s", rules_dir, name);
	err = json_read(path, SCHEMA_LIMIT, out, why, why_size);
	if (err != -ENOENT)
		return err;
	snprintf(path, sizeof(path), "%s/rules/%s", LAPIDARY_DATADIR, name);
	return json_read(path, SCHEMA_LIMIT, out, why, why_size);
}

/* A template that names what there is not: its place, as a schema would say it. */
static int check_templates(const cJSON *document, char *what, size_t size)
{
	static const char *const texts[] = {"title", "explanation"};
	const char *unknown;
	const cJSON *remedy;
	int index = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (!diagnosis_template_good(json_text(document, texts[i]), &unknown)) {
			snprintf(what, size, "/%s: unknown field %.40s", texts[i], unknown);
			return -EBADMSG;
		}
	cJSON_ArrayForEach(remedy, cJSON_GetObjectItem(document, "remedies"))
	{
		if (!diagnosis_template_good(remedy->valuestring, &unknown)) {
			snprintf(what, size, "/remedies/%d: unknown field %.40s", index, unknown);
			return -EBADMSG;
		}
		index++;
	}
	return 0;
}

static int check_name(const struct diagnoses *diagnoses, const cJSON *document, char *what, size_t size)
{
	for (size_t i = 0; i < diagnoses->count; i++)
		if (!strcmp(json_text(diagnoses->documents[i], "name"), json_text(document, "name"))) {
			snprintf(what, size, "/name: \"%s\" is the name of another",
				 json_text(document, "name"));
			return -EBADMSG;
		}
	return 0;
}

static int read_one(struct diagnoses *diagnoses, const cJSON *schema, const char *path, char *why,
		    size_t why_size)
{
	cJSON *document = NULL;
	char what[256];
	int err = json_read(path, FILE_LIMIT, &document, why, why_size);

	if (err)
		return err;
	err = schema_check(schema, document, what, sizeof(what));
	if (!err)
		err = check_templates(document, what, sizeof(what));
	if (!err)
		err = check_name(diagnoses, document, what, sizeof(what));
	if (err) {
		snprintf(why, why_size, "%s: %s", path, what);
		cJSON_Delete(document);
		return err;
	}
	diagnoses->documents[diagnoses->count++] = document;
	return 0;
}

static int read_folder(struct diagnoses *diagnoses, const char *rules_dir, const char *folder,
		       struct dirent **names, int count, char *why, size_t why_size)
{
	cJSON *schema = NULL;
	char path[4096];
	int err = read_schema(rules_dir, &schema, why, why_size);

	for (int i = 0; i < count && !err; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
		err = read_one(diagnoses, schema, path, why, why_size);
	}
	cJSON_Delete(schema);
	return err;
}

int diagnoses_load(const char *rules_dir, struct diagnoses **out, char *why, size_t why_size)
{
	struct diagnoses *diagnoses = calloc(1, sizeof(*diagnoses));
	struct dirent **names = NULL;
	char folder[3072];
	int count, err = 0;

	if (!diagnoses) {
		snprintf(why, why_size, "%s: out of memory", rules_dir);
		return -ENOMEM;
	}
	snprintf(folder, sizeof(folder), "%s/diagnosis", rules_dir);
	count = scandir(folder, &names, is_document, by_bytes);
	if (count < 0 && errno == ENOENT) {
		snprintf(folder, sizeof(folder), "%s/rules/diagnosis", LAPIDARY_DATADIR);
		count = scandir(folder, &names, is_document, by_bytes);
	}
	if (count > DIAGNOSES_MAX) {
		snprintf(why, why_size, "%s: more than %d files", folder, DIAGNOSES_MAX);
		err = -E2BIG;
	} else if (count < 0 && errno != ENOENT) {
		err = -errno;
		snprintf(why, why_size, "%s: %s", folder, strerror(errno));
	} else if (count > 0) {
		err = read_folder(diagnoses, rules_dir, folder, names, count, why, why_size);
	}
	while (count > 0)
		free(names[--count]);
	free(names);
	if (err) {
		diagnoses_free(diagnoses);
		return err;
	}
	*out = diagnoses;
	return 0;
}

void diagnoses_free(struct diagnoses *diagnoses)
{
	if (!diagnoses)
		return;
	for (size_t i = 0; i < diagnoses->count; i++)
		cJSON_Delete(diagnoses->documents[i]);
	free(diagnoses);
}

size_t diagnoses_count(const struct diagnoses *diagnoses)
{
	return diagnoses ? diagnoses->count : 0;
}

const cJSON *diagnoses_at(const struct diagnoses *diagnoses, size_t index)
{
	return diagnoses->documents[index];
}

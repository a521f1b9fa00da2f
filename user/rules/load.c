/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a directory of rules. One rule a file; every *.json in name order, so that the digest and the order
 * in which rules speak do not depend on the file system. One bad file refuses them all: half a rule set in
 * force is worse than the old one.
 */
#include "user/base/file.h"
#include "user/base/json.h"
#include "user/base/schema.h"
#include "user/base/text.h"
#include "user/rules/rule.h"
#include <dirent.h>
#include <errno.h>
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RULE_FILE_LIMIT = 64 * 1024, SCHEMA_LIMIT = 256 * 1024 };

/* gems.json stands beside them and is the matrix of user/gems/. */
static int is_rule_file(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);
	return strcmp(entry->d_name, "gems.json") != 0 && entry->d_name[0] != '.' && length > 5 &&
	       strcmp(entry->d_name + length - 5, ".json") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Beside the rules, else where it is installed: a directory of one's own need not carry it. */
static int read_schema(const char *directory, cJSON **out, char *why, size_t why_size)
{
	static const char name[] = "schema/rules.schema.json";
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int err = json_read(path, SCHEMA_LIMIT, out, why, why_size);
	if (err != -ENOENT)
		return err;
	snprintf(path, sizeof(path), "%s/rules/%s", LAPIDARY_DATADIR, name);
	err = json_read(path, SCHEMA_LIMIT, out, why, why_size);
	if (err == -ENOENT)
		snprintf(why, why_size, "%s: no %s there, nor below %s/rules", directory, name,
			 LAPIDARY_DATADIR);
	return err;
}

static bool name_taken(const struct rules *rules, const char *name)
{
	for (size_t i = 0; i < rules->count; i++)
		if (strcmp(rules->list[i].name, name) == 0)
			return true;
	return false;
}

static int read_rule(struct rules *rules, const cJSON *schema, const char *path, const char *text, char *why,
		     size_t why_size)
{
	char what[256];
	cJSON *document = NULL;
	int err = json_parse(path, text, &document, why, why_size);
	if (err)
		return err;
	err = schema_check(schema, document, what, sizeof(what));
	if (!err)
		err = rule_read(document, &rules->list[rules->count], what, sizeof(what));
	if (!err && name_taken(rules, rules->list[rules->count].name)) {
		snprintf(what, sizeof(what), "/name: \"%s\" is the name of another rule",
			 rules->list[rules->count].name);
		err = -EBADMSG;
	}
	if (err) {
		snprintf(why, why_size, "%s: %s", path, what);
		cJSON_Delete(document);
		return err;
	}
	rules->count++;
	return 0;
}

static int read_files(struct rules *rules, const cJSON *schema, const char *directory, struct dirent **names,
		      int count, char *why, size_t why_size)
{
	char path[4096];
	SHA2_CTX sha;
	int err = 0;
	SHA256Init(&sha);
	for (int i = 0; i < count && !err; i++) {
		char *text;
		size_t size;
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
		err = file_read(path, RULE_FILE_LIMIT, &text, &size);
		if (err) {
			snprintf(why, why_size, "%s: %s", path, strerror(-err));
			break;
		}
		SHA256Update(&sha, (const uint8_t *)names[i]->d_name, strlen(names[i]->d_name) + 1);
		SHA256Update(&sha, (const uint8_t *)text, size);
		err = read_rule(rules, schema, path, text, why, why_size);
		free(text);
	}
	SHA256Final(rules->digest, &sha);
	return err;
}

int rules_load(const char *directory, struct rules **out, char *why, size_t why_size)
{
	struct rules *rules = calloc(1, sizeof(*rules));
	struct dirent **names = NULL;
	cJSON *schema = NULL;
	int count = 0, err = -ENOMEM;
	snprintf(why, why_size, "%s: out of memory", directory);
	if (!rules || !(rules->list = calloc(RULES_MAX, sizeof(*rules->list))))
		goto out;
	count = scandir(directory, &names, is_rule_file, by_bytes);
	err = count < 0 ? -errno : count > RULES_MAX ? -E2BIG : 0;
	if (err) {
		snprintf(why, why_size, "%s: %s", directory,
			 count > RULES_MAX ? "more than 64 rules" : strerror(-err));
		goto out;
	}
	err = read_schema(directory, &schema, why, why_size);
	if (!err)
		err = read_files(rules, schema, directory, names, count, why, why_size);
out:
	while (count > 0)
		free(names[--count]);
	free(names);
	cJSON_Delete(schema);
	if (err) {
		rules_free(rules);
		return err;
	}
	*out = rules;
	return 0;
}

void rules_free(struct rules *rules)
{
	if (!rules)
		return;
	for (size_t i = 0; i < rules->count; i++)
		rule_done(&rules->list[i]);
	free(rules->list);
	free(rules);
}

const uint8_t *rules_digest(const struct rules *rules)
{
	return rules->digest;
}

size_t rules_count(const struct rules *rules)
{
	return rules->count;
}

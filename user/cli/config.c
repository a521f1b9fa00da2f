/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where settings come from. The layers are laid one over the other, weakest first: default, file,
 * environment, flag; `sources` remembers which won, so that `config show` can say why a value is what it
 * is. Nothing is attached, opened or created before all of them were read and found good.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/setting.h"

enum { USAGE = 2, FILE_LIMIT = 1 << 20 };

/*
 * The rules of the installation, else those of the source tree that this program was built in: they lie
 * beside build/, and build/lapidary and build/asan/lapidary are one and two folders below it.
 */
static void rules_default(char *out, size_t size)
{
	char self[PATH_MAX], beside[PATH_MAX + 32], *cut;
	ssize_t length;

	text_copy(out, size, LAPIDARY_DATADIR "/rules");
	if (access(out, R_OK | X_OK) == 0)
		return;
	length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (length <= 0)
		return;
	self[length] = '\0';
	for (int up = 0; up < 3 && (cut = strrchr(self, '/')); up++) {
		*cut = '\0';
		snprintf(beside, sizeof(beside), "%s/rules/schema/rules.schema.json", self);
		if (access(beside, R_OK) == 0 && strlen(self) + sizeof("/rules") <= size) {
			snprintf(beside, sizeof(beside), "%s/rules", self);
			text_copy(out, size, beside);
		}
	}
}

static int defaults_apply(struct config *out, char *why, size_t why_size)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < SETTING_COUNT; i++)
		if (i != SETTING_rules_dir &&
		    !setting_read_text(&settings[i], settings[i].fallback, out, why, why_size))
			return USAGE;
	rules_default(out->rules_dir, sizeof(out->rules_dir));
	return 0;
}

static const struct setting *setting_by_key(const char *key)
{
	for (size_t i = 0; i < SETTING_COUNT; i++)
		if (!strcmp(settings[i].key, key))
			return &settings[i];
	return NULL;
}

static bool key_apply(const cJSON *value, struct config *out, char *why, size_t why_size)
{
	const struct setting *setting = setting_by_key(value->string);
	char key[64], problem[240];

	if (!strcmp(value->string, "why") && cJSON_IsString(value))
		return true;
	if (!strcmp(value->string, "apps"))
		return config_read_apps(value, out, why, why_size);
	text_copy(key, sizeof(key), value->string);
	text_clean(key);
	if (!setting) {
		snprintf(why, why_size, "/%s: unknown key; 'lapidary config show' lists all", key);
		return false;
	}
	if (out->sources[setting - settings] == SOURCE_FILE) {
		snprintf(why, why_size, "/%s: is there twice", key);
		return false;
	}
	if (!setting_read_json(setting, value, out, problem, sizeof(problem))) {
		snprintf(why, why_size, "/%s: %s", key, problem);
		return false;
	}
	out->sources[setting - settings] = SOURCE_FILE;
	return true;
}

static int file_apply(const char *path, bool wanted, struct config *out, char *why, size_t why_size)
{
	char problem[400];
	cJSON *document = NULL;
	const cJSON *value;
	struct stat st;
	int err;

	if (!wanted && stat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	err = json_read(path, FILE_LIMIT, &document, why, why_size);
	if (err)
		return USAGE;
	err = USAGE;
	if (!cJSON_IsObject(document)) {
		snprintf(why, why_size, "%s: must be one JSON object", path);
		goto out;
	}
	cJSON_ArrayForEach(value, document)
	{
		if (!key_apply(value, out, problem, sizeof(problem))) {
			snprintf(why, why_size, "%s: %s", path, problem);
			goto out;
		}
	}
	text_copy(out->file, sizeof(out->file), path);
	err = 0;
out:
	cJSON_Delete(document);
	return err;
}

static int environment_apply(struct config *out, char *why, size_t why_size)
{
	char problem[256];

	for (size_t i = 0; i < SETTING_COUNT; i++) {
		const char *text = getenv(settings[i].variable);

		if (!text)
			continue;
		if (!setting_read_text(&settings[i], text, out, problem, sizeof(problem))) {
			snprintf(why, why_size, "%s: %s", settings[i].variable, problem);
			return USAGE;
		}
		out->sources[i] = SOURCE_ENVIRONMENT;
	}
	return 0;
}

/* A flag of this table with its value, which stands behind '=' or is the next word. */
struct flag_match {
	const char *flag, *value;
	int words;
};

static bool flag_match(char **argv, int left, const char *flag, struct flag_match *out)
{
	size_t size = strlen(flag);

	if (strncmp(argv[0], flag, size) || (argv[0][size] && argv[0][size] != '='))
		return false;
	*out = (struct flag_match){flag, NULL, 1};
	if (argv[0][size] == '=')
		out->value = argv[0] + size + 1;
	else if (left > 1)
		*out = (struct flag_match){flag, argv[1], 2};
	return true;
}

/* Index of the setting whose flag this is, SETTING_COUNT for --config, -1 for a word of the command's own. */
static int flag_find(char **argv, int left, struct flag_match *out)
{
	for (int i = 0; i < SETTING_COUNT; i++)
		if (flag_match(argv, left, settings[i].flag, out))
			return i;
	return flag_match(argv, left, "--config", out) ? SETTING_COUNT : -1;
}

/*
 * Flags are walked twice: once to find --config, which must be known before the file is read, and once,
 * with `out`, to lay the others on top and take them all out of argv.
 */
static int flags_apply(int *argc, char **argv, const char **file, struct config *out, char *why,
		       size_t why_size)
{
	int kept = 0, i = 0;

	while (i < *argc) {
		struct flag_match match = {0};
		char problem[256];
		int index;

		if (!strcmp(argv[i], "--"))
			break;
		index = flag_find(argv + i, *argc - i, &match);
		if (index < 0) {
			if (out)
				argv[kept++] = argv[i];
			i++;
			continue;
		}
		if (!match.value) {
			snprintf(why, why_size, "%s: needs a value", match.flag);
			return USAGE;
		}
		if (index == SETTING_COUNT) {
			*file = match.value;
		} else if (out) {
			if (!setting_read_text(&settings[index], match.value, out, problem,
					       sizeof(problem))) {
				snprintf(why, why_size, "%s: %s", match.flag, problem);
				return USAGE;
			}
			out->sources[index] = SOURCE_FLAG;
		}
		i += match.words;
	}
	if (out) {
		while (i < *argc)
			argv[kept++] = argv[i++];
		*argc = kept;
		argv[kept] = NULL;
	}
	return 0;
}

int config_load(int *argc, char **argv, struct config *out, char *why, size_t why_size)
{
	const char *file = getenv("LAPIDARY_CONFIG");
	struct config *built = malloc(sizeof(*built));
	int err = 70;

	snprintf(why, why_size, "out of memory");
	if (!built)
		return err;
	err = defaults_apply(built, why, why_size);
	if (!err)
		err = flags_apply(argc, argv, &file, NULL, why, why_size);
	if (!err)
		err = file_apply(file ? file : CONFIG_FILE, file != NULL, built, why, why_size);
	if (!err)
		err = environment_apply(built, why, why_size);
	if (!err)
		err = flags_apply(argc, argv, &file, built, why, why_size);
	if (!err && !config_check_relations(built, why, why_size))
		err = USAGE;
	if (err)
		goto out;
	for (size_t i = 0; i < built->app_count; i++)
		if (!built->apps[i].capture[0])
			text_copy(built->apps[i].capture, sizeof(built->apps[i].capture), built->capture);
	*out = *built;
	why[0] = '\0';
out:
	free(built);
	return err;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * Each extension before the Ruby that would load it, with what lies beside it: its gemspec, whether its build
 * was finished, what the build said. And each gem that asks for an extension and has none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/cli/check.h"
#include "user/gems/report.h"
#include "user/probe/build_log.h"
#include "user/probe/gemspec.h"

struct variant {
	char *key;
	char abi[16];
};

struct judging {
	struct check *check;
	struct variant *variants; /* sorted: the folders of precompiled gems */
	size_t variant_count;
};

bool check_gem_home(const char *path, char *home, size_t home_size, char *full, size_t full_size)
{
	const char *gems = NULL, *extensions = strstr(path, "/extensions/"), *name, *at = path;

	while ((at = strstr(
			at,
			"/gems/"))) { /* the last that is followed by a gem: bundle/ruby/…/gems/NAME-1.0/ */
		if (strchr(at + 6, '/'))
			gems = at;
		at += 5;
	}
	if (extensions && (!gems || extensions > gems)) {
		name = strchr(extensions + strlen("/extensions/"), '/'); /* platform */
		name = name ? strchr(name + 1, '/') : NULL;              /* ABI */
		gems = extensions;
	} else {
		name = gems ? gems + 5 : NULL;
	}
	if (!name || (size_t)(gems - path) >= home_size || strcspn(name + 1, "/") >= full_size)
		return false;
	snprintf(home, home_size, "%.*s", (int)(gems - path), path);
	snprintf(full, full_size, "%.*s", (int)strcspn(name + 1, "/"), name + 1);
	return *full != '\0';
}

static const struct gemspec *spec_of(const struct check *check, const char *path)
{
	char home[CHECK_PATH], full[256], spec[CHECK_PATH + 300];
	long at;

	if (!check_gem_home(path, home, sizeof(home), full, sizeof(full)))
		return NULL;
	snprintf(spec, sizeof(spec), "%s/specifications/%s.gemspec", home, full);
	at = check_find(check, spec, TREE_SPECIFICATION);
	return at >= 0 && check->files[at].result == 0 ? check->files[at].answer : NULL;
}

/* Does a path lie in extensions/<any platform>/<abi>/<full>/ of that home? abi "": any, and it is filled in.
 */
static bool is_build_of(const char *path, const char *home, const char *full, char abi[16])
{
	size_t length = strlen(home);
	const char *platform, *version, *name, *after;
	char of[16];

	if (strncmp(path, home, length) != 0 || strncmp(path + length, "/extensions/", 12) != 0)
		return false;
	platform = path + length + 12;
	version = strchr(platform, '/');
	name = version ? strchr(version + 1, '/') : NULL;
	after = name ? strchr(name + 1, '/') : NULL;
	if (!after || (size_t)(after - name - 1) != strlen(full) ||
	    strncmp(name + 1, full, strlen(full)) != 0 || !check_install_abi(path, of))
		return false;
	if (*abi)
		return strcmp(abi, of) == 0;
	text_copy(abi, 16, of);
	return true;
}

/* The only ABI for which the gem of that home was built; "" when there are none or several. */
static void built_beside(const struct check *check, const char *path, char abi[16])
{
	char home[CHECK_PATH], full[256];
	size_t count = 0;

	*abi = '\0';
	if (!check_gem_home(path, home, sizeof(home), full, sizeof(full)))
		return;
	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);
		char of[16] = "";

		if (entry->kind != TREE_BUILT || !is_build_of(entry->path, home, full, of))
			continue;
		if (count++ == 0)
			text_copy(abi, 16, of);
		else if (strcmp(abi, of) != 0)
			*abi = '\0';
	}
}

static const struct build_log *log_of(const struct check *check, const char *path)
{
	char home[CHECK_PATH], full[256];
	const struct build_log *best = NULL;

	if (!check_gem_home(path, home, sizeof(home), full, sizeof(full)))
		return NULL;
	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);
		char abi[16] = "";

		if (entry->kind != TREE_BUILD_LOG || check->files[i].result != 0 ||
		    !is_build_of(entry->path, home, full, abi))
			continue;
		if (!best || (!*best->abi && *((const struct build_log *)check->files[i].answer)->abi))
			best = check->files[i].answer;
	}
	return best;
}

static size_t ask_matrix(const struct check *check, const struct extension_found *found,
			 const struct check_ruby *ruby, const struct link_result *link,
			 struct matrix_answer *out)
{
	static const char *const libcs[] = {"", "glibc", "musl"};
	struct matrix_query query = {.gem = found->gem.name,
				     .version = found->gem.version,
				     .ruby = ruby->runtime.version,
				     .platform = found->gemspec_platform ? found->gemspec_platform : "",
				     .libc = libcs[ruby->runtime.libc],
				     .libraries = link->libraries,
				     .library_count = link->library_count};

	return *query.gem ? matrix_ask(check->matrix, &query, out, MATRIX_ANSWERS) : 0;
}

static void report(struct check *check, const struct extension_found *found, const struct check_ruby *ruby,
		   const struct extension_verdict *verdict, const struct matrix_answer *answers, size_t count,
		   const char *missing_library, uint32_t uid)
{
	struct remedy remedy;
	cJSON *document;
	bool bad = verdict->verdict != VERDICT_COMPATIBLE;

	if (bad)
		check_remedy(check, found, ruby, verdict, missing_library, uid, &remedy);
	document = gem_report(found, &ruby->runtime, verdict, answers, count, bad ? &remedy : NULL);
	if (!document)
		return;
	if (check->scene->pid) {
		cJSON_AddNumberToObject(document, "pid", check->scene->pid);
		cJSON_AddBoolToObject(document, "loaded", check_scene_loaded(check->scene, found->path));
	}
	check->found_bad += bad;
	cJSON_AddItemToArray(check->gems_json, document);
	if (bad) {
		char says[400];
		size_t used = 0;

		text_add(says, sizeof(says), &used, "%s%s%s: %s",
			 *found->gem.name ? found->gem.name : text_base(found->path),
			 *found->gem.version ? " " : "", found->gem.version, verdict_name(verdict->verdict));
		for (size_t i = 0; i < verdict->evidence_count; i++)
			if (verdict->evidence[i].against) {
				text_add(says, sizeof(says), &used, ": %s", verdict->evidence[i].says);
				break;
			}
		check_problem(check, found->path, "gem", says);
		if (remedy.command[0])
			json_add_text(cJSON_GetArrayItem(check->problems_json,
							 cJSON_GetArraySize(check->problems_json) - 1),
				      "command", remedy.command);
	}
}

/* A gem that the app does not boot with is not the app's. Debian's have no version in their path. */
bool check_is_wanted(const struct check *check, const struct gem_path *gem)
{
	const struct lockfile *lockfile = check->lockfile;

	if (!lockfile || !*gem->name)
		return true;
	for (uint32_t i = 0; i < lockfile->gem_count; i++)
		if (strcmp(lockfile->gems[i].name, gem->name) == 0 &&
		    (!*gem->version || strcmp(lockfile->gems[i].version, gem->version) == 0 ||
		     lockfile->gems[i].source == LOCKFILE_GIT))
			return true;
	return false;
}

static int by_key(const void *a, const void *b)
{
	const struct variant *left = a, *right = b;
	int order = strcmp(left->key, right->key);

	return order ? order : strcmp(left->abi, right->abi);
}

static void find_variants(struct judging *judging)
{
	const struct check *check = judging->check;

	judging->variants = calloc(check->file_count + 1, sizeof(*judging->variants));
	for (size_t i = 0; judging->variants && i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);
		struct variant *variant = &judging->variants[judging->variant_count];
		char key[CHECK_PATH];

		if (entry->kind == TREE_EXTENSION &&
		    extension_variant(entry->path, variant->abi, key, sizeof(key))) {
			variant->key = strdup(key);
			judging->variant_count += variant->key != NULL;
		}
	}
	if (judging->variants)
		qsort(judging->variants, judging->variant_count, sizeof(*judging->variants), by_key);
}

/* Of a precompiled gem's objects the Ruby takes its own; where it has none, the first stands for all. */
static bool is_passed_over(const struct judging *judging, const char *path, const struct check_ruby *ruby)
{
	char key[CHECK_PATH], abi[16];
	struct variant own = {key, ""};
	size_t first = 0;

	if (!extension_variant(path, abi, key, sizeof(key)) || strcmp(abi, ruby->abi) == 0)
		return false;
	text_copy(own.abi, sizeof(own.abi), ruby->abi);
	if (bsearch(&own, judging->variants, judging->variant_count, sizeof(own), by_key))
		return true;
	while (first < judging->variant_count && strcmp(judging->variants[first].key, key) < 0)
		first++;
	return first < judging->variant_count && strcmp(judging->variants[first].abi, abi) != 0;
}

static void judge_extension(struct judging *judging, size_t at)
{
	struct check *check = judging->check;
	const struct tree_entry *entry = gem_tree_entry(check->tree, at);
	const struct check_file *file = &check->files[at];
	const struct check_ruby *ruby = check_ruby_for(check, entry->path);
	struct extension_found found = {.path = entry->path};
	struct matrix_answer answers[MATRIX_ANSWERS];
	struct extension_verdict verdict;
	struct link_result link = {0};
	const struct gemspec *spec;
	char beside[16] = "", package[16];

	if (!gem_path_parse(entry->path, &found.gem))
		check_install_abi(entry->path, found.gem.abi);
	if (!check_is_wanted(check, &found.gem))
		return;
	if (!ruby || is_passed_over(judging, entry->path, ruby))
		return; /* without a Ruby: check_tell_orphans */
	if (file->result == 0)
		found.object = file->answer;
	else
		found.problem = file->why;
	found.damaged = file->result == -ENOEXEC;
	spec = spec_of(check, entry->path);
	if (spec) {
		found.gemspec_ruby = spec->required_ruby;
		found.gemspec_platform = spec->platform;
	}
	if (found.object && !check_says_its_ruby(found.object)) {
		const struct build_log *log = log_of(check, entry->path);

		if (!*found.gem.abi)
			built_beside(check, entry->path, beside);
		found.built_for_beside = beside;
		found.built_for_log = log ? log->abi : "";
		found.built_ruby_log = log ? log->ruby : "";
		found.built_for_package = check_package_abi(check, entry, package) ? package : "";
	}
	if (found.object)
		link_resolve(ruby->link, entry->path, found.object, &link);
	found.matrix_count = ask_matrix(check, &found, ruby, &link, answers);
	found.matrix = answers;
	extension_judge(&found, &ruby->runtime, link.missing_library, link.missing_symbol, &verdict);
	report(check, &found, ruby, &verdict, answers, found.matrix_count, link.missing_library, entry->uid);
}

static bool was_built(const struct check *check, const char *home, const char *full, const char *ruby_abi)
{
	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);
		char abi[16];

		text_copy(abi, sizeof(abi), ruby_abi);
		if (entry->kind == TREE_BUILT && is_build_of(entry->path, home, full, abi))
			return true;
	}
	return false;
}

/* A gem whose specification asks for an extension that was never built, or whose folder is gone. */
static void judge_gem(struct check *check, size_t at)
{
	const struct tree_entry *entry = gem_tree_entry(check->tree, at);
	const struct gemspec *spec = check->files[at].answer;
	const struct check_ruby *ruby = check_ruby_for(check, entry->path);
	struct extension_found found = {.gemspec_ruby = spec->required_ruby,
					.gemspec_platform = spec->platform};
	struct matrix_answer answers[MATRIX_ANSWERS];
	struct extension_verdict verdict;
	struct link_result none = {0};
	char home[CHECK_PATH], folder[CHECK_PATH + 300], says[400];
	const char *full = text_base(entry->path), *end = strstr(entry->path, "/specifications/");
	bool whole;

	if (!end || !ruby || strstr(entry->path, "/rubygems-integration/"))
		return; /* Debian's gems have no folder and are whole */
	snprintf(home, sizeof(home), "%.*s", (int)(end - entry->path), entry->path);
	snprintf(folder, sizeof(folder), "%s/gems/%.*s", home, (int)(strlen(full) - strlen(".gemspec")),
		 full);
	full = text_base(folder);
	whole = check_find(check, folder, TREE_GEM) >= 0;
	if (whole && (spec->extension_count == 0 || strcmp(spec->platform, "ruby") != 0 ||
		      was_built(check, home, full, ruby->abi)))
		return;
	text_copy(found.gem.name, sizeof(found.gem.name), spec->name);
	text_copy(found.gem.version, sizeof(found.gem.version), spec->version);
	if (!check_is_wanted(check, &found.gem))
		return;
	found.path = folder;
	found.required_unbuilt = whole;
	found.damaged = !whole;
	snprintf(says, sizeof(says), "half installed: its specification is there, its folder is not");
	found.problem = whole ? NULL : says;
	found.matrix_count = ask_matrix(check, &found, ruby, &none, answers);
	found.matrix = answers;
	extension_judge(&found, &ruby->runtime, "", "", &verdict);
	report(check, &found, ruby, &verdict, answers, found.matrix_count, "", entry->uid);
}

static bool is_extension(const struct check *check, const struct tree_entry *entry)
{
	(void)check;
	return entry->kind == TREE_EXTENSION;
}

static bool is_specification(const struct check *check, const struct tree_entry *entry)
{
	(void)check;
	return entry->kind == TREE_SPECIFICATION;
}

static bool is_log(const struct check *check, const struct tree_entry *entry)
{
	(void)check;
	return entry->kind == TREE_BUILD_LOG;
}

void check_judge_all(struct check *check)
{
	struct judging judging = {.check = check};

	check_ask(check, INSPECT_OBJECT, is_extension);
	check_ask(check, INSPECT_GEMSPEC, is_specification);
	check_ask(check, INSPECT_BUILD_LOG, is_log);
	check_ask_packages(check);
	find_variants(&judging);
	check_tell_links(check);
	for (size_t i = 0; i < check->file_count; i++) {
		const struct tree_entry *entry = gem_tree_entry(check->tree, i);

		if (entry->kind == TREE_EXTENSION)
			judge_extension(&judging, i);
		else if (entry->kind == TREE_SPECIFICATION && check->files[i].result == 0)
			judge_gem(check, i);
		else if (entry->kind == TREE_SPECIFICATION)
			check_problem(check, entry->path, "unreadable", check->files[i].why);
	}
	for (size_t i = 0; i < judging.variant_count; i++)
		free(judging.variants[i].key);
	free(judging.variants);
}

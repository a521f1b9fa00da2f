/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lapidary check`, between its files: a root is looked through (scene), its files are asked what they are
 * (through the cache, else by the inspector), its Rubies are made out, each extension is given the Ruby that
 * would load it and judged, and the findings go into one document.
 */
#ifndef LAPIDARY_CHECK_H
#define LAPIDARY_CHECK_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include "user/elf/object.h"
#include "user/gems/link.h"
#include "user/gems/matrix.h"
#include "user/gems/remedy.h"
#include "user/gems/verdict.h"
#include "user/probe/answer_cache.h"
#include "user/probe/gem_tree.h"
#include "user/probe/inspector.h"
#include "user/probe/lockfile.h"

enum { CHECK_RUBIES = 64, CHECK_PLACES = 64, CHECK_PATH = 4096 };

/* Where to look, and what a process or a shell says of itself. Texts are the scene's; "" when not known. */
struct check_scene {
	char root[1024];          /* as we see it: "/", "/proc/4711/root" */
	uint32_t pid;             /* 0: no process */
	char app_dir[CHECK_PATH]; /* inside the root */
	char program[CHECK_PATH]; /* of the process, or the shell's ruby */
	uint64_t program_inode;   /* 0: not known */
	char gem_home[1024], gem_path[4096], bundle_path[1024], bundle_gemfile[1024], bundle_app_config[1024];
	char library_path[1024], home[512], rbenv_root[512], asdf_data_dir[512];
	char user[64], server[32];
	size_t loaded_count;
	char **loaded; /* paths of mapped objects, sorted */
};

/* 0, or -errno with `why`: the process is gone, or may not be looked at. */
int check_scene_pid(struct check_scene *scene, uint32_t pid, char *why, size_t why_size);
/* Of the caller's own environment; root "/" unless told. */
void check_scene_shell(struct check_scene *scene, const char *root);
void check_scene_done(struct check_scene *scene);
bool check_scene_loaded(const struct check_scene *scene, const char *path);

struct check_ruby {
	const struct tree_entry *entry;
	const struct object *program;
	struct ruby_runtime runtime;
	char prefix[512]; /* "/usr", "/home/shop/.rbenv/versions/3.3.0" */
	char abi[16];
	const char *library; /* path of its libruby, "" when it is static */
	struct link_directories directories;
	struct link *link;
	struct link_result missing;
};

struct check_file { /* beside each entry of the tree */
	int result; /* 1: not asked */
	const char *why;
	const void *answer;
};

/* A library that was asked for by its path; path NULL: a free slot. */
struct check_opened {
	const char *path;
	const struct object *object;
	int result;
};

struct check {
	const struct check_scene *scene;
	struct gem_tree *tree;
	struct inspector *inspector;
	struct answer_cache *cache;
	struct matrix *matrix;
	struct check_file *files;
	size_t file_count;
	void **owned; /* answers that the cache did not take */
	size_t owned_count;
	struct check_opened *opened; /* a power of two, at most half full */
	size_t opened_count, opened_size;
	struct check_ruby rubies[CHECK_RUBIES];
	size_t ruby_count, main_ruby; /* main_ruby: CHECK_RUBIES when there is none */
	char *link_conf;
	const struct lockfile *lockfile;
	cJSON *rubies_json, *gems_json, *problems_json;
	size_t found_bad; /* incompatible, broken, suspect, unknown */
};

/* Looks through the scene. -errno when its root cannot be looked at. */
int check_look(struct check *check);
void check_done(struct check *check);

/* Asks of each entry for which `wants` is true, in batches. */
void check_ask(struct check *check, enum inspection_kind kind,
	       bool (*wants)(const struct check *check, const struct tree_entry *entry));
/* The entry with that path and kind; -1: none. */
long check_find(const struct check *check, const char *path, enum tree_kind kind);
/* An object of the root by its path, for a link. */
const struct object *check_open_object(void *context, const char *path, int *result);
/* A text that lives as long as the check. */
const char *check_keep(struct check *check, const char *text);
void check_problem(struct check *check, const char *path, const char *kind, const char *says);

void check_find_rubies(struct check *check);
/* "3.1.0" of the folders that installers name after a Ruby's ABI; false when the path has none. */
bool check_install_abi(const char *path, char abi[16]);
/* The Ruby that would load what lies there; NULL: none that is here. */
const struct check_ruby *check_ruby_for(const struct check *check, const char *path);
/* False for a gem that the app's lock file does not name. */
bool check_is_wanted(const struct check *check, const struct gem_path *gem);
void check_judge_all(struct check *check);

/* Its DT_NEEDED names a libruby: no other evidence is needed of what it was built for. */
bool check_says_its_ruby(const struct object *object);
/* Each link learns of the extensions that its Ruby may load. */
void check_tell_links(struct check *check);
/* Has the lists of packages read, where an extension needs them; then: for which Ruby its package brought it.
 */
void check_ask_packages(struct check *check);
bool check_package_abi(const struct check *check, const struct tree_entry *entry, char abi[16]);

/* One finding for each Ruby that is not in the root though extensions lie in folders for it. */
void check_tell_orphans(struct check *check);

/* Folder that holds specifications/, gems/ and extensions/, and the gem's full name. */
bool check_gem_home(const char *path, char *home, size_t home_size, char *full, size_t full_size);
void check_remedy(const struct check *check, const struct extension_found *found,
		  const struct check_ruby *ruby, const struct extension_verdict *verdict,
		  const char *missing_library, uint32_t uid, struct remedy *out);

void check_print(const cJSON *document, bool colour);

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * The closure is walked breadth first, as ld.so loads. Each member knows who asked for it, because a DT_RPATH
 * holds for all that its owner brings in, while a DT_RUNPATH holds for its owner alone.
 *
 * A library is looked at once a link, whatever asks for it: hundreds of extensions ask for the same ten.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/gems/link_private.h"

enum { BUCKETS = 256, PATH_MAX_HERE = 1024 };

struct member {
	struct link_library *library; /* NULL only for an extension that is judged */
	const struct object *object;
	const char *path;
	const char *asked; /* the name by which it was asked for, "" for the first */
	int asker;         /* index, -1 for the first */
};

struct closure {
	size_t count;
	struct member members[LINK_LIBRARIES];
};

struct link {
	struct link_options options;
	struct link_library *buckets[BUCKETS];
	struct closure program; /* the Ruby and its libraries */
	bool program_uncertain, musl;
	struct closure work; /* the extension's: here, since it is too large for a stack */
};

struct link *link_new(const struct link_options *options)
{
	struct link *link = calloc(1, sizeof(*link));

	if (link)
		link->options = *options;
	return link;
}

void link_free(struct link *link)
{
	if (!link)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (link->buckets[i]) {
			struct link_library *library = link->buckets[i];

			link->buckets[i] = library->next;
			free(library->names.slots);
			free(library->path);
			free(library);
		}
	free(link);
}

/* The library at a path, opened at the first question; NULL: no memory. Its names are hashed when used. */
static struct link_library *library_at(struct link *link, const char *path)
{
	struct link_library **bucket = &link->buckets[link_hash(path) % BUCKETS], *library;

	for (library = *bucket; library; library = library->next)
		if (strcmp(library->path, path) == 0)
			return library;
	library = calloc(1, sizeof(*library));
	if (!library)
		return NULL;
	library->path = strdup(path);
	if (!library->path) {
		free(library);
		return NULL;
	}
	library->object = link->options.open(link->options.context, path, &library->result);
	library->next = *bucket;
	*bucket = library;
	return library;
}

/* What a search is about. */
struct search {
	struct link *link;
	const struct object *asker; /* whose class and machine it must have */
	const char *name;
	struct link_library *found;
	bool unreadable, no_memory;
};

static bool try_path(struct search *search, const char *path)
{
	struct link_library *library = library_at(search->link, path);

	if (!library) {
		search->no_memory = true;
		return true;
	}
	if (!library->object) {
		/* a file that is there and cannot be read might be it: ld.so stops there as well */
		search->unreadable |= library->result != -ENOENT;
		return library->result != -ENOENT;
	}
	if (library->object->machine != search->asker->machine ||
	    library->object->bits != search->asker->bits)
		return false; /* ld.so passes over it */
	search->found = library;
	return true;
}

/* One element of a path list into out, $ORIGIN put in. False: it does not fit, or asks for what is not known.
 */
static bool expand(const char *element, size_t length, const char *origin, char *out, size_t size)
{
	static const char *const tokens[] = {"$ORIGIN", "${ORIGIN}"};
	size_t used = 0;
	const char *slash = strrchr(origin, '/');
	int folder = slash ? (int)(slash - origin) : 0;

	for (size_t i = 0; i < length;) {
		size_t k = 0;

		for (; k < 2; k++)
			if (length - i >= strlen(tokens[k]) &&
			    !memcmp(element + i, tokens[k], strlen(tokens[k])))
				break;
		if (k < 2) {
			text_add(out, size, &used, "%.*s", folder, origin);
			i += strlen(tokens[k]);
		} else if (element[i] == '$') {
			return false; /* $LIB, $PLATFORM */
		} else {
			text_add(out, size, &used, "%c", element[i++]);
		}
	}
	return used > 0 && used + 1 < size && out[0] == '/';
}

static bool try_directory(struct search *search, const char *directory)
{
	char path[PATH_MAX_HERE];
	int n = snprintf(path, sizeof(path), "%s/%s", directory, search->name);

	return n > 0 && (size_t)n < sizeof(path) && try_path(search, path);
}

static bool try_list(struct search *search, const char *list, const char *origin)
{
	while (*list) {
		size_t length = strcspn(list, ":;");
		char directory[PATH_MAX_HERE];

		if (expand(list, length, origin, directory, sizeof(directory)) &&
		    try_directory(search, directory))
			return true;
		list += length + (list[length] != '\0');
	}
	return false;
}

/* DT_RPATH of the asker, of who asked for it, and so on to the program; musl takes every RUNPATH as one. */
static bool try_inherited(struct search *search, const struct closure *closure, int asker)
{
	const struct link *link = search->link;
	const struct member *member = &closure->members[asker];

	if (!link->musl && *object_text(member->object, member->object->runpath) &&
	    !(member->object->flags & OBJECT_RPATH))
		return false; /* its own RUNPATH ends all RPATHs */
	for (int at = asker; at >= 0; at = closure->members[at].asker) {
		member = &closure->members[at];
		if ((link->musl || member->object->flags & OBJECT_RPATH) &&
		    try_list(search, object_text(member->object, member->object->runpath), member->path))
			return true;
	}
	if (closure == &link->program || !link->program.count)
		return false;
	member = &link->program.members[0];
	return (link->musl || member->object->flags & OBJECT_RPATH) &&
	       try_list(search, object_text(member->object, member->object->runpath), member->path);
}

static void search_library(struct search *search, const struct closure *closure, int asker)
{
	const struct link_options *options = &search->link->options;
	const struct member *member = &closure->members[asker];
	char path[PATH_MAX_HERE];

	if (strchr(search->name, '/')) {
		if (expand(search->name, strlen(search->name), member->path, path, sizeof(path)))
			try_path(search, path);
		return;
	}
	if (!search->link->musl && try_inherited(search, closure, asker))
		return;
	if (options->library_path && try_list(search, options->library_path, member->path))
		return;
	if (search->link->musl
		    ? try_inherited(search, closure, asker)
		    : !(member->object->flags & OBJECT_RPATH) &&
			      try_list(search, object_text(member->object, member->object->runpath),
				       member->path))
		return;
	for (size_t i = 0; i < options->directory_count; i++)
		if (try_directory(search, options->directories[i]))
			return;
}

static bool has_name(const struct closure *closure, const char *name)
{
	for (size_t i = 0; i < closure->count; i++) {
		const struct object *object = closure->members[i].object;

		if (strcmp(closure->members[i].asked, name) == 0 ||
		    strcmp(object_text(object, object->soname), name) == 0)
			return true;
	}
	return false;
}

/* musl is one file: these names are the library itself, whatever follows. */
static bool is_musl_itself(const char *name)
{
	static const char *const parts[] = {"libc.",  "libpthread.", "librt.",  "libm.",
					    "libdl.", "libutil.",    "libxnet."};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (strncmp(name, parts[i], strlen(parts[i])) == 0)
			return true;
	return false;
}

static void note_missing(struct link_result *out, const char *name, const char *path)
{
	if (!out->missing_library_count++) {
		text_copy(out->missing_library, sizeof(out->missing_library), name);
		text_copy(out->asked_by, sizeof(out->asked_by), text_base(path));
	}
}

static int add_member(struct closure *closure, struct link_library *library, const char *asked, int asker,
		      struct link_result *out)
{
	if (closure->count == LINK_LIBRARIES) {
		out->uncertain = true;
		return 0;
	}
	for (size_t i = 0; i < closure->count; i++)
		if (closure->members[i].library == library)
			return 0;
	if (!library->names.slots && link_names_build(&library->names, library->object) != 0)
		return -ENOMEM;
	closure->members[closure->count++] =
		(struct member){library, library->object, library->path, asked, asker};
	out->uncertain |= (library->object->flags & OBJECT_CUT) != 0;
	return 0;
}

/* All that members[asker] asks for and is not there yet. */
static int add_needed(struct link *link, struct closure *closure, int asker, struct link_result *out)
{
	const struct object *object = closure->members[asker].object;

	for (size_t i = 0; i < object->needed_count; i++) {
		struct search search = {link, object, object_needed(object, i), NULL, false, false};
		int err;

		if (has_name(&link->program, search.name) || has_name(closure, search.name) ||
		    (link->musl && is_musl_itself(search.name)))
			continue;
		search_library(&search, closure, asker);
		if (search.no_memory)
			return -ENOMEM;
		if (search.unreadable)
			out->uncertain = true;
		if (!search.found) {
			if (!search.unreadable)
				note_missing(out, search.name, closure->members[asker].path);
			continue;
		}
		err = add_member(closure, search.found, search.name, asker, out);
		if (err)
			return err;
	}
	return 0;
}

static int walk(struct link *link, struct closure *closure, struct link_result *out)
{
	int err = 0;

	for (size_t at = 0; at < closure->count && !err; at++)
		err = add_needed(link, closure, (int)at, out);
	return err;
}

static void list_libraries(const struct closure *closure, size_t from, struct link_result *out)
{
	for (size_t i = from; i < closure->count && out->library_count < LINK_LIBRARIES; i++) {
		const struct object *object = closure->members[i].object;

		out->libraries[out->library_count++] = *object_text(object, object->soname)
							       ? object_text(object, object->soname)
							       : text_base(closure->members[i].path);
	}
}

int link_program(struct link *link, const char *path, const struct object *program, struct link_result *out)
{
	struct link_result result = {0};
	struct link_library *library = library_at(link, path), *loader;
	int err;

	if (!library)
		return -ENOMEM;
	library->object = program; /* whoever calls has it already */
	link->musl = program->libc == OBJECT_LIBC_MUSL;
	err = add_member(&link->program, library, "", -1, &result);
	if (!err && program->interpreter) {
		loader = library_at(link, object_text(program, program->interpreter));
		if (!loader)
			return -ENOMEM;
		if (loader->object)
			err = add_member(&link->program, loader,
					 text_base(object_text(program, program->interpreter)), 0, &result);
		else
			result.uncertain = true;
	}
	if (!err)
		err = walk(link, &link->program, &result);
	/* without all of the Ruby's libraries nothing can be said of what they give */
	link->program_uncertain = result.uncertain || result.missing_library_count;
	list_libraries(&link->program, 1, &result);
	if (out)
		*out = result;
	return err;
}

static bool is_given(const struct closure *closure, uint32_t hash, const char *name, const char *version)
{
	for (size_t i = 0; i < closure->count; i++)
		if (closure->members[i].library &&
		    link_names_have(&closure->members[i].library->names, closure->members[i].object, hash,
				    name, version))
			return true;
	return false;
}

static void resolve_symbols(struct link *link, const struct object *object, struct link_result *out)
{
	for (size_t i = 0; i < object->asked_count; i++) {
		const struct object_symbol *symbol = object_asked(object, i);
		const char *name = object_text(object, symbol->name);
		const char *version = object_text(object, symbol->version);
		uint32_t hash;
		bool ruby;

		if (symbol->weak)
			continue;
		hash = link_hash(name);
		if (is_given(&link->program, hash, name, version) ||
		    is_given(&link->work, hash, name, version))
			continue;
		ruby = link_is_ruby_name(name);
		out->missing_symbol_count++;
		out->missing_ruby_count += ruby;
		if (*out->missing_symbol && !(ruby && !out->is_ruby_symbol))
			continue;
		out->is_ruby_symbol = ruby;
		text_copy(out->missing_symbol, sizeof(out->missing_symbol), name);
		text_copy(out->missing_version, sizeof(out->missing_version), version);
	}
}

int link_resolve(struct link *link, const char *path, const struct object *object, struct link_result *out)
{
	int err;

	memset(out, 0, offsetof(struct link_result, libraries));
	link->work.count = 1;
	link->work.members[0] = (struct member){NULL, object, path, "", -1};
	out->uncertain = (object->flags & OBJECT_CUT) || link->program_uncertain;
	if (!link->program.count || object->machine != link->program.members[0].object->machine ||
	    object->bits != link->program.members[0].object->bits) {
		out->uncertain = true; /* it never gets so far as to ask for anything */
		return 0;
	}
	err = walk(link, &link->work, out);
	if (err)
		return err;
	list_libraries(&link->program, 1, out);
	list_libraries(&link->work, 1, out);
	/* what a missing library would have given is not missing besides */
	if (!out->uncertain && !out->missing_library_count)
		resolve_symbols(link, object, out);
	return 0;
}

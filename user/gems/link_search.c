// SPDX-License-Identifier: Apache-2.0
/*
 * Where ld.so would find a library. Each member of a closure knows who asked for it, because a DT_RPATH holds
 * for all that its owner brings in, while a DT_RUNPATH holds for its owner alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/gems/link_private.h"

enum { PATH_MAX_HERE = 1024 };

struct link_library *link_library_at(struct link *link, const char *path)
{
	struct link_library **bucket = &link->buckets[link_hash(path) % LINK_BUCKETS], *library;

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

static bool try_path(struct link_search *search, const char *path)
{
	struct link_library *library = link_library_at(search->link, path);

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

static bool try_directory(struct link_search *search, const char *directory)
{
	char path[PATH_MAX_HERE];
	int n = snprintf(path, sizeof(path), "%s/%s", directory, search->name);

	return n > 0 && (size_t)n < sizeof(path) && try_path(search, path);
}

static bool try_list(struct link_search *search, const char *list, const char *origin)
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
static bool try_inherited(struct link_search *search, const struct link_closure *closure, int asker)
{
	const struct link *link = search->link;
	const struct link_member *member = &closure->members[asker];

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

void link_search_library(struct link_search *search, const struct link_closure *closure, int asker)
{
	const struct link_options *options = &search->link->options;
	const struct link_member *member = &closure->members[asker];
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

/* musl is one file: these names are the library itself, whatever follows. */
bool link_is_musl_itself(const char *name)
{
	static const char *const parts[] = {"libc.",  "libpthread.", "librt.",  "libm.",
					    "libdl.", "libutil.",    "libxnet."};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (strncmp(name, parts[i], strlen(parts[i])) == 0)
			return true;
	return false;
}

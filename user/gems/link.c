// SPDX-License-Identifier: Apache-2.0
/*
 * The closure is walked breadth first, as ld.so loads. A library is looked at once a link, whatever asks for
 * it: hundreds of extensions ask for the same ten.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/gems/link_private.h"

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
	for (size_t i = 0; i < LINK_BUCKETS; i++)
		while (link->buckets[i]) {
			struct link_library *library = link->buckets[i];

			link->buckets[i] = library->next;
			free(library->names.slots);
			free(library->path);
			free(library);
		}
	free(link->given);
	free(link);
}

static bool has_name(const struct link_closure *closure, const char *name)
{
	for (size_t i = 0; i < closure->count; i++) {
		const struct object *object = closure->members[i].object;

		if (strcmp(closure->members[i].asked, name) == 0 ||
		    strcmp(object_text(object, object->soname), name) == 0)
			return true;
	}
	return false;
}

static void note_missing(struct link_result *out, const char *name, const char *path)
{
	if (!out->missing_library_count++) {
		text_copy(out->missing_library, sizeof(out->missing_library), name);
		text_copy(out->asked_by, sizeof(out->asked_by), text_base(path));
	}
}

static int add_member(struct link_closure *closure, struct link_library *library, const char *asked,
		      int asker, struct link_result *out)
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
		(struct link_member){library, library->object, library->path, asked, asker};
	out->uncertain |= (library->object->flags & OBJECT_CUT) != 0;
	return 0;
}

/* All that members[asker] asks for and is not there yet. */
static int add_needed(struct link *link, struct link_closure *closure, int asker, struct link_result *out)
{
	const struct object *object = closure->members[asker].object;

	for (size_t i = 0; i < object->needed_count; i++) {
		struct link_search search = {link, object, object_needed(object, i), NULL, false, false};
		int err;

		if (has_name(&link->program, search.name) || has_name(closure, search.name) ||
		    (link->musl && link_is_musl_itself(search.name)))
			continue;
		link_search_library(&search, closure, asker);
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

static int walk(struct link *link, struct link_closure *closure, struct link_result *out)
{
	int err = 0;

	for (size_t at = 0; at < closure->count && !err; at++)
		err = add_needed(link, closure, (int)at, out);
	return err;
}

static void list_libraries(const struct link_closure *closure, size_t from, struct link_result *out)
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
	struct link_library *library = link_library_at(link, path), *loader;
	int err;

	if (!library)
		return -ENOMEM;
	library->object = program; /* whoever calls has it already */
	link->musl = program->libc == OBJECT_LIBC_MUSL;
	err = add_member(&link->program, library, "", -1, &result);
	if (!err && program->interpreter) {
		loader = link_library_at(link, object_text(program, program->interpreter));
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

const struct object *link_ruby(const struct link *link, const char **path)
{
	for (size_t i = 0; i < link->program.count; i++)
		if (link->program.members[i].object->flags & OBJECT_IS_RUBY) {
			*path = link->program.members[i].path;
			return link->program.members[i].object;
		}
	return NULL;
}

const char *link_libc_version(const struct link *link)
{
	for (size_t i = 0; i < link->program.count; i++) {
		const struct object *object = link->program.members[i].object;

		if (strncmp(object_text(object, object->soname), "libc.so.", 8) == 0)
			return link_glibc_version(object);
	}
	return "";
}

static bool is_given(const struct link_closure *closure, uint32_t hash, const char *name, const char *version)
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
		    is_given(&link->work, hash, name, version) ||
		    link_extension_gives(link, object, hash, name))
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
	link->work.members[0] = (struct link_member){NULL, object, path, "", -1};
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two Rubies whose first two numbers are the same have one ABI. What the running one is says the agent, which
 * read it out of libruby; without that word, the name under which libruby is mapped.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/crash/abi.h"

bool abi_of_version(const char *text, char out[16])
{
	for (; *text; text++) {
		size_t first, second;

		if (!isdigit((unsigned char)*text))
			continue;
		first = strspn(text, "0123456789");
		second = text[first] == '.' ? strspn(text + first + 1, "0123456789") : 0;
		if (second && first + 1 + second < 16) {
			text_copy_bytes(out, 16, text, first + 1 + second);
			return true;
		}
		text += first - 1;
	}
	return false;
}

static void find_running(const struct crash_input *input, char out[16])
{
	out[0] = '\0';
	if (input->ruby && abi_of_version(input->ruby, out))
		return;
	for (size_t i = 0; i < input->region_count; i++) {
		const char *path = input->regions[i].path;

		if (path && module_kind(path, NULL) == MODULE_RUBY && abi_of_version(text_base(path), out))
			return;
	}
}

const struct crash_extension *extension_known(const struct crash_input *input, const char *path)
{
	for (size_t i = 0; path && i < input->extension_count; i++)
		if (!strcmp(input->extensions[i].path, path))
			return &input->extensions[i];
	return NULL;
}

/*
 * The check looked into the file, a path only says where it lies: what the check knows counts, whichever way.
 * gem->abi becomes what it was built for.
 */
static bool is_mismatch(const struct crash_input *input, const char *path, struct gem_path *gem,
			const char *running)
{
	const struct crash_extension *known = extension_known(input, path);
	char built_for[16];

	if (known && known->verdict->built_for[0])
		text_copy(gem->abi, sizeof(gem->abi), known->verdict->built_for);
	return gem->abi[0] && abi_of_version(gem->abi, built_for) && strcmp(built_for, running) != 0;
}

static void take(struct abi_mismatch *out, enum abi_where where, const char *path, const struct gem_path *gem)
{
	out->where = where;
	out->path = path;
	out->gem = *gem;
}

void abi_find(const struct crash_input *input, const struct frames *frames, struct abi_mismatch *out)
{
	struct gem_path gem;

	memset(out, 0, sizeof(*out));
	out->path = "";
	find_running(input, out->running);
	if (!out->running[0])
		return;
	for (size_t i = 0; i < frames->count; i++) {
		const struct frame *frame = &frames->list[i];

		gem = frame->gem;
		if (frame->kind != MODULE_EXTENSION || !is_mismatch(input, frame->path, &gem, out->running))
			continue;
		take(out, frame->how == UNWIND_SCANNED ? ABI_ON_STACK_SCANNED : ABI_ON_STACK, frame->path,
		     &gem);
		out->frame = frame;
		return;
	}
	for (size_t i = 0; i < input->region_count; i++) {
		const char *path = input->regions[i].path;

		/* of several the first by name: the order in which they are mapped differs from host to host
		 */
		if (path && module_kind(path, &gem) == MODULE_EXTENSION &&
		    is_mismatch(input, path, &gem, out->running) &&
		    (out->where == ABI_NONE || strcmp(text_base(path), text_base(out->path)) < 0))
			take(out, ABI_MAPPED, path, &gem);
	}
}

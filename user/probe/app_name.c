// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/probe/app_name.h"

static void copy_part(char *out, size_t size, const char *from, size_t length)
{
	text_copy_bytes(out, size, from, length);
	text_clean(out);
}

/*
 * "/system.slice/shop.service" names the unit; "…/user@1000.service/…" and "…/session-3.scope" are where
 * people log in, and name nobody's app.
 */
static int unit_name(const char *cgroup, char *out, size_t size)
{
	static const char suffix[] = ".service";
	const char *last = text_base(cgroup);
	size_t length = strlen(last);

	if (length <= sizeof(suffix) - 1 || strcmp(last + length - (sizeof(suffix) - 1), suffix) != 0 ||
	    strncmp(last, "user@", 5) == 0)
		return 0;
	copy_part(out, size, last, length - (sizeof(suffix) - 1));
	return 1;
}

/* A container's cgroup ends in its 64 hex digits, maybe as "docker-<id>.scope"; people know the first 12. */
static int container_name(const char *cgroup, char *out, size_t size)
{
	const char *last = text_base(cgroup), *dash = strrchr(last, '-'), *id = dash ? dash + 1 : last;

	if (strspn(id, "0123456789abcdef") != 64 || (id[64] && strcmp(id + 64, ".scope") != 0))
		return 0;
	copy_part(out, size, id, 12);
	return 1;
}

/* Puma puts the app's directory in brackets at the end: "puma: cluster worker 0: 4711 [shop]". */
static int bracket_name(const char *title, char *out, size_t size)
{
	const char *open = strrchr(title, '['), *close = open ? strchr(open, ']') : NULL;

	if (!open || !close || close == open + 1 || close[1])
		return 0;
	copy_part(out, size, open + 1, (size_t)(close - open) - 1);
	return 1;
}

/* "ruby /srv/shop/server.rb" is "server"; any other program is known by its first word. */
static int command_name(const char *title, char *out, size_t size)
{
	size_t first = strcspn(title, " :"), length;
	const char *base = title;

	for (const char *at = title; at < title + first; at++)
		if (*at == '/')
			base = at + 1;
	length = (size_t)(title + first - base);
	if (strncmp(base, "ruby", 4) == 0 && title[first] == ' ' && title[first + 1] &&
	    title[first + 1] != '-') {
		const char *script = title + first + 1;

		first = strcspn(script, " ");
		base = script;
		for (const char *at = script; at < script + first; at++)
			if (*at == '/' && at[1] && at + 1 < script + first)
				base = at + 1;
		length = (size_t)(script + first - base);
		if (length > 3 && strncmp(base + length - 3, ".rb", 3) == 0)
			length -= 3;
	}
	copy_part(out, size, base, length);
	return out[0] != '\0';
}

void app_name(const char *cgroup, const char *title, const char *comm, char *out, size_t size)
{
	if (unit_name(cgroup, out, size) || container_name(cgroup, out, size) ||
	    bracket_name(title, out, size) || command_name(title, out, size))
		return;
	copy_part(out, size, *comm ? comm : "ruby", strlen(*comm ? comm : "ruby"));
}

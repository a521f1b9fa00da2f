// SPDX-License-Identifier: Apache-2.0
/*
 * Which files are loaded, and where, a debugger learns from the dynamic linker: the program's dynamic
 * section has a DT_DEBUG that points to a struct r_debug, and that to a list of struct link_map
 * (<link.h>). All three lie in writable memory that is not captured; what they say is in the report. So
 * they are made up anew, at an address that the process did not use.
 */
#include <link.h>
#include <string.h>
#include "user/base/json.h"
#include "user/base/parse.h"
#include "user/crash/core_parts.h"

enum { LINKS_MAX = 4096 };

static bool auxv_value(const cJSON *report, double type, uint64_t *out)
{
	const cJSON *pair;

	cJSON_ArrayForEach(pair, report_part(report, "auxv"))
	{
		const cJSON *value = cJSON_GetArrayItem(pair, 1);

		if (cJSON_GetNumberValue(cJSON_GetArrayItem(pair, 0)) == type)
			return cJSON_IsString(value) && parse_u64(value->valuestring, out);
	}
	return false;
}

const cJSON *core_program_module(const cJSON *report)
{
	uint64_t entry, start, end;
	const cJSON *module;

	if (!auxv_value(report, AT_ENTRY, &entry))
		return NULL;
	cJSON_ArrayForEach(module, report_part(report, "modules"))
	{
		if (report_hex(module, "start", &start) && report_hex(module, "end", &end) &&
		    entry >= start && entry < end)
			return module;
	}
	return NULL;
}

const char *core_program(const cJSON *report)
{
	const char *path = json_text(core_program_module(report), "path");

	return *path ? path : NULL;
}

/* A file that a debugger can place: it has a dynamic section, and its bias is known. */
static bool is_link(const cJSON *module, uint64_t *bias, uint64_t *dynamic)
{
	return json_text(module, "path")[0] == '/' && report_hex(module, "bias", bias) &&
	       report_hex(module, "dynamic", dynamic) && *dynamic;
}

static void put_link(struct image *image, size_t at, uint64_t base, uint64_t bias, uint64_t dynamic,
		     const char *name, bool last)
{
	size_t name_at = image_add(image, name, strlen(name) + 1);
	uint64_t link[5] = {
		bias,
		base + name_at,
		dynamic,
		last ? 0 : base + at + sizeof(link),
		at == sizeof(struct r_debug) ? 0 : base + at - sizeof(link),
	};

	image_put(image, at, link, sizeof(link));
}

void core_link_map(struct image *image, const cJSON *report, uint64_t base, struct core_gaps *gaps)
{
	const cJSON *program = core_program_module(report), *module;
	uint64_t bias = 0, dynamic = 0, debug[5] = {1, base + sizeof(struct r_debug)};
	size_t count = 1, used = 1, at = sizeof(struct r_debug);

	_Static_assert(sizeof(struct r_debug) == 40, "r_debug");
	gaps->modules = !program || !is_link(program, &bias, &dynamic);
	cJSON_ArrayForEach(module, report_part(report, "modules"))
	{
		uint64_t other_bias, other;

		if (module == program || count == LINKS_MAX)
			continue;
		if (is_link(module, &other_bias, &other))
			count++;
		else if (json_text(module, "path")[0] == '/')
			gaps->modules_without_place++;
	}
	if (gaps->modules)
		return;
	image_add(image, debug, sizeof(debug));
	image_add(image, NULL, count * 40);
	put_link(image, at, base, bias, dynamic, "", count == 1); /* the program has no name there */
	cJSON_ArrayForEach(module, report_part(report, "modules"))
	{
		if (module == program || used == count || !is_link(module, &bias, &dynamic))
			continue;
		at += 40;
		put_link(image, at, base, bias, dynamic, json_text(module, "path"), ++used == count);
	}
}

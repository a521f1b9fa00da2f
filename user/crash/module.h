/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of code a mapped file holds, as far as its path tells: who may be blamed and who may not. */
#ifndef LAPIDARY_MODULE_H
#define LAPIDARY_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include "user/gems/gem_path.h"
#include "user/probe/maps.h"

enum module_kind {
	MODULE_UNKNOWN,   /* no file: anonymous, generated code, or nothing mapped */
	MODULE_SYSTEM,    /* libc and its kin, allocators, libffi, vdso: fails for its caller's mistakes */
	MODULE_RUBY,      /* libruby or the ruby program: likewise */
	MODULE_EXTENSION, /* of a gem, or of Ruby's own library */
	MODULE_LIBRARY,   /* any other shared object or program */
};

/* gem may be NULL; it is zeroed unless the path names one. */
enum module_kind module_kind(const char *path, struct gem_path *gem);

/* The executable region that holds the address, borrowed, or NULL. */
const struct maps_region *region_of(const struct maps_region *regions, size_t count, uint64_t address);

#endif

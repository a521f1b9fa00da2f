/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process belongs to when no configuration names it: its systemd unit, else its container, else
 * what its command says of itself (docs/design.md 1). Pure string work.
 */
#ifndef LAPIDARY_APP_NAME_H
#define LAPIDARY_APP_NAME_H

#include <stddef.h>

/* Always fills out[size] with something; the parts may be "". */
void app_name(const char *cgroup, const char *title, const char *comm, char *out, size_t size);

#endif

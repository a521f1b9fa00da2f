/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaches the probe on what crashing tasks write, and takes it off again.
 *
 * While it is attached every system call of the host costs 70 ns more. A thread of its own waits for the
 * first step of a crash (the ring report_wake), so that neither the loop's other work delays it nor it the
 * loop: attaching takes 0.2 ms, and up to 20 ms when the last detaching is not over in the kernel.
 */
#ifndef LAPIDARY_REPORTER_H
#define LAPIDARY_REPORTER_H

#include <stdbool.h>

struct probe;
struct reporter;

/*
 * Starts; call when the process has the capabilities that it will keep, since the thread gets them. `always`:
 * attached at once and left so. 0 or -errno. -ENOTSUP: this kernel has not loaded the program.
 */
int reporter_new(struct probe *probe, bool always, struct reporter **out);
/* Detaches; NULL-safe. */
void reporter_free(struct reporter *reporter);

#endif

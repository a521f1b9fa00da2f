/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A distilled copy of an ELF file: of the same size and at the same offsets, but only what unwinding and
 * naming need (headers, unwind tables, symbols, code, dynamic section, notes); the rest are holes. A file
 * that is gone when its process has died can so be read all the same, and nothing is held on the app's mount.
 *
 * The file may be hostile: this runs in the examiner alone, reads with pread, and is bounded.
 */
#ifndef LAPIDARY_ELF_DISTIL_H
#define LAPIDARY_ELF_DISTIL_H

#include <stddef.h>
#include <stdint.h>

enum {
	DISTIL_BYTES_MAX = 48 << 20
}; /* libruby takes 3.5 MiB, libcrypto 4; larger programs lose their ends */

/*
 * Copies from fd to out_fd, a file of the same size. Returns the bytes copied, -ENOEXEC when it is no ELF
 * file of this processor, or another -errno when reading or writing failed.
 */
int64_t distil(int fd, int out_fd);

#endif

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

enum {
	DISTIL_SYMBOLS_MAX = 24 << 20, /* of names and addresses; Debian's libruby has 1 MiB, libcrypto 2 */
	DISTIL_SUMMED_MAX = 128 << 20, /* of a file that is known by the sum over its bytes alone */
};

/* By what a file knows the separate one with its symbols: its build-id, or where it has none a CRC. */
struct distil_debug {
	uint8_t build_id_len;
	uint8_t build_id[20];
	uint8_t pad[3];
	uint32_t crc; /* of the whole file, when build_id_len is 0 */
};

/*
 * The same of a separate debug file, and of that only the symbol table with its names, wholly or not at all.
 * Returns the bytes copied, or: -ESTALE when it belongs to another build, -ENODATA it has no symbols, -EFBIG
 * more of them than DISTIL_SYMBOLS_MAX, -ENOEXEC no ELF file or damaged, another -errno.
 */
int64_t distil_debug(int fd, int out_fd, const struct distil_debug *wanted);

#endif

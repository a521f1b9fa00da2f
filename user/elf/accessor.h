/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structure offsets, read from the code of the functions that libpq exports to read them. PGconn and
 * PGresult are private and differ by version; `PQdb` returning `conn->dbName` does not.
 */
#ifndef LAPIDARY_ELF_ACCESSOR_H
#define LAPIDARY_ELF_ACCESSOR_H

#include <stdint.h>
#include "user/elf/code.h"

/* The 4-byte integer or 8-byte pointer that a function returns; LAYOUT_UNKNOWN when the code is not clear. */
uint32_t accessor_integer(struct code_reader *reader, const struct code *code);
uint32_t accessor_pointer(struct code_reader *reader, const struct code *code);

/*
 * The same for a function that may return one integer in place of another (PQsocket: altsock while it is
 * set, else sock): the one that is returned when the first is not.
 */
uint32_t accessor_integer_behind(struct code_reader *reader, const struct code *code);

/* The head of a list of which the function returns (element + text). */
uint32_t accessor_list(struct code_reader *reader, const struct code *code, uint32_t text);

/* A function that returns a member of S->array[S->index], or, when that is empty, another member. */
struct accessor_element {
	uint32_t array;  /* in S: the pointer */
	uint32_t index;  /* in S: the 32-bit integer */
	uint32_t stride; /* of the array */
	uint32_t first;  /* in an element: what is looked at first */
	uint32_t second; /* in an element: what is returned instead, LAYOUT_UNKNOWN when there is none */
};

/* Returns 0, or -EINVAL (all of *out LAYOUT_UNKNOWN) when the code is not clear. */
int accessor_element(struct code_reader *reader, const struct code *code, struct accessor_element *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of JSON Schema (2020-12) that our schemas use, so that a document can be refused with its
 * place: type (one or several), properties, required, additionalProperties (false or a schema), items,
 * enum, const, minimum, maximum, minItems, maxItems, minLength, maxLength, pattern (POSIX extended),
 * anyOf, $ref to "#/$defs/…". Unknown keywords are an error of the schema, not silently passed over, except
 * the annotations ($schema, $id, $defs, title, description, default, examples, $comment, format). No library
 * in Debian does this for C; the tests check the same schemas with python3-jsonschema.
 */
#ifndef LAPIDARY_SCHEMA_H
#define LAPIDARY_SCHEMA_H

#include <cjson/cJSON.h>
#include <stddef.h>

/*
 * 0: valid. -EBADMSG: `why` gets "/json/pointer: what is wrong (what is allowed)". -EINVAL: the schema
 * itself uses something unknown; `why` names it.
 */
int schema_check(const cJSON *schema, const cJSON *document, char *why, size_t why_size);

#endif

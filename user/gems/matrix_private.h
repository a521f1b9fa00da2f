/* SPDX-License-Identifier: Apache-2.0 */
/* Between the reader of the matrix and who asks it. */
#ifndef LAPIDARY_MATRIX_PRIVATE_H
#define LAPIDARY_MATRIX_PRIVATE_H

#include "user/gems/matrix.h"

enum matrix_built { BUILT_ANY, BUILT_HERE, BUILT_PRECOMPILED };

/* Texts are the document's; "" where the line does not ask. */
struct matrix_line {
	struct matrix_answer answer;
	const char *gem;
	const char *from, *below;           /* of the gem */
	const char *ruby_from, *ruby_below; /* of the Ruby that runs it */
	enum matrix_built built;
	const char *libc;
	const cJSON *platforms, *libraries; /* globs, NULL: any */
};

struct matrix {
	cJSON *document;
	size_t count;
	struct matrix_line *lines;
};

#endif

// SPDX-License-Identifier: Apache-2.0
/*
 * scrub_text() of what a process wrote: it must come back with a text that ends where it says, and scrubbing
 * that again must change nothing: what is marked as a secret in what comes out was left in. The input stands
 * at the end of its memory, so that a byte too far is seen; its control characters are words that mean
 * something.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "user/probe/scrub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "hunter2"

static const char *const words[32] = {
	"password=" SECRET,
	"token: ",
	SECRET,
	"NAME=",
	"postgres://u:" SECRET "@db/x",
	"://",
	"@",
	"set ",
	"with ",
	"\t",
	"\n",
	"select ",
	"insert into",
	" = ",
	"$$",
	"E'",
	"'",
	"\"",
	"[removed]",
	"API_KEY=",
	"\"token\":\"",
	"Cookie: ",
	"=>",
	" : ",
	"--",
	"/*",
	"*/",
	"$1",
	"values ",
	"update ",
	", ",
	"api_key",
};

static char *text_of(const uint8_t *data, size_t size, size_t *out_size)
{
	size_t used = 0;
	char *text;

	for (size_t i = 0; i < size; i++)
		used += data[i] < 32 ? strlen(words[data[i]]) : 1;
	text = malloc(used ? used : 1);
	*out_size = used;
	used = 0;
	for (size_t i = 0; text && i < size; i++) {
		const char *word = data[i] < 32 ? words[data[i]] : (const char *)&data[i];
		size_t length = data[i] < 32 ? strlen(word) : 1;

		memcpy(text + used, word, length);
		used += length;
	}
	return text;
}

static size_t secrets_in(const char *text, size_t size)
{
	const char *end = text + size, *at = text;
	size_t count = 0;

	for (; (at = memmem(at, (size_t)(end - at), SECRET, strlen(SECRET))); at++)
		count++;
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t text_size, once_size, twice_size;
	char *text = text_of(data, size, &text_size), *once, *twice;

	if (!text)
		return 0;
	once = scrub_text(text, text_size, &once_size);
	free(text);
	if (!once)
		return 0;
	if (once[once_size] != '\0')
		abort();
	twice = scrub_text(once, once_size, &twice_size);
	if (twice && secrets_in(twice, twice_size) != secrets_in(once, once_size))
		abort();
	free(once);
	free(twice);
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>
#include "user/base/digest.h"

uint64_t digest_fnv(uint64_t seed, const void *bytes, size_t size)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < size; i++)
		seed = (seed ^ at[i]) * 0x100000001b3ull;
	return seed;
}

uint64_t digest_text(uint64_t seed, const char *text)
{
	return digest_fnv(seed, text, strlen(text) + 1);
}

void digest_hex(uint64_t digest, char out[17])
{
	snprintf(out, 17, "%016llx", (unsigned long long)digest);
}

uint64_t digest_mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
	return value ^ (value >> 31);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the client commands share: their flags, the store they read, and how they print. */
#ifndef LAPIDARY_LISTING_H
#define LAPIDARY_LISTING_H

#include "user/cli/config.h"
#include "user/cli/help.h"
#include "user/sink/store.h"

enum listing_flag {
	LISTING_APP = 1 << 0,
	LISTING_CAUSE = 1 << 1,
	LISTING_GEM = 1 << 2,
	LISTING_FINGERPRINT = 1 << 3,
	LISTING_TIME = 1 << 4, /* --since, --until */
	LISTING_LIMIT = 1 << 5,
};

struct listing {
	struct config *config;
	struct store_filter filter; /* its strings are those of argv */
	bool json, colour;
	int count; /* words that are no flags, the command's own name left out */
	char **words;
};

/*
 * Reads --help, --json, the filters in `flags` (enum listing_flag) and the settings. Returns -1 to go on
 * (then listing_done is due), else the exit code: help was printed, or a word was wrong. At most
 * `words_max` words may be no flags.
 */
int listing_start(struct listing *listing, int argc, char **argv, const struct help *help, unsigned flags,
		  int words_max);
void listing_done(struct listing *listing);

/* Opens the store of the settings; prints why not and returns the exit code, or -1 with *out set. */
int listing_store(const struct listing *listing, const char *command, struct store_reader **out);

/* Takes `flag` out of argv and says whether it was there. */
bool option_take(int *argc, char **argv, const char *flag);
/* Takes `flag` and its value ("--for 30s", "--for=30s") out of argv; *value stays as it is when it is not
 * there. Returns -1 to go on, or EXIT_USAGE when the value is missing ("needs WANTED"). */
int option_value(int *argc, char **argv, const char *flag, const char *wanted, const char **value);
/* A document and a newline, indented, on stdout. EXIT_FINE, or EXIT_INTERNAL when there is none or it could
 * not be written. */
int print_json(const cJSON *json);

/* "2026-11-22 20:14:29" of an RFC 3339 time, for tables; "-" when there is none. */
const char *time_short(const char *rfc3339, char out[24]);
/* "3 s", "5 min", "2 h", "7 d". */
const char *span_text(uint64_t ns, char out[24]);

#endif

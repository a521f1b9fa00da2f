/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file of the test's own, and loading it as a command does. */
#ifndef LAPIDARY_TESTS_CONFIG_FILE_H
#define LAPIDARY_TESTS_CONFIG_FILE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "user/cli/setting.h"

enum { WORDS = 16 };

static struct config config;
static char why[512], path[] = "/tmp/lapidary-config-XXXXXX", *words[WORDS];
static int count;

static inline int file_make(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	unsetenv("LAPIDARY_CONFIG");
	for (size_t i = 0; i < SETTING_COUNT; i++)
		unsetenv(settings[i].variable);
	if (fd >= 0)
		close(fd);
	return fd < 0;
}

static inline int file_remove(void **state)
{
	(void)state;
	return unlink(path);
}

static inline void file_says(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

/* Loads with these words after the command's name; NULL ends them. */
static inline int load(const char *first, ...)
{
	va_list args;

	count = 0;
	words[count++] = (char *)"agent";
	va_start(args, first);
	for (const char *word = first; word; word = va_arg(args, const char *))
		words[count++] = (char *)word;
	va_end(args);
	words[count] = NULL;
	return config_load(&count, words, &config, why, sizeof(why));
}

static inline int load_file(const char *text)
{
	file_says(text);
	return load("--config", path, NULL);
}

/* What was refused begins with this place. */
static inline void refused(const char *place)
{
	if (strncmp(why, place, strlen(place)))
		fail_msg("'%s' does not begin with '%s'", why, place);
}

#endif

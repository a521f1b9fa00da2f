/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client commands differ in what they show, and in nothing else: flags, filters, time limits, the way
 * a missing store is told, JSON output. A filter that a listing does not have is an unknown flag there,
 * rather than one that is silently passed over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/parse.h"
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/cli/grid.h"
#include "user/cli/listing.h"
#include "user/crash/report.h"

bool option_take(int *argc, char **argv, const char *flag)
{
	bool found = false;
	int kept = 0;

	for (int i = 0; i < *argc; i++) {
		if (!strcmp(argv[i], "--")) {
			while (i < *argc)
				argv[kept++] = argv[i++];
			break;
		}
		if (!strcmp(argv[i], flag))
			found = true;
		else
			argv[kept++] = argv[i];
	}
	*argc = kept;
	argv[kept] = NULL;
	return found;
}

int option_value(int *argc, char **argv, const char *flag, const char *wanted, const char **value)
{
	size_t size = strlen(flag);
	int kept = 0, i = 0;

	while (i < *argc && strcmp(argv[i], "--") != 0) {
		if (strncmp(argv[i], flag, size) != 0 || (argv[i][size] && argv[i][size] != '=')) {
			argv[kept++] = argv[i++];
			continue;
		}
		*value = argv[i][size] ? argv[i] + size + 1 : i + 1 < *argc ? argv[++i] : "";
		if (!**value)
			return usage_error("%s: needs %s", flag, wanted);
		i++;
	}
	while (i < *argc)
		argv[kept++] = argv[i++];
	*argc = kept;
	argv[kept] = NULL;
	return -1;
}

int print_json(const cJSON *json)
{
	char *text = json ? cJSON_Print(json) : NULL;
	int bad;

	if (!text)
		return command_error(EXIT_INTERNAL, "output: out of memory");
	bad = puts(text) < 0 || fflush(stdout) != 0;
	cJSON_free(text);
	return bad ? command_error(EXIT_PROBLEMS, "output: %s", strerror(errno)) : EXIT_FINE;
}

/* "1h" counts back from now; anything else is a moment. */
static bool moment_parse(const char *text, uint64_t *out)
{
	uint64_t now = when_wall_now(), ms;

	if (parse_duration_ms(text, &ms) && ms <= now / 1000000) {
		*out = now - ms * 1000000;
		return true;
	}
	return when_parse(text, out);
}

/* Classes are numbered from CAUSE_UNKNOWN on; past the last there is no name but that one. */
static bool cause_known(const char *name)
{
	for (int i = CAUSE_UNKNOWN; i == CAUSE_UNKNOWN || strcmp(cause_name((enum cause)i), "unknown") != 0;
	     i++)
		if (!strcmp(cause_name((enum cause)i), name))
			return true;
	return false;
}

static int refuse_cause(const char *value)
{
	char names[512] = "";
	size_t used = 0;

	for (int i = CAUSE_UNKNOWN + 1; strcmp(cause_name((enum cause)i), "unknown") != 0; i++)
		text_add(names, sizeof(names), &used, "%s, ", cause_name((enum cause)i));
	return usage_error("--cause: '%.64s' is no cause: %sunknown", value, names);
}

static bool word_apply(struct listing *listing, unsigned flag, const char *value)
{
	uint64_t number = 0;

	switch (flag) {
	case LISTING_APP:
		listing->filter.app = value;
		return true;
	case LISTING_CAUSE:
		listing->filter.cause = value;
		return cause_known(value);
	case LISTING_GEM:
		listing->filter.gem = value;
		return true;
	case LISTING_FINGERPRINT:
		listing->filter.fingerprint = value;
		return true;
	default:
		if (!parse_u64(value, &number) || number == 0 || number > 100000)
			return false;
		listing->filter.limit = (uint32_t)number;
		return true;
	}
}

static const struct {
	const char *name;
	unsigned flag;
	const char *wanted;
} words[] = {
	{"--app", LISTING_APP, "an app's name"},
	{"--cause", LISTING_CAUSE, "a cause class"},
	{"--gem", LISTING_GEM, "a gem's name"},
	{"--fingerprint", LISTING_FINGERPRINT, "a fingerprint"},
	{"--since", LISTING_TIME, "a duration like 1h, or a time like 2026-11-22T20:00:00Z"},
	{"--until", LISTING_TIME, "a duration like 1h, or a time like 2026-11-22T20:00:00Z"},
	{"--limit", LISTING_LIMIT, "a number from 1 to 100000"},
};

/* Reads the flag at argv[*i]; -1 when it is one, else the exit code. */
static int flag_apply(struct listing *listing, int argc, char **argv, int *i, unsigned flags)
{
	for (size_t k = 0; k < sizeof(words) / sizeof(*words); k++) {
		size_t size = strlen(words[k].name);
		const char *value = NULL;
		bool good;

		if (strncmp(argv[*i], words[k].name, size) || !(flags & words[k].flag) ||
		    (argv[*i][size] && argv[*i][size] != '='))
			continue;
		if (argv[*i][size])
			value = argv[*i] + size + 1;
		else if (*i + 1 < argc)
			value = argv[++*i];
		if (!value || !*value)
			return usage_error("%s: needs %s", words[k].name, words[k].wanted);
		if (words[k].flag == LISTING_TIME)
			good = moment_parse(value, words[k].name[2] == 's' ? &listing->filter.since_wall_ns
									   : &listing->filter.until_wall_ns);
		else
			good = word_apply(listing, words[k].flag, value);
		if (!good && words[k].flag == LISTING_CAUSE)
			return refuse_cause(value);
		if (!good)
			return usage_error("%s: '%s' is not %s", words[k].name, value, words[k].wanted);
		return -1;
	}
	return usage_error("%s: unknown flag '%s'; see 'lapidary %s --help'", argv[0], argv[*i], argv[0]);
}

int listing_start(struct listing *listing, int argc, char **argv, const struct help *help, unsigned flags,
		  int words_max)
{
	char why[512];
	int code;

	*listing = (struct listing){.words = argv + 1};
	if (option_take(&argc, argv, "--help") || option_take(&argc, argv, "-h"))
		return help_print(help);
	listing->json = option_take(&argc, argv, "--json");
	listing->config = calloc(1, sizeof(*listing->config));
	if (!listing->config)
		return command_error(EXIT_INTERNAL, "%s: out of memory", argv[0]);
	code = config_load(&argc, argv, listing->config, why, sizeof(why));
	if (code) {
		command_error(code, "%s: %s", argv[0], why);
		goto out;
	}
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-') {
			listing->words[listing->count++] = argv[i];
			continue;
		}
		code = flag_apply(listing, argc, argv, &i, flags);
		if (code >= 0)
			goto out;
	}
	if (listing->count > words_max) {
		code = usage_error("%s: '%s' is too much; see 'lapidary %s --help'", argv[0],
				   listing->words[words_max], argv[0]);
		goto out;
	}
	listing->colour = colour_wanted(listing->config->color, stdout);
	return -1;
out:
	listing_done(listing);
	return code;
}

void listing_done(struct listing *listing)
{
	free(listing->config);
	listing->config = NULL;
}

int listing_store(const struct listing *listing, const char *command, struct store_reader **out)
{
	char why[256];
	int err = store_reader_open(listing->config->state_dir, out, why, sizeof(why));

	if (!err)
		return -1;
	return command_error(err == -ENOENT ? EXIT_NO_ANSWER : EXIT_PROBLEMS, "%s: %s", command, why);
}

const char *time_short(const char *rfc3339, char out[24])
{
	text_copy(out, 20, rfc3339);
	if (strlen(out) == 19)
		out[10] = ' ';
	else
		text_copy(out, 20, "-");
	return out;
}

const char *span_text(uint64_t ns, char out[24])
{
	uint64_t s = ns / 1000000000;

	if (s < 120)
		snprintf(out, 24, "%llu s", (unsigned long long)s);
	else if (s < 7200)
		snprintf(out, 24, "%llu min", (unsigned long long)(s / 60));
	else if (s < 172800)
		snprintf(out, 24, "%llu h", (unsigned long long)(s / 3600));
	else
		snprintf(out, 24, "%llu d", (unsigned long long)(s / 86400));
	return out;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the settings of acting mean: whom they name, and what must hold between them. The lists stay text in
 * struct config, as they were given; they are short, asked seldom, and so cannot disagree with what `config
 * show` prints.
 */
#include <stdio.h>
#include <string.h>
#include "user/base/parse.h"
#include "user/base/text.h"
#include "user/cli/setting.h"

#define ALL "all"

/* The next word of a list with commas; false at its end. */
static bool next_word(const char **at, const char **word, size_t *length)
{
	if (!*at)
		return false;
	*word = *at;
	*length = strcspn(*at, ",");
	*at = (*at)[*length] ? *at + *length + 1 : NULL;
	return true;
}

const char *config_names_problem(const char *list)
{
	const char *at = *list ? list : NULL, *word;
	size_t length;

	while (next_word(&at, &word, &length)) {
		if (!config_name_is_good(word, length))
			return "no list of names";
		if (length == strlen(ALL) && !strncmp(word, ALL, length) && strcmp(list, ALL) != 0)
			return "no list of names: all stands alone";
	}
	return NULL;
}

static bool read_uid(const char *word, size_t length, uint32_t *uid)
{
	char digits[11];
	uint64_t value;

	if (length == 0 || length >= sizeof(digits))
		return false;
	text_copy_bytes(digits, sizeof(digits), word, length);
	if (digits[strspn(digits, "0123456789")] || !parse_u64(digits, &value) || value >= UINT32_MAX)
		return false;
	*uid = (uint32_t)value;
	return true;
}

const char *config_uids_problem(const char *list)
{
	const char *at = *list ? list : NULL, *word;
	size_t length;
	uint32_t uid;

	while (next_word(&at, &word, &length))
		if (!read_uid(word, length, &uid))
			return "no list of user ids";
	return NULL;
}

bool config_acts(const struct config *config, const struct config_app *entry, const char *app)
{
	const char *at = *config->act ? config->act : NULL, *word;
	size_t length;

	if ((entry && entry->act) || !strcmp(config->act, ALL))
		return true;
	while (next_word(&at, &word, &length))
		if (strlen(app) == length && !memcmp(app, word, length))
			return true;
	return false;
}

bool config_peer_uid(const struct config *config, uint32_t uid)
{
	const char *at = *config->peer_uids ? config->peer_uids : NULL, *word;
	size_t length;
	uint32_t one;

	while (next_word(&at, &word, &length))
		if (read_uid(word, length, &one) && one == uid)
			return true;
	return false;
}

/* Where a setting got its value, as a person would look for it. */
static void place_of(const struct config *config, enum setting_index index, char *out, size_t size)
{
	const struct setting *setting = &settings[index];

	switch (config->sources[index]) {
	case SOURCE_FILE:
		snprintf(out, size, "%s: /%s", config->file, setting->key);
		break;
	case SOURCE_ENVIRONMENT:
		text_copy(out, size, setting->variable);
		break;
	case SOURCE_FLAG:
		text_copy(out, size, setting->flag);
		break;
	default:
		text_copy(out, size, setting->key);
	}
}

/* `low` must not be more than `high`. The one that was set is blamed; of two, the stronger source. */
static bool check_order(const struct config *config, enum setting_index low, uint32_t low_ms,
			enum setting_index high, uint32_t high_ms, char *why, size_t why_size)
{
	bool low_blamed = config->sources[low] >= config->sources[high];
	char place[320];

	if (low_ms <= high_ms)
		return true;
	place_of(config, low_blamed ? low : high, place, sizeof(place));
	if (low_blamed)
		snprintf(why, why_size, "%s: %u ms is more than %s, %u ms; lower this or raise that", place,
			 low_ms, settings[high].key, high_ms);
	else
		snprintf(why, why_size, "%s: %u ms is less than %s, %u ms; raise this or lower that", place,
			 high_ms, settings[low].key, low_ms);
	return false;
}

#define CHECK_ORDER(low, high)                                                                               \
	check_order(config, SETTING_##low, config->low, SETTING_##high, config->high, why, why_size)

/* A capture must never find its ring too small for it: what takes the largest room needs four times that. */
static bool check_ring(const struct config *config, char *why, size_t why_size)
{
	const uint32_t need = 4 * EV_STACK_MAX;
	bool ring_blamed = config->sources[SETTING_capture_ring] >= config->sources[SETTING_stack_bytes];
	char place[320];

	if (config->stack_bytes <= EV_STACK_LARGE || config->capture_ring >= need)
		return true;
	place_of(config, ring_blamed ? SETTING_capture_ring : SETTING_stack_bytes, place, sizeof(place));
	if (ring_blamed)
		snprintf(why, why_size, "%s: %u is too small for captures of %u bytes of stack; at least %u",
			 place, config->capture_ring, config->stack_bytes, need);
	else
		snprintf(why, why_size,
			 "%s: captures of %u bytes of stack need a capture_ring of %u, and it has %u", place,
			 config->stack_bytes, need, config->capture_ring);
	return false;
}

bool config_check_relations(const struct config *config, char *why, size_t why_size)
{
	char place[320];

	/* a client that may never try would leave the breaker to its time limit */
	if (!CHECK_ORDER(breaker_wait_ms, breaker_wait_max_ms) ||
	    !CHECK_ORDER(breaker_wait_ms, breaker_max_open_ms))
		return false;
	/* a test that outlasts its interval would never end before the next one is due */
	if (config->probe_interval_ms && !CHECK_ORDER(probe_timeout_ms, probe_interval_ms))
		return false;
	if (!check_ring(config, why, why_size))
		return false;
	if (config->prober_uid != config->examiner_uid)
		return true;
	/* one of them reads what apps control, the other holds a database's password */
	place_of(config,
		 config->sources[SETTING_prober_uid] >= config->sources[SETTING_examiner_uid]
			 ? SETTING_prober_uid
			 : SETTING_examiner_uid,
		 place, sizeof(place));
	snprintf(why, why_size, "%s: %u is the uid of both prober and examiner; give each one of its own",
		 place, config->prober_uid);
	return false;
}

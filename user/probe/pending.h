/* SPDX-License-Identifier: Apache-2.0 */
/* Questions that a helper process has been asked and not answered yet, in order: it answers in that order. */
#ifndef LAPIDARY_PROBE_PENDING_H
#define LAPIDARY_PROBE_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PENDING_MAX = 64 };

struct pending_question {
	uint64_t token;
	uint64_t number; /* counts questions, so that one token asked twice is two questions */
	uint64_t detail; /* what the asker wants to remember */
};

struct pending {
	uint64_t asked; /* ever */
	uint64_t answered;
	struct pending_question ring[PENDING_MAX];
};

static inline size_t pending_count(const struct pending *pending)
{
	return pending->asked - pending->answered;
}

/* The oldest open question, or NULL. */
static inline const struct pending_question *pending_oldest(const struct pending *pending)
{
	return pending_count(pending) ? &pending->ring[pending->answered % PENDING_MAX] : NULL;
}

/* False when there is no room. */
static inline bool pending_add(struct pending *pending, uint64_t token, uint64_t detail)
{
	if (pending_count(pending) == PENDING_MAX)
		return false;
	pending->ring[pending->asked % PENDING_MAX] =
		(struct pending_question){token, pending->asked, detail};
	pending->asked++;
	return true;
}

static inline void pending_remove_oldest(struct pending *pending)
{
	pending->answered++;
}

#endif

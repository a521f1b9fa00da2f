/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statement texts, kept once. Apps run few distinct statements and run them often, so connections and
 * flight recorders hold a digest, and the text lives in a small direct-mapped store. Where two statements
 * share a slot the later one wins; whoever asks for the earlier gets nothing, never the wrong text.
 */
#include "user/model/state.h"
#include "user/base/digest.h"
#include "user/base/text.h"
#include <stdlib.h>
#include <string.h>

uint32_t statement_keep(struct model *model, const struct ev_query_start *ev)
{
	char text[EV_SQL_LAST];
	const char *prefix = ev->kind == QUERY_PREPARED ? "EXECUTE " : ""; /* the text is a name then */
	size_t size = text_copy(text, sizeof(text), prefix);
	size_t named = text_copy_bytes(text + size, sizeof(text) - size, ev->text, ev->text_len);
	if (named == 0)
		return 0;
	uint32_t digest = (uint32_t)digest_mix(digest_fnv(DIGEST_START, text, size + named));
	if (digest == 0)
		digest = 1;
	struct statement *slot = &model->statements[digest % STATEMENTS];
	if (slot->text && slot->digest == digest)
		return digest;
	char *copy = strdup(text);
	if (!copy)
		return 0;
	free(slot->text);
	slot->text = copy;
	slot->digest = digest;
	return digest;
}

const char *statement_text(const struct model *model, uint32_t digest)
{
	const struct statement *slot = &model->statements[digest % STATEMENTS];
	return digest && slot->text && slot->digest == digest ? slot->text : "";
}

void statement_done(struct model *model)
{
	for (size_t i = 0; i < STATEMENTS; i++)
		free(model->statements[i].text);
}

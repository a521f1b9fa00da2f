// SPDX-License-Identifier: Apache-2.0
/*
 * A stripped file's static functions have their names in a separate debug file. It is looked for when the
 * file has been copied, while a process that maps it is still there: its root is where it lies.
 *
 * What a process shows in its own root is its own to make. A debug file counts when it has the file's
 * build-id, or the CRC that the file asks for, and belongs to root or to the owner of the file that it
 * describes: who can write the one could have written the other.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "user/base/text.h"
#include "user/base/when.h"
#include "user/probe/pending.h"
#include "user/probe/targets_private.h"

enum { DEBUGS_MAX = 64 }; /* that wait for the examiner with an open descriptor, more or less */

static void debug_gone(void *context, const void *key, void *value)
{
	struct debug_file *debug = value;

	(void)context;
	(void)key;
	if (debug->fd > 0)
		close(debug->fd);
}

int debug_new(struct targets *targets)
{
	/* as many as may have been asked for when the last that there is room for is opened */
	targets->debugs = table_new(sizeof(struct file_key), sizeof(struct debug_file),
				    DEBUGS_MAX + PENDING_MAX, debug_gone, targets);
	return targets->debugs ? 0 : -ENOMEM;
}

bool debug_has_room(struct targets *targets)
{
	return table_count(targets->debugs) < DEBUGS_MAX;
}

void debug_look(struct targets *targets, const struct file *file, const struct file_key *key,
		const struct asker *asker)
{
	const struct library *library = &file->library;
	struct spawner_request request = {.verb = SPAWNER_OPEN_DEBUG, .build_id_len = library->build_id_len};
	struct question *question;

	if (!asker || library->symbol_table || (!library->build_id_len && !library->debug_link[0]) ||
	    !copies_ask_debug(targets->copies, key, when_boot_now(), targets->options.fresh_ns))
		return;
	request.tgid = asker->tgid;
	request.start_ns = asker->start_ns;
	text_copy(request.path, sizeof(request.path), file->path);
	text_copy(request.link, sizeof(request.link), library->debug_link);
	memcpy(request.build_id, library->build_id, sizeof(request.build_id));
	question = ask_new(targets, &request);
	if (!question)
		return;
	question->file = *key;
	question->owner = file->uid;
	question->debug.build_id_len = library->build_id_len;
	memcpy(question->debug.build_id, library->build_id, sizeof(question->debug.build_id));
	question->debug.crc = library->debug_crc;
	ask_send(targets);
}

void debug_opened(struct targets *targets, const struct question *question, struct spawner_answer *answer)
{
	struct debug_file *debug;
	bool fresh;

	if (answer->result) {
		/* that there is none is the rule */
		if (answer->result != -ENOENT && answer->result != -ENOTDIR && answer->result != -ESRCH)
			targets_report(targets, question->request.path, "its debug file could not be opened",
				       answer->result);
		return;
	}
	if (answer->uid != 0 && answer->uid != question->owner) {
		targets_report(targets, question->request.path,
			       "its debug file is not read: it belongs neither to root nor to its owner", 0);
		return;
	}
	debug = table_put(targets->debugs, &question->file, &fresh);
	if (!debug || !fresh)
		return;
	debug->wanted = question->debug;
	debug->fd = answer->fd;
	answer->fd = -1;
	text_copy(debug->path, sizeof(debug->path), question->request.path);
	ask_examiner(targets);
}

static void find_first(void *context, const void *key, void *value)
{
	const struct file_key **found = context;

	(void)value;
	if (!*found)
		*found = key;
}

void debug_examine(struct targets *targets)
{
	const struct file_key *first = NULL;
	struct debug_file *debug;
	struct file_key key;

	table_each(targets->debugs, find_first, &first);
	if (!first)
		return;
	key = *first;
	debug = table_peek(targets->debugs, &key);
	ask_close_copy(targets);
	targets->copy_fd = copies_make(debug->fd);
	if (targets->copy_fd < 0) {
		table_delete(targets->debugs, &key);
		return;
	}
	if (examiner_ask_debug(targets->examiner, targets->examine_token = ++targets->next_token, debug->fd,
			       targets->copy_fd, &debug->wanted) != 0)
		return; /* a dead examiner is noticed when its descriptor is read */
	targets->examining = key;
	targets->busy = targets->busy_debug = true;
	targets->examining_since_ns = when_boot_now();
}

static const char *refusal(int result)
{
	switch (result) {
	case -ESTALE:
		return "its debug file is of another build";
	case -ENODATA:
		return "its debug file has no symbols";
	case -EFBIG:
		return "its debug file has too many symbols";
	case -ENOEXEC:
		return "its debug file is damaged";
	default:
		return "its debug file could not be read";
	}
}

void debug_examined(struct targets *targets, const struct examiner_answer *answer)
{
	struct file_key key = targets->examining;
	struct debug_file *debug = table_peek(targets->debugs, &key);

	targets->busy_debug = false;
	if (debug && answer_was_lost(answer->result) && ++debug->tries < TRIES)
		return;
	if (answer->result == 0 && answer->copied && debug && targets->copy_fd >= 0) {
		copies_keep_debug(targets->copies, &key, targets->copy_fd); /* closes it when it cannot */
		targets->copy_fd = -1;
	} else if (debug) {
		targets_report(targets, debug->path, refusal(answer->result), 0);
	}
	ask_close_copy(targets);
	table_delete(targets->debugs, &key);
}

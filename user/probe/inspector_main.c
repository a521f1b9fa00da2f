// SPDX-License-Identifier: Apache-2.0
/*
 * The child: confined before it reads its first byte. It ends when the caller closes the socket.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "user/base/confine.h"
#include "user/base/text.h"
#include "user/elf/object.h"
#include "user/probe/build_log.h"
#include "user/probe/bundle_config.h"
#include "user/probe/gemspec.h"
#include "user/probe/inspector_wire.h"
#include "user/probe/lockfile.h"
#include "user/probe/message.h"

enum { EXIT_UNCONFINED = 70 };

struct result {
	void *answer;
	size_t size;
	char why[160];
};

static int read_text(int fd, size_t limit, char **out, size_t *size, char why[160])
{
	char *bytes = malloc(limit + 1);
	size_t used = 0;

	if (!bytes)
		return -ENOMEM;
	while (used <= limit) {
		ssize_t n = pread(fd, bytes + used, limit + 1 - used, (off_t)used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int err = -errno;

			free(bytes);
			return err < 0 ? err : -EIO;
		}
		if (n == 0)
			break;
		used += (size_t)n;
	}
	if (used > limit) {
		free(bytes);
		snprintf(why, 160, "larger than %zu bytes", limit);
		return -E2BIG;
	}
	*out = bytes;
	*size = used;
	return 0;
}

typedef int (*parse_fn)(const char *bytes, size_t size, void *out, char why[160]);

static int parse_gemspec(const char *bytes, size_t size, void *out, char why[160])
{
	return gemspec_parse(bytes, size, out, why);
}

static int parse_build_log(const char *bytes, size_t size, void *out, char why[160])
{
	return build_log_parse(bytes, size, out, why);
}

static int parse_bundle_config(const char *bytes, size_t size, void *out, char why[160])
{
	return bundle_config_parse(bytes, size, out, why);
}

static int inspect_object(int fd, struct result *result)
{
	struct object *object;
	char why[128];
	int err = object_read(fd, &object, why);

	text_copy(result->why, sizeof(result->why), why);
	if (err)
		return err;
	result->answer = object;
	result->size = object->size;
	return 0;
}

static int inspect_lockfile(int fd, struct result *result)
{
	struct lockfile *lockfile;
	size_t size;
	char *bytes;
	int err = read_text(fd, LOCKFILE_BYTES_MAX, &bytes, &size, result->why);

	if (err)
		return err;
	err = lockfile_parse(bytes, size, &lockfile, result->why);
	free(bytes);
	if (err)
		return err;
	result->answer = lockfile;
	result->size = lockfile->size;
	return 0;
}

static int inspect_fixed(int fd, size_t limit, size_t answer_size, parse_fn parse, struct result *result)
{
	size_t size;
	char *bytes;
	int err = read_text(fd, limit, &bytes, &size, result->why);

	if (err)
		return err;
	result->size = answer_size;
	result->answer = calloc(1, answer_size);
	err = result->answer ? parse(bytes, size, result->answer, result->why) : -ENOMEM;
	free(bytes);
	return err;
}

static int inspect_text(int fd, struct result *result)
{
	char *bytes;
	int err = read_text(fd, INSPECTOR_TEXT_MAX, &bytes, &result->size, result->why);

	if (err)
		return err;
	bytes[result->size] = '\0'; /* there is room for one more than may be read */
	result->size = strlen(bytes) + 1;
	result->answer = bytes;
	return 0;
}

static int inspect(enum inspection_kind kind, int fd, struct result *result)
{
	switch (kind) {
	case INSPECT_OBJECT:
		return inspect_object(fd, result);
	case INSPECT_LOCKFILE:
		return inspect_lockfile(fd, result);
	case INSPECT_GEMSPEC:
		return inspect_fixed(fd, GEMSPEC_BYTES_MAX, sizeof(struct gemspec), parse_gemspec, result);
	case INSPECT_BUILD_LOG:
		return inspect_fixed(fd, BUILD_LOG_BYTES_MAX, sizeof(struct build_log), parse_build_log,
				     result);
	case INSPECT_BUNDLE_CONFIG:
		return inspect_fixed(fd, BUNDLE_CONFIG_BYTES_MAX, sizeof(struct bundle_config),
				     parse_bundle_config, result);
	case INSPECT_TEXT:
		return inspect_text(fd, result);
	case INSPECT_KINDS:
		break;
	}
	return -EINVAL;
}

static int write_all(int fd, const void *bytes, size_t size, uint64_t offset)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t n = pwrite(fd, at, size, (off_t)offset);

		if (n <= 0)
			return -ENOSPC;
		at += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static void answer_one(const struct inspector_question *question, uint32_t index, const int *fds,
		       struct inspector_answer *answer)
{
	struct result result = {0};

	answer->number = question->number;
	answer->index = index;
	answer->result = inspect((enum inspection_kind)question->kinds[index], fds[1 + index], &result);
	answer->size = answer->result ? 0 : result.size;
	text_copy(answer->why, sizeof(answer->why), answer->result ? result.why : "");
	if (answer->result == 0)
		answer->result = write_all(fds[0], result.answer, result.size, answer->offset);
	free(result.answer);
}

void inspector_main(int socket_fd, uint32_t uid)
{
	if (confine_inspector(uid) != 0)
		_exit(EXIT_UNCONFINED);
	for (;;) {
		struct inspector_answer answer = {0};
		struct inspector_question question;
		int fds[MESSAGE_FDS];
		size_t count;

		if (message_receive_many(socket_fd, &question, sizeof(question), fds, &count, 0) != 1)
			_exit(0);
		if (count != (size_t)question.count + 1 || question.count > INSPECTOR_BATCH)
			_exit(0);
		for (uint32_t i = 0; i < question.count; i++) {
			if (confine_renew_cpu(INSPECTOR_CPU_SECONDS) != 0)
				_exit(EXIT_UNCONFINED);
			answer_one(&question, i, fds, &answer);
			if (message_send(socket_fd, &answer, sizeof(answer), -1, 0) != 0)
				_exit(0);
			answer.offset += (answer.size + 7) & ~(uint64_t)7;
		}
		for (size_t i = 0; i < count; i++)
			close(fds[i]);
	}
}

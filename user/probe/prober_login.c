// SPDX-License-Identifier: Apache-2.0
/*
 * With what the prober logs in. Both ways are files of the host, named by the configuration: a password
 * alone, or an entry of a service file, which libpq itself reads, here where an environment is nobody
 * else's. Only user, password and the wish for TLS are taken from a service: where it connects to, the
 * target says.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user/base/file.h"
#include "user/base/text.h"
#include "user/probe/prober_private.h"

static int read_password(int fd, struct prober_login *login, char *why, size_t why_size)
{
	char *text;
	size_t size, length;
	int err = file_read_fd(fd, sizeof(login->password) - 1, &text, &size);

	if (err) {
		snprintf(why, why_size, err == -EFBIG ? "password_file: too long" : "password_file: %s",
			 strerror(-err));
		return err;
	}
	length = strcspn(text, "\r\n");
	if (length == 0 || strlen(text) != size || text[length + strspn(text + length, "\r\n")]) {
		snprintf(why, why_size, "password_file: must hold one line and nothing else");
		err = -EINVAL;
	} else {
		text_copy_bytes(login->password, sizeof(login->password), text, length);
	}
	explicit_bzero(text, size);
	free(text);
	return err;
}

/* What every user of the host may read is no secret, and whoever wrote it does not know. */
static int read_password_file(const char *path, struct prober_login *login, char *why, size_t why_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		err = -errno;
		snprintf(why, why_size, "password_file: %s", strerror(-err));
	} else if (!S_ISREG(st.st_mode)) {
		err = -EINVAL;
		snprintf(why, why_size, "password_file: not a regular file");
	} else if (st.st_mode & S_IRWXO) {
		err = -EACCES;
		snprintf(why, why_size, "password_file: all users may read it (mode %04o); chmod o-rwx it",
			 st.st_mode & 07777);
	} else {
		err = read_password(fd, login, why, why_size);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
	for (; options->keyword; options++)
		if (strcmp(options->keyword, keyword) == 0)
			return options->val ? options->val : "";
	return "";
}

/* libpq says nothing when a service is not found: then it also says nothing that it did not say before. */
static bool same(const PQconninfoOption *a, const PQconninfoOption *b)
{
	for (; b->keyword; b++)
		if (strcmp(b->keyword, "service") != 0 && b->val &&
		    strcmp(value_of(a, b->keyword), b->val) != 0)
			return false;
	return true;
}

static int take_service(const PQconninfoOption *without, const PQconninfoOption *with,
			struct prober_login *login, char *why, size_t why_size)
{
	const char *sslmode = value_of(with, "sslmode"), *password = value_of(with, "password");

	if (same(without, with)) {
		snprintf(why, why_size, "service: not found, or empty");
		return -ENOENT;
	}
	if (strncmp(sslmode, "verify", 6) == 0) {
		snprintf(why, why_size,
			 "service: sslmode=%.11s needs files that a prober cannot reach; "
			 "use require",
			 sslmode);
		return -ENOTSUP;
	}
	if (strlen(password) >= sizeof(login->password) ||
	    strlen(value_of(with, "user")) >= sizeof(login->user)) {
		snprintf(why, why_size, "service: user or password too long");
		return -EINVAL;
	}
	text_copy(login->password, sizeof(login->password), password);
	text_copy(login->sslmode, sizeof(login->sslmode), sslmode);
	if (!*login->user)
		text_copy(login->user, sizeof(login->user), value_of(with, "user"));
	return 0;
}

static int read_service(const struct prober_question *question, struct prober_login *login, char *why,
			size_t why_size)
{
	const struct prober_libpq *pq = prober_libpq();
	PQconninfoOption *without, *with = NULL;
	int err = -ENOMEM;

	if (*question->service_file)
		setenv("PGSERVICEFILE", question->service_file, 1);
	without = pq->PQconndefaults();
	setenv("PGSERVICE", question->service, 1);
	with = pq->PQconndefaults();
	if (without && with)
		err = take_service(without, with, login, why, why_size);
	pq->PQconninfoFree(without);
	pq->PQconninfoFree(with);
	return err;
}

/* The host's places of service files stay; what the agent was started with says nothing about a target. */
static void clear_environment(void)
{
	static const char *const kept[] = {"HOME", "PGSYSCONFDIR"};
	char *values[2];

	for (int i = 0; i < 2; i++) {
		const char *value = getenv(kept[i]);

		values[i] = value ? strdup(value) : NULL;
	}
	clearenv();
	for (int i = 0; i < 2; i++) {
		if (values[i])
			setenv(kept[i], values[i], 1);
		free(values[i]);
	}
}

int prober_read_login(const struct prober_question *question, struct prober_login *out, char *why,
		      size_t why_size)
{
	int err = 0;

	*out = (struct prober_login){.given = question->has_credentials != 0, .sslmode = "prefer"};
	clear_environment();
	if (out->given) {
		text_copy(out->user, sizeof(out->user), question->user);
		if (*question->service)
			err = read_service(question, out, why, why_size);
		if (!err && *question->password_file)
			err = read_password_file(question->password_file, out, why, why_size);
	} else {
		text_copy(out->user, sizeof(out->user), question->user);
	}
	if (!*out->user)
		text_copy(out->user, sizeof(out->user), "lapidary");
	/* from here on libpq finds no file of anybody's home */
	clearenv();
	setenv("HOME", "/nonexistent", 1);
	return err;
}

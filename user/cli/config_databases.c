/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apps[].databases: with what the prober tests a database. The target is compared byte by byte with what
 * the kernel saw the app use, so only its canonical spelling can ever match, and any other is refused here
 * rather than silently never tested. A password is never in this file: it is shown by `config show`, copied
 * into tickets and read by every client command; a file of its own is not.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "user/base/parse.h"
#include "user/base/text.h"
#include "user/cli/setting.h"

#define SCHEME "postgres://"

/* What a target has as it is; anything else stands as %XX. */
static bool is_plain(unsigned char c)
{
	return isalnum(c) || (c && strchr("-._~:[]", c));
}

/* The end of a run of plain characters (but those in `stop`) and of upper-case escapes that are needed. */
static const char *name_end(const char *at, const char *stop)
{
	static const char digits[] = "0123456789ABCDEF";

	for (;;) {
		const char *high, *low;

		if (is_plain((unsigned char)*at) && !strchr(stop, *at)) {
			at++;
			continue;
		}
		if (at[0] != '%' || !at[1] || !at[2])
			return at;
		high = strchr(digits, at[1]);
		low = strchr(digits, at[2]);
		if (!high || !low || is_plain((unsigned char)((high - digits) * 16 + (low - digits))))
			return at;
		at += 3;
	}
}

static bool port_is_good(const char *text, size_t length)
{
	char digits[6];
	uint64_t port;

	if (length == 0 || length >= sizeof(digits) || text[0] == '0')
		return false;
	text_copy_bytes(digits, sizeof(digits), text, length);
	return digits[strspn(digits, "0123456789")] == '\0' && parse_u64(digits, &port) && port <= 65535;
}

static const char *target_problem(const char *target)
{
	const char *host, *end, *port;

	if (strchr(target, '@'))
		return "may hold no user and no password; use \"user\" and \"password_file\"";
	if (strchr(target, '?') || strchr(target, '#'))
		return "may hold no parameters; it is postgres://host:port/dbname";
	if (strncmp(target, SCHEME, strlen(SCHEME)) != 0)
		return "must begin with postgres://; it is postgres://host:port/dbname";
	host = target + strlen(SCHEME);
	if (*host == '[') {
		end = name_end(host + 1, "[]");
		if (*end != ']' || !memchr(host, ':', (size_t)(end - host)))
			return "has no good address between [ and ]";
		end++;
	} else {
		end = name_end(host, ":[]");
		if (end == host)
			return "has no host; a socket's directory is written as %2Frun%2Fpostgresql";
	}
	if (*end != ':')
		return "needs host and port as postgres://host:port/dbname, other characters as %2F";
	port = end + 1;
	end = strchr(port, '/');
	if (!end || !port_is_good(port, (size_t)(end - port)))
		return "needs a port from 1 to 65535 and a database's name: postgres://host:port/dbname";
	host = end + 1;
	end = name_end(host, "");
	if (end == host || *end)
		return "needs a database's name alone behind the port, other characters as %2F";
	return NULL;
}

static bool read_target(const cJSON *value, struct config_database *database, const char **problem)
{
	if (!config_read_text(value, database->target, sizeof(database->target), problem))
		return false;
	*problem = target_problem(database->target);
	return !*problem;
}

static bool read_user(const cJSON *value, struct config_database *database, const char **problem)
{
	return config_read_text(value, database->user, sizeof(database->user), problem);
}

static bool read_path(const cJSON *value, char *out, size_t size, const char **problem)
{
	if (!config_read_text(value, out, size, problem))
		return false;
	*problem = "must be an absolute path";
	return out[0] == '/';
}

static bool read_password_file(const cJSON *value, struct config_database *database, const char **problem)
{
	return read_path(value, database->password_file, sizeof(database->password_file), problem);
}

static bool read_service(const cJSON *value, struct config_database *database, const char **problem)
{
	return config_read_text(value, database->service, sizeof(database->service), problem);
}

static bool read_service_file(const cJSON *value, struct config_database *database, const char **problem)
{
	return read_path(value, database->service_file, sizeof(database->service_file), problem);
}

static bool read_why(const cJSON *value, struct config_database *database, const char **problem)
{
	(void)database;
	*problem = "must be a text";
	return cJSON_IsString(value);
}

static const struct {
	const char *key;
	bool (*read)(const cJSON *value, struct config_database *database, const char **problem);
} database_keys[] = {
	{"target", read_target},   {"user", read_user},
	{"service", read_service}, {"password_file", read_password_file},
	{"why", read_why},         {"service_file", read_service_file},
};

/* What is wrong with an entry as a whole; *key is the one to blame. */
static const char *entry_problem(const struct config_app *app, const struct config_database *database,
				 const char **key)
{
	*key = "target";
	if (!database->target[0])
		return "is missing";
	for (size_t i = 0; i < app->database_count; i++)
		if (!strcmp(app->databases[i].target, database->target))
			return "is there twice in this app";
	*key = database->user[0] ? "service" : "user";
	if (!database->user[0] == !database->service[0])
		return database->user[0] ? "stands beside user; one of the two says who connects"
					 : "is missing; either user or service says who connects";
	*key = "password_file";
	if (database->password_file[0] && !database->user[0])
		return "belongs to user; a service's file has its own password";
	*key = "service_file";
	if (database->service_file[0] && !database->service[0])
		return "needs service, which names the section in it";
	return NULL;
}

/* Appends what is read to the app. False: *key ("" the entry itself) and *problem say why. */
static bool read_database(const cJSON *entry, struct config_app *app, const char **key, const char **problem)
{
	struct config_database *database = &app->databases[app->database_count];
	size_t keys = sizeof(database_keys) / sizeof(*database_keys), i;
	const cJSON *value;

	*key = "";
	*problem = "must be an object";
	if (!cJSON_IsObject(entry))
		return false;
	*database = (struct config_database){0};
	cJSON_ArrayForEach(value, entry)
	{
		*key = value->string;
		*problem = "unknown key; allowed: target, user, password_file, service, service_file, why";
		for (i = 0; i < keys && strcmp(database_keys[i].key, value->string) != 0;)
			i++;
		if (i == keys || !database_keys[i].read(value, database, problem))
			return false;
		*problem = "is there twice";
		if (config_key_repeats(value))
			return false;
	}
	*problem = entry_problem(app, database, key);
	if (*problem)
		return false;
	app->database_count++;
	return true;
}

bool config_read_databases(const cJSON *array, size_t index, struct config_app *app, char *why,
			   size_t why_size)
{
	const char *key, *problem;
	const cJSON *entry;
	char name[48];

	app->database_count = 0;
	if (!cJSON_IsArray(array)) {
		snprintf(why, why_size, "/apps/%zu/databases: must be a list", index);
		return false;
	}
	cJSON_ArrayForEach(entry, array)
	{
		if (app->database_count == CONFIG_DATABASES) {
			snprintf(why, why_size, "/apps/%zu/databases: has more than %d entries", index,
				 CONFIG_DATABASES);
			return false;
		}
		if (read_database(entry, app, &key, &problem))
			continue;
		text_copy(name, sizeof(name), key);
		text_clean(name);
		snprintf(why, why_size, "/apps/%zu/databases/%zu%s%s: %s", index, app->database_count,
			 *name ? "/" : "", name, problem);
		return false;
	}
	return true;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * A target comes from what a watched process gave to libpq, so it is taken apart here, strictly, and libpq
 * is never shown it as a whole: no parameter, service or second host can come in with it. The host is
 * looked up here too, because libpq does not say whether it was the name that failed.
 */
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "user/base/parse.h"
#include "user/base/text.h"
#include "user/probe/prober_private.h"

#define SCHEME "postgres://"

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The plain characters of a target and %XX of all others but NUL. */
static bool decode(const char *at, const char *end, char *out, size_t size)
{
	size_t used = 0;

	for (; at < end && used + 1 < size; at++) {
		if (isalnum((unsigned char)*at) || strchr("-._~:", *at)) {
			out[used++] = *at;
			continue;
		}
		if (*at != '%' || end - at < 3 || hex(at[1]) < 0 || hex(at[2]) < 0)
			return false;
		out[used] = (char)(hex(at[1]) * 16 + hex(at[2]));
		if (out[used++] == '\0')
			return false;
		at += 2;
	}
	out[used] = '\0';
	return at == end;
}

/* Finds host, port and name: [at, host_end) : [port, slash) / the rest. */
static bool split(const char *at, const char **host, const char **host_end, const char **slash)
{
	*slash = strchr(at, '/');
	if (!*slash)
		return false;
	*host = at;
	if (*at == '[') {
		*host = at + 1;
		*host_end = memchr(at, ']', (size_t)(*slash - at));
		return *host_end && (*host_end)[1] == ':';
	}
	*host_end = memchr(at, ':', (size_t)(*slash - at));
	return *host_end != NULL;
}

static bool parse(const char *text, struct prober_target *out)
{
	const char *host, *host_end, *port, *slash;
	uint64_t number;

	if (strncmp(text, SCHEME, strlen(SCHEME)) != 0 ||
	    !split(text + strlen(SCHEME), &host, &host_end, &slash))
		return false;
	port = host_end + (*host_end == ']' ? 2 : 1);
	return decode(host, host_end, out->host, sizeof(out->host)) && *out->host &&
	       decode(port, slash, out->port, sizeof(out->port)) && isdigit((unsigned char)*out->port) &&
	       !strchr(out->port, 'x') && parse_u64(out->port, &number) && number > 0 && number <= 65535 &&
	       decode(slash + 1, text + strlen(text), out->database, sizeof(out->database));
}

int prober_parse_target(const char *text, struct prober_target *out, char *why, size_t why_size)
{
	struct prober_target target = {0};

	if (!parse(text, &target)) {
		snprintf(why, why_size, "the target is not postgres://host:port/dbname");
		return -EINVAL;
	}
	if (strchr(target.host, ',')) {
		snprintf(why, why_size, "the target names several hosts");
		return -ENOTSUP;
	}
	*out = target;
	return 0;
}

int prober_resolve(const struct prober_target *target, struct prober_addresses *out)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	size_t hosts = 0, addresses = 0;
	struct addrinfo *found;
	int count = 0, err;

	memset(out, 0, sizeof(*out));
	if (target->host[0] == '/' || target->host[0] == '@') {
		text_copy(out->hosts, sizeof(out->hosts), target->host);
		return 0;
	}
	err = getaddrinfo(target->host, NULL, &hints, &found);
	if (err)
		return err;
	for (const struct addrinfo *a = found; a && count < PROBER_ADDRESSES; a = a->ai_next) {
		char address[64];

		if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0,
				NI_NUMERICHOST) != 0)
			continue;
		text_add(out->hosts, sizeof(out->hosts), &hosts, "%s%s", count ? "," : "", target->host);
		text_add(out->addresses, sizeof(out->addresses), &addresses, "%s%s", count ? "," : "",
			 address);
		count++;
	}
	freeaddrinfo(found);
	return count ? 0 : EAI_NONAME;
}

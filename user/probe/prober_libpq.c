// SPDX-License-Identifier: Apache-2.0
/*
 * libpq brings OpenSSL, Kerberos and LDAP along: some megabytes that the agent must not carry and a host
 * without PostgreSQL must not need. The spawner loads it when it is first asked for a prober, and every
 * prober shares its pages.
 *
 * A prober cannot load code any more. So what would come in later comes in here, from the host: the old
 * C libraries' name services (newer ones have them built in) and OpenSSL's configuration with its modules.
 */
#include <dlfcn.h>
#include <string.h>
#include "user/probe/prober_private.h"

enum { OPENSSL_LOAD_CONFIG = 0x40 }; /* OPENSSL_INIT_LOAD_CONFIG, which libpq passes as well */

static struct prober_libpq libpq;
static bool tried, loaded;

static bool find(void *library, const char *name, void *out)
{
	void *symbol = dlsym(library, name);

	memcpy(out, &symbol,
	       sizeof(symbol)); /* as POSIX has it: C does not let a pointer become a function */
	return symbol != NULL;
}

static void start_openssl(void *library)
{
	int (*start)(uint64_t options, const void *settings);

	if (find(library, "OPENSSL_init_ssl", &start))
		start(OPENSSL_LOAD_CONFIG, NULL);
}

void prober_load(void)
{
	void *library;

	if (tried)
		return;
	tried = true;
	library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return;
	loaded = true;
#define FIND(name) loaded = find(library, #name, &libpq.name) && loaded;
	PROBER_LIBPQ(FIND)
#undef FIND
	start_openssl(library);
	dlopen("libnss_files.so.2", RTLD_NOW | RTLD_LOCAL);
	dlopen("libnss_dns.so.2", RTLD_NOW | RTLD_LOCAL);
}

const struct prober_libpq *prober_libpq(void)
{
	return loaded ? &libpq : NULL;
}

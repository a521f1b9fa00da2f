/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library that fails was handed something by whoever called it. The stack names the caller; this table is
 * asked only when it does not, and only where one gem is the customary user. OpenSSL and zlib have many: they
 * are not here.
 */
#include <string.h>
#include "user/base/text.h"
#include "user/crash/libraries.h"

static const struct {
	const char *library, *gem;
} table[] = {
	{"libpq.so", "pg"},
	{"libpq-ruby-pg.so", "pg"},
	{"libxml2.so", "nokogiri"},
	{"libxslt.so", "nokogiri"},
	{"libexslt.so", "nokogiri"},
	{"libsqlite3.so", "sqlite3"},
	{"libmysqlclient.so", "mysql2"},
	{"libmariadb.so", "mysql2"},
	{"libsybdb.so", "tiny_tds"},
	{"libgit2.so", "rugged"},
	{"libMagickCore-", "rmagick"},
	{"libsass.so", "sassc"},
	{"librdkafka.so", "rdkafka"},
	{"libvips.so", "ruby-vips"},
	{"libre2.so", "re2"},
	{"libyaml-0.so", "psych"},
};

const char *library_gem(const char *path)
{
	const char *base = text_base(path);

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (!strncmp(base, table[i].library, strlen(table[i].library)))
			return table[i].gem;
	return NULL;
}

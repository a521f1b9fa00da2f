/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the command for the facts in its arguments, KEY=VALUE each; "--" begins the next gem. With --script
 * first: the script of all. For remedies.bats, which runs what is printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/gems/remedy.h"

static void set(struct remedy_facts *facts, const char *key, size_t length, const char *value)
{
	const struct {
		const char *key;
		const char **text;
	} texts[] = {{"gem", &facts->gem},
		     {"version", &facts->version},
		     {"platform", &facts->platform},
		     {"ruby", &facts->ruby_path},
		     {"ruby_version", &facts->ruby_version},
		     {"user", &facts->user},
		     {"home", &facts->home},
		     {"app", &facts->app_dir},
		     {"gem_home", &facts->gem_home},
		     {"gemfile", &facts->bundle_gemfile},
		     {"rbenv_root", &facts->rbenv_root},
		     {"replace_with", &facts->replace_with}};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (strlen(texts[i].key) == length && !memcmp(texts[i].key, key, length))
			*texts[i].text = value;
	if (!strncmp(key, "by=bundler", 10))
		facts->manager = MANAGER_BUNDLER;
	else if (!strncmp(key, "by=debian", 9))
		facts->manager = MANAGER_DEBIAN;
	else if (!strncmp(key, "by=rbenv", 8))
		facts->ruby_manager = RUBY_RBENV;
}

int main(int argc, char **argv)
{
	struct remedy remedies[8];
	const char *why[8];
	size_t count = 0;
	bool script = argc > 1 && !strcmp(argv[1], "--script");

	for (int i = 1 + script; i < argc && count < 8; i++) {
		struct remedy_facts facts = {0};

		for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
			const char *equals = strchr(argv[i], '=');

			if (equals)
				set(&facts, argv[i], (size_t)(equals - argv[i]), equals + 1);
		}
		remedy_make(&facts, &remedies[count]);
		why[count++] = facts.gem;
	}
	if (script) {
		char *text = remedy_script(remedies, why, count);

		fputs(text ? text : "", stdout);
		free(text);
		return text ? 0 : 1;
	}
	printf("%s\n", remedies[0].command);
	fprintf(stderr, "%s\n", remedies[0].refused);
	return remedies[0].command[0] ? 0 : 1;
}

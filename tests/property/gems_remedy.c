/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property 3 at the pure layer: over apps whose names, paths and environments are drawn from what an attacker
 * would write. Each command is given to a real sh, with programs that print their own words instead of
 * acting: what arrives must be what was meant, word by word, and nothing else may happen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "user/base/file.h"
#include "user/base/text.h"
#include "user/gems/remedy.h"

enum { CASES = 200 };

static char dir[] = "/tmp/lapidary-remedy-XXXXXX";

static void put(const char *name, const char *text, mode_t mode)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

/* Prints its variables that matter and its words, each in brackets. */
static const char recorder[] =
	"#!/bin/sh\n"
	"{ printf '<%s>' \"${0##*/}\" \"$@\"; printf ' GEM_HOME=<%s> BUNDLE_PATH=<%s>\\n' "
	"\"${GEM_HOME-}\" \"${BUNDLE_PATH-}\"; } >>\"$RECORD\"\n";

static int set_up(void **state)
{
	static const char *const programs[] = {"gem",     "bundle", "rbenv", "asdf",
					       "apt-get", "evil",   "rm",    "touch"};

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		put(programs[i], recorder, 0755);
	/* runuser -u NAME -- CMD: records whom, then becomes the rest */
	put("runuser", "#!/bin/sh\nprintf '<%s>' \"$2\" >>\"$RECORD\"\nshift 3\nexec \"$@\"\n", 0755);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

/* Letters that shells care for, beside plain ones. */
static void draw_text(char *out, size_t size, const char *start)
{
	static const char *const pieces[] = {
		"a",       "b",      "7",      "-",     "_",        ".",  " ", "'",      "\"", "$HOME",
		"$(evil)", "`evil`", ";evil;", "|evil", "&&evil",   "\\", "*", "?",      "~",  "#",
		"!",       "{a,b}",  "<x",     ">y",    "\xc3\xa9", "%s", "=", "(evil)", "\t"};
	size_t used = 0, count = draw(6);

	text_add(out, size, &used, "%s", start);
	while (count--)
		text_add(out, size, &used, "%s", pieces[draw(sizeof(pieces) / sizeof(*pieces))]);
}

struct drawn {
	char version[64], gem_home[128], bundle_path[128], user[64];
	struct remedy_facts facts;
};

static void draw_facts(struct drawn *out)
{
	static const char *const gems[] = {"pg", "nio4r", "charlock_holmes", "google-protobuf", "a.b"};
	static const char *const platforms[] = {"", "ruby", "x86_64-linux", "x86_64-linux-musl"};

	draw_text(out->version, sizeof(out->version), "1.2");
	draw_text(out->gem_home, sizeof(out->gem_home), "/srv/");
	draw_text(out->bundle_path, sizeof(out->bundle_path), "vendor/");
	draw_text(out->user, sizeof(out->user), "shop");
	out->facts = (struct remedy_facts){.gem = gems[draw(5)],
					   .version = draw(6) ? out->version : "",
					   .platform = platforms[draw(4)],
					   .manager = (enum gem_manager)draw(3),
					   .ruby_manager = (enum ruby_manager)draw(3),
					   .ruby_version = "3.1.7",
					   .user = draw(2) ? out->user : "",
					   .gem_home = draw(2) ? out->gem_home : "",
					   .bundle_path = draw(2) ? out->bundle_path : "",
					   .app_dir = "/",
					   .package = "",
					   .server = "puma",
					   .preloaded = draw(2),
					   .image = draw(2)};
}

static bool has_control(const char *text)
{
	for (; text && *text; text++)
		if ((unsigned char)*text < ' ')
			return true;
	return false;
}

/* The line that the recorder must have written for one call. */
static void expect_call(char *out, size_t size, size_t *used, const struct remedy_facts *facts,
			const char *program, const char *words)
{
	static const char *const wrappers[] = {"", "<rbenv><exec>", "<asdf><exec>"};
	bool root = !facts->user[0];

	if (!root)
		text_add(out, size, used, "<%s>", facts->user);
	text_add(out, size, used, "%s<%s>%s GEM_HOME=<%s> BUNDLE_PATH=<%s>\n", wrappers[facts->ruby_manager],
		 program, words, facts->gem_home,
		 facts->manager == MANAGER_BUNDLER ? facts->bundle_path : "");
}

static void expect(const struct remedy_facts *facts, char *out, size_t size)
{
	bool precompiled = facts->platform[0] && strcmp(facts->platform, "ruby") != 0;
	char words[512], version[128];
	size_t used = 0;

	out[0] = version[0] = '\0';
	if (facts->version[0])
		snprintf(version, sizeof(version), "<--version><%s>", facts->version);
	if (facts->manager == MANAGER_DEBIAN) {
		char package[64];

		snprintf(package, sizeof(package), "ruby-%s", facts->gem);
		for (char *at = package; *at; at++)
			*at = *at == '_' ? '-' : *at;
		text_add(out, size, &used, "<apt-get><install><--reinstall><%s> GEM_HOME=<> BUNDLE_PATH=<>\n",
			 package);
	} else if (facts->manager == MANAGER_BUNDLER && precompiled) {
		expect_call(out, size, &used, facts, "bundle",
			    "<config><set><--local><force_ruby_platform><true>");
		expect_call(out, size, &used, facts, "bundle", "<install><--redownload>");
	} else if (facts->manager == MANAGER_BUNDLER) {
		snprintf(words, sizeof(words), "<pristine><%s>", facts->gem);
		expect_call(out, size, &used, facts, "bundle", words);
	} else if (precompiled) {
		snprintf(words, sizeof(words), "<install><%s>%s<--platform><ruby>", facts->gem, version);
		expect_call(out, size, &used, facts, "gem", words);
		snprintf(words, sizeof(words), "<uninstall><%s>%s<--platform><%s><--force><--executables>",
			 facts->gem, version, facts->platform);
		expect_call(out, size, &used, facts, "gem", words);
		snprintf(words, sizeof(words), "<install><%s>%s<--platform><ruby>", facts->gem, version);
		expect_call(out, size, &used, facts, "gem", words);
	} else {
		snprintf(words, sizeof(words), "<pristine><%s>%s<--extensions>", facts->gem, version);
		expect_call(out, size, &used, facts, "gem", words);
	}
}

static void run(const char *command, char **record)
{
	char path[256], line[512];
	int status;

	snprintf(path, sizeof(path), "%s/record", dir);
	unlink(path);
	put("command", command, 0644);
	snprintf(line, sizeof(line), "sh -n %s/command", dir);
	assert_int_equal(system(line), 0);
	snprintf(line, sizeof(line), "PATH=%s:/usr/bin:/bin RECORD=%s sh -eu %s/command >%s/out 2>&1", dir,
		 path, dir, dir);
	status = system(line);
	if (status != 0)
		fail_msg("%s: ended with %d", command, status);
	assert_int_equal(file_read(path, 1 << 20, record, NULL), 0);
}

static void word_by_word(void **state)
{
	unsigned ran = 0, refused = 0;

	(void)state;
	unsetenv("GEM_HOME");
	unsetenv("BUNDLE_PATH");
	for (unsigned n = 0; n < CASES; n++) {
		struct drawn drawn;
		struct remedy remedy;
		char expected[2048], *record;
		const struct remedy_facts *facts = &drawn.facts;
		bool debian, control;

		draw_facts(&drawn);
		debian = facts->manager == MANAGER_DEBIAN;
		control =
			!debian && (has_control(facts->user) || has_control(facts->gem_home) ||
				    (facts->manager == MANAGER_BUNDLER && has_control(facts->bundle_path)) ||
				    (facts->manager == MANAGER_RUBYGEMS && has_control(facts->version)));
		remedy_make(facts, &remedy);
		/* which version to take away must be known */
		control |= facts->manager == MANAGER_RUBYGEMS && !facts->version[0] && facts->platform[0] &&
			   strcmp(facts->platform, "ruby") != 0;
		if (control != !remedy.command[0])
			fail_msg("case %u: \"%s\", \"%s\"", n, remedy.command, remedy.refused);
		if (control) {
			refused++;
			continue;
		}
		expect(facts, expected, sizeof(expected));
		run(remedy.command, &record);
		if (strcmp(record, expected) != 0)
			fail_msg("case %u: %s\ngave %sinstead of %s", n, remedy.command, record, expected);
		free(record);
		ran++;
	}
	print_message("%u commands run by sh, %u refused\n", ran, refused);
	assert_true(ran >= 100);
}

/* Whole scripts: sh takes them, and they do what their commands do, in order. */
static void scripts(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 20; n++) {
		struct drawn drawn[4];
		struct remedy remedies[4];
		const char *why[4];
		char expected[8192] = "", part[2048], *script, *record;
		size_t used = 0;

		for (int i = 0; i < 4; i++) {
			bool again = false;

			draw_facts(&drawn[i]);
			drawn[i].facts.user = "";
			remedy_make(&drawn[i].facts, &remedies[i]);
			why[i] = drawn[i].gem_home;
			for (int k = 0; k < i; k++)
				again |= !strcmp(remedies[k].command, remedies[i].command);
			if (again || !remedies[i].command[0])
				continue;
			expect(&drawn[i].facts, part, sizeof(part));
			text_add(expected, sizeof(expected), &used, "%s", part);
		}
		script = remedy_script(remedies, why, 4);
		assert_non_null(script);
		if (used) {
			run(script, &record);
			assert_string_equal(record, expected);
			free(record);
		}
		free(script);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 3: what sh runs is what was meant, word by word, for hostile names as well",
		 word_by_word, NULL, NULL, NULL},
		{"Property 3: a script of them does the same, and its comments do nothing", scripts, NULL,
		 NULL, NULL},
	};

	draw_start();
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

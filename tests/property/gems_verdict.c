/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property 1: over generated installations. Each was built by a Ruby that the generator knows, and then lost
 * some of its evidence: the folder it lay in, its logs, the name of libruby, its gemspec.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "tests/draw.h"
#include "tests/object_make.h"
#include "user/gems/verdict.h"

enum { CASES = 2000 };

static const char *const abis[] = {"2.7.0", "3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "4.0.0"};

struct installation {
	unsigned built, running;   /* which of abis */
	bool built_shared, shared; /* with a libruby: that which built it, that which runs */
	bool debian;               /* how libruby is called */
	bool links, in_folder, beside, log, precompiled, damaged_name;
	enum object_libc libc;
	bool other_machine, missing_library, missing_symbol;
};

static void libruby_name(char out[64], unsigned abi, bool debian)
{
	if (debian)
		snprintf(out, 64, "libruby-%.3s.so.%.3s", abis[abi], abis[abi]);
	else
		snprintf(out, 64, "libruby.so.%.3s", abis[abi]);
}

static void draw_installation(struct installation *one)
{
	*one = (struct installation){
		.built = (unsigned)draw(7),
		.built_shared = draw(2),
		.debian = draw(2),
		.in_folder = draw(3),
		.beside = draw(3) == 0,
		.log = draw(2),
		.precompiled = draw(5) == 0,
		.libc = draw(10) ? OBJECT_LIBC_GLIBC : OBJECT_LIBC_MUSL,
		.other_machine = draw(20) == 0,
		.missing_library = draw(20) == 0,
		.missing_symbol = draw(20) == 0,
	};
	one->running = draw(2) ? one->built : (unsigned)draw(7);
	one->shared = draw(4) ? one->built_shared : draw(2);
	/* edited, or linked with another name, or precompiled: these ask for none */
	one->links = one->built_shared && !one->precompiled && draw(4);
}

static void judge(const struct installation *one, struct extension_verdict *out)
{
	char needed_name[64], soname[64];
	const char *needed[] = {"libc.so.6", one->links ? needed_name : NULL, NULL};
	const char *const asked[] = {"rb_define_method", "rb_funcallv", NULL};
	struct object *object, *ruby;
	struct ruby_runtime runtime = {.version = abis[one->running],
				       .abi = abis[one->running],
				       .engine = "ruby",
				       .is_static = !one->shared,
				       .libc = OBJECT_LIBC_GLIBC,
				       .libc_version = "2.36"};
	struct extension_found found = {.path = "/srv/shop/pg_ext.so",
					.built_for_log = one->log ? abis[one->built] : "",
					.built_for_beside = one->beside ? abis[one->built] : "",
					.gemspec_platform = one->precompiled ? "x86_64-linux" : "ruby"};

	libruby_name(needed_name, one->built, one->debian);
	libruby_name(soname, one->running, one->debian);
	object = object_make(&(struct object_made){.needed = needed,
						   .asked = asked,
						   .libc = one->libc,
						   .machine = one->other_machine ? EM_AARCH64 : EM_X86_64,
						   .flags = OBJECT_GIVES_INIT});
	ruby = object_make(&(struct object_made){
		.soname = one->shared ? soname : "", .libc = OBJECT_LIBC_GLIBC, .flags = OBJECT_IS_RUBY});
	runtime.object = ruby;
	found.object = object;
	if (one->in_folder)
		snprintf(found.gem.abi, sizeof(found.gem.abi), "%s", abis[one->built]);
	extension_judge(&found, &runtime, one->missing_library ? "libpq.so.5" : "",
			one->missing_symbol ? "rb_cFixnum" : "", out);
	free(object);
	free(ruby);
}

static void check(const struct installation *one, const struct extension_verdict *verdict, unsigned n)
{
	bool evidence = one->links || one->in_folder || one->beside || one->log;
	bool other = one->built != one->running, against = false;

	for (size_t i = 0; i < verdict->evidence_count; i++) {
		against |= verdict->evidence[i].against;
		assert_true(verdict->evidence[i].says[0]);
	}
	if (verdict->verdict == VERDICT_COMPATIBLE && (other || against || !evidence))
		fail_msg("case %u: compatible, built for %s, running %s", n, abis[one->built],
			 abis[one->running]);
	if (other && evidence && verdict->verdict != VERDICT_INCOMPATIBLE)
		fail_msg("case %u: %s, built for %s, running %s", n, verdict_name(verdict->verdict),
			 abis[one->built], abis[one->running]);
	/* what it says of the Ruby it was built for is the truth or nothing */
	if (verdict->built_for[0] && strcmp(verdict->built_for, abis[one->built]) != 0)
		fail_msg("case %u: built for %s, said %s", n, abis[one->built], verdict->built_for);
	if (other && evidence && !verdict->built_for[0])
		fail_msg("case %u: the version is gone, and evidence was there", n);
	if (!evidence && verdict->built_for[0])
		fail_msg("case %u: a version without evidence", n);
	if (!evidence && !against && verdict->verdict != VERDICT_SUSPECT)
		fail_msg("case %u: %s without any evidence", n, verdict_name(verdict->verdict));
	if ((one->other_machine || one->libc == OBJECT_LIBC_MUSL) && verdict->verdict != VERDICT_INCOMPATIBLE)
		fail_msg("case %u: another platform, %s", n, verdict_name(verdict->verdict));
	if (verdict->verdict == VERDICT_SUSPECT && verdict->built_for[0])
		fail_msg("case %u: suspect with a version", n);
}

static void consistent_installations(void **state)
{
	unsigned seen[5] = {0};

	(void)state;
	for (unsigned n = 0; n < CASES; n++) {
		struct extension_verdict verdict;
		struct installation one;

		draw_installation(&one);
		judge(&one, &verdict);
		check(&one, &verdict, n);
		seen[verdict.verdict]++;
	}
	print_message("%u compatible, %u suspect, %u incompatible, %u broken\n", seen[VERDICT_COMPATIBLE],
		      seen[VERDICT_SUSPECT], seen[VERDICT_INCOMPATIBLE], seen[VERDICT_BROKEN]);
	assert_true(seen[VERDICT_COMPATIBLE] >= 100 && seen[VERDICT_SUSPECT] >= 50 &&
		    seen[VERDICT_INCOMPATIBLE] >= 100 && seen[VERDICT_BROKEN] >= 20);
}

/* Whatever lies about, however it is cut: nothing that speaks against it is ever overruled by less. */
static void any_claims(void **state)
{
	(void)state;
	for (unsigned n = 0; n < CASES; n++) {
		const char *const asked[] = {"rb_define_method", NULL}, *const needed[] = {"libc.so.6", NULL};
		struct object *object = object_make(&(struct object_made){.needed = needed, .asked = asked});
		struct object *ruby = object_make(&(struct object_made){.soname = "libruby.so.3.1"});
		struct ruby_runtime runtime = {
			.version = "3.1.7", .abi = "3.1.0", .object = ruby, .is_static = draw(2)};
		unsigned log = (unsigned)draw(7), path = (unsigned)draw(7), package = (unsigned)draw(7);
		struct extension_found found = {.path = "/x.so",
						.object = draw(8) ? object : NULL,
						.built_for_log = draw(2) ? abis[log] : NULL,
						.built_for_package = draw(3) ? NULL : abis[package]};
		struct extension_verdict verdict;
		bool other;

		if (draw(2))
			snprintf(found.gem.abi, sizeof(found.gem.abi), "%s", abis[path]);
		other = (found.built_for_log && log != 2) || (found.built_for_package && package != 2) ||
			(found.gem.abi[0] && path != 2);
		extension_judge(&found, &runtime, "", "", &verdict);
		if (other && verdict.verdict != VERDICT_INCOMPATIBLE)
			fail_msg("case %u: %s", n, verdict_name(verdict.verdict));
		if (other && !strcmp(verdict.built_for, "3.1.0"))
			fail_msg("case %u: rejected as built for the Ruby that runs", n);
		free(object);
		free(ruby);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"Property 1: a gem compiled for another Ruby is rejected, whatever evidence remains",
		 consistent_installations, NULL, NULL, NULL},
		{"Property 1: evidence against it is never overruled by a folder, a log or a package",
		 any_claims, NULL, NULL, NULL},
	};

	draw_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

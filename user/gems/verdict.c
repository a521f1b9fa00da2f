/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence of the Ruby an extension was built for, strongest first:
 *
 *   DT_NEEDED libruby      what the linker wrote; overrules all below
 *   path                   a folder that installers name after the ABI
 *   Debian package         likewise, with its checksum
 *   extensions/ beside     the one ABI for which RubyGems keeps a build of this gem
 *   build log              what the build said
 *
 * None of the weaker ones is proof: a file can be copied. So they count for this Ruby only where the object
 * itself does not contradict them, and each counts against it alone. A Ruby with a libruby links it into what
 * it builds; an object that lacks it and is no precompiled gem was built by another Ruby, or edited, and then
 * its path says where it lies and not what it is: only a log of the same ABI, or an unchanged package, still
 * speaks for it.
 */
#include "user/gems/verdict.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user/base/text.h"
#include "user/gems/judging.h"

enum { CLAIMS = 5, MATRIX_TOLD = 3 /* the worst stand first; a document has them all */ };

/* What one piece of evidence says of the Ruby it was built for. */
struct claim {
	enum evidence_kind kind;
	char abi[16];
	bool against;
	bool counts; /* may speak for this Ruby */
};

struct judging {
	const struct extension_found *found;
	const struct ruby_runtime *ruby;
	struct extension_verdict *out;
	struct claim claims[CLAIMS];
	size_t claim_count;
	bool links_libruby, names_libruby, foreign_platform, foreign_libruby, foreign_build, unsettled,
		matrix_bad, broken;
};

static bool is_set(const char *text)
{
	return text && text[0];
}

void evidence_add(struct extension_verdict *out, enum evidence_kind kind, bool against, const char *format,
		  ...)
{
	struct evidence *evidence;
	va_list args;

	if (out->evidence_count == VERDICT_EVIDENCE)
		return;
	evidence = &out->evidence[out->evidence_count++];
	evidence->kind = kind;
	evidence->against = against;
	va_start(args, format);
	vsnprintf(evidence->says, sizeof(evidence->says), format, args);
	va_end(args);
	text_clean(evidence->says);
}

/* "3.1.0" of "3.1", "3.1.7", "3.1.0+1". */
static bool abi_of(const char *text, char out[16])
{
	size_t major = strspn(text, "0123456789"), minor, used = 0;

	if (!major || major > 2 || text[major] != '.')
		return false;
	minor = strspn(text + major + 1, "0123456789");
	if (!minor || minor > 2)
		return false;
	out[0] = '\0';
	text_add(out, 16, &used, "%.*s.0", (int)(major + 1 + minor), text);
	return true;
}

/* "libruby-3.1.so.3.1", "libruby.so.3.3": the ABI that the name ends in. False: it has none, or is none. */
static bool abi_of_libruby(const char *needed, char out[16])
{
	const char *so;

	if (strncmp(needed, "libruby", 7) != 0)
		return false;
	so = strstr(needed, ".so.");
	if (so && abi_of(so + 4, out))
		return true;
	needed += 7;
	needed += *needed == '-';
	return abi_of(needed, out);
}

static struct claim *claim(struct judging *judging, enum evidence_kind kind, const char *abi)
{
	struct claim *claim = &judging->claims[judging->claim_count];
	char running[16];

	if (!abi_of(abi, claim->abi))
		return NULL;
	judging->claim_count++;
	claim->kind = kind;
	claim->counts = true;
	claim->against =
		judging->ruby && abi_of(judging->ruby->abi, running) && strcmp(running, claim->abi) != 0;
	return claim;
}

static void weigh_libruby(struct judging *judging)
{
	const struct object *object = judging->found->object;
	const struct ruby_runtime *ruby = judging->ruby;
	const char *soname = ruby && ruby->object && !ruby->is_static
				     ? object_text(ruby->object, ruby->object->soname)
				     : "";
	char abi[16];

	for (size_t i = 0; object && i < object->needed_count; i++) {
		const char *needed = object_needed(object, i);
		struct claim *made;

		judging->names_libruby |= !strncmp(needed, "libruby", 7);
		if (!abi_of_libruby(needed, abi))
			continue;
		judging->links_libruby = true;
		made = claim(judging, EVIDENCE_NEEDED_LIBRUBY, abi);
		if (!made)
			return;
		/* the name alone decides what the loader takes: another one is a second Ruby in the process
		 */
		judging->foreign_libruby = ruby && !made->against &&
					   (ruby->is_static || (*soname && strcmp(soname, needed) != 0));
		if (judging->foreign_libruby)
			evidence_add(judging->out, EVIDENCE_NEEDED_LIBRUBY, true,
				     "asks for %s, and this Ruby %s%s", needed,
				     ruby->is_static ? "is a program without a libruby" : "is ",
				     ruby->is_static ? "" : soname);
		else
			evidence_add(judging->out, EVIDENCE_NEEDED_LIBRUBY, made->against, "asks for %s",
				     needed);
		return;
	}
}

static bool is_precompiled(const struct extension_found *found)
{
	char abi[16], key[1024];

	return (is_set(found->gemspec_platform) && strcmp(found->gemspec_platform, "ruby") != 0) ||
	       extension_variant(found->path ? found->path : "", abi, key, sizeof(key));
}

/* Asks Ruby for functions, so it is an extension whatever else it is. */
static bool asks_ruby(const struct object *object)
{
	for (size_t i = 0; i < object->asked_count; i++)
		if (!strncmp(object_text(object, object_asked(object, i)->name), "rb_", 3))
			return true;
	return false;
}

/* A shared Ruby's own extension would ask for libruby: this one does not. */
static bool lacks_libruby(const struct judging *judging)
{
	const struct object *object = judging->found->object;

	return object && judging->ruby && !judging->ruby->is_static && !judging->names_libruby &&
	       !(object->flags & OBJECT_CUT) && !is_precompiled(judging->found) && asks_ruby(object);
}

static void weigh_claims(struct judging *judging)
{
	const struct extension_found *found = judging->found;
	const struct {
		enum evidence_kind kind;
		const char *abi, *says;
	} kinds[] = {
		{EVIDENCE_PATH, found->gem.abi, "lies in a folder for Ruby %s"},
		{EVIDENCE_PACKAGE, found->built_for_package, "its Debian package is for Ruby %s"},
		{EVIDENCE_PATH, found->built_for_beside, "RubyGems keeps a build of its gem for Ruby %s"},
		{EVIDENCE_BUILD_LOG, found->built_for_log, "its build log names Ruby %s"},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct claim *made =
			is_set(kinds[i].abi) ? claim(judging, kinds[i].kind, kinds[i].abi) : NULL;
		char line[160];

		if (!made)
			continue;
		/* what the linker wrote for this Ruby is not undone by where the file lies */
		if (judging->links_libruby && !judging->claims[0].against)
			made->against = false;
		snprintf(line, sizeof(line), kinds[i].says, made->abi);
		if (kinds[i].kind == EVIDENCE_BUILD_LOG && is_set(found->built_ruby_log)) {
			size_t used = strlen(line);

			text_add(line, sizeof(line), &used, " (%s)", found->built_ruby_log);
		}
		evidence_add(judging->out, made->kind, made->against, "%s", line);
	}
}

/* With what the object lacks, a path that fits is where it lies and no more. */
static void weigh_lack(struct judging *judging)
{
	bool vouched = false;

	if (!lacks_libruby(judging))
		return;
	for (size_t i = 0; i < judging->claim_count; i++)
		vouched |= judging->claims[i].kind != EVIDENCE_PATH;
	evidence_add(judging->out, EVIDENCE_NEEDED_LIBRUBY, false,
		     "asks for no libruby, which this Ruby gives to what it builds: another one built it, or "
		     "it was edited");
	for (size_t i = 0; i < judging->claim_count && !vouched; i++)
		judging->claims[i].counts = judging->claims[i].against;
}

static void weigh_abi_version(struct judging *judging)
{
	const struct object *object = judging->found->object,
			    *ruby = judging->ruby ? judging->ruby->object : NULL;
	bool ours, theirs;

	if (!object || !ruby)
		return;
	ours = object->flags & OBJECT_GIVES_ABI_VERSION;
	theirs = ruby->flags & OBJECT_GIVES_ABI_VERSION;
	/* a development Ruby looks for it in all that it loads, a release looks for it in nothing */
	judging->foreign_build = theirs && !ours;
	judging->unsettled = ours && !theirs;
	if (judging->foreign_build)
		evidence_add(judging->out, EVIDENCE_ABI_VERSION, true,
			     "built by a release of Ruby, and this one is a development version");
	else if (judging->unsettled)
		evidence_add(
			judging->out, EVIDENCE_ABI_VERSION, false,
			"built by a development version of Ruby, whose ABI may not be that of its release");
}

static void weigh_symbols(struct judging *judging, const char *library, const char *symbol)
{
	if (is_set(library)) {
		judging->broken = true;
		evidence_add(judging->out, EVIDENCE_LIBRARY, true, "%s is missing", library);
	}
	if (!is_set(symbol))
		return;
	judging->broken = true;
	if (!strncmp(symbol, "rb_", 3) || !strncmp(symbol, "ruby_", 5) || !strncmp(symbol, "Init_", 5))
		evidence_add(judging->out, EVIDENCE_MISSING_RUBY_SYMBOLS, true,
			     "asks for %s, which this Ruby does not have", symbol);
	else
		evidence_add(judging->out, EVIDENCE_SYMBOL, true,
			     "asks for %s, which no library of its own gives", symbol);
}

static void weigh_matrix(struct judging *judging)
{
	for (size_t i = 0; i < judging->found->matrix_count; i++) {
		const struct matrix_answer *answer = &judging->found->matrix[i];
		bool bad = answer->rating == MATRIX_BAD;

		judging->matrix_bad |= bad;
		if (i < MATRIX_TOLD)
			evidence_add(judging->out, EVIDENCE_MATRIX, bad, "%s: %s",
				     matrix_rating_name(answer->rating), answer->says);
	}
}

static void weigh_installation(struct judging *judging)
{
	const struct extension_found *found = judging->found;

	if (found->required_unbuilt) {
		judging->broken = true;
		evidence_add(judging->out, EVIDENCE_INSTALLATION, true,
			     "gem.build_complete is missing: it was not built, or not to its end");
	}
	if (!found->object) {
		judging->broken |= found->damaged;
		if (found->damaged || is_set(found->problem))
			evidence_add(judging->out, EVIDENCE_INSTALLATION, found->damaged, "%s",
				     is_set(found->problem) ? found->problem : "no ELF object");
	}
}

/* The strongest that speaks against this Ruby, else the strongest that speaks for one. */
static const struct claim *strongest(const struct judging *judging)
{
	for (size_t i = 0; i < judging->claim_count; i++)
		if (judging->claims[i].against)
			return &judging->claims[i];
	for (size_t i = 0; i < judging->claim_count; i++)
		if (judging->claims[i].counts)
			return &judging->claims[i];
	return NULL;
}

static enum confidence agreed(const struct judging *judging, const struct claim *built)
{
	size_t same = 0, other = 0;

	for (size_t i = 0; i < judging->claim_count; i++) {
		bool equal = !strcmp(judging->claims[i].abi, built->abi);

		same += equal;
		other += !equal;
	}
	if (built->kind == EVIDENCE_NEEDED_LIBRUBY)
		return CONFIDENCE_HIGH;
	if (other)
		return CONFIDENCE_LOW;
	return same > 1 ? CONFIDENCE_HIGH : CONFIDENCE_MEDIUM;
}

static void conclude(struct judging *judging)
{
	const struct claim *built = strongest(judging);
	struct extension_verdict *out = judging->out;
	bool against = built && built->against, unread = !judging->found->object;

	if (built)
		text_copy(out->built_for, sizeof(out->built_for), built->abi);
	if (judging->found->required_unbuilt) {
		out->verdict = VERDICT_BROKEN;
		out->confidence = CONFIDENCE_HIGH;
	} else if (judging->foreign_platform || judging->foreign_libruby || judging->foreign_build) {
		out->verdict = VERDICT_INCOMPATIBLE;
		out->confidence = CONFIDENCE_HIGH;
	} else if (against) {
		out->verdict = VERDICT_INCOMPATIBLE;
		out->confidence = agreed(judging, built);
	} else if (judging->broken) {
		out->verdict = VERDICT_BROKEN;
		out->confidence = CONFIDENCE_HIGH;
	} else if (judging->matrix_bad) {
		out->verdict = VERDICT_INCOMPATIBLE;
		out->confidence = CONFIDENCE_MEDIUM;
	} else if (unread || !judging->ruby || !judging->ruby->abi || !judging->ruby->abi[0]) {
		out->verdict = VERDICT_UNKNOWN;
		out->confidence = CONFIDENCE_NONE;
	} else if (!built) {
		out->verdict = VERDICT_SUSPECT;
		out->confidence = CONFIDENCE_LOW;
	} else {
		out->verdict = VERDICT_COMPATIBLE;
		out->confidence = judging->unsettled ? CONFIDENCE_LOW : agreed(judging, built);
	}
}

void extension_judge(const struct extension_found *found, const struct ruby_runtime *ruby,
		     const char *missing_library, const char *missing_symbol, struct extension_verdict *out)
{
	struct judging judging = {.found = found, .ruby = ruby, .out = out};

	memset(out, 0, sizeof(*out));
	weigh_installation(&judging);
	judging.foreign_platform = platform_weigh(found, ruby, out);
	weigh_libruby(&judging);
	weigh_claims(&judging);
	weigh_lack(&judging);
	weigh_abi_version(&judging);
	weigh_symbols(&judging, missing_library, missing_symbol);
	weigh_matrix(&judging);
	gemspec_weigh(found, ruby, out);
	conclude(&judging);
}

void extension_loaded(struct extension_verdict *verdict, bool loaded, const char *says)
{
	evidence_add(verdict, EVIDENCE_LOADED, !loaded, "%s", says);
	if (loaded || (verdict->verdict != VERDICT_COMPATIBLE && verdict->verdict != VERDICT_SUSPECT))
		return;
	verdict->verdict = VERDICT_BROKEN;
	verdict->confidence = CONFIDENCE_HIGH;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* For which processor and libc it was built, and which Rubies its gem says it is for. */
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include "user/gems/judging.h"
#include "user/gems/version.h"

static const char *machine_name(const struct object *object, char scratch[16])
{
	switch (object->machine) {
	case EM_X86_64:
		return object->bits == 32 ? "x86_64 (x32)" : "x86_64";
	case EM_386:
		return "i386";
	case EM_AARCH64:
		return "aarch64";
	case EM_ARM:
		return "arm";
	case EM_PPC64:
		return "ppc64";
	case EM_S390:
		return "s390";
	case EM_RISCV:
		return "riscv";
	default:
		snprintf(scratch, 16, "processor %u", object->machine);
		return scratch;
	}
}

static bool weigh_machine(const struct object *object, const struct object *ruby,
			  struct extension_verdict *out)
{
	char ours[16], theirs[16];

	if (object->machine == ruby->machine && object->bits == ruby->bits &&
	    object->big_endian == ruby->big_endian)
		return false;
	evidence_add(out, EVIDENCE_PLATFORM, true, "built for %s, %u bit%s; this Ruby is for %s, %u bit%s",
		     machine_name(object, ours), object->bits, object->big_endian ? ", big endian" : "",
		     machine_name(ruby, theirs), ruby->bits, ruby->big_endian ? ", big endian" : "");
	return true;
}

static const char *libc_name(enum object_libc libc)
{
	return libc == OBJECT_LIBC_MUSL ? "musl" : libc == OBJECT_LIBC_GLIBC ? "glibc" : "";
}

/* The gem's word for it, where the object says nothing. */
static enum object_libc libc_of(const struct extension_found *found)
{
	const char *platform = found->gemspec_platform ? found->gemspec_platform : "";

	if (found->object && found->object->libc != OBJECT_LIBC_UNKNOWN)
		return (enum object_libc)found->object->libc;
	return strstr(platform, "-musl")  ? OBJECT_LIBC_MUSL
	       : strstr(platform, "-gnu") ? OBJECT_LIBC_GLIBC
					  : OBJECT_LIBC_UNKNOWN;
}

bool platform_weigh(const struct extension_found *found, const struct ruby_runtime *ruby,
		    struct extension_verdict *out)
{
	enum object_libc libc = libc_of(found);
	bool foreign = false;
	const char *asked;

	if (!ruby)
		return false;
	if (found->object && ruby->object)
		foreign = weigh_machine(found->object, ruby->object, out);
	if (libc != OBJECT_LIBC_UNKNOWN && ruby->libc != OBJECT_LIBC_UNKNOWN && libc != ruby->libc) {
		evidence_add(out, EVIDENCE_PLATFORM, true, "built for %s; this Ruby runs on %s",
			     libc_name(libc), libc_name(ruby->libc));
		return true;
	}
	asked = found->object ? object_text(found->object, found->object->libc_version) : "";
	if (libc == OBJECT_LIBC_GLIBC && asked[0] && ruby->libc_version && ruby->libc_version[0] &&
	    version_compare(asked, ruby->libc_version) > 0) {
		evidence_add(out, EVIDENCE_PLATFORM, true, "asks for glibc %s; there is %s", asked,
			     ruby->libc_version);
		return true;
	}
	return foreign;
}

void gemspec_weigh(const struct extension_found *found, const struct ruby_runtime *ruby,
		   struct extension_verdict *out)
{
	if (!ruby || !ruby->version || !ruby->version[0] || !found->gemspec_ruby || !found->gemspec_ruby[0])
		return;
	if (version_satisfies(ruby->version, found->gemspec_ruby) == 0)
		evidence_add(out, EVIDENCE_INSTALLATION, false, "its gem asks for Ruby %s; this is %s",
			     found->gemspec_ruby, ruby->version);
}

bool extension_variant(const char *path, char abi[16], char *key, size_t key_size)
{
	const char *slash = strrchr(path, '/'), *folder, *at, *gem = NULL;
	size_t size;

	abi[0] = '\0';
	for (at = path; (at = strstr(at, "/gems/")); at += 6)
		gem = at + 6;
	if (!gem || !slash || !(folder = memrchr(path, '/', (size_t)(slash - path))))
		return false;
	folder++;
	size = (size_t)(slash - folder);
	at = strstr(gem, "/lib/");
	if (!at || at + 5 > folder)
		return false;
	/* two numbers: whole installations have three */
	at = folder + strspn(folder, "0123456789");
	if (at == folder || *at != '.' || at[1] == '/' || at + 1 + strspn(at + 1, "0123456789") != slash ||
	    size > 5 || strlen(path) >= key_size + size)
		return false;
	snprintf(abi, 16, "%.*s.0", (int)size, folder);
	snprintf(key, key_size, "%.*s%s", (int)(folder - path - 1), path, slash);
	return true;
}

const char *evidence_name(enum evidence_kind kind)
{
	static const char *const names[] = {
		[EVIDENCE_NEEDED_LIBRUBY] = "needed_libruby",
		[EVIDENCE_PATH] = "path",
		[EVIDENCE_PACKAGE] = "package",
		[EVIDENCE_BUILD_LOG] = "build_log",
		[EVIDENCE_MISSING_RUBY_SYMBOLS] = "missing_ruby_symbols",
		[EVIDENCE_ABI_VERSION] = "abi_version",
		[EVIDENCE_PLATFORM] = "platform",
		[EVIDENCE_LIBRARY] = "library",
		[EVIDENCE_SYMBOL] = "symbol",
		[EVIDENCE_INSTALLATION] = "installation",
		[EVIDENCE_MATRIX] = "matrix",
		[EVIDENCE_LOADED] = "loaded",
	};

	return names[kind];
}

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[] = {"unknown", "compatible", "suspect", "incompatible", "broken"};

	return names[verdict];
}

const char *confidence_name(enum confidence confidence)
{
	static const char *const names[] = {"none", "low", "medium", "high"};

	return names[confidence];
}

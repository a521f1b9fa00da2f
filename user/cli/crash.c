// SPDX-License-Identifier: Apache-2.0
/* `lapidary crash VERB …`: what is done with one crash, a file a verb. */
#include <string.h>
#include "user/cli/commands.h"
#include "user/cli/crash.h"

static const struct help crash_help = {
	"crash show|core|open|diff|export ID",
	"Looks into one crash. The first letters of its id suffice while they fit no other; a path (with a\n"
	"'/' or a '.') stands for an exported file or a bundle's folder. Each verb has --help.\n\n"
	"  show ID      the whole story: what, where, why, how often, what to do; then the evidence\n"
	"  core ID      write an ELF core for gdb\n"
	"  open ID      open it in gdb\n"
	"  diff A B     what two crashes have in common, and where they part\n"
	"  export ID    one file to hand on; --redact leaves out what may be private\n",
	"",
	"  lapidary crash show 3f2a\n"
	"  lapidary crash open 3f2a\n"
	"  lapidary crash export 3f2a --redact -o for-the-authors.tar.gz\n"
	"  lapidary crash show --from for-the-authors.tar.gz\n",
};

static const struct {
	const char *name, *whole;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{"show", "crash show", crash_show},       {"core", "crash core", crash_core},
	{"open", "crash open", crash_open},       {"diff", "crash diff", crash_diff},
	{"export", "crash export", crash_export},
};

int cmd_crash(int argc, char **argv)
{
	/* the verb may stand behind flags: the first word that is one */
	for (int i = 1; i < argc; i++) {
		for (size_t k = 0; k < sizeof(verbs) / sizeof(*verbs); k++) {
			if (strcmp(argv[i], verbs[k].name) != 0)
				continue;
			memmove(&argv[i], &argv[i + 1], (size_t)(argc - i) * sizeof(*argv));
			argv[0] = (char *)verbs[k].whole;
			return verbs[k].run(argc - 1, argv);
		}
	}
	if (option_take(&argc, argv, "--help") || option_take(&argc, argv, "-h"))
		return help_print(&crash_help);
	return usage_error("crash: 'show ID' is missing, or another verb; see 'lapidary crash --help'");
}

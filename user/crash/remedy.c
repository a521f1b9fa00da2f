/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person can do, from what is known of this one crash (Property 23). Commands are those of FACTS.md 7
 * that work; they name the gem and version found, never "the gem".
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "user/base/text.h"
#include "user/crash/diagnosis_match.h"
#include "user/gems/remedy.h"

static void add(cJSON *list, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(cJSON *list, const char *format, ...)
{
	char line[1400];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	text_clean(line);
	cJSON_AddItemToArray(list, cJSON_CreateString(line));
}

void rebuild_command(const struct crash_input *input, const char *path, const char *gem, const char *version,
		     char *out, size_t size)
{
	const struct crash_extension *known = extension_known(input, path);
	struct remedy_facts facts = {.gem = gem, .version = version};
	struct remedy remedy;
	struct gem_path found;

	out[0] = '\0';
	if (known && known->command && known->command[0] && strlen(known->command) < size) {
		text_copy(out, size, known->command);
		return;
	}
	if (gem_path_parse(path, &found) && found.debian)
		facts.manager = MANAGER_DEBIAN;
	else if (strstr(path, "/bundle"))
		facts.manager = MANAGER_BUNDLER;
	else if (!version[0])
		return; /* which of its versions is not known */
	remedy_make(&facts, &remedy);
	if (strlen(remedy.command) < size)
		text_copy(out, size, remedy.command);
}

static bool is_said(const cJSON *list, const char *command)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, list)
	{
		if (strstr(one->valuestring, command))
			return true;
	}
	return false;
}

static void add_rebuild(cJSON *list, const struct crash_input *input, const struct blame *blame)
{
	char command[1200];

	if (!blame->gem[0])
		return;
	rebuild_command(input, blame->module, blame->gem, blame->version, command, sizeof(command));
	if (command[0] && !is_said(list, command))
		add(list, "%s: %s",
		    strncmp(command, "apt-get", 7) ? "Rebuild it against the running Ruby, as the app's user"
						   : "Reinstall its package",
		    command);
	add(list, "If it goes on, look for a fixed release of %s%s%s and show its authors this report.",
	    blame->gem, blame->version[0] ? " newer than " : "", blame->version);
}

/* What the patterns say comes first, best pattern first, nothing twice. */
static void add_diagnosed(cJSON *list, const cJSON *diagnosis)
{
	const cJSON *one, *remedy;

	cJSON_ArrayForEach(one, diagnosis)
	{
		cJSON_ArrayForEach(remedy, cJSON_GetObjectItem(one, "remedies"))
		{
			if (!is_said(list, remedy->valuestring))
				add(list, "%s", remedy->valuestring);
		}
	}
}

static void add_by_cause(cJSON *list, const struct crash *crash, enum cause cause)
{
	const char *app = crash->app[0] ? crash->app : "the app";

	switch (cause) {
	case CAUSE_INJECTED:
		if (crash->fault.flags & FAULT_SELF || crash->fault.sender_tgid == crash->process.tgid)
			add(list,
			    "The process sent the signal to itself: look for Process.kill or raise() in %s.",
			    app);
		else
			add(list,
			    "Find out why process %u (user %u) sends this signal; no code of %s failed.",
			    crash->fault.sender_tgid, crash->fault.sender_uid, app);
		break;
	case CAUSE_OOM:
		add(list,
		    "Raise the memory limit of %s, or run fewer workers: the kernel killed it for lack of "
		    "memory.",
		    app);
		add(list, "See who grows: lapidary workers");
		break;
	case CAUSE_STACK_OVERFLOW:
		add(list,
		    "Look for unbounded recursion, and for large buffers on the stack of a thread or fiber "
		    "(RUBY_THREAD_MACHINE_STACK_SIZE, RUBY_FIBER_MACHINE_STACK_SIZE set their size).");
		break;
	case CAUSE_HEAP_CORRUPTION:
		add(list, "The damage was done before: run a worker with MALLOC_CHECK_=3 "
			  "MALLOC_PERTURB_=165, or under "
			  "valgrind, to fail where it happens.");
		break;
	case CAUSE_BUFFER_OVERFLOW:
		add(list,
		    "Build the extension with -fsanitize=address, or run a worker under valgrind, to see who "
		    "writes beyond its buffer.");
		break;
	case CAUSE_ASSERTION:
		add(list,
		    "Read the process's last line on stderr: it names the assertion, its file and its line.");
		break;
	case CAUSE_ABORT:
		add(list, "Read the process's last lines on stderr: whoever calls abort() says why there.");
		break;
	case CAUSE_VM_ERROR:
		add(list, "Ruby itself gave up; its report on stderr has the Ruby backtrace. Known bugs: "
			  "https://bugs.ruby-lang.org");
		break;
	case CAUSE_ILLEGAL_INSTRUCTION:
		add(list, "Compare this machine's processor with the one the extension was built on "
			  "(-march=native travels badly).");
		break;
	case CAUSE_BUS:
		add(list, "Check for a full disk or a file that was truncated while it was mapped (a "
			  "deployment in place does this).");
		break;
	default:
		break;
	}
}

cJSON *remedies_of(const struct crash_input *input, enum cause cause, const struct blame *blame,
		   const cJSON *diagnosis)
{
	cJSON *list = cJSON_CreateArray();

	if (!list)
		return NULL;
	add_diagnosed(list, diagnosis);
	add_by_cause(list, input->crash, cause);
	if (cause != CAUSE_INJECTED && cause != CAUSE_OOM)
		add_rebuild(list, input, blame);
	if (!cJSON_GetArraySize(list) && strcmp(blame->confidence, "none"))
		add(list, "Look at what calls into %s: its build, its version, what it is handed.",
		    text_base(blame->module));
	if (!cJSON_GetArraySize(list))
		add(list,
		    "No module stands out. Compare with others of the same fingerprint: lapidary crashes "
		    "--cause %s",
		    cause_name(cause));
	return list;
}

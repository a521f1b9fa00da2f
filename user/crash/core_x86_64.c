// SPDX-License-Identifier: Apache-2.0
/*
 * The notes of a core whose shape depends on the processor: the kernel's elf_prstatus and its kin
 * (fs/binfmt_elf.c), here for x86-64. What the capture does not have (signal masks, times, the argument
 * line) is zero.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/procfs.h>
#include "user/base/json.h"
#include "user/base/text.h"
#include "user/crash/core_parts.h"

_Static_assert(sizeof(struct elf_prstatus) == 336, "elf_prstatus");
_Static_assert(sizeof(struct elf_prpsinfo) == 136, "elf_prpsinfo");

/* In the order of struct user_regs_struct. */
static const char *const names[] = {
	"r15",    "r14", "r13", "r12",     "rbp",     "rbx", "r11",      "r10", "r9",
	"r8",     "rax", "rcx", "rdx",     "rsi",     "rdi", "orig_rax", "rip", "cs",
	"eflags", "rsp", "ss",  "fs_base", "gs_base", "ds",  "es",       "fs",  "gs",
};

_Static_assert(sizeof(names) / sizeof(*names) == ELF_NGREG, "registers");

static int number(const cJSON *object, const char *key)
{
	double value = json_number(object, key, 0);

	return value > -2147483648.0 && value < 2147483648.0 ? (int)value : 0;
}

static int signal_of(const cJSON *report)
{
	int signal = number(report_part(report, "fault"), "signal_number");

	return signal > 0 && signal <= 64 ? signal : 0;
}

static int add_status(struct image *image, const cJSON *report)
{
	const cJSON *registers = report_part(report, "registers"), *fault = report_part(report, "fault");
	struct elf_prstatus status;

	memset(&status, 0, sizeof(status));
	for (size_t i = 0; i < ELF_NGREG; i++) {
		uint64_t value;

		if (!report_hex(registers, names[i], &value))
			return -ENODATA;
		status.pr_reg[i] = value;
	}
	status.pr_info.si_signo = signal_of(report);
	status.pr_info.si_code = number(fault, "code_number");
	status.pr_cursig = (short)signal_of(report);
	status.pr_pid = number(fault, "thread");
	if (!status.pr_pid)
		status.pr_pid = number(report, "pid");
	status.pr_ppid = number(report_part(report, "parent"), "pid");
	note_add(image, NT_PRSTATUS, &status, sizeof(status));
	return 0;
}

static void add_name(struct image *image, const cJSON *report)
{
	double uid = json_number(report, "uid", 0);
	const char *program = core_program(report);
	struct elf_prpsinfo info;

	memset(&info, 0, sizeof(info));
	info.pr_sname = 'R';
	info.pr_pid = number(report, "pid");
	info.pr_ppid = number(report_part(report, "parent"), "pid");
	info.pr_uid = uid >= 0 && uid <= UINT32_MAX ? (uint32_t)uid : 0;
	/* debuggers compare it with the name of the file they are given; comm is the process's own to choose
	 */
	text_copy(info.pr_fname, sizeof(info.pr_fname),
		  program ? text_base(program) : json_text(report, "comm"));
	text_copy(info.pr_psargs, sizeof(info.pr_psargs), json_text(report, "comm"));
	note_add(image, NT_PRPSINFO, &info, sizeof(info));
}

/* struct siginfo: signo, errno, code, and from byte 16 on the sender, or the address. */
static void add_siginfo(struct image *image, const cJSON *report)
{
	const cJSON *fault = report_part(report, "fault"), *sender = report_part(fault, "sender");
	int32_t words[32] = {signal_of(report), 0, number(fault, "code_number")};
	uint64_t address = 0;

	_Static_assert(sizeof(words) == 128, "siginfo");
	if (words[2] <= 0) {
		words[4] = number(sender, "pid");
		words[5] = number(sender, "uid");
	} else if (report_hex(report, "fault_address", &address)) {
		memcpy(&words[4], &address, sizeof(address));
	}
	note_add(image, NT_SIGINFO, words, sizeof(words));
}

int core_notes_process(struct image *image, const cJSON *report)
{
	int err = add_status(image, report);

	if (err)
		return err;
	add_name(image, report);
	add_siginfo(image, report);
	return 0;
}

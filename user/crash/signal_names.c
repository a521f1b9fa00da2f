/* SPDX-License-Identifier: Apache-2.0 */
/* Signals and their codes by the names of sigaction(2), which is what a person looks up. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "user/crash/blame.h"

void signal_name(int signal, char out[12])
{
	const char *name = signal > 0 ? sigabbrev_np(signal) : NULL;

	if (name)
		snprintf(out, 12, "SIG%.7s", name);
	else
		snprintf(out, 12, "%d", signal);
}

static const struct {
	int signal, code; /* signal 0: any */
	const char *name;
} codes[] = {
	{0, SI_USER, "SI_USER"},
	{0, SI_KERNEL, "SI_KERNEL"},
	{0, SI_QUEUE, "SI_QUEUE"},
	{0, SI_TKILL, "SI_TKILL"},
	{0, SI_TIMER, "SI_TIMER"},
	{SIGSEGV, SEGV_MAPERR, "SEGV_MAPERR"},
	{SIGSEGV, SEGV_ACCERR, "SEGV_ACCERR"},
	{SIGSEGV, SEGV_BNDERR, "SEGV_BNDERR"},
	{SIGSEGV, SEGV_PKUERR, "SEGV_PKUERR"},
	{SIGBUS, BUS_ADRALN, "BUS_ADRALN"},
	{SIGBUS, BUS_ADRERR, "BUS_ADRERR"},
	{SIGBUS, BUS_OBJERR, "BUS_OBJERR"},
	{SIGBUS, BUS_MCEERR_AR, "BUS_MCEERR_AR"},
	{SIGILL, ILL_ILLOPC, "ILL_ILLOPC"},
	{SIGILL, ILL_ILLOPN, "ILL_ILLOPN"},
	{SIGILL, ILL_PRVOPC, "ILL_PRVOPC"},
	{SIGFPE, FPE_INTDIV, "FPE_INTDIV"},
	{SIGFPE, FPE_INTOVF, "FPE_INTOVF"},
	{SIGFPE, FPE_FLTDIV, "FPE_FLTDIV"},
	{SIGFPE, FPE_FLTINV, "FPE_FLTINV"},
};

void signal_code_name(int signal, int code, char out[16])
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
		if (codes[i].code == code && (codes[i].signal == 0 || codes[i].signal == signal)) {
			snprintf(out, 16, "%s", codes[i].name);
			return;
		}
	snprintf(out, 16, "%d", code);
}

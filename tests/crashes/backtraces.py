# SPDX-License-Identifier: Apache-2.0
#
# gdb -batch -x backtraces.py: for each line "CORE PROGRAM LIBRARIES" of the file $BACKTRACES writes CORE.pcs, the program counters
# of all frames of the thread that died, innermost first, one a line. LIBRARIES is a folder that holds every mapped file under its
# last name: the files of a chroot, of a mount namespace that is gone, and deleted ones.
import os

import gdb

for setting in (
    "auto-load off",
    "confirm off",
    "pagination off",
    "debuginfod enabled off",
    "backtrace past-main on",
    "sysroot /nonexistent",
):
    gdb.execute("set " + setting)


def counters():
    frame = gdb.newest_frame()
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):  # those are inferred, not on the stack
            yield frame.pc()
        frame = frame.older()


def load(core, program, libraries):
    gdb.execute("set solib-search-path " + libraries)
    gdb.execute("file " + program, to_string=True)
    gdb.execute("core-file " + core, to_string=True)


with open(os.environ["BACKTRACES"]) as lines:
    cores = [line.split() for line in lines]

# gdb forgets a library's tables with the last inferior that has it: the first core stays open, which makes the others ten times faster
load(*cores[0])
list(counters())
gdb.execute("add-inferior -no-connection", to_string=True)
gdb.execute("inferior 2", to_string=True)

for core, program, libraries in cores:
    load(core, program, libraries)
    with open(core + ".pcs", "w") as out:
        try:
            for counter in counters():
                out.write("0x%x\n" % counter)
        except gdb.error as error:
            out.write("error %s\n" % error)

# SPDX-License-Identifier: Apache-2.0
#
# For gdb -x: the program counter of each frame that is on the stack, innermost first, and which one a signal interrupted.
import gdb

frame = gdb.newest_frame()
while frame:
    if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):  # those are inferred, not on the stack
        print("frame %#x%s" % (frame.pc(), " signal" if frame.type() == gdb.SIGTRAMP_FRAME else ""))
    frame = frame.older()

# SPDX-License-Identifier: Apache-2.0
#
# For gdb -x: the program counter of each frame, innermost first, and which one a signal interrupted.
import gdb

frame = gdb.newest_frame()
while frame:
    print("frame %#x%s" % (frame.pc(), " signal" if frame.type() == gdb.SIGTRAMP_FRAME else ""))
    frame = frame.older()

# SPDX-License-Identifier: Apache-2.0
require "mkmf"

# -O0: each function keeps its faulting instruction where nm says the function is.
$CFLAGS << " -O0 -g -fno-omit-frame-pointer"
$LDFLAGS << " -Wl,--build-id=sha1"
create_makefile("crashy")

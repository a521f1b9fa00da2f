#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Issue 4: the static functions of a stripped extension have the names that its separate debug file gives them, when that
# is installed where the process lives; the report says whose names they are, and like crashes stay alike without it.
# A file that is another build's, or no file at all, costs nothing.

load helper
load shop
load obey

setup_file() {
	work_begin
	crashy_build
	objcopy --only-keep-debug "$WORK/gems/crashy-1.0.0/lib/crashy.so" "$WORK/crashy.debug"
	strip "$WORK/gems/crashy-1.0.0/lib/crashy.so"
	BUILD_ID=$(readelf -n "$WORK/gems/crashy-1.0.0/lib/crashy.so" | awk '/Build ID/ {print $3}')
	export BUILD_ID
	mkdir -p /usr/lib/debug
	agent_start
}

teardown_file() {
	agent_stop
	work_end
}

# place NAME: where the debug file of that process is looked for. Its crashy.so is a file of its own.
place() {
	local place=$WORK/$1/debug/.build-id/${BUILD_ID:0:2}/${BUILD_ID:2}.debug
	mkdir -p "$(dirname "$place")"
	cp -r "$WORK/gems" "$WORK/$1/gems"
	chmod -R a+rX "$WORK/$1"
	echo "$place"
}

# dies NAME: in crashy.so, in mounts of its own that show what place NAME holds. Sets $report.
dies() {
	OBEY_IN="unshare --mount $WORK/enter $WORK/$1/debug" \
		obey_start "$1" ruby RUBYLIB="$WORK/$1/gems/crashy-1.0.0/lib"
	obey "$1" 'require "crashy"'
	watch_wait "$(process_pid "$1")"
	wait_until 10 agent_ready # nothing is asked any more
	obey_and_die "$1" 'Crashy.sig_dfl'
	report=$(report_of "$(process_pid "$1")")
	check "$report" '.native_frames[0].module | endswith("/crashy.so")'
	check "$report" '.unwind.end == "outermost" and .unwind.scanned == 0'
	check "$report" '.blame.gem == "crashy" and .blame.confidence == "high"'
}

setup() {
	cat >"$WORK/enter" <<-'EOT'
		#!/bin/sh
		mount --bind "$1" /usr/lib/debug && shift && exec "$@"
	EOT
	chmod 0755 "$WORK/enter"
}

unnamed() {
	check "$1" '.native_frames[0] | .symbol == null and .symbol_from == "none"'
}

@test "without its debug file the function has no name" {
	place bare >/dev/null
	dies bare
	unnamed "$report"
	jq -r .fingerprint <<<"$report" >"$WORK/fingerprint"
}

@test "its debug file names it, and the report says so" {
	cp "$WORK/crashy.debug" "$(place named)"
	dies named
	check "$report" '.native_frames[0] | .symbol == "crashy_sig_dfl" and .symbol_from == "debug_file"'
	check "$report" '.native_frames[0].symbol_offset > 0'
	check "$report" '[.modules[] | select(.path | endswith("/crashy.so")) | .symbols] == ["debug_file"]'
	check "$report" '[.native_frames[] | select(.symbol == "rb_vm_exec") | .symbol_from] | length > 0 and all(. != "none")'
	lap crash show "$(jq -r .id <<<"$report")" | grep -E "crashy_sig_dfl\+0x[0-9a-f]+, Ruby's 'sig_dfl' .* name by its debug file"
	[ "$(jq -r .fingerprint <<<"$report")" = "$(<"$WORK/fingerprint")" ]
}

@test "the debug file of another build is refused, and that is told" {
	echo 'int another_build = 1;' >>"$WORK/gems/crashy-1.0.0/ext/crashy.c"
	make -C "$WORK/gems/crashy-1.0.0/ext" >"$WORK/other.log" 2>&1
	objcopy --only-keep-debug "$WORK/gems/crashy-1.0.0/ext/crashy.so" "$(place wrong)"
	dies wrong
	unnamed "$report"
	grep -q "its debug file is of another build" "$WORK/agent.err"
}

@test "a debug file of a stranger is refused" {
	local place
	place=$(place stranger)
	cp "$WORK/crashy.debug" "$place"
	chown nobody "$place"
	dies stranger
	unnamed "$report"
	grep -q "belongs neither to root nor to its owner" "$WORK/agent.err"
}

@test "what means harm in its place harms nothing: a FIFO, a device, a link that leads nowhere, half a file" {
	local place examiners
	examiners=$(pgrep -s "$(process_pid agent)" | sort | tr '\n' ' ')
	mkfifo "$(place fifo)"
	dies fifo
	unnamed "$report"
	cp -a /dev/zero "$(place device)"
	dies device
	unnamed "$report"
	ln -s ../../../../../../etc/passwd "$(place link)"
	dies link
	unnamed "$report"
	head -c 3000 "$WORK/crashy.debug" >"$(place half)"
	dies half
	unnamed "$report"
	[ "$(pgrep -s "$(process_pid agent)" | sort | tr '\n' ' ')" = "$examiners" ]
	cp "$WORK/crashy.debug" "$(place again)"
	dies again
	check "$report" '.native_frames[0].symbol == "crashy_sig_dfl"'
}

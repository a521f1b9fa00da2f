#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Issue 4, degrading: the examiner of crashes killed, hung and out of memory, many crashes at once, and libraries
# that lie about themselves. The report is there with what was raw and says why; the next one is whole again.

load helper
load shop
load obey

setup_file() {
	work_begin
	crashy_build
	agent_start
	wait_until 10 other_examiner none
}

teardown_file() {
	agent_stop
	work_end
}

examiner() {
	pgrep -x lapidary-unwind -s "$(process_pid agent)"
}

# The pid of one that is not $1.
other_examiner() {
	[ -n "$(examiner)" ] && [ "$(examiner)" != "$1" ]
}

# dies NAME: a watched Ruby that dies in crashy.so right away. Sets $report.
dies() {
	obey_start "$1"
	obey "$1" 'require "crashy"'
	watch_wait "$(process_pid "$1")"
	obey_and_die "$1" 'Crashy.sig_dfl'
	report=$(report_of "$(process_pid "$1")")
}

# By tables up to the first frame of the process, through the extension, the interpreter and libc.
whole() {
	check "$1" '.unwind.end == "outermost" and .unwind.scanned == 0'
	check "$1" '.native_frames[0].module | endswith("/crashy.so")'
	check "$1" '[.native_frames[] | .module // ""] | any(contains("libruby"))'
	check "$1" '.native_frames | length > 8 and all(.how == "registers" or .how == "unwind_tables")'
	check "$1" '.native_frames[-1].symbol == "_start"'
}

# Marked, with the registers' frame and the blame that they give.
marked() {
	check "$1" '.unwind.end == "not_unwound" and (.unwind.why | test($why))' --arg why "$2"
	check "$1" '.native_frames[0].how == "registers" and (.native_frames[0].module | endswith("/crashy.so"))'
	check "$1" '.blame.gem == "crashy"'
}

@test "a crash is unwound to the first frame of its process" {
	dies plain
	whole "$report"
}

@test "the examiner killed: the next crash finds another" {
	local before
	before=$(examiner)
	kill -KILL "$before"
	wait_until 10 other_examiner "$before"
	dies after
	whole "$report"
}

@test "the examiner stopped: the report is made without, and the next crash is unwound" {
	local before
	before=$(examiner)
	kill -STOP "$before"
	dies stuck
	marked "$report" "longer than 2 s"
	wait_until 10 other_examiner "$before"
	dies next
	whole "$report"
}

@test "the examiner out of memory: the report is made, and the agent lives" {
	local before
	before=$(examiner)
	setpriv --reuid 60977 --regid 60977 --clear-groups prlimit --pid "$before" --as=1048576:1048576
	dies hungry
	check "$report" '.native_frames[0].module | endswith("/crashy.so")'
	check "$report" '.blame.gem == "crashy"'
	kill -KILL "$before" 2>/dev/null || true
	wait_until 10 other_examiner "$before"
	dies fed
	whole "$report"
}

# Its unwind tables, its symbols and its sections' list are noise; the code is what it was.
@test "a library with lies for tables costs its own frames and no more" {
	local file=$WORK/gems/crashy-1.0.0/lib/crashy.so offset size name
	cp "$file" "$WORK/crashy.good"
	for name in .eh_frame .eh_frame_hdr .symtab; do
		read -r offset size < <(readelf -SW "$file" | sed 's/^ *\[ *[0-9]*\]//' | awk -v n="$name" '$1 == n {print $4, $5}')
		head -c "$((16#$size))" /dev/urandom | dd of="$file" bs=1 seek="$((16#$offset))" conv=notrunc status=none
	done
	dies lied
	check "$report" '.native_frames[0].module | endswith("/crashy.so")'
	check "$report" '.native_frames[0].how == "registers"'
	cp "$WORK/crashy.good" "$file.new"
	mv "$file.new" "$file" # not in place: the old one is mapped and kept as what it was
	dies honest
	whole "$report"
}

@test "twenty crashes at once: a report each, none without a word" {
	local i
	for i in {1..20}; do
		obey_start "many$i"
		obey "many$i" 'require "crashy"'
	done
	for i in {1..20}; do
		watch_wait "$(process_pid "many$i")"
	done
	for i in {1..20}; do
		obey_send "many$i" 'Crashy.sig_dfl'
	done
	for i in {1..20}; do
		whole "$(report_of "$(process_pid "many$i")")"
	done
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What Ruby 3.3 does otherwise than the Ruby of this host, in the system that scripts/rubies makes: RUBY_CRASH_REPORT sends
# the report into a file, and it is captured there as well.

load helper
load obey

setup_file() {
	work_begin
	SYSTEM=${LAPIDARY_RUBIES:-$ROOT/build/rubies}/trixie
	export SYSTEM
	cat >"$WORK/enter" <<-'EOT'
		#!/bin/sh
		# enter SYSTEM WORK COMMAND…: there, with the work folder where it is here
		system=$1 work=$2
		shift 2
		mount --bind /proc "$system/proc" && mount --bind "$work" "$system$work" && exec chroot "$system" "$@"
	EOT
	chmod 0755 "$WORK/enter"
	[ ! -e "$SYSTEM/usr/bin/ruby" ] || mkdir -p "$SYSTEM$WORK"
	mkdir -m 0777 "$WORK/reports"
}

setup() {
	[ -e "$SYSTEM/usr/bin/ruby" ] || skip "scripts/rubies makes it"
}

teardown() {
	agent_stop
}

teardown_file() {
	[ ! -d "$SYSTEM$WORK" ] || rmdir -p --ignore-fail-on-non-empty "$SYSTEM$WORK"
	work_end
}

# dies NAME RUBY [NAME=VALUE…]: a process there that dies of it; BUNDLE and REPORT are its crash's then.
dies() {
	local name=$1 code=$2 pid
	shift 2
	OBEY_IN="unshare --mount --propagation private $WORK/enter $SYSTEM $WORK" obey_start "$name" ruby "$@"
	pid=$(process_pid "$name")
	obey "$name" 'require "fiddle"'
	watch_wait "$pid"
	obey_and_die "$name" "$code"
	wait_until 15 amended "$pid"
	BUNDLE=$(lap crashes --json | jq -r --argjson pid "$pid" '.crashes[] | select(.pid == $pid) | .bundle')
	REPORT=$(<"$BUNDLE/report.json")
	check "$REPORT" '.ruby | startswith("3.3.")'
}

amended() {
	[ "$(lap crashes --json | jq --argjson pid "$1" '[.crashes[] | select(.pid == $pid and .stderr)] | length')" = 1 ]
}

FAULT='Fiddle::Pointer.new(24)[0, 4]'

@test "RUBY_CRASH_REPORT: what goes into a file is captured, byte for byte" {
	agent_start --stderr-capture always
	dies filed "$FAULT" RUBY_CRASH_REPORT="$WORK/reports/filed.%p"
	[ "$(find "$WORK/reports" -name 'filed.*' | wc -l)" = 1 ]
	grep -q "BUG. Segmentation fault" "$WORK"/reports/filed.*
	check "$REPORT" '.stderr.state == "complete"'
	diff <(cat "$WORK"/reports/filed.*) "$BUNDLE/stderr.txt"
}

@test "RUBY_CRASH_REPORT: on demand, its end at least, and how much is missing is said" {
	local missed
	agent_start
	dies asked "$FAULT" RUBY_CRASH_REPORT="$WORK/reports/asked"
	check "$REPORT" '.stderr.state != "missing" and .stderr.bytes > 0'
	missed=$(jq -r '.stderr.why // "" | (capture("first (?<n>[0-9]+) bytes").n // "0")' <<<"$REPORT")
	echo "# $missed bytes of $(stat -c %s "$WORK/reports/asked") were written before the probe" >&3
	tail -c +$((missed + 1)) "$WORK/reports/asked" | diff - "$BUNDLE/stderr.txt"
}

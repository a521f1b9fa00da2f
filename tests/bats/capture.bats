#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What may be taken of a dying process is for its app to say: none, registers, stack. What was not taken is
# marked so in the report, and nothing else is poorer for it.

load helper

setup_file() {
	local level
	work_begin
	jq -n '{capture: "stack", apps: [
		{name: "shy", command: "shy.rb", capture: "none"},
		{name: "modest", command: "modest.rb", capture: "registers"},
		{name: "unseen", command: "unseen.rb", exclude: true}]}' >"$WORK/lapidary.json"
	for level in shy modest open unseen; do
		echo 'sleep 0.01 until File.exist?(ARGV[0]); Process.kill(:SEGV, $$); sleep' >"$WORK/app/$level.rb"
	done
	agent_start --config "$WORK/lapidary.json"
}

teardown_file() {
	agent_stop
	work_end
}

# dies LEVEL: that app's process is watched and dies. Sets $row, $report, $bundle.
dies() {
	local pid
	rm -f "$WORK/gate"
	process_start "$1" ruby "$WORK/app/$1.rb" "$WORK/gate"
	pid=$(process_pid "$1")
	watch_wait "$pid"
	touch "$WORK/gate"
	row=$(crash_wait "$pid")
	report=$(lap crash show "$(jq -r .id <<<"$row")" --json)
	bundle=$(jq -r .bundle <<<"$row")
}

@test "none: no registers, no stack, and the report says why" {
	dies shy
	check "$row" '.app == "shy" and .signal == "SIGSEGV" and .cause == "injected"'
	check "$report" '.registers == null and .parts.registers.state == "missing"'
	[ ! -e "$bundle/stack.bin" ]
	[ -e "$bundle/maps.txt" ]
}

@test "registers: no stack" {
	dies modest
	check "$row" '.app == "modest"'
	check "$report" '.registers.rip != null and .parts.stack.state == "missing"'
	[ ! -e "$bundle/stack.bin" ]
}

@test "stack: what the others have not" {
	dies open
	# the kernel leaves a random gap below the arguments: a page of it that nobody ever touched is not there
	check "$report" '.registers.rip != null and
		(.parts.stack.state == "complete" or (.parts.stack.why | test("^1 of [0-9]+ pages could not be read$")))'
	[ -s "$bundle/stack.bin" ]
}

@test "an excluded app is not watched, and doctor says that the configuration wants it so" {
	rm -f "$WORK/gate"
	process_start unseen ruby "$WORK/app/unseen.rb" "$WORK/gate"
	excluded() { lap doctor "$(process_pid unseen)" --json | jq -e '.watched == false and (.why | contains("exclude"))'; }
	wait_until 10 excluded
	touch "$WORK/gate"
	wait_until 10 session_empty "$(process_pid unseen)"
	check "$(lap crashes --json)" '[.crashes[] | select(.app == "unseen")] | length == 0'
}

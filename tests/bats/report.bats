#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Ruby's own report of a crash: what the dying process wrote, wherever it wrote it, is in the bundle.

load helper
load shop
load obey

setup_file() {
	work_begin
	crashy_build
}

teardown() {
	local name
	for name in "$WORK"/victim*.pid; do
		[ ! -e "$name" ] || process_stop "$(basename "$name" .pid)" KILL
	done
	agent_stop
}

teardown_file() {
	work_end
}

# victim NAME RUBY: a process that runs this and dies; ID, BUNDLE and REPORT are its crash's then.
victim() {
	local pid
	[ -e "$WORK/$1.pid" ] || obey_start "$1"
	pid=$(process_pid "$1")
	watch_wait "$pid"
	obey_and_die "$1" "require 'crashy'; $2"
	wait_until 15 crash_amended "$pid"
	BUNDLE=$(lap crashes --json | jq -r --argjson pid "$pid" '.crashes[] | select(.pid == $pid) | .bundle')
	REPORT=$(<"$BUNDLE/report.json")
}

# The store knows what it wrote, or that it wrote nothing.
crash_amended() {
	[ "$(lap crashes --json | jq --argjson pid "$1" '[.crashes[] | select(.pid == $pid and .stderr)] | length')" = 1 ]
}

missed_bytes() {
	jq -r '.stderr.why // "" | (capture("first (?<n>[0-9]+) bytes").n // 0)' <<<"$REPORT"
}

@test "always: what is kept is what was written, byte for byte" {
	agent_start --stderr-capture always
	victim victim1 "Crashy.null"
	check "$REPORT" '.stderr.state == "complete" and .stderr.why == null and .parts.stderr.state == "complete"'
	cmp "$WORK/victim1.err" "$BUNDLE/stderr.txt"
	grep -q "BUG. Segmentation fault" "$BUNDLE/stderr.txt"
	[ "$(stat -c %a "$BUNDLE/stderr.txt")" = 600 ]
	check "$REPORT" ".stderr.bytes == $(stat -c %s "$WORK/victim1.err")"
}

@test "on demand: from the marked head on it is what was written, and the probe is taken off again" {
	local missed
	agent_start
	if probe_attached; then false; fi
	victim victim2 "Crashy.null"
	missed=$(missed_bytes)
	echo "# missed the first $missed of $(stat -c %s "$WORK/victim2.err") bytes" >&3
	cmp <(tail -c "+$((missed + 1))" "$WORK/victim2.err") "$BUNDLE/stderr.txt"
	if [ "$missed" = 0 ]; then
		check "$REPORT" '.stderr.state == "complete"'
	else
		check "$REPORT" '.stderr.state == "partial" and .parts.stderr.state == "partial"'
	fi
	[ $((missed * 2)) -lt "$(stat -c %s "$WORK/victim2.err")" ]
	wait_until 10 probe_detached
}

probe_attached() {
	local id
	id=$("$BPFTOOL" -j prog list | jq '.[] | select(.name == "report_write") | .id')
	[ "$("$BPFTOOL" -j link list | jq --argjson id "$id" '[.[] | select(.prog_id == $id)] | length')" != 0 ]
}

probe_detached() {
	! probe_attached
}

@test "a thread that is not the first, rb_bug, an abort: each as it can be" {
	agent_start --stderr-capture always
	victim victim3 "Thread.new { Crashy.null }.join"
	check "$REPORT" '.stderr.state == "complete"'
	cmp "$WORK/victim3.err" "$BUNDLE/stderr.txt"
	victim victim4 "Crashy.rb_bug"
	check "$REPORT" '.stderr.state == "complete"'
	cmp "$WORK/victim4.err" "$BUNDLE/stderr.txt"
}

@test "stderr redirected, to a file or a pipe, or closed" {
	agent_start --stderr-capture always
	install -o nobody /dev/null "$WORK/elsewhere"
	victim victim5 "\$stderr.reopen('$WORK/elsewhere'); Crashy.null"
	check "$REPORT" '.stderr.state == "complete"'
	cmp "$WORK/elsewhere" "$BUNDLE/stderr.txt"
	# a reader that is slower than the report
	victim victim6 "r, w = IO.pipe; pid = spawn('sleep 0.3; cat > $WORK/elsewhere', in: r, close_others: true);
		r.close; \$stderr.reopen(w); w.close; Crashy.null"
	wait_until 5 cmp "$WORK/elsewhere" "$BUNDLE/stderr.txt"
	check "$REPORT" '.stderr.state == "complete"'
	victim victim7 "\$stderr.close rescue nil; IO.for_fd(2).close rescue nil; Crashy.null"
	grep -q "BUG. Segmentation fault" "$BUNDLE/stderr.txt"
}

@test "what a rescued fault wrote is not of the crash that follows" {
	agent_start --stderr-capture always
	obey_start victim8
	watch_wait "$(process_pid victim8)"
	obey victim8 "require 'crashy'; begin; Crashy.overflow_in_ruby; rescue SystemStackError; warn 'rescued'; end"
	victim victim8 "Crashy.null"
	check "$REPORT" '.stderr.state == "complete"'
	cmp <(sed 1d "$WORK/victim8.err") "$BUNDLE/stderr.txt"
}

@test "Property 19: secrets in what it writes are removed, and off keeps nothing" {
	agent_start --stderr-capture always
	victim victim9 "\$0 = 'app --token=hidden-3f9a password=hidden-77c1 postgres://u:hidden-aa02@db/x'; Crashy.null"
	check "$REPORT" '.stderr.state == "complete"'
	run grep -rl hidden- "$WORK/agent.state"
	[ "$status" = 1 ]
	agent_stop
	agent_start --stderr-capture off
	obey_start victim10
	watch_wait "$(process_pid victim10)"
	obey_and_die victim10 "require 'crashy'; Crashy.null"
	wait_until 15 one_ended "$(process_pid victim10)"
	BUNDLE=$(lap crashes --json | jq -r --argjson pid "$(process_pid victim10)" '.crashes[] | select(.pid == $pid) | .bundle')
	[ ! -e "$BUNDLE/stderr.txt" ]
	jq -e '.stderr.state == "missing" and .stderr.why == "stderr_capture is off"' "$BUNDLE/report.json"
}

@test "a signal's default action: it is final that nothing was written" {
	agent_start
	obey_start victim11
	watch_wait "$(process_pid victim11)"
	obey_and_die victim11 "require 'crashy'; Crashy.sig_dfl"
	wait_until 15 one_ended "$(process_pid victim11)"
	BUNDLE=$(lap crashes --json | jq -r --argjson pid "$(process_pid victim11)" '.crashes[] | select(.pid == $pid) | .bundle')
	REPORT=$(<"$BUNDLE/report.json")
	check "$REPORT" '.exit.signal == "SIGSEGV"'
	check "$REPORT" '.stderr.state == "missing" and (.stderr.why | startswith("nothing was written after the fault"))'
	check "$REPORT" '.parts.stderr.why == .stderr.why'
}

one_ended() {
	[ "$(lap crashes --json | jq --argjson pid "$1" '[.crashes[] | select(.pid == $pid and .status != null)] | length')" = 1 ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Property 16: whatever ends, its status says why: the agent, the commands, and the workers whose ends the audit tells.

load helper
load postgres
load shop
load obey
load act

setup_file() {
	act_begin
}

teardown_file() {
	act_end
}

# exits_with STATUS COMMAND…
exits_with() {
	local want=$1 status=0
	shift
	"$@" >"$WORK/exit.out" 2>&1 </dev/null || status=$?
	[ "$status" = "$want" ] || { echo "$* exited with $status, not $want" >&2; cat "$WORK/exit.out" >&2; return 1; }
}

# agent_exits_with STATUS SIGNAL [FLAG…]: an agent of its own, ended by that signal.
agent_exits_with() {
	local want=$1 signal=$2
	shift 2
	mkdir -p "$WORK/ends.state" "$WORK/ends.run"
	process_start ends bash -c '"$0" "$@"; echo "exit $?"' "$LAPIDARY" agent --state-dir "$WORK/ends.state" --run-dir "$WORK/ends.run" \
		--rules "$ROOT/rules" "$@"
	wait_until 20 agent_ready ends
	kill -"$signal" "$(pgrep -P "$(process_pid ends)" -x lapidary)"
	wait_until 20 grep -q "^exit" "$WORK/ends.out"
	[ "$(awk '$1 == "exit" {print $2}' "$WORK/ends.out")" = "$want" ] || { tail -n 5 "$WORK"/ends.{out,err} >&2; return 1; }
	wait_until 10 session_empty "$(process_pid ends)"
}

@test "Property 16: the agent ends with 0 by TERM and by INT, with an app connected" {
	agent_exits_with 0 TERM
	agent_exits_with 0 INT
}

@test "Property 16: a wrong flag, a socket where nobody answers, and a process without rights say why" {
	exits_with 2 "$LAPIDARY" agent --no-such-flag
	exits_with 4 "$LAPIDARY" breakers --run-dir "$WORK/nowhere"
	exits_with 4 "$LAPIDARY" worker restart 4711 --run-dir "$WORK/nowhere"
	exits_with 2 "$LAPIDARY" breaker open not-a-target --run-dir "$WORK/nowhere"
	cp "$LAPIDARY" "$WORK/lapidary-copy"
	exits_with 3 as_user nobody "$WORK/lapidary-copy" agent --state-dir "$WORK/nobody" --run-dir "$WORK/nobody" --rules "$WORK/rules"
}

@test "Property 16: how a worker went is in the line of its restart" {
	prefork_start polite deaf polite
	pid=$(prefork_child polite)
	lap worker restart "$pid"
	check "$(restart_line "$pid")" '.outcome_reason | test("exited with 0")'
	pid=$(prefork_child deaf)
	wait_until 5 prefork_has 4
	prefork_serves
	lap worker restart "$pid" --now
	check "$(restart_line "$pid")" '.outcome == "done" and (.outcome_reason | test("SIGKILL"))'
	process_stop plain KILL
}

@test "Property 16: a command's status says whether it is under way, was refused, or was not understood" {
	prefork_start polite
	pid=$(prefork_child polite)
	exits_with 1 lap worker restart "$pid"
	exits_with 1 lap worker restart 1
	exits_with 2 lap worker restart none
	process_stop plain KILL
	prefork_start polite polite
	pid=$(prefork_child polite)
	exits_with 0 lap worker restart "$pid"
	wait_until 10 process_gone "$pid"
	process_stop plain KILL
}

@test "Property 16: a worker that somebody else kills on its way out is not said to have ended as ordered" {
	prefork_start deaf deaf
	pid=$(prefork_child deaf)
	lap worker restart "$pid"
	kill -KILL "$pid" # before its deadline
	check "$(restart_line "$pid")" '.outcome_reason | test("died of SIGKILL on its way out, which Lapidary did not send")'
	process_stop plain KILL
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What the gate lets through, and what then happens to a real process: consent, servers and the signals that they
# understand, the deadline, budgets.

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

@test "without consent a decision is recorded as what would have been done, and nothing is" {
	shop_start
	shop_watched
	poke_puma
	check "$(restart_line "$pid")" '.outcome == "observed" and .consent == "none" and .by == "rule" and .evidence.count == 1'
	process_alive "$pid"
	shop_get /pid
}

@test "an operator's word is consent: a Puma worker gets TERM, drains, and is replaced" {
	local line
	shop_warm
	shop_workers >"$WORK/before"
	pid=$(head -n 1 "$WORK/before")
	lap worker restart "$pid"
	line=$(restart_line "$pid")
	check "$line" '.outcome == "done" and .consent == "operator" and .by == "operator" and (.outcome_reason | test("exited with 0|SIGTERM"))'
	process_gone "$pid"
	wait_until 20 shop_whole
	[ "$(comm -12 <(sort "$WORK/before") <(shop_workers | sort) | wc -l)" = 2 ]
	grep -q "signal.*Terminated to $pid" "$WORK/agent.err" "$WORK/agent.out"
}

@test "a library that accepts restarts has consented, and acknowledges; one that accepts nothing has not" {
	local name
	for name in willing spare unwilling; do
		obey_start "$name" ruby LAPIDARY_SOCKET="$WORK/agent.run/app.sock" SHOP_DATABASE="$SHOP_DATABASE"
		obey "$name" 'require "pg"; $db = PG.connect(ENV["SHOP_DATABASE"]); require "lapidary"'
		watch_wait "$(process_pid "$name")"
		if [ "$name" = unwilling ]; then obey "$name" 'Lapidary.start(app: "asked", accepts: [])'; else obey "$name" 'Lapidary.start(app: "asked")'; fi
		wait_until 5 obey_says "$name" 'Lapidary.connected?' true
	done
	obey unwilling '$db.exec("select 1/0") rescue nil'
	check "$(restart_line "$(process_pid unwilling)")" '.outcome == "observed" and .consent == "none"'
	process_alive "$(process_pid unwilling)"
	obey willing '$db.exec("select 1/0") rescue nil'
	wait_until 10 process_gone "$(process_pid willing)"
	check "$(restart_line "$(process_pid willing)")" '.outcome == "done" and .consent == "accepts" and .by == "rule"'
	process_stop spare KILL
	process_stop unwilling KILL
}

@test "a Unicorn worker gets QUIT, not TERM, and its master makes another" {
	local line pid
	mkdir -p "$WORK/uni"
	chown nobody "$WORK/uni"
	process_start unicorn env SHOP_SOCKET="$WORK/uni/uni.sock" SHOP_DATABASE="$SHOP_DATABASE" \
		RUBYLIB="$WORK/gems/crashy-1.0.0/lib" HOME=/nonexistent \
		setpriv --reuid nobody --regid nogroup --clear-groups unicorn -E production -c "$WORK/app/unicorn.rb" "$WORK/app/config.ru"
	three_workers() { [ "$(pgrep -cP "$(process_pid unicorn)")" = 3 ] && http_get "$WORK/uni/uni.sock" /pid; }
	wait_until 30 three_workers
	# shellcheck disable=SC2046 # pids
	watch_wait "$(process_pid unicorn)" $(pgrep -P "$(process_pid unicorn)")
	pid=$(pgrep -P "$(process_pid unicorn)" | head -n 1)
	# shellcheck disable=SC2046 # pids
	unicorn_serves() { http_get "$WORK/uni/uni.sock" '/query?select+1' && serves $(pgrep -P "$(process_pid unicorn)"); }
	wait_until 20 unicorn_serves
	lap worker restart "$pid"
	line=$(restart_line "$pid")
	check "$line" '.outcome == "done" and (.outcome_reason | test("exited with 0|SIGQUIT"))'
	grep -q "signal.*Quit to $pid" "$WORK/agent.err" "$WORK/agent.out"
	process_gone "$pid"
	wait_until 15 three_workers
	http_get "$WORK/uni/uni.sock" /pid
	process_stop unicorn QUIT
}

@test "a child of a plain preforking parent gets TERM, and is made anew" {
	prefork_start polite polite
	pid=$(prefork_child polite)
	lap worker restart "$pid"
	check "$(restart_line "$pid")" '.outcome == "done" and (.outcome_reason | test("exited with 0"))'
	process_gone "$pid"
	wait_until 10 prefork_has 3
	process_stop plain KILL
}

@test "a worker that ignores TERM is killed at its deadline, not before" {
	local line
	prefork_start deaf deaf
	pid=$(prefork_child deaf)
	lap worker restart "$pid"
	process_alive "$pid"
	line=$(restart_line "$pid")
	check "$line" '.outcome == "done" and (.outcome_reason | test("SIGKILL at the deadline")) and .took_ms >= 2000 and .took_ms < 8000'
	process_gone "$pid"
	process_stop plain KILL
}

@test "who calls itself a Puma worker and handles no signal survives" {
	local line
	prefork_start silent polite polite
	pid=$(prefork_child silent)
	[[ "$(tr '\0' ' ' <"/proc/$pid/cmdline")" == puma:* ]]
	run lap worker restart "$pid"
	line=$(restart_line "$pid")
	check "$line" '.outcome == "failed" and (.outcome_reason | length > 0)'
	process_alive "$pid"
	process_stop plain KILL
}

@test "Property 12: the last healthy worker stays, whoever asks" {
	prefork_start polite
	pid=$(prefork_child polite)
	run lap worker restart "$pid"
	[ "$status" = 1 ]
	check "$(restart_line "$pid")" '.outcome == "refused" and (.outcome_reason | test("last healthy worker"))'
	process_alive "$pid"
	process_stop plain KILL
}

@test "a master gets no order of its library: it would end the whole app" {
	obey_start chief ruby LAPIDARY_SOCKET="$WORK/agent.run/app.sock"
	watch_wait "$(process_pid chief)"
	obey chief 'require "lapidary"; $orders = []; Lapidary.on_restart { |order| $orders << order }
		Lapidary.start(app: "chief", role: "master"); 2.times { fork { sleep } }'
	wait_until 10 has_children chief 2
	run lap worker restart "$(process_pid chief)"
	check "$(restart_line "$(process_pid chief)")" '.outcome == "failed"'
	obey_says chief '$orders.size' 0
	[ "$(pgrep -c -P "$(process_pid chief)")" = 2 ]
	process_stop chief KILL
}

@test "a server alone that forked a helper is still the last healthy worker" {
	obey_start lone ruby LAPIDARY_SOCKET="$WORK/agent.run/app.sock"
	watch_wait "$(process_pid lone)"
	obey lone 'require "lapidary"; $orders = []; Lapidary.on_restart { |order| $orders << order }
		Lapidary.start(app: "lone", role: "single"); 2.times { fork { sleep } }'
	wait_until 10 has_children lone 2
	run lap worker restart "$(process_pid lone)"
	[ "$status" = 1 ]
	[[ "$output" == *"last healthy worker"* ]]
	obey_says lone '$orders.size' 0
	process_stop lone KILL
}

# The agent knows that many children of it, as workers.
has_children() {
	check "$(lap workers --json)" '[.workers[] | select(.app == $app and .role == "worker")] | length == $n' --arg app "$1" --argjson n "$2"
}

@test "an id that is not watched, and one that is nobody's, are refused with a reason" {
	run lap worker restart $$
	[ "$status" = 1 ]
	[[ "$output" == *"not watched"* ]]
	run lap worker restart 1
	[ "$status" = 1 ]
	run lap worker restart none
	[ "$status" = 2 ]
}

@test "--act for an app is consent to signals by a rule, for that app alone" {
	act_again --act shop
	shop_warm
	poke_puma
	check "$(restart_line "$pid")" '.outcome == "done" and .consent == "configuration" and .by == "rule"'
	process_gone "$pid"
	prefork_start polite polite
	pid=$(prefork_child polite)
	kill -USR2 "$pid"
	check "$(restart_line "$pid")" '.outcome == "observed"'
	process_alive "$pid"
	process_stop plain KILL
	wait_until 20 shop_whole
}

@test "Property 12: a budget: so many restarts of an app in a minute, the others are refused" {
	local round
	act_again --act all --restarts-per-minute 2
	prefork_start polite polite polite
	for round in 1 2 3; do
		pid=$(prefork_child polite)
		kill -USR2 "$pid"
		restart_line "$pid" >"$WORK/line.$round"
		wait_until 10 prefork_has $((3 + (round < 3 ? round : 2)))
		prefork_serves
	done
	check "$(cat "$WORK/line.1")" '.outcome == "done"'
	check "$(cat "$WORK/line.2")" '.outcome == "done"'
	check "$(cat "$WORK/line.3")" '.outcome == "refused" and (.outcome_reason | test("budget"))'
	process_alive "$pid"
	process_stop plain KILL
}

@test "paused: no order, no signal, whatever the consent; resumed: again" {
	act_again --act all
	prefork_start polite polite polite
	lap actions pause --for 60s
	pid=$(prefork_child polite)
	kill -USR2 "$pid"
	check "$(restart_line "$pid")" '.outcome == "refused" and (.outcome_reason | test("paused"))'
	run lap worker restart "$pid"
	[ "$status" = 1 ]
	process_alive "$pid"
	lap actions resume
	lap worker restart "$pid"
	check "$(restart_line "$pid")" '.outcome == "done"'
	process_gone "$pid"
	process_stop plain KILL
	shop_stop
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What the gate lets through, and what then happens to a real process: consent, servers and the signals that they
# understand, the deadline, the last worker, budgets. A rule of the test's own asks for a worker's restart when
# one of its statements divides by zero, so that a decision can be had at will.

load helper
load postgres
load shop
load obey

setup_file() {
	work_begin
	crashy_build
	library_copy
	postgres_start
	cp -r "$ROOT/rules" "$WORK/rules"
	jq -n '{name: "poke", why: "A decision to restart a worker that a test can have at will.",
		match: {notice: "db_error", where: [{field: "sqlstate", is: "22012"}]}, per: ["app", "pid"], count: 1, window_s: 1, quiet_s: 1,
		incident: {kind: "poke", severity: "warning", subject: "{app} {pid}", title: "{app}: {pid} divided by zero"},
		decisions: [{action: "worker.restart", target: "{app}", reason: "{pid} divided by zero"}]}' >"$WORK/rules/poke.json"
	act_start
}

teardown_file() {
	agent_stop
	postgres_stop
	work_end
}

# act_start [FLAG…]: the agent, with a deadline that a test can wait for.
act_start() {
	AGENT_RULES=$WORK/rules agent_start --restart-deadline 2s --probe-interval 0 --lease 2s "$@"
}

# act_again [FLAG…]: with other flags.
act_again() {
	agent_stop
	act_start "$@"
}

# restart_line PID: the last audit line about a restart of that process, once it is final.
restart_line() {
	wait_until 15 restart_final "$1" || { lap actions --json >&2; return 1; }
	lap actions --json | jq -c --argjson pid "$1" '[.actions[] | select(.pid == $pid and .action == "worker.restart")] | sort_by(.time) | last'
}

restart_final() {
	lap actions --json | jq -e --argjson pid "$1" \
		'[.actions[] | select(.pid == $pid and .action == "worker.restart")] | length >= 1 and all(.outcome != "sent")'
}

# poke_puma: a worker of the shop divides by zero. Sets $pid.
poke_puma() {
	read -r pid _ < <(shop_get '/query?select+1/0')
}

# http_get SOCKET PATH: the body, from a server that closes after each answer.
http_get() {
	ruby --disable-gems -rsocket -e 's = UNIXSocket.new(ARGV[0]); s.write("GET #{ARGV[1]} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
		puts s.read.split("\r\n\r\n", 2)[1]' "$1" "$2"
}

prefork_start() {
	process_start plain env SHOP_DATABASE="$SHOP_DATABASE" HOME=/nonexistent \
		setpriv --reuid nobody --regid nogroup --clear-groups ruby "$WORK/app/prefork.rb" "$@"
	wait_until 15 prefork_has $#
	# shellcheck disable=SC2046 # pids
	watch_wait "$(process_pid plain)" $(pgrep -P "$(process_pid plain)")
}

prefork_has() {
	[ "$(grep -c . "$WORK/plain.out")" -ge "$1" ]
}

# prefork_child HOW: the pid of the youngest child of that kind.
prefork_child() {
	awk -v how="$1" '$2 == how {pid = $1} END {print pid}' "$WORK/plain.out"
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
	shop_watched
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

@test "the last healthy worker stays, whoever asks" {
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
	shop_watched
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

@test "a budget: so many restarts of an app in a minute, the others are refused" {
	local round
	act_again --act all --restarts-per-minute 2
	prefork_start polite polite polite
	for round in 1 2 3; do
		pid=$(prefork_child polite)
		kill -USR2 "$pid"
		restart_line "$pid" >"$WORK/line.$round"
		wait_until 10 prefork_has $((3 + (round < 3 ? round : 2)))
		# shellcheck disable=SC2046 # pids
		watch_wait $(pgrep -P "$(process_pid plain)")
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
	# shellcheck disable=SC2046 # pids
	watch_wait $(pgrep -P "$(process_pid plain)")
	lap worker restart "$pid" --now
	check "$(restart_line "$pid")" '.outcome == "done" and (.outcome_reason | test("SIGKILL"))'
	process_stop plain KILL
}

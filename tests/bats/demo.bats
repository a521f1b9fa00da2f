#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Acceptance 1 of the second half, the story that `make demo` tells, as assertions: one shop, one agent, one
# database, in this order. A steady client keeps count all the while.
# shellcheck disable=SC2034,SC2154 # shared between the story, its assertions and the demo

load helper
load postgres
load shop
load story

setup_file() {
	work_begin
	story_start
}

teardown_file() {
	story_stop
	work_end
}

@test "a worker crashes: the others serve, and the verdict names the gem and the remedy" {
	local began
	began=$(now_ms)
	chapter_crash
	check "$row" '.app == "shop" and .signal == "SIGSEGV" and .blame.gem == "crashy" and .blame.version == "1.0.0"'
	lap crash show "$(jq -r .id <<<"$row")" | grep -q crashy
	check "$(lap incidents --json)" '.incidents | any(.kind == "crash" and (.remedy | contains("gem pristine crashy")))'
	# what the dying worker had accepted is lost with it, and nothing else
	read -r ok busy failed slowest _ pids < <(traffic_since "$began")
	echo "# ok $ok, 503 $busy, failed $failed, slowest $slowest ms, workers that answered $pids" >&3
	[ "$ok" -ge 20 ]
	[ "$busy" = 0 ]
	[ "$failed" -le 4 ]
	[ "$pids" -ge 3 ]
	[ "$slowest" -lt 5000 ]
}

@test "a worker is ordered to restart: the order is acknowledged, it drains, a fresh one serves" {
	local began
	began=$(now_ms)
	chapter_restart
	check "$action" '.outcome == "done" and .by == "operator" and .pid == $pid' --argjson pid "$old"
	check "$action" '.took_ms >= 0 and .finished != null and .consent != "none"'
	check "$action" '.outcome_reason | test("kill"; "i") | not'
	[ "$fresh" != "$old" ]
	process_alive "$fresh"
	# a graceful restart loses no request at all
	read -r ok busy failed slowest _ < <(traffic_since "$began")
	echo "# ok $ok, 503 $busy, failed $failed, slowest $slowest ms" >&3
	[ "$ok" -ge 20 ]
	[ "$((busy + failed))" = 0 ]
}

@test "Property 12: workers that crash again and again are held back, with growing waits" {
	local wait first began
	rm -f "$WORK/deaths"
	began=$(now_ms)
	chapter_loop
	check "$(actions_of worker.hold)" 'length >= 1 and (last | .app == "shop" and .by == "rule" and .evidence.count >= 3)'
	check "$(actions_of worker.hold)" 'last | .outcome == "done" or .outcome == "sent"'
	check "$(lap decisions --json)" '.decisions | any(.action == "worker.hold" and .count >= 3)'
	first=$(acting | jq '.holds[0].wait_ms')
	[ "$first" -gt 0 ]
	# one more crash: the next boot waits longer, and never more than 20 s
	shop_die /crash/null
	waits_longer() { acting | jq -e --argjson first "$first" '.holds[0].wait_ms > $first and .holds[0].wait_ms <= 20000'; }
	wait_until 15 waits_longer
	# the others serve all the while, and those that were held serve in the end
	wait_until 40 shop_whole
	read -r ok busy failed slowest _ < <(traffic_since "$began")
	echo "# ok $ok, 503 $busy, failed $failed, slowest $slowest ms" >&3
	[ "$ok" -ge 20 ]
	[ "$busy" = 0 ]
}

@test "the database is stopped: the breaker opens, clients get 503 at once; it closes when the database is back" {
	local began
	chapter_stopped
	check "$(lap breakers --json)" '.breakers | any(.target == $target and .state != "closed" and .app == "shop" and .lease_ms > 0)' \
		--arg target "$TARGET"
	check "$(actions_of breaker.open)" 'any(.target == $target and .outcome == "done" and .by == "rule")' --arg target "$TARGET"
	began=$(now_ms)
	wait_until 10 refused_since "$began" 40
	read -r ok busy failed slowest median _ < <(traffic_since "$began" "$(now_ms)")
	echo "# open after $open_ms ms; then ok $ok, 503 $busy, failed $failed, slowest $slowest ms, a 503 took $median ms" >&3
	[ "$ok" = 0 ]
	[ "$failed" -le 2 ]
	[ "$median" -lt 100 ]
	chapter_started
	echo "# closed $closed_ms ms after the database was back" >&3
	check "$(lap breakers --json)" '.breakers | all(.state == "closed")'
	began=$(now_ms)
	wait_until 10 served_since "$began" 40
	read -r _ busy failed _ < <(traffic_since "$began" "$(now_ms)")
	[ "$((busy + failed))" = 0 ]
}

@test "the database is frozen: the prober sees it, the breaker opens, and closes when it is thawed" {
	local began
	chapter_frozen
	check "$(lap breakers --json)" '.breakers | any(.target == $target and .state != "closed" and
		(.last_test_result | test("timeout")))' --arg target "$TARGET"
	began=$(now_ms)
	wait_until 10 refused_since "$began" 40
	read -r ok busy failed slowest median _ < <(traffic_since "$began" "$(now_ms)")
	echo "# open after $open_ms ms; then ok $ok, 503 $busy, failed $failed, slowest $slowest ms, a 503 took $median ms" >&3
	[ "$ok" = 0 ]
	[ "$median" -lt 100 ]
	chapter_thawed
	echo "# closed $closed_ms ms after the database was thawed" >&3
}

@test "Property 11: the crash of one worker changes no breaker, and no other worker loses its connection" {
	local before
	wait_until 40 shop_whole
	backends() { sql shop "select pid from pg_stat_activity where usename = 'shop' order by 1"; }
	wait_until 10 served_since "$(now_ms)" 40
	before=$(backends | wc -l)
	[ "$before" -ge 3 ]
	backends >"$WORK/backends"
	shop_die /crash/null
	wait_until 10 served_since "$(now_ms)" 20
	# a worker has two threads, so at most two connections went
	[ "$(backends | comm -12 <(sort "$WORK/backends") <(backends | sort) | wc -l)" -ge $((before - 2)) ]
	breaker_is closed
}

@test "every action of the story has a line with its outcome" {
	wait_until 20 nothing_pending
	check "$(lap actions --json)" '.actions | all(.outcome | IN("done", "observed", "refused", "failed"))'
	check "$(lap actions --json)" '[.actions[].id] | length == (unique | length)'
	check "$(lap actions --json)" '[.actions[] | select(.action == "breaker.close" and .outcome == "done")] | length >= 2'
	[ "$(lap actions | wc -l)" -ge 8 ]
}

nothing_pending() {
	lap actions --json | jq -e '.actions | all(.outcome != "sent")'
}

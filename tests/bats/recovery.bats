#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Properties 10, 11 and 12 on real parts: workers of one shop die in five ways each, and nobody else notices;
# and what dies again and again waits longer each time before it boots.

load helper
load postgres
load shop
load obey
load story

setup_file() {
	work_begin
	# holds would only make this slow: they are the last test's, with an agent of their own
	story_start --hold-max 0
}

teardown_file() {
	story_stop
	work_end
}

# dies_alone HOW: one worker dies so. It is one process's end: told, replaced, and the requests of the others go on.
dies_alone() {
	local began ok busy failed slowest
	wait_until 30 shop_whole
	wait_until 15 shop_joined
	# the worker that came last may not be watched yet
	shop_watched
	shop_workers >"$WORK/before"
	began=$(now_ms)
	pid=$(shop_die "/crash/$1")
	row=$(crash_wait "$pid")
	check "$row" '.app == "shop" and .pid == $pid' --argjson pid "$pid"
	wait_until 20 shop_whole
	wait_until 10 served_since "$began" 40
	# the other two are the same as before
	[ "$(comm -12 <(sort "$WORK/before") <(shop_workers | sort) | wc -l)" = 2 ]
	read -r ok busy failed slowest _ < <(traffic_since "$began")
	echo "# $1: ok $ok, 503 $busy, failed $failed, slowest $slowest ms" >&3
	[ "$busy" = 0 ]
	[ "$failed" -le 4 ] # what the dying worker had accepted
}

@test "Property 10: a NULL pointer ends one worker, and work moves on" { dies_alone null; }
@test "Property 10: a fault without a handler ends one worker, and work moves on" { dies_alone sig_dfl; }
@test "Property 10: an abort ends one worker, and work moves on" { dies_alone abort; }
@test "Property 10: a jump to nowhere ends one worker, and work moves on" { dies_alone bad_jump; }
@test "Property 10: a broken heap ends one worker, and work moves on" { dies_alone double_free; }

# The connections of the shop that were there before and are there still.
backends() {
	sql shop "select pid from pg_stat_activity where usename = 'shop'" | sort
}

# isolated HOW: when a worker dies so, at most its own two connections go, and no breaker changes.
isolated() {
	local before
	wait_until 30 shop_whole
	shop_watched
	wait_until 10 served_since "$(now_ms)" 60
	backends >"$WORK/backends"
	before=$(wc -l <"$WORK/backends")
	[ "$before" -ge 3 ]
	lap breakers --json | jq -c '[.breakers[] | [.target, .scope, .state]]' >"$WORK/breakers"
	pid=$(shop_die "/crash/$1")
	crash_wait "$pid"
	wait_until 10 served_since "$(now_ms)" 20
	[ "$(comm -12 "$WORK/backends" <(backends) | wc -l)" -ge $((before - 2)) ]
	lap breakers --json | jq -c '[.breakers[] | [.target, .scope, .state]]' | diff "$WORK/breakers" -
}

@test "Property 11: no other worker loses a connection or its breakers by a NULL pointer" { isolated null; }
@test "Property 11: nor by a fault without a handler" { isolated sig_dfl; }
@test "Property 11: nor by an abort" { isolated abort; }
@test "Property 11: nor by an illegal instruction" { isolated illegal; }
@test "Property 11: nor by a division by zero in C" { isolated divide; }

# dies_in_loop NUMBER: one process of the app "loop" boots and dies.
dies_in_loop() {
	obey_start "loop$1" ruby LAPIDARY_SOCKET="$WORK/agent.run/app.sock"
	watch_wait "$(process_pid "loop$1")"
	obey "loop$1" 'require "lapidary"; require "crashy"; Lapidary.start(app: "loop")'
	wait_until 5 obey_says "loop$1" 'Lapidary.connected?' true
	obey_and_die "loop$1" 'Crashy.sig_dfl'
	crash_wait "$(process_pid "loop$1")" >/dev/null
}

@test "Property 12: each further crash makes the next boot wait longer, up to the cap; the first two make none wait" {
	local number took last=0
	traffic_stop
	shop_stop
	agent_stop
	agent_start --probe-interval 0 --lease 2s --hold-max 5s
	# a peer that says where the waits end: another app is never held
	for number in 1 2 3 4 5 6 7; do
		dies_in_loop "$number"
		obey_start boot ruby LAPIDARY_SOCKET="$WORK/agent.run/app.sock"
		watch_wait "$(process_pid boot)"
		OBEY_SECONDS=30 obey boot 'require "lapidary"; at = Process.clock_gettime(Process::CLOCK_MONOTONIC)
			Lapidary.start(app: "loop", role: "worker", hold: true); $took = (Process.clock_gettime(Process::CLOCK_MONOTONIC) - at) * 1000'
		took=$(obey_value boot '$took.round')
		echo "# crash $number: the next boot took $took ms" >&3
		if ((number < 3)); then [ "$took" -le 550 ]; else [ "$took" -ge 700 ]; fi
		[ "$took" -le 5600 ]
		# 75 to 100 % of a wait that doubles: never shorter than the last one's half more, until the cap
		if ((number > 3 && number < 6)); then [ "$took" -gt "$last" ]; fi
		last=$took
		process_stop boot KILL
	done
	# seven crashes are counted, and nothing was restarted by the agent
	check "$(lap crashes --json --app loop)" '.crashes | length == 7'
	check "$(lap actions --json)" '[.actions[] | select(.app == "loop" and .action == "worker.restart")] | length == 0'
	story_shop
	traffic_start
}

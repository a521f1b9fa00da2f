#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Property 12: never the last healthy worker. A worker that boots, is held, drains or crashes does not stand in for
# one that serves, however often and by whomever a restart is asked for.

load helper
load postgres
load shop
load obey
load act
load story

setup_file() {
	act_begin
}

teardown_file() {
	act_end
}

# refused PID COUNTS: a restart of it is refused for want of a healthy worker, and the reason has these counts.
refused() {
	run lap worker restart "$1"
	[ "$status" = 1 ]
	[[ "$output" =~ "healthy worker ("$2\) ]] || { echo "$output" >&2; return 1; }
}

# successor OLD…: the worker of the shop that is none of these.
successor() {
	shop_workers | grep -vxF "$(printf '%s\n' "$@")"
}

shop_of_two() {
	touch "$WORK/gate"
	SHOP_CONFIG=story_puma.rb SHOP_WORKERS=2 shop_start LAPIDARY_SOCKET="$WORK/agent.run/app.sock" SHOP_WORKERS=2 \
		SHOP_GATE="$WORK/gate" || return 1
	SHOP_WORKERS=2 shop_watched
	read -r -d '' first second < <(shop_workers) || true
}

@test "Property 12: two restarts in a row of a Puma of two: the second waits until the successor serves" {
	shop_of_two
	wait_until 15 serves "$first" "$second"
	rm "$WORK/gate"
	lap worker restart "$first"
	wait_until 15 process_gone "$first"
	check "$(restart_line "$first")" '.outcome == "done" and .live_workers == 2 and .healthy_workers == 2'
	wait_until 15 successor "$first" "$second"
	fresh=$(successor "$first" "$second")
	watch_wait "$fresh"
	wait_until 15 health_is "$fresh" booting
	refused "$second" "1 healthy of 2 alive"
	check "$(restart_line "$second")" '.outcome == "refused" and .live_workers == 2 and .healthy_workers == 1'
	# somebody serves all the while
	[ "$(shop_get /pid | cut -d' ' -f1)" = "$second" ]
	touch "$WORK/gate"
	wait_until 15 serves "$fresh"
	lap worker restart "$second"
	wait_until 15 process_gone "$second"
	# the one that came for it may have begun to serve as well
	[ "$(shop_get /pid | cut -d' ' -f1)" != "$second" ]
	shop_stop
}

@test "Property 12: nor while the first still drains" {
	shop_of_two
	wait_until 15 serves "$first" "$second"
	# a client that never ends its request keeps the worker from going
	kill -STOP "$first"
	run lap worker restart "$first"
	refused "$second" "1 healthy of 2 alive"
	kill -CONT "$first"
	wait_until 15 process_gone "$first"
	shop_stop
}

@test "Property 12: who has no library counts once it was seen to answer a statement" {
	touch "$WORK/app/prefork.rb.idle"
	process_start plain env SHOP_DATABASE="$SHOP_DATABASE" HOME=/nonexistent \
		setpriv --reuid nobody --regid nogroup --clear-groups ruby "$WORK/app/prefork.rb" polite polite
	wait_until 15 prefork_has 2
	read -r -d '' first second < <(pgrep -P "$(process_pid plain)") || true
	watch_wait "$first" "$second"
	refused "$first" "0 healthy of 2 alive"
	kill -USR2 "$second"
	wait_until 10 serves "$second"
	# it may go itself only for the other's sake
	refused "$second" "1 healthy of 2 alive"
	lap worker restart "$first"
	wait_until 15 process_gone "$first"
	wait_until 10 prefork_has 3
	rm "$WORK/app/prefork.rb.idle"
	wait_until 15 prefork_serves
	lap worker restart "$second"
	wait_until 15 process_gone "$second"
	process_stop plain KILL
}

# hand NAME: a process of the app "hands" whose library speaks, as a worker, with MORE options.
hand() {
	obey_start "$1" ruby LAPIDARY_SOCKET="$WORK/agent.run/app.sock"
	watch_wait "$(process_pid "$1")"
	obey "$1" "require 'lapidary'; \$orders = []; Lapidary.on_restart { |order| \$orders << order }
		Lapidary.start(app: 'hands', role: 'worker'${2:+, $2})"
	wait_until 5 obey_says "$1" 'Lapidary.connected?' true
}

@test "Property 12: a worker that says that it boots, drains or has stopped does not stand in for one that serves" {
	hand one
	hand two 'serving: false'
	one=$(process_pid one) two=$(process_pid two)
	wait_until 5 health_is "$two" booting
	refused "$one" "1 healthy of 2 alive"
	obey two 'Lapidary.draining'
	wait_until 5 health_is "$two" draining
	refused "$one" "1 healthy of 2 alive"
	obey two 'Lapidary.stop; Lapidary.start(app: "hands", role: "worker", accepts: [])'
	wait_until 5 serves "$two"
	obey two 'Lapidary.stop'
	wait_until 5 health_is "$two" draining
	refused "$one" "1 healthy of 2 alive"
	obey two 'Lapidary.start(app: "hands", role: "worker", accepts: [])'
	wait_until 5 serves "$two"
	lap worker restart "$one"
	wait_until 1 obey_says one '$orders.size' 1
	check "$(restart_line "$one")" '.healthy_workers == 2'
	process_stop one KILL
	process_stop two KILL
}

@test "Property 12: nor does one that a hold keeps from booting" {
	local number
	hand one
	for number in 1 2 3 4; do
		hand "dies$number" 'accepts: []'
		obey "dies$number" 'require "crashy"'
		obey_and_die "dies$number" 'Crashy.sig_dfl'
		crash_wait "$(process_pid "dies$number")" >/dev/null
	done
	wait_until 10 holding
	obey_start held ruby LAPIDARY_SOCKET="$WORK/agent.run/app.sock"
	watch_wait "$(process_pid held)"
	obey_send held "require 'lapidary'; Lapidary.start(app: 'hands', role: 'worker', hold: true)"
	wait_until 5 health_is "$(process_pid held)" held
	refused "$(process_pid one)" "1 healthy of 2 alive"
	wait_until 30 serves "$(process_pid held)"
	lap worker restart "$(process_pid one)"
	process_stop one KILL
	process_stop held KILL
}

@test "Property 12: nor does one that crashes, or that a worker has forked as a helper" {
	hand one
	obey one '$helper = fork { sleep }'
	helper=$(obey_value one '$helper')
	watch_wait "$helper"
	wait_until 5 health_is "$helper" booting
	refused "$(process_pid one)" "[01] healthy of [12] alive"
	hand two
	wait_until 5 serves "$(process_pid two)"
	obey two 'require "crashy"'
	obey_and_die two 'Crashy.sig_dfl'
	refused "$(process_pid one)" "[01] healthy of [12] alive"
	process_stop one KILL
}

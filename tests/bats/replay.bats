#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Recordings: the same bytes each time, the live agent's own conclusions, and what a damaged one gets. (The
# recording of the big test is replayed at the end of crash.bats.)

load helper
load postgres
load shop
load replay

setup_file() {
	work_begin
	crashy_build
	postgres_start
	CLOSED_PORT=$(free_port)
	export CLOSED_PORT
	agent_start --record "$WORK/agent.rec"
	ruby_start refused nobody database.rb refused 8 "$WORK/gate"
	ruby_start burst nobody burst.rb 2 4 20 "$WORK/gate"
	wait_until 10 grep -q ready "$WORK/refused.out"
	wait_until 10 grep -q ready "$WORK/burst.out"
	watch_wait "$(process_pid refused)" "$(process_pid burst)"
	touch "$WORK/gate"
	wait_until 30 grep -q took "$WORK/burst.out"
	wait_until 30 grep -q "done" "$WORK/refused.out"
	wait_until 30 eight_crashes
	agent_stop
}

teardown_file() {
	agent_stop
	postgres_stop
	work_end
}

eight_crashes() {
	[ "$(lap crashes --json | jq '.crashes | length')" = 8 ]
}

@test "a replay by nobody, twice, gives the same bytes" {
	replays_alike "$WORK/agent.rec"
}

@test "they are what the live agent concluded" {
	replays_alike "$WORK/agent.rec"
	same_as_store
	check "$(lap incidents --json)" '[.incidents[].kind] | contains(["crash_loop", "database_failures"])'
}

@test "the recording is bounded when it is told to be" {
	agent_start --record "$WORK/small.rec" --record-limit 64K
	ruby_start flood nobody burst.rb 2 10 50 "$WORK/gate"
	wait_until 60 grep -q took "$WORK/flood.out"
	agent_stop
	[ "$(stat -c %s "$WORK/small.rec")" -le 65536 ]
	replays_alike "$WORK/small.rec"
}

@test "a cut recording is replayed up to the cut, which is told" {
	replay_prepare "$WORK/agent.rec"
	replay_as_nobody --json >"$WORK/replay/whole"
	truncate -s -100 "$WORK/replay/recording"
	run replay_as_nobody --json
	[ "$status" = 1 ]
	[[ ${lines[-1]} == lapidary:*damaged* ]]
	[ "$(grep -c '^{' <<<"$output")" -le "$(wc -l <"$WORK/replay/whole")" ]
	[ "$(grep -c '^{' <<<"$output")" -ge 1 ]
}

@test "a flipped bit is found, with its place" {
	replay_prepare "$WORK/agent.rec"
	local at
	at=$(($(stat -c %s "$WORK/replay/recording") / 2))
	printf '\x5a' | dd of="$WORK/replay/recording" bs=1 seek="$at" conv=notrunc 2>/dev/null
	printf '\xa5' | dd of="$WORK/replay/recording" bs=1 seek=$((at + 1)) conv=notrunc 2>/dev/null
	run replay_as_nobody --json
	[ "$status" = 1 ]
	[[ ${lines[-1]} =~ damaged\ at\ byte\ [0-9]+ ]]
}

@test "what is no recording is refused in one line" {
	replay_prepare /etc/passwd
	run replay_as_nobody
	[ "$status" = 1 ]
	[ "${#lines[@]}" = 1 ]
	[[ $output == lapidary:*damaged* ]]
	run "$LAPIDARY" replay "$WORK/nowhere.rec" --rules "$ROOT/rules"
	[ "$status" = 1 ]
	[ "${#lines[@]}" = 1 ]
	run "$LAPIDARY" replay
	[ "$status" = 2 ]
}

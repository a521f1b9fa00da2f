#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Acceptance 2: many crashes at once beside noise are each recorded once; and an agent that is killed in the
# middle of one leaves a store that is whole, and says at its next start what it cannot know.

load helper
load postgres
load shop

setup_file() {
	work_begin
	crashy_build
	postgres_start
}

teardown_file() {
	agent_stop
	postgres_stop
	work_end
}

# The burst asks for 30 a second. A host that takes 150 ms for one such death gives 13, with or without the agent;
# what it came to is printed.
@test "300 crashes at 30 a second over 20 parents, beside a fault loop and a query flood" {
	agent_start --crash-group-bundles 0
	ruby_start faults nobody noise.rb faults "$WORK/gate"
	ruby_start queries nobody noise.rb queries "$WORK/gate"
	ruby_start burst nobody burst.rb 20 15 30 "$WORK/gate"
	yield_to_others faults queries postgres # so that two cores can die 30 times a second
	wait_until 20 all_ready
	watch_wait "$(process_pid faults)" "$(process_pid queries)" "$(process_pid burst)"
	touch "$WORK/gate"
	wait_until 120 grep -q took "$WORK/burst.out"
	process_stop faults TERM
	process_stop queries TERM
	# every child died by its own handler's abort
	[ "$(grep -c ' 6$' "$WORK/burst.out")" = 300 ]
	wait_until 30 recorded 300
	lap crashes --json --app burst --limit 2000 >"$WORK/crashes.json"
	diff <(awk '$2 == 6 {print $1}' "$WORK/burst.out" | sort) <(jq -r '.crashes[].pid' "$WORK/crashes.json" | sort)
	check "$(<"$WORK/crashes.json")" '.crashes | map(.id) | unique | length == 300'
	check "$(<"$WORK/crashes.json")" '.crashes | all(.signal == "SIGSEGV" and .fault_address == "0x18")'
	bundles_are_whole
	# the noise was real
	[ "$(awk '/count/ {print $2}' "$WORK/faults.out")" -gt 100000 ]
	[ "$(awk '/count/ {print $2}' "$WORK/queries.out")" -gt 1000 ]
	grep took "$WORK/burst.out" >&3
}

# The kernel weighs sessions first (autogroup), then what is in them.
yield_to_others() {
	local name
	for name in "$@"; do
		[ ! -w "/proc/$(process_pid "$name")/autogroup" ] || echo 19 >"/proc/$(process_pid "$name")/autogroup"
		renice -n 19 -p "$(process_pid "$name")" >/dev/null
	done
}

all_ready() {
	local name
	for name in faults queries burst; do grep -q ready "$WORK/$name.out" || return 1; done
}

recorded() {
	[ "$(lap crashes --json --app burst --limit 2000 | jq '.crashes | length')" -ge "$1" ]
}

# No folder is unlisted. Waited for: other Rubies of this host may be dying just now.
folders_are_listed() {
	lap crashes --json --limit 2000 | jq -r '.crashes[] | "\(.id) \(.bundle)"' >"$WORK/listed"
	diff <(awk '{print $1}' "$WORK/listed" | sort) \
		<(find "$WORK/agent.state/crashes" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort)
}

# Each listed crash has its folder with a report that parses and says the same id.
bundles_are_whole() {
	local id folder
	wait_until 10 folders_are_listed
	while read -r id folder; do
		jq -e --arg id "$id" '.id == $id' "$folder/report.json" >/dev/null || { echo "torn: $folder" >&2; return 1; }
	done <"$WORK/listed"
	[ "$(sqlite3 "$WORK/agent.state/lapidary.db" 'pragma integrity_check')" = ok ]
}

@test "kill -9 of the agent within 50 ms of a fault, 20 times: nothing torn, what is lost lies in a gap" {
	local round pid time line
	agent_stop
	install -o nobody /dev/null "$WORK/victims"
	mkfifo -m 0666 "$WORK/victims.fifo"
	exec 7<>"$WORK/victims.fifo"
	ruby_start victims nobody victims.rb "$WORK/victims" "$WORK/victims.fifo"
	RANDOM=${LAPIDARY_SEED:=$(date +%s)}
	echo "# seed $LAPIDARY_SEED" >&3
	for round in {1..20}; do
		agent_start --crash-group-bundles 0
		watch_wait "$(process_pid victims)"
		# asks for a death; the answer comes just before the fault
		kill -USR1 "$(process_pid victims)"
		read -rt 10 -u 7 line
		[ "${line%% *}" = "$round" ]
		pause_ms $((RANDOM % 51))
		kill -KILL "$(process_pid agent)"
		wait_until 10 session_empty "$(process_pid agent)"
	done
	agent_start --crash-group-bundles 0
	exec 7>&-
	bundles_are_whole
	lap crashes --json --app victims --limit 2000 >"$WORK/crashes.json"
	lap gaps --json >"$WORK/gaps.json"
	check "$(<"$WORK/gaps.json")" '.gaps | length >= 20'
	while read -r round pid time; do
		recorded_once_or_in_gap "$pid" "$time"
	done <"$WORK/victims"
	[ "$(jq '.crashes | length' "$WORK/crashes.json")" -le 20 ]
}

pause_ms() {
	read -rt "0.$(printf %03d "$1")" <> <(:) || true
}

# recorded_once_or_in_gap PID TIME: what nobody recorded happened when nobody watched, as the store says.
recorded_once_or_in_gap() {
	local count
	count=$(jq --argjson pid "$1" '[.crashes[] | select(.pid == $pid)] | length' "$WORK/crashes.json")
	[ "$count" = 1 ] && return
	[ "$count" = 0 ] || { echo "$count records of $1" >&2; return 1; }
	jq -e --arg time "$2" '[.gaps[] | select(.from <= $time and $time <= .to)] | length >= 1' \
		"$WORK/gaps.json" >/dev/null || { echo "the death of $1 at $2 is in no gap" >&2; cat "$WORK/gaps.json" >&2; return 1; }
}

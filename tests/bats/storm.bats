#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A storm of like crashes is counted and not stored a thousand times; and a state directory stays inside its limits.

load helper
load shop

setup_file() {
	work_begin
	crashy_build
}

teardown() {
	process_stop burst KILL
	agent_stop
}

teardown_file() {
	work_end
}

# burst PARENTS CHILDREN: so many of their children die, 20 a second.
burst() {
	rm -f "$WORK/gate"
	ruby_start burst nobody burst.rb "$1" "$2" 20 "$WORK/gate"
	wait_until 20 grep -q ready "$WORK/burst.out"
	watch_wait "$(process_pid burst)"
	touch "$WORK/gate"
	wait_until 120 grep -q took "$WORK/burst.out"
	wait_until 60 counted $(($1 * $2))
}

# All are in the group's count, and the store has nothing more to write of them.
counted() {
	[ "$(lap crashes --group --json | jq '[.groups[].count] | add // 0')" = "$1" ] &&
		[ "$(lap crashes --json --limit 2000 | jq '[.crashes[] | select(.status == null)] | length')" = 0 ]
}

folders() {
	find "$WORK/agent.state/crashes" -mindepth 1 -maxdepth 1 | wc -l
}

@test "200 like crashes: at most 20 bundles, all of them counted" {
	local groups
	agent_start
	burst 20 10
	[ "$(folders)" -le 20 ]
	[ "$(folders)" -ge 1 ]
	groups=$(lap crashes --group --json)
	check "$groups" '[.groups[].count] | add == 200'
	check "$groups" '[.groups[] | .suppressed + .bundles] | add == 200'
	check "$groups" '.groups | all(.bundles >= 1 and .bundles <= 20 and .first < .last)'
	check "$(lap crashes --json --limit 2000)" '.crashes | length == 200 and (map(.id) | unique | length == 200)'
	check "$(lap crashes --json --limit 2000)" \
		'[.crashes[] | select(.bundle_state == "whole" and .finished_after_ms == null)] | length == 0'
}

@test "a quota that is passed takes the oldest, and leaves one of each kind" {
	rm -rf "$WORK/agent.state"
	agent_start --crash-group-bundles 0 --crash-quota 1M
	burst 10 6
	wait_until 20 within_quota
	[ "$(folders)" -ge 1 ]
	check "$(lap crashes --group --json)" '.groups | all(.bundles >= 1)'
}

within_quota() {
	[ "$(du -sb "$WORK/agent.state/crashes" | cut -f1)" -le 1500000 ]
}

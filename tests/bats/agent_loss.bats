#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Acceptance 3: the agent dies, stalls, is restarted, is replaced by something that never answers, loses its
# state directory, all under load. No request fails or waits because of it, what it ordered ends in time, and
# an app that boots meanwhile waits half a second at most.

load helper
load postgres
load shop
load obey
load story

setup_file() {
	work_begin
	TRAFFIC=60 story_start --probe-interval 0
	SOCKET=$WORK/agent.run/app.sock
	export SOCKET
}

teardown_file() {
	story_stop
	work_end
}

setup() {
	began=$(now_ms)
}

# Since the test began, so many requests were served, none failed or was refused, none took SLOWEST_MS. What
# this host's other load costs a request is less than what waiting for an agent would cost: 500 ms at least.
all_served() {
	local ok busy failed slowest
	wait_until 60 served_since "$began" "$1"
	read -r ok busy failed slowest _ < <(traffic_since "$began")
	echo "# ok $ok, 503 $busy, failed $failed, slowest $slowest ms" >&3
	[ "$ok" -ge "$1" ]
	[ "$((busy + failed))" = 0 ] || { awk -v from="$began" '$1 >= from && $3 != "ok"' "$WORK/traffic" >&2; return 1; }
	[ "$slowest" -lt 450 ]
}

# boots_quickly WHY: Lapidary.start of a process that boots now returns in 500 ms (50 more for the clock).
boots_quickly() {
	local took
	obey_start boot ruby LAPIDARY_SOCKET="$SOCKET"
	obey boot 'require "lapidary"; at = Process.clock_gettime(Process::CLOCK_MONOTONIC)
		Lapidary.start(app: "boot", role: "worker", hold: true); $took = (Process.clock_gettime(Process::CLOCK_MONOTONIC) - at) * 1000'
	took=$(obey_value boot '$took.round(1)')
	obey_says boot 'Lapidary.breaker("'"$TARGET"'").open?' false
	echo "# $1: Lapidary.start took $took ms" >&3
	process_stop boot KILL
	[ "${took%.*}" -le 550 ]
}

# An agent knows the databases whose connects it saw: one connects anew.
agent_back() {
	agent_start "${STORY_SETTINGS[@]}" --probe-interval 0
	wait_until 20 shop_joined
	shop_watched
	shop_get /reconnect
	wait_until 10 target_known
}

target_known() {
	lap breakers --json | jq -e --arg target "$TARGET" '.breakers | any(.target == $target)'
}

agent_kill() {
	kill -KILL "$(process_pid agent)"
	wait_until 10 session_empty "$(process_pid agent)"
}

open_breaker() {
	lap breaker open "$TARGET" --for 30s
	wait_until 5 refused_since "$(now_ms)" 10
}

# ends_within MS: clients are served again so long after the agent went.
ends_within() {
	local gone ended
	gone=$(now_ms)
	wait_until 30 served_since "$gone" 1
	ended=$(sort -n "$WORK/traffic" | awk -v from="$gone" '$1 >= from && $3 == "ok" {print $1 - from; exit}')
	echo "# the breaker ended $ended ms after the agent went" >&3
	[ "$ended" -le "$1" ]
}

@test "with the agent: the base line" {
	all_served 300
	boots_quickly "with the agent"
}

@test "killed" {
	agent_kill
	all_served 300
	boots_quickly "agent killed, its socket left"
	agent_back
	all_served 500
}

@test "stopped (SIGSTOP), and going on" {
	kill -STOP "$(process_pid agent)"
	all_served 300
	boots_quickly "agent stopped"
	kill -CONT "$(process_pid agent)"
	wait_until 20 shop_joined
	all_served 500
}

@test "restarted ten times, killed and ended in turns" {
	for _ in 1 2 3 4 5; do
		agent_kill
		agent_start "${STORY_SETTINGS[@]}" --probe-interval 0
		agent_stop
		agent_start "${STORY_SETTINGS[@]}" --probe-interval 0
	done
	wait_until 20 shop_joined
	all_served 600
	boots_quickly "agent restarted"
}

@test "a listener that accepts and never answers in its place" {
	agent_kill
	rm -f "$SOCKET"
	process_start mute ruby --disable-gems -rsocket -e \
		'server = UNIXServer.new(ARGV[0]); File.chmod(0666, ARGV[0]); puts "ready"; $stdout.flush; kept = []; loop { kept << server.accept }' "$SOCKET"
	wait_until 10 grep -q ready "$WORK/mute.out"
	boots_quickly "a listener that never answers"
	all_served 400
	process_stop mute KILL
	# one that does not even accept, and has a full queue
	rm -f "$SOCKET"
	process_start deaf ruby --disable-gems -rsocket -e \
		's = Socket.new(:UNIX, :STREAM); s.bind(Addrinfo.unix(ARGV[0])); s.listen(0); File.chmod(0666, ARGV[0]); puts "ready"; $stdout.flush
		own = Array.new(3) { Socket.new(:UNIX, :STREAM).tap { |c| c.connect_nonblock(Addrinfo.unix(ARGV[0]), exception: false) } }; sleep' "$SOCKET"
	wait_until 10 grep -q ready "$WORK/deaf.out"
	boots_quickly "a listener that does not accept"
	process_stop deaf KILL
	rm -f "$SOCKET"
	boots_quickly "no socket at all"
	agent_back
	all_served 600
}

@test "the state directory is removed while it runs" {
	shop_get /reconnect
	wait_until 10 target_known
	rm -rf "$WORK/agent.state"
	boots_quickly "no state directory"
	all_served 300
	# and it still does what it is there for
	open_breaker
	lap breaker close "$TARGET"
	began=$(now_ms)
	wait_until 10 served_since "$began" 20
	agent_stop
	agent_back
}

@test "an open breaker ends with its lease when the agent is killed" {
	open_breaker
	agent_kill
	ends_within 3500
	agent_back
}

@test "an open breaker ends with its lease when the agent is stopped" {
	open_breaker
	kill -STOP "$(process_pid agent)"
	ends_within 3500
	kill -CONT "$(process_pid agent)"
	# nobody is told to believe the old order again
	wait_until 20 shop_joined
	lap breaker close "$TARGET" || true
	began=$(now_ms)
	all_served 100
}

@test "an open breaker ends at once when the agent ends well" {
	open_breaker
	agent_stop
	ends_within 1000
	agent_back
}

@test "a held boot goes on when the agent dies" {
	local waits
	: >"$WORK/deaths"
	chapter_loop
	waits_long() { [ "$(acting | jq '.holds[0].wait_ms')" -ge 8000 ]; }
	until waits_long; do shop_die /crash/null; done
	waits=$(acting | jq '.holds[0].wait_ms')
	obey_start held ruby LAPIDARY_SOCKET="$SOCKET"
	watch_wait "$(process_pid held)"
	obey held 'require "lapidary"
		$boot = Thread.new { at = Process.clock_gettime(Process::CLOCK_MONOTONIC); Lapidary.start(app: "shop", role: "worker", hold: true)
			(Process.clock_gettime(Process::CLOCK_MONOTONIC) - at) * 1000 }'
	obey_says held '$boot.join(0.7).nil?' true
	agent_kill
	took=$(obey_value held '$boot.value.round')
	echo "# a boot that was to wait up to $waits ms took $took ms" >&3
	[ "$took" -le 4500 ]
	process_stop held KILL
	wait_until 30 shop_whole
	agent_back
}

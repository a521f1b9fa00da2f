#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Acceptance 4: two deployments that look alike (same user, same app name, same 127.0.0.1:5432) live in two
# network namespaces, one with a database and one without. What happens in one concerns the other in no way. The
# same for two users and two cgroups of one namespace.

load helper
load postgres
load shop
load obey

setup_file() {
	work_begin
	crashy_build
	library_copy
	namespace_start here
	namespace_start there
	POSTGRES_IN="nsenter -t $(process_pid net-here) -n" POSTGRES_PORT=5432 postgres_start
	agent_start --probe-interval 500ms --probe-timeout 500ms --breaker-wait 1s
	SOCKET=$WORK/agent.run/app.sock
	TARGET=postgres://127.0.0.1:5432/shop
	export SOCKET TARGET
	member_start here here nobody
	member_start there there nobody
	obey here '$db = PG.connect(ADDRESS)'
}

teardown_file() {
	agent_stop
	postgres_stop
	work_end
}

# namespace_start NAME: a network of its own, with nothing but a loopback; it lives as long as net-NAME.
namespace_start() {
	process_start "net-$1" unshare -n sh -c 'ip link set lo up && echo ready && exec sleep infinity'
	wait_until 10 grep -q ready "$WORK/net-$1.out"
}

# member_start NAME NAMESPACE USER: one process of the app "twin" there.
member_start() {
	OBEY_IN=${OBEY_IN:-"nsenter -t $(process_pid "net-$2") -n"} OBEY_USER=$3 obey_start "$1" ruby LAPIDARY_SOCKET="$SOCKET"
	watch_wait "$(process_pid "$1")"
	obey "$1" 'require "pg"; require "lapidary"; require "crashy"; $orders = []
		ADDRESS = "host=127.0.0.1 port=5432 dbname=shop user=shop password='"$PGSECRET"' connect_timeout=2"
		Lapidary.on_restart { |order| $orders << order }
		Lapidary.start(app: "twin"); $breaker = Lapidary.breaker("'"$TARGET"'")'
	wait_until 10 obey_says "$1" 'Lapidary.connected?' true
	watch_wait "$(process_pid "$1")"
}

namespace_inode() {
	stat -L -c %i "/proc/$(process_pid "net-$1")/ns/net"
}

# breaker_of NAMESPACE: the states of the target's breakers there, as the agent has them.
breakers_of() {
	lap breakers --json | jq -c --argjson netns "$(namespace_inode "$1")" --arg target "$TARGET" \
		'[.breakers[] | select(.netns == $netns and .target == $target and .app == "twin")]'
}

shut() {
	obey_says "$1" '$breaker.open?(:connect) || $breaker.open?(:query)' true
}

@test "five refused connects in one namespace open its breaker alone" {
	[ "$(namespace_inode here)" != "$(namespace_inode there)" ]
	obey there '6.times { begin; PG.connect(ADDRESS); rescue PG::Error; end }'
	wait_until 10 shut there
	check "$(breakers_of there)" 'any(.state != "closed")'
	# the same name, the same user, the same address: another scope
	obey_says here '$breaker.open?(:connect) || $breaker.open?(:query)' false
	check "$(breakers_of here)" 'all(.state == "closed")'
	obey_says here '$db.exec("select 1").getvalue(0, 0)' 1
	obey_says here '$breaker.run(:connect) { PG.connect(ADDRESS).finish; "served" }' served
}

@test "the prober judges each in its own namespace" {
	tested() { breakers_of "$1" | jq -e "any(.last_test_result == \"$2\")"; }
	wait_until 10 tested here ok
	wait_until 10 tested there refused
	process_start postgres2 nsenter -t "$(process_pid net-there)" -n setpriv --reuid postgres --regid postgres --init-groups \
		"$PGBIN/postgres" -D "$(postgres_second)" -k "$WORK/pg2" -p 5432 -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB
	# there is a server now, which is what the prober of that namespace must find by itself
	closed_there() { ! shut there; }
	wait_until 20 closed_there
	wait_until 10 tested there ok
	process_stop postgres2 QUIT
	obey_says here '$breaker.open?(:query)' false
}

# A second data directory, made from the first one's template databases.
postgres_second() {
	mkdir -p "$WORK/pg2"
	chown postgres "$WORK/pg2"
	as_user postgres "$PGBIN/initdb" --no-sync --auth=trust -E UTF8 --locale=C -D "$WORK/pg2/data" >/dev/null 2>&1
	echo "$WORK/pg2/data"
}

@test "a worker.restart goes to the process that was named" {
	member_start here2 here nobody
	member_start there2 there nobody
	lap worker restart "$(process_pid there2)" --json || true
	ordered() { obey_says "$1" '$orders.size' 1; }
	wait_until 10 ordered there2
	obey_says here '$orders.size' 0
	obey_says here2 '$orders.size' 0
	obey_says there '$orders.size' 0
	process_stop here2 KILL
	process_stop there2 KILL
}

# crash_loop NAMESPACE USER: four processes of "twin" there die in a row.
crash_loop() {
	local round
	for round in 1 2 3 4; do
		member_start "doomed$round" "$1" "$2"
		obey_and_die "doomed$round" 'Crashy.null'
		crash_wait "$(process_pid "doomed$round")"
	done
}

# boot_ms NAMESPACE USER: how long a boot of "twin" waits there.
boot_ms() {
	OBEY_IN="nsenter -t $(process_pid "net-$1") -n" OBEY_USER=$2 obey_start boot ruby LAPIDARY_SOCKET="$SOCKET"
	watch_wait "$(process_pid boot)"
	OBEY_SECONDS=30 obey boot 'require "lapidary"; at = Process.clock_gettime(Process::CLOCK_MONOTONIC)
		Lapidary.start(app: "twin", role: "worker", hold: true); $took = (Process.clock_gettime(Process::CLOCK_MONOTONIC) - at) * 1000'
	obey_value boot '$took.round'
	process_stop boot KILL
}

@test "a crash loop in one namespace holds no boot in the other" {
	crash_loop there nobody
	held() { lap doctor --json | jq -e '.acting.holds | length == 1'; }
	wait_until 10 held
	[ "$(boot_ms there nobody)" -ge 600 ]
	[ "$(boot_ms here nobody)" -le 550 ]
}

@test "another user of the same namespace is another scope" {
	member_start other there daemon
	[ "$(boot_ms there daemon)" -le 550 ]
	lap breaker open "$TARGET" --app twin --for 20s --json >"$WORK/open.json" || true
	# the operator's word for a name reaches each scope of it that uses the target
	wait_until 5 shut there
	lap breaker close "$TARGET" --app twin
	obey other '6.times { begin; PG.connect(ADDRESS); rescue PG::Error; end }'
	wait_until 10 shut other
	obey_says here '$breaker.open?(:connect)' false
	process_stop other KILL
}

@test "another cgroup of the same user and namespace is another scope" {
	local mount
	mount=$(findmnt -nt cgroup2 -o TARGET | head -n 1)
	[ -n "$mount" ] && mkdir "$mount/lapidary-test-$$" 2>/dev/null || skip "no cgroup can be made here"
	echo "$mount/lapidary-test-$$" >"$WORK/cgroup"
	cat >"$WORK/app/in_cgroup" <<-EOF
		#!/bin/sh
		echo \$\$ >$mount/lapidary-test-$$/cgroup.procs && exec nsenter -t $(process_pid net-there) -n "\$@"
	EOF
	chmod +x "$WORK/app/in_cgroup"
	OBEY_IN=$WORK/app/in_cgroup member_start grouped there nobody
	obey grouped '6.times { begin; PG.connect(ADDRESS); rescue PG::Error; end }'
	wait_until 10 shut grouped
	obey_says here '$breaker.open?(:connect)' false
	check "$(breakers_of there)" '[.[] | select(.state != "closed")] | length >= 1'
	process_stop grouped KILL
	wait_until 5 rmdir "$mount/lapidary-test-$$"
}

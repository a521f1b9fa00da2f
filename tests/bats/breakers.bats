#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Breakers on real databases with real clients, where the prober is switched off: what opens one, that nothing but
# one marked trial gets through, what closes it, how long it may stay at most, and that a pause ends all of it at
# once. (demo.bats has those that the prober closes.)

load helper
load postgres
load shop
load obey

setup_file() {
	work_begin
	crashy_build
	library_copy
	postgres_start
	agent_start --probe-interval 0 --lease 2s --breaker-wait 1s --breaker-wait-max 2s
}

teardown_file() {
	agent_stop
	postgres_stop
	work_end
}

# client_start NAME ADDRESS TARGET: a process of the app NAME that uses that database past its breaker.
# `attempt` is one use: what happened, as a word; $runs counts how often its block was entered.
client_start() {
	obey_start "$1" ruby LAPIDARY_SOCKET="$WORK/agent.run/app.sock" SHOP_DATABASE="$SHOP_DATABASE"
	watch_wait "$(process_pid "$1")"
	obey "$1" 'require "pg"; require "lapidary"; ADDRESS = "'"$2"' connect_timeout=2"; $runs = 0
		Lapidary.start(app: "'"$1"'"); $breaker = Lapidary.breaker("'"$3"'")
		def attempt; $breaker.run(:connect) { $runs += 1; PG.connect(ADDRESS).finish }; "ok"; rescue PG::Error; "error"; rescue Lapidary::BreakerOpen; "shut"; end
		def use; $breaker.run(:query) { $runs += 1; yield }; "ok"; rescue PG::Error; "error"; rescue Lapidary::BreakerOpen; "shut"; end
		def open?; $breaker.open?(:connect) || $breaker.open?(:query); end'
	wait_until 5 obey_says "$1" 'Lapidary.connected?' true
	watch_wait "$(process_pid "$1")"
}

errors_seen() {
	lap workers --json | jq -e --argjson pid "$(process_pid "$1")" --argjson count "$2" \
		'.workers[] | select(.process_id == $pid) | .error_history | length >= $count'
}

# breaker_case NAME RUBY MEND…: four failures of RUBY leave the breaker closed, the fifth opens it; then nothing but
# a trial gets through; after MEND it closes.
breaker_case() {
	local name=$1 use=$2 opened runs
	shift 2
	obey "$name" "4.times { $use }"
	wait_until 10 errors_seen "$name" 4
	obey_says "$name" 'open?' false
	obey "$name" "$use"
	wait_until 10 obey_says "$name" 'open?' true
	# so many calls within less than a wait: all of them are refused, none enters the block
	obey "$name" "\$runs = 0; \$words = Array.new(50) { $use }"
	obey_says "$name" '$words.uniq.join(",")' shut
	obey_says "$name" '$runs' 0
	# the wait is over: of many more calls at most the trials get through
	OBEY_SECONDS=30 obey "$name" "at = Process.clock_gettime(Process::CLOCK_MONOTONIC); calls = 0; \$runs = 0
		while Process.clock_gettime(Process::CLOCK_MONOTONIC) - at < 3.5; calls += 1; $use; sleep 0.005; end; \$calls = calls"
	runs=$(obey_value "$name" '$runs')
	echo "# $name: $(obey_value "$name" '$calls') calls while it was open, $runs let through as trials" >&3
	[ "$runs" -ge 1 ]
	[ "$runs" -le 4 ]
	obey_says "$name" 'open?' true
	"$@"
	wait_until 25 recovered "$name" "$use"
	opened=$(lap actions --json | jq --arg app "$name" '[.actions[] | select(.app == $app and .action == "breaker.open" and .outcome == "done")] | length')
	[ "$opened" -ge 1 ]
	check "$(lap breakers --json)" '.breakers | map(select(.app == $app)) | all(.state == "closed")' --arg app "$name"
	process_stop "$name" KILL
}

# The client goes on trying; in the end its use succeeds and the breaker is closed.
recovered() {
	obey_says "$1" "$2" ok && obey_says "$1" 'open?' false
}

proxy_start() {
	echo "$3" >"$WORK/$1.mode"
	process_start "$1" ruby --disable-gems "$WORK/app/proxy.rb" "$2" "$PGHOST/.s.PGSQL.$PGPORT" "$WORK/$1.mode"
	wait_until 10 grep -q ready "$WORK/$1.out"
}

@test "Property 9: nobody listens, then somebody does" {
	local port
	port=$(free_port)
	client_start refused "host=127.0.0.1 port=$port dbname=shop user=shop password=$PGSECRET" "postgres://127.0.0.1:$port/shop"
	breaker_case refused attempt proxy_start proxy-refused "$port" serve
	process_stop proxy-refused KILL
}

@test "Property 9: no socket, then there is one" {
	mkdir -m 0777 "$WORK/nosock"
	client_start nosocket "host=$WORK/nosock port=5432 dbname=shop user=shop" \
		"postgres://$(jq -rn --arg host "$WORK/nosock" '$host | @uri'):5432/shop"
	breaker_case nosocket attempt proxy_start proxy-nosocket "$WORK/nosock/.s.PGSQL.5432" serve
	process_stop proxy-nosocket KILL
}

@test "Property 9: a server that hangs up, then serves" {
	local port
	port=$(free_port)
	proxy_start proxy-drop "$port" drop
	client_start hangup "host=127.0.0.1 port=$port dbname=shop user=shop password=$PGSECRET" "postgres://127.0.0.1:$port/shop"
	serve() { echo serve >"$WORK/proxy-drop.mode"; }
	# who hangs up while one connects serves no statements either: it is their breaker that opens
	breaker_case hangup 'use { PG.connect(ADDRESS).finish }' serve
	process_stop proxy-drop KILL
}

@test "Property 9: too many connections (53300), then room" {
	client_start toomany "host=$PGHOST port=$PGPORT dbname=shop user=narrow" \
		"postgres://$(jq -rn --arg host "$PGHOST" '$host | @uri'):$PGPORT/shop"
	room() { sql shop "alter role narrow connection limit -1"; }
	breaker_case toomany attempt room
	sql shop "alter role narrow connection limit 0"
}

@test "Property 9: backends that are killed under their statements (57P01), then left in peace" {
	client_start killed "$SHOP_DATABASE" "postgres://$(jq -rn --arg host "$PGHOST" '$host | @uri'):$PGPORT/shop"
	# it ends its own backend before each statement, as an administrator would
	obey killed 'def killed; use { db = PG.connect(ADDRESS); begin; db.exec($fine ? "select 1" : "select pg_terminate_backend(pg_backend_pid())"); ensure; db.finish; end }; end'
	fine() { obey killed '$fine = true'; }
	breaker_case killed killed fine
}

@test "errors that are the app's own open nothing, however many" {
	client_start own "$SHOP_DATABASE" "postgres://$(jq -rn --arg host "$PGHOST" '$host | @uri'):$PGPORT/shop"
	obey own '$db = PG.connect(ADDRESS); 30.times { use { $db.exec("select nothing_such") } }'
	wait_until 10 errors_seen own 5
	obey_says own 'open?' false
	process_stop own KILL
}

# opened_by_hand NAME [FLAG…]: a client, and its breaker open. Sets nothing.
opened_by_hand() {
	local target
	target="postgres://$(jq -rn --arg host "$PGHOST" '$host | @uri'):$PGPORT/shop"
	client_start "$1" "$SHOP_DATABASE" "$target"
	obey "$1" attempt
	known() { lap breakers --json | jq -e --arg app "$1" '.breakers | any(.app == $app)'; }
	wait_until 10 known "$1"
	lap breaker open "$target" --app "$1" "${@:2}"
	wait_until 5 obey_says "$1" 'open?' true
}

@test "opened by hand it closes by its time, and by hand" {
	local target
	opened_by_hand timed --for 2s
	wait_until 6 obey_says timed 'open?' false
	obey_says timed attempt ok
	target=$(lap breakers --json | jq -r '[.breakers[] | select(.app == "timed") | .target][0]')
	lap breaker open "$target" --app timed --scope connect --for 30s
	wait_until 5 obey_says timed '$breaker.open?(:connect)' true
	obey_says timed '$breaker.open?(:query)' false
	lap breaker close "$target" --app timed
	wait_until 5 obey_says timed 'open?' false
	# once more: nothing is to do; an app that nobody knows is named
	[ "$(lap breaker close "$target" --app timed)" = "nothing to do: none of them is open" ]
	run lap breaker close "$target" --app nosuch
	[ "$status" = 1 ]
	[[ $output == *"app nosuch was not seen to use $target"* ]]
	# and who gets an order is counted
	check "$(lap breaker open "$target" --app timed --for 1s --json)" '[.breakers[].peers] == [1, 1]'
	process_stop timed KILL
}

# tested_as TARGET RESULT: what the latest test of that database found.
tested_as() {
	lap breakers --json | jq -e --arg target "$1" --arg result "$2" \
		'[.breakers[] | select(.app == "settled" and .target == $target)] | length == 2 and all(.last_test_result == $result)'
}

@test "a database that the configuration names is in use while its app lives, though nobody was seen to connect" {
	local target
	target="postgres://$(jq -rn --arg host "$PGHOST" '$host | @uri'):$PGPORT/shop"
	client_start settled "$SHOP_DATABASE" "$target"
	obey settled '$db = PG.connect(ADDRESS); $db.exec("select 1")'
	agent_stop
	(umask 077 && echo "$PGSECRET" >"$WORK/settled.pw")
	jq -n --arg target "$target" --arg password "$WORK/settled.pw" --argjson uid "$(stat -c %u "/proc/$(process_pid settled)")" \
		'{apps: [{name: "settled", uid: $uid, databases: [{target: $target, user: "shop", password_file: $password}]}]}' >"$WORK/settled.json"
	agent_start --config "$WORK/settled.json" --probe-interval 1s --probe-timeout 500ms --lease 2s
	wait_until 15 tested_as "$target" ok
	wait_until 10 obey_says settled 'Lapidary.connected?' true
	lap breaker open "$target" --app settled --for 1s
	wait_until 5 obey_says settled 'open?' true
	wait_until 6 obey_says settled 'open?' false
	# it freezes under the connection that no agent saw open
	postgres_signal STOP
	wait_until 20 obey_says settled '$breaker.open?(:query)' true
	postgres_signal CONT
	wait_until 20 obey_says settled 'open?' false
	obey_says settled 'use { $db.exec("select 1") }' ok
	process_stop settled KILL
	agent_stop
	agent_start --probe-interval 0 --lease 2s --breaker-wait 1s --breaker-wait-max 2s
}

# closings APP: how its breakers' closings ended.
closings() {
	lap actions --json | jq -c --arg app "$1" '[.actions[] | select(.app == $app and .action == "breaker.close") | [.outcome, .outcome_reason]]'
}

closings_are() {
	[ "$(closings "$1")" = "$2" ]
}

@test "a breaker that closes by itself is a closing that was done, by who was told" {
	opened_by_hand itself --for 1s
	wait_until 6 obey_says itself 'open?' false
	wait_until 5 closings_are itself '[["done","1 of 1 processes did it"],["done","1 of 1 processes did it"]]'
	process_stop itself KILL
}

@test "a pause closes every breaker at once, and nothing opens until it ends" {
	local took
	opened_by_hand paused --for 60s
	took=$(date +%s%3N)
	lap actions pause --for 60s --json >"$WORK/pause.json"
	wait_until 2 obey_says paused 'open?' false
	echo "# $(($(date +%s%3N) - took)) ms from the pause to closed" >&3
	check "$(<"$WORK/pause.json")" '.paused == true and .released.breakers >= 1'
	obey_says paused attempt ok
	run lap breaker open "$(lap breakers --json | jq -r '[.breakers[] | select(.app == "paused") | .target][0]')" --app paused
	[ "$status" = 1 ]
	obey_says paused 'open?' false
	lap actions resume
	process_stop paused KILL
}

@test "no breaker stays open longer than its cap, and the app goes on" {
	agent_stop
	agent_start --probe-interval 0 --lease 2s --breaker-wait 3s --breaker-wait-max 3s --breaker-max-open 3s
	opened_by_hand capped --for 3600s
	wait_until 6 obey_says capped 'open?' false
	obey_says capped attempt ok
	process_stop capped KILL
	# the same for one that the rules opened, and whose database stays away
	CLOSED_PORT=$(free_port)
	client_start away "host=127.0.0.1 port=$CLOSED_PORT dbname=shop user=shop" "postgres://127.0.0.1:$CLOSED_PORT/shop"
	obey away '5.times { attempt }'
	wait_until 10 obey_says away 'open?' true
	wait_until 6 obey_says away 'open?' false
	obey_says away attempt error
	process_stop away KILL
}

# pool_use: uses each connection of the pool once, as requests that come in would; the words of all uses.
pool_use='$words = $pool.map { |db| sleep 0.02; use { db.exec("select 1") }.tap { |word| begin; db.reset; rescue PG::Error; end if word == "error" } }'

@test "Property 9: the connections that an outage left dead do not open it again" {
	local openings
	agent_stop
	agent_start --probe-interval 1s --probe-timeout 500ms --lease 2s --breaker-wait 1s
	client_start pooled "$SHOP_DATABASE" "postgres://$(jq -rn --arg host "$PGHOST" '$host | @uri'):$PGPORT/shop"
	obey pooled '$pool = Array.new(30) { PG.connect(ADDRESS) }; $pool.each { |db| db.exec("select 1") }'
	postgres_stop
	obey pooled '5.times { |i| use { $pool[i].exec("select 1") } }'
	wait_until 10 obey_says pooled '$breaker.open?(:query)' true
	postgres_up
	wait_until 15 obey_says pooled 'open?' false
	openings=$(openings_of pooled)
	# 25 of 30 are still those of the server that is gone; each is found dead at its next use, one after the other
	obey pooled "$pool_use"
	obey_says pooled '$words.tally.sort.inspect' '[["error", 30]]'
	obey pooled "$pool_use"
	obey_says pooled '$words.tally.sort.inspect' '[["ok", 30]]'
	obey_says pooled 'open?' false
	[ "$(openings_of pooled)" = "$openings" ]
	# and the next outage is one again
	postgres_stop
	obey pooled "$pool_use"
	wait_until 10 obey_says pooled '$breaker.open?(:query)' true
	[ "$(openings_of pooled)" -gt "$openings" ]
	postgres_up
	wait_until 15 obey_says pooled 'open?' false
	process_stop pooled KILL
}

# openings_of APP: how often the breaker of its statements was opened.
openings_of() {
	lap actions --json | jq --arg app "$1" '[.actions[] | select(.app == $app and .action == "breaker.open" and .scope == "query")] | length'
}

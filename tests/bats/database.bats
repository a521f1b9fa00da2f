#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What a database does to its clients, as the kernel sees it: availability errors make one incident per
# target, five in ten seconds; an app's own mistakes make none.

load helper
load postgres
load shop

setup_file() {
	work_begin
	crashy_build
	postgres_start
	sql shop "create table only_one (n int primary key)" "insert into only_one values (1)" \
		"grant all on only_one to shop"
	CLOSED_PORT=$(free_port)
	export CLOSED_PORT
	agent_start
}

teardown_file() {
	agent_stop
	postgres_stop
	work_end
}

# meet KIND TIMES: a watched process meets that trouble, as a process named after it. Sets $pid.
meet() {
	rm -f "$WORK/gate-$1"
	ruby_start "db-$1" nobody database.rb "$1" "$2" "$WORK/gate-$1"
	pid=$(process_pid "db-$1")
	wait_until 10 grep -q ready "$WORK/db-$1.out"
	watch_wait "$pid"
	touch "$WORK/gate-$1"
	wait_until 20 grep -q "done" "$WORK/db-$1.out"
}

# The database incidents that name this text in their subject.
incidents_about() {
	lap incidents --json | jq -c --arg text "$1" \
		'[.incidents[] | select(.kind == "database_failures" and (.subject | contains($text)))]'
}

has_incident() {
	[ "$(incidents_about "$1" | jq length)" -ge 1 ]
}

# incident_is TEXT KIND: one incident about it, whose count covers what happened.
incident_is() {
	wait_until 10 has_incident "$1" || { lap incidents --json >&2; return 1; }
	check "$(incidents_about "$1")" 'length == 1 and .[0].count >= 5'
	check "$(incidents_about "$1")" '.[0] | (.title | length > 0) and (.id | test("^[0-9a-f]{16}$"))'
	process_stop "db-$2" KILL
}

# After this process was met by five refusals and its incident is there, what came before it was handled.
barrier() {
	CLOSED_PORT=$(free_port)
	export CLOSED_PORT
	meet refused 5
	incident_is ":$CLOSED_PORT" refused
}

@test "a refused connection" {
	meet refused 5
	incident_is "127.0.0.1:$CLOSED_PORT" refused
}

@test "a Unix socket that is not there" {
	meet no_socket 5
	incident_is "%2Fnonexistent%2Fsocket:$PGPORT" no_socket
}

@test "too many connections for a role, 53300" {
	meet too_many 5
	grep -q TooManyConnections "$WORK/db-too_many.out" || grep -q ConnectionBad "$WORK/db-too_many.out"
	incident_is "pg%2Fsocket:$PGPORT/shop" too_many
}

@test "killed backends, 57P01" {
	meet killed 6
	process_alive "$pid"
	check "$(lap workers --json)" '.workers | map(select(.process_id == $pid)) | .[0].error_history | length >= 1' \
		--argjson pid "$pid"
	process_stop db-killed KILL
}

@test "a wrong password and an unknown database are seen as what they are" {
	meet password 3
	check "$(lap workers --json)" \
		'.workers[] | select(.process_id == $pid) | .error_history | tostring | test("auth|28P01")' \
		--argjson pid "$pid"
	meet no_database 3
	check "$(lap workers --json)" \
		'.workers[] | select(.process_id == $pid) | .error_history | tostring | test("no_database|3D000")' \
		--argjson pid "$pid"
	process_stop db-password KILL
	process_stop db-no_database KILL
}

@test "four refusals are no incident, syntax errors and broken constraints are none however many" {
	local before
	before=$(lap incidents --json | jq '[.incidents[] | select(.kind == "database_failures")] | length')
	CLOSED_PORT=$(free_port)
	export CLOSED_PORT
	meet refused 4
	process_stop db-refused KILL
	meet syntax 20
	meet unique 20
	barrier
	check "$(lap incidents --json)" '[.incidents[] | select(.kind == "database_failures")] | length == $n' \
		--argjson n $((before + 1))
	process_stop db-syntax KILL
	process_stop db-unique KILL
}

@test "an incident carries its decision, which counts what it rests on" {
	check "$(lap incidents --json)" '[.incidents[] | select(.kind == "database_failures")] | length >= 1'
	check "$(lap decisions --json)" \
		'[.decisions[] | select(.rule | contains("database"))] | all(.count >= .threshold and .window_ms == 10000) and length >= 1'
}

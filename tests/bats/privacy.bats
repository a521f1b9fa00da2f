#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Acceptance 6: what an app keeps secret is in nothing that the agent writes or says. The environment is
# in none of it at all; a password or a literal may lie in raw stack memory (stack.bin), which holds what
# the program had there, and nowhere else.

load helper
load postgres
load shop

setup_file() {
	ENVIRONMENT=env-secret-7b1d9e
	LITERAL=literal-secret-c24f08
	ARGUMENT=argv-secret-51ae77
	export ENVIRONMENT LITERAL ARGUMENT
	work_begin
	crashy_build
	postgres_start
	CLOSED_PORT=$(free_port)
	export CLOSED_PORT
	agent_start --record "$WORK/agent.rec" --log-level debug
	export SHOP_DATABASE="postgres://shop:$PGSECRET@127.0.0.1:$PGPORT/shop?sslmode=disable"
	ruby_start secrets nobody secrets.rb "$WORK/gate" "$LITERAL" "--token=$ARGUMENT" \
		"postgres://shop:$ARGUMENT@127.0.0.1/shop"
	wait_until 10 grep -q ready "$WORK/secrets.out"
	watch_wait "$(process_pid secrets)"
	touch "$WORK/gate"
	wait_until 30 grep -q "done" "$WORK/secrets.out"
	ask_everything >"$WORK/answers.txt" 2>&1
}

teardown_file() {
	agent_stop
	postgres_stop
	work_end
}

# Everything that the agent tells anybody who may ask, while it runs and while the victims lie there.
ask_everything() {
	local command id pid
	while read -r pid; do wait_until 15 has_crash "$pid"; done < <(awk '/died/ {print $2}' "$WORK/secrets.out")
	for command in crashes incidents decisions actions workers health gaps; do
		lap "$command" --json || true # health may say 1: there are problems
		lap "$command" || true
	done
	lap doctor "$(process_pid secrets)" --json
	lap doctor "$(process_pid secrets)"
	for id in $(lap crashes --json | jq -r '.crashes[].id'); do
		lap crash show "$id" --json
		lap crash show "$id"
	done
}

# files_of_agent: everything it wrote, its own output and the answers included.
files_of_agent() {
	find "$WORK/agent.state" "$WORK/agent.run" "$WORK/agent.rec" "$WORK/agent.out" "$WORK/agent.err" \
		"$WORK/answers.txt" -type f
}

# found_in SECRET: the files that hold it, also when its bytes lie inside a database or a recording.
found_in() {
	files_of_agent | xargs grep -laF -e "$1" || true
}

@test "the test itself: the secrets were used, and the crashes are there" {
	[ "$(grep -c died "$WORK/secrets.out")" -ge 4 ]
	check "$(lap crashes --json)" '.crashes | length >= 4'
	grep -qw "$(awk '/died/ {print $2; exit}' "$WORK/secrets.out")" "$WORK/answers.txt"
	tr '\0' '\n' <"/proc/$(process_pid secrets)/environ" | grep -q "$ENVIRONMENT"
	tr '\0' '\n' <"/proc/$(process_pid secrets)/cmdline" | grep -q "$ARGUMENT"
	# the statements were seen: their normal forms are there
	check "$(lap crashes --json | jq -r '.crashes[].id' | while read -r id; do lap crash show "$id" --json; done | jq -s .)" \
		'[.[] | .sql.statement // "" | select(contains("$1"))] | length >= 1'
}

@test "the environment is nowhere, raw memory included" {
	[ -z "$(found_in "$ENVIRONMENT")" ] || { found_in "$ENVIRONMENT" >&2; return 1; }
}

@test "passwords and arguments are nowhere outside raw stack memory" {
	local secret
	for secret in "$PGSECRET" "$ARGUMENT" "wrong-$PGSECRET"; do
		run bash -c "$(declare -f found_in files_of_agent); found_in '$secret' | grep -v '/stack.bin\$'"
		[ -z "$output" ]
	done
}

@test "literals, cut ones too, are nowhere outside raw stack memory" {
	run bash -c "$(declare -f found_in files_of_agent); found_in '$LITERAL' | grep -v '/stack.bin\$'"
	[ -z "$output" ]
	# not even the half that a cut left over
	run bash -c "$(declare -f found_in files_of_agent); found_in '${LITERAL:0:12}' | grep -v '/stack.bin\$'"
	[ -z "$output" ]
}

@test "what was written is for root's eyes" {
	local path
	while read -r path; do
		case $(stat -c %a "$path") in
		600 | 700) ;;
		*) stat -c '%a %n' "$path" >&2; return 1 ;;
		esac
	done < <(find "$WORK/agent.state" "$WORK/agent.run/control.sock" "$WORK/agent.rec" ! -path "$WORK/agent.state")
	run as_user nobody cat "$(find "$WORK/agent.state/crashes" -name report.json | head -n 1)"
	[ "$status" != 0 ]
	run as_user nobody "$LAPIDARY" workers --run-dir "$WORK/agent.run"
	[ "$status" = 4 ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What a host that lacks something, a damaged file or a wrong word gets: one line that says what, where and
# what to do, the right exit status, and nothing half attached.

load helper

setup_file() {
	work_begin
	cp -r "$ROOT/rules" "$WORK/rules"
}

teardown_file() {
	agent_stop
	work_end
}

# refused STATUS PATTERN COMMAND…: ends so within its time, with one line of its own on stderr that matches (a log
# line may come before it), and holds no link, program, socket or process afterwards.
refused() {
	local want=$1 pattern=$2 status=0
	shift 2
	timeout 20 "$@" >"$WORK/refused.out" 2>"$WORK/refused.err" </dev/null || status=$?
	if [ "$status" != "$want" ] || [ "$(grep -cvE '^[0-9:]{8} (info|warn) ' "$WORK/refused.err")" != 1 ] ||
		! tail -n 1 "$WORK/refused.err" | grep -qE -- "^lapidary: .*($pattern)"; then
		printf 'wanted %s and "%s", got %s and:\n' "$want" "$pattern" "$status" >&2
		cat "$WORK/refused.err" >&2
		return 1
	fi
	bpf_gone
	[ ! -S "$WORK/new.run/control.sock" ]
	! pgrep -f "$WORK/new.run"
}

# The words of an agent that would start, were it not for what the test did.
agent_words() {
	echo "$LAPIDARY" agent --state-dir "$WORK/new.state" --run-dir "$WORK/new.run" --rules "$WORK/rules"
}

@test "the test itself: an agent with these words starts" {
	# shellcheck disable=SC2046 # words
	process_start new $(agent_words)
	wait_until 20 agent_ready new
	process_stop new
	[ "$(wc -l <"$WORK/new.err")" -ge 1 ]
}

@test "another pid namespace: 3" {
	# shellcheck disable=SC2046
	refused 3 'pid_namespace' unshare -p --fork --mount-proc $(agent_words)
	# shellcheck disable=SC2046 # the same, with the host's /proc still mounted
	refused 3 'pid_namespace' unshare -p --fork $(agent_words)
}

@test "no BTF: 3" {
	mkdir -p "$WORK/empty"
	refused 3 'BTF|btf' unshare -m sh -c "mount --bind $WORK/empty /sys/kernel/btf && exec $(agent_words)"
}

@test "missing capabilities: 3" {
	# shellcheck disable=SC2046
	refused 3 'CAP_|capabilit|permi|root' setpriv --bounding-set=-bpf,-sys_admin $(agent_words)
	# shellcheck disable=SC2046
	refused 3 'CAP_|capabilit|permi|root' setpriv --bounding-set=-perfmon,-sys_admin $(agent_words)
	cp "$LAPIDARY" "$WORK/lapidary"
	chmod 0755 "$WORK/lapidary"
	mkdir "$WORK/nobody"
	chmod 0777 "$WORK/nobody"
	refused 3 'CAP_|capabilit|permi|root' setpriv --reuid nobody --regid nogroup --clear-groups \
		"$WORK/lapidary" agent --state-dir "$WORK/nobody/state" --run-dir "$WORK/nobody/run" --rules "$WORK/rules"
}

@test "a state directory that cannot be written: 1" {
	touch "$WORK/file"
	refused 1 "$WORK/file" "$LAPIDARY" agent --state-dir "$WORK/file/state" --run-dir "$WORK/new.run" --rules "$WORK/rules"
	mkdir -p "$WORK/readonly"
	refused 1 "$WORK/readonly" unshare -m sh -c "mount -t tmpfs -o ro tmpfs $WORK/readonly &&
		exec $LAPIDARY agent --state-dir $WORK/readonly/state --run-dir $WORK/new.run --rules $WORK/rules"
}

@test "a second agent: 1, and the first one does not mind" {
	agent_start
	refused 1 'another|second|lock' "$LAPIDARY" agent --state-dir "$WORK/agent.state" --run-dir "$WORK/new.run" \
		--rules "$WORK/rules"
	refused 1 'another|second|lock' "$LAPIDARY" agent --state-dir "$WORK/new.state" --run-dir "$WORK/agent.run" \
		--rules "$WORK/rules"
	lap workers --json | jq -e .workers
	agent_ready
	agent_stop
}

@test "a directory for sockets whose name is too long, a recording that is there already: 1" {
	local long
	long=$WORK/$(printf 'x%.0s' {1..100})
	refused 1 'too long' "$LAPIDARY" agent --state-dir "$WORK/new.state" --run-dir "$long" --rules "$WORK/rules"
	touch "$WORK/there.rec"
	# shellcheck disable=SC2046
	refused 1 "there.rec" $(agent_words) --record "$WORK/there.rec"
	[ ! -s "$WORK/there.rec" ]
}

@test "a bad configuration file: 2, with its place, also from config check" {
	local text
	while IFS='|' read -r text pattern; do
		printf '%s' "$text" >"$WORK/bad.json"
		# shellcheck disable=SC2046
		refused 2 "$pattern" $(agent_words) --config "$WORK/bad.json"
		refused 2 "$pattern" "$LAPIDARY" config check "$WORK/bad.json"
	done <<-'EOF'
		{"sample_interval": "5s"}|sample_interval
		{"sample_interval_ms": true}|sample_interval_ms
		{"sample_interval_ms": 1}|sample_interval_ms
		{"life_ring": 12345}|life_ring
		{"log_level": "loud"}|log_level
		{"apps": [{"name": "a b"}]}|/apps/0/name
		{"apps": [{"name": "a", "colour": "red"}]}|/apps/0/colour
		{"apps": [{"name": "a"}, {"exclude": true}]}|/apps/1/exclude
		{"state_dir": "/x",}|bad.json:1:
		[]|bad.json
	EOF
	# shellcheck disable=SC2046
	refused 2 'nowhere.json' $(agent_words) --config "$WORK/nowhere.json"
}

@test "a bad variable and a bad flag: 2, by their names" {
	# shellcheck disable=SC2046
	refused 2 LAPIDARY_LOG_LEVEL env LAPIDARY_LOG_LEVEL=loud $(agent_words)
	# shellcheck disable=SC2046
	refused 2 LAPIDARY_CAPTURE_RING env LAPIDARY_CAPTURE_RING=7 $(agent_words)
	# shellcheck disable=SC2046
	refused 2 '--stack-bytes' $(agent_words) --stack-bytes 1G
	# shellcheck disable=SC2046
	refused 2 '--surprise' $(agent_words) --surprise
	# shellcheck disable=SC2046
	refused 2 'extra' $(agent_words) extra
	refused 2 '.' "$LAPIDARY" nonsense
}

@test "a bad rule: 2, with file and place" {
	local pattern text
	while IFS='|' read -r text pattern; do
		rm -rf "$WORK/bad-rules"
		cp -r "$WORK/rules" "$WORK/bad-rules"
		printf '%s' "$text" >"$WORK/bad-rules/zz-bad.json"
		refused 2 "zz-bad.json.*$pattern" "$LAPIDARY" agent --state-dir "$WORK/new.state" \
			--run-dir "$WORK/new.run" --rules "$WORK/bad-rules"
	done <<-'EOF'
		{|not valid JSON
		{"rules": 7}|/
		{"surprise": []}|/
	EOF
	refused 2 nowhere "$LAPIDARY" agent --state-dir "$WORK/new.state" --run-dir "$WORK/new.run" --rules "$WORK/nowhere"
}

@test "no agent and no store: 4" {
	refused 4 "$WORK/nothing" "$LAPIDARY" workers --run-dir "$WORK/nothing"
	refused 4 "$WORK/nothing" "$LAPIDARY" doctor --run-dir "$WORK/nothing"
	refused 4 "$WORK/nothing" "$LAPIDARY" crashes --state-dir "$WORK/nothing"
	refused 2 '--surprise' "$LAPIDARY" crashes --surprise
}

# --- damage ------------------------------------------------------------------------------------------

# One crash in the store, and no agent.
store_with_a_crash() {
	rm -rf "$WORK/agent.state"
	agent_start
	process_start victim ruby -e 'sleep'
	watch_wait "$(process_pid victim)"
	kill -SEGV "$(process_pid victim)"
	row=$(crash_wait "$(process_pid victim)")
	id=$(jq -r .id <<<"$row")
	bundle=$(jq -r .bundle <<<"$row")
	agent_stop
}

@test "a damaged database is set aside, and its crashes come back from their bundles" {
	store_with_a_crash
	rm -f "$WORK"/agent.state/lapidary.db-{wal,shm}
	dd if=/dev/urandom of="$WORK/agent.state/lapidary.db" bs=4096 count=4 conv=notrunc 2>/dev/null
	run lap crashes
	[ "$status" = 1 ]
	[ "${#lines[@]}" = 1 ]
	agent_start
	check "$(lap crashes --json)" '[.crashes[].id] == [$id]' --arg id "$id"
	compgen -G "$WORK/agent.state/lapidary.db.damaged-*"
	grep -q damaged "$WORK/agent.err"
	agent_stop
}

@test "a damaged, a half written and a missing bundle" {
	store_with_a_crash
	printf '{"id": "%s", "cut' "$id" >"$bundle/report.json"
	refused 1 "$id" "$LAPIDARY" crash show "$id" --state-dir "$WORK/agent.state"
	rm -rf "$bundle"
	refused 1 "$id|bundle" "$LAPIDARY" crash show "$id" --state-dir "$WORK/agent.state"
	# a half written one, as a kill leaves it: no report.json
	mkdir -p "$(dirname "$bundle")/0123456789abcdef"
	touch "$(dirname "$bundle")/0123456789abcdef/stack.bin"
	agent_start
	[ ! -e "$(dirname "$bundle")/0123456789abcdef" ]
	lap crashes --json | jq -e .crashes
	agent_stop
}

@test "a newer database is refused and not touched" {
	store_with_a_crash
	sqlite3 "$WORK/agent.state/lapidary.db" 'pragma user_version = 9999'
	sum=$(sha256sum <"$WORK/agent.state/lapidary.db")
	refused 1 'newer|version' "$LAPIDARY" agent --state-dir "$WORK/agent.state" --run-dir "$WORK/new.run" --rules "$WORK/rules"
	[ "$(sha256sum <"$WORK/agent.state/lapidary.db")" = "$sum" ]
}

@test "questions about crashes that are not there" {
	store_with_a_crash
	refused 1 'ffffffff' "$LAPIDARY" crash show ffffffffffffffff --state-dir "$WORK/agent.state"
	refused 2 'crash' "$LAPIDARY" crash show --state-dir "$WORK/agent.state"
	refused 2 'crash' "$LAPIDARY" crash --state-dir "$WORK/agent.state"
}

# What the agent says by its control socket of a state directory that it lost once.
tells_the_loss() {
	local status=0
	lap doctor --json >"$WORK/doctor.json" 2>/dev/null || status=$?
	[ "$status" = 1 ] && jq -e '.store.folder_lost == 1 and .store.last_error == null' "$WORK/doctor.json"
}

@test "state and run directory removed under the agent: said once, made anew, and it ends in order" {
	export AGENT=removed
	agent_start
	rm -rf "$WORK/removed.state" "$WORK/removed.run"
	wait_until 10 tells_the_loss
	[ -S "$WORK/removed.run/app.sock" ]
	lap actions
	lap crashes
	lap health --json | jq -e 'any(.diagnostic_messages[]; test("state directory was removed"))'
	agent_stop
	[ "$(grep -c "removed.state was removed while the agent runs" "$WORK/removed.err")" = 1 ]
	[ "$(grep -c "removed.run: removed while the agent runs" "$WORK/removed.err")" = 1 ]
	[ "$(grep -cE "may be lost|cannot be made anew" "$WORK/removed.err")" = 0 ]
	agent_start
	agent_stop
	[ "$(grep -c "nobody watched from" "$WORK/removed.err")" = 1 ]
	[ "$(grep -c "did not stop gracefully" "$WORK/removed.err")" = 0 ]
}

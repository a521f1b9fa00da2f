#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Acceptance 1: the workers of a real Puma cluster die in every way that native code dies, each right after
# a statement on a real PostgreSQL. Each death is one record that names what the worker itself could not.

load helper
load postgres
load shop
load replay

setup_file() {
	work_begin
	crashy_build
	postgres_start
	printf '%s' '{"apps": [{"name": "shop", "command": "puma*"}]}' >"$WORK/lapidary.json"
	agent_start --config "$WORK/lapidary.json" --record "$WORK/crash.rec"
	shop_start
	shop_watched
}

teardown_file() {
	shop_stop
	agent_stop
	postgres_stop
	work_end
}

# worker_dies PATH: a watched worker serves it and dies; the cluster is whole again. Sets $pid.
worker_dies() {
	shop_watched
	pid=$(shop_die "$1")
	[ -n "$pid" ]
	echo "$pid" >>"$WORK/deaths"
	wait_until 20 shop_whole
}

# row_is PID SIGNAL CODE ADDRESS CAUSE: exactly one row, which says so, durable as a bundle. Sets $row, $report.
row_is() {
	row=$(crash_wait "$1")
	check "$(crashes_of "$1")" 'length == 1'
	check "$row" '.app == "shop" and .pid == $pid and (.comm | startswith("puma"))' --argjson pid "$1"
	check "$row" '.signal == $signal and .code == $code' --arg signal "$2" --arg code "$3"
	check "$row" '(.fault_address // "none") == $address' --arg address "$4"
	check "$row" '.cause == $cause' --arg cause "$5"
	check "$row" '.time | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{9}Z$")'
	check "$row" '.start_time < .time'
	check "$row" '.fingerprint | test("^[0-9a-f]{16}$")'
	[ -f "$(jq -r .bundle <<<"$row")/report.json" ]
	report=$(lap crash show "$(jq -r .id <<<"$row")" --json)
}

# statement_is NAME: the statement that ran just before, its literals gone.
statement_is() {
	check "$report" '.sql.statement == "select $1 as shop_statement, $2" and .sql.in_flight == false'
	check "$report" '.sql.target | contains($database)' --arg database "/shop"
	run grep -rF "literal-$1" "$(jq -r .bundle <<<"$row")" --include=*.json --include=*.txt --include=*.jsonl
	[ "$status" = 1 ]
}

# module_is_crashy FUNCTION: the innermost frame is that function of the extension, and the gem is blamed.
module_is_crashy() {
	check "$report" '.native_frames[0].module == $path' --arg path "$(crashy_path)"
	check "$report" '.native_frames[0].build_id == $id' --arg id "$(crashy_build_id)"
	crashy_holds "$1" "$(jq -r '.native_frames[0].offset' <<<"$report")"
	check "$row" '.blame.gem == "crashy" and .blame.version == "1.0.0"'
}

# module_is PATTERN: a file whose build-id is what readelf says of it.
module_is() {
	local module
	module=$(jq -r '.native_frames[0].module' <<<"$report")
	# shellcheck disable=SC2254 # a pattern
	case $module in $1) ;; *) echo "module $module is not $1" >&2; return 1 ;; esac
	check "$report" '.native_frames[0].build_id == $id' \
		--arg id "$(readelf -n "$module" | awk '/Build ID/ {print $3}')"
}

confirmed_by() {
	check "$row" '.confirmed_by == $by' --arg by "$1"
}

@test "a NULL pointer in a C extension" {
	worker_dies /crash/null
	row_is "$pid" SIGSEGV SEGV_MAPERR 0x18 null
	module_is_crashy null
	statement_is null
	confirmed_by handler
}

@test "a non-canonical address in a C extension" {
	worker_dies /crash/non_canonical
	row_is "$pid" SIGSEGV SI_KERNEL none non_canonical
	module_is_crashy non_canonical
	statement_is non_canonical
	confirmed_by handler
}

@test "a jump to nowhere from a C extension" {
	worker_dies /crash/bad_jump
	row_is "$pid" SIGSEGV SEGV_MAPERR 0x1badc0de1000 bad_jump
	statement_is bad_jump
	# the faulting instruction lies in no file; who called it stands on the stack
	check "$report" '[.native_frames[] | select(.module == $path and .build_id == $id)] | length >= 1' \
		--arg path "$(crashy_path)" --arg id "$(crashy_build_id)"
}

@test "a write to read-only memory" {
	local address
	shop_watched
	read -r pid address < <(shop_get /address /crash/write_read_only)
	wait_until 20 process_gone "$pid"
	echo "$pid" >>"$WORK/deaths"
	row_is "$pid" SIGSEGV SEGV_ACCERR "$(printf '0x%x' "$address")" write_read_only
	module_is_crashy write_read_only
	statement_is write_read_only
	confirmed_by handler
}

@test "a double free" {
	worker_dies /crash/double_free
	row=$(crash_wait "$pid")
	row_is "$pid" SIGABRT SI_TKILL none "$(jq -r .cause <<<"$row")"
	check "$row" '.cause == "abort" or .cause == "heap_corruption"'
	module_is '*/libc.so.6'
	statement_is double_free
}

@test "a fault after the handler was taken away dies at once and is still whole" {
	worker_dies /crash/sig_dfl
	row_is "$pid" SIGSEGV SEGV_MAPERR 0x28 null
	module_is_crashy sig_dfl
	statement_is sig_dfl
	confirmed_by default_action
	check "$row" '.status == 11'
	check "$report" '.exit.signal == "SIGSEGV"'
}

@test "a stack overflow in a thread that Ruby does not know" {
	worker_dies /crash/overflow
	row=$(crash_wait "$pid")
	row_is "$pid" SIGSEGV "$(jq -r .code <<<"$row")" "$(jq -r .fault_address <<<"$row")" stack_overflow
	confirmed_by default_action
	crashy_recurses
}

# recurse() is the one static function of crashy.c that is no method.
crashy_recurses() {
	local offset start size
	offset=$(jq -r '.native_frames[0].offset' <<<"$report")
	read -r start size < <(nm -S "$(crashy_path)" | awk '$4 == "recurse" {print $1, $2}')
	# the call that pushed onto the guard page may be the one into memset
	((offset >= 16#$start && offset < 16#$start + 16#$size)) || module_is '*/libc.so.6'
}

@test "abort() in a C extension" {
	worker_dies /crash/abort
	row_is "$pid" SIGABRT SI_TKILL none abort
	module_is '*/libc.so.6'
	statement_is abort
}

@test "rb_bug, with its message" {
	worker_dies /crash/rb_bug
	row_is "$pid" SIGABRT SI_TKILL none vm_error
	check "$report" '.vm_error.message | startswith("crashy: the gem found itself")'
	statement_is rb_bug
}

@test "an illegal instruction and a division by zero" {
	worker_dies /crash/illegal
	row=$(crash_wait "$pid")
	row_is "$pid" SIGILL ILL_ILLOPN "$(jq -r .fault_address <<<"$row")" illegal_instruction
	module_is_crashy illegal
	worker_dies /crash/divide
	row=$(crash_wait "$pid")
	row_is "$pid" SIGFPE FPE_INTDIV "$(jq -r .fault_address <<<"$row")" arithmetic
	module_is_crashy divide
	confirmed_by default_action
}

@test "through Fiddle: NULL, an unmapped address, a jump to nowhere, abort" {
	worker_dies /fiddle/null
	row_is "$pid" SIGSEGV SEGV_MAPERR 0x0 null
	module_is '*/libc.so.6'
	statement_is null
	worker_dies /fiddle/unmapped
	row=$(crash_wait "$pid")
	row_is "$pid" SIGSEGV SEGV_MAPERR "$(jq -r .fault_address <<<"$row")" unmapped
	check "$row" '.fault_address | startswith("0x7abc000")'
	worker_dies /fiddle/jump
	row_is "$pid" SIGSEGV SEGV_MAPERR 0x1badc0de2000 bad_jump
	worker_dies /fiddle/abort
	row_is "$pid" SIGABRT SI_TKILL none abort
}

@test "kill -SEGV from outside names the sender" {
	local sender
	shop_watched
	pid=$(shop_workers | head -n 1)
	echo "$pid" >>"$WORK/deaths"
	sender=$(bash -c "kill -SEGV $pid; echo \$\$")
	wait_until 20 process_gone "$pid"
	row_is "$pid" SIGSEGV SI_USER none injected
	check "$report" '.fault.sender.pid == $sender and .fault.sender.uid == 0' --argjson sender "$sender"
}

@test "the OOM killer in a memory cgroup" {
	local group
	group=$(memory_group_make $((96 << 20))) || skip "no memory controller can be used here"
	shop_watched
	pid=$(shop_workers | head -n 1)
	echo "$pid" >"$group/cgroup.procs"
	# the one that is asked may be another worker: ask until the limited one served it
	for _ in {1..40}; do
		process_alive "$pid" || break
		shop_get /grow/200 >"$WORK/grown" || true
	done
	wait_until 10 process_gone "$pid"
	rmdir "$group"
	echo "$pid" >>"$WORK/deaths"
	row=$(crash_wait "$pid")
	check "$row" '.signal == "SIGKILL" and .cause == "oom" and .app == "shop"'
	confirmed_by oom
}

@test "rescued overflows are no crashes, whatever their process does later" {
	local name
	shop_watched
	shop_get /recover >"$WORK/recovered"
	grep -q SystemStackError "$WORK/recovered"
	for name in exit warn fail late; do
		ruby_start "rescued-$name" nobody rescued.rb "$name" "$WORK/gate"
	done
	ruby_start rescued-term nobody rescued.rb wait "$WORK/gate"
	wait_until 20 all_ready
	for name in exit warn fail late term; do watch_wait "$(process_pid "rescued-$name")"; done
	touch "$WORK/gate"
	wait_until 20 grep -q waiting "$WORK/rescued-term.out"
	kill -TERM "$(process_pid rescued-term)"
	for name in exit warn fail late term; do wait_until 20 process_gone "$(process_pid "rescued-$name")"; done
	# one of them dies of something else, later: that is its one crash, and it tells that the rest was seen
	row=$(crash_wait "$(process_pid rescued-late)")
	check "$row" '.signal == "SIGABRT"'
	process_pid rescued-late >>"$WORK/deaths"
	for name in exit warn fail term; do
		check "$(crashes_of "$(process_pid "rescued-$name")")" 'length == 0'
	done
	process_alive "$(cut -d' ' -f1 "$WORK/recovered")"
}

all_ready() {
	local name
	for name in exit warn fail late term; do grep -q ready "$WORK/rescued-$name.out" || return 1; done
}

@test "workers of a preloading master" {
	shop_stop
	shop_start SHOP_PRELOAD=1
	worker_dies /crash/null
	row_is "$pid" SIGSEGV SEGV_MAPERR 0x18 null
	module_is_crashy null
	statement_is null
	worker_dies /crash/sig_dfl
	row_is "$pid" SIGSEGV SEGV_MAPERR 0x28 null
	module_is_crashy sig_dfl
	confirmed_by default_action
}

@test "each death is one record, and there is no other" {
	check "$(lap crashes --json)" '([.crashes[].pid] | sort) == ($deaths | sort)' \
		--argjson deaths "$(jq -s . "$WORK/deaths")"
	check "$(lap crashes --json)" '(.crashes | map(.id) | unique | length) == (.crashes | length)'
}

@test "crashes and the loop that they make are incidents" {
	check "$(lap incidents --json)" '[.incidents[] | select(.kind == "crash" and .app == "shop")] | length >= 1'
	check "$(lap incidents --json)" '[.incidents[] | select(.kind == "crash_loop" and .app == "shop")] | length >= 1'
}

@test "the tables say the same to a person" {
	run lap crashes
	[ "$status" = 0 ]
	[[ $output == *shop*SIGSEGV*crashy* ]]
	run lap crash show "$(lap crashes --json | jq -r '[.crashes[] | select(.blame.gem == "crashy")][0].id')"
	[ "$status" = 0 ]
	[[ $output == *crashy.so* && $output == *"select \$1 as shop_statement"* ]]
	run lap workers
	[ "$status" = 0 ]
	[[ $output == *shop* ]]
	run lap incidents
	[ "$status" = 0 ]
}

@test "a graceful stop leaves nothing, and a store that reads without an agent" {
	agent_stop
	nothing_left_of_agent
	check "$(lap crashes --json)" '.crashes | length == $n' --argjson n "$(wc -l <"$WORK/deaths")"
}

nothing_left_of_agent() {
	wait_until 5 session_empty "$(process_pid agent)"
	bpf_gone
	[ -z "$(find "$WORK/agent.run" -type s)" ]
}

@test "the recording of all this replays, as nobody, to the same bytes and the same conclusions" {
	replays_alike "$WORK/crash.rec"
	same_as_store
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What can be done with one crash afterwards: a core that gdb reads as it reads the kernel's own core of the
# same process, two crashes compared, one file to hand on, and what of it is private.

bats_require_minimum_version 1.5.0
load helper
load shop

setup_file() {
	work_begin
	crashy_build
	agent_start
	for name in plain handled other threaded; do mkdir -p "$WORK/dead/$name"; done
	victim_start plain sig_dfl
	victim_start handled null
	victim_start other non_canonical
	victim_start threaded abort thread
	watch_wait "$(process_pid plain)" "$(process_pid handled)" "$(process_pid other)" "$(process_pid threaded)"
	touch "$WORK/gate"
	for name in plain handled other threaded; do
		crash_wait "$(process_pid "$name")" | jq -r .id >"$WORK/$name.id"
		wait_until 20 session_empty "$(process_pid "$name")"
	done
}

teardown_file() {
	work_end
}

# victim_start NAME HOW [thread]: in a folder of its own, where the kernel puts its core.
victim_start() {
	(
		ulimit -c unlimited
		cd "$WORK/dead/$1" || exit 1
		process_start "$1" env RUBYLIB="$WORK/gems/crashy-1.0.0/lib" RUBYOPT= ruby "$WORK/app/forensics.rb" "$WORK/gate" "${@:2}"
	)
}

id() {
	cat "$WORK/$1.id"
}

core_of() {
	lap crash core "$(id "$1")" -o "$WORK/$1.core" --force >/dev/null
}

kernel_core() {
	[ "$(cat /proc/sys/kernel/core_pattern)" = core ] || skip "core_pattern is not 'core' here"
	ls "$WORK/dead/$1"/core*
}

program() {
	readlink -f "$(command -v ruby)"
}

# frames CORE: program counters as gdb unwinds them.
frames() {
	gdb -nx -batch -x "$ROOT/tests/bats/frames.py" "$(program)" "$1" 2>/dev/null | grep '^frame'
}

@test "gdb unwinds our core as it unwinds the kernel's core of the same process" {
	local kernel
	kernel=$(kernel_core plain)
	core_of plain
	frames "$WORK/plain.core" >"$WORK/ours"
	frames "$kernel" >"$WORK/theirs"
	[ "$(wc -l <"$WORK/ours")" -ge 15 ]
	diff "$WORK/ours" "$WORK/theirs"
	[ "$(stat -c %s "$WORK/plain.core")" -lt 400000 ]
	[ "$(stat -c %a "$WORK/plain.core")" = 600 ]
}

@test "of a handled crash, ours begins where the signal interrupted the kernel's" {
	local kernel
	kernel=$(kernel_core handled)
	core_of handled
	frames "$WORK/handled.core" >"$WORK/ours"
	frames "$kernel" | sed '1,/ signal$/d' >"$WORK/theirs"
	[ "$(wc -l <"$WORK/theirs")" -ge 15 ]
	diff "$WORK/ours" "$WORK/theirs"
}

@test "of a thread, the report and our core have all frames that gdb finds in the kernel's core, up to the thread's first" {
	local kernel
	kernel=$(kernel_core threaded)
	core_of threaded
	frames "$WORK/threaded.core" >"$WORK/ours"
	frames "$kernel" >"$WORK/theirs"
	[ "$(wc -l <"$WORK/ours")" -ge 15 ]
	diff "$WORK/ours" "$WORK/theirs"
	report=$(lap crash show "$(id threaded)" --json)
	diff <(jq -r '.native_frames[].address' <<<"$report") <(sed 's/^frame \(0x[0-9a-f]*\).*/\1/' "$WORK/theirs")
	check "$report" '.parts.native_frames.state == "complete" and .unwind.end == "outermost"'
	# up to 3.1, Ruby takes 1 MiB between the first frames and all others
	case $(ruby -e 'print RUBY_VERSION') in
	2.* | 3.[01].*) check "$report" '[.memory.stack.windows[].what] == ["first_frames"]' ;;
	esac
}

@test "symbols, shared libraries and siginfo, and the same through crash open" {
	core_of plain
	gdb -nx -batch -ex bt -ex 'info sharedlibrary' -ex 'p $_siginfo.si_signo' \
		-ex 'p $_siginfo._sifields._sigfault.si_addr' -ex 'x/i $pc' "$(program)" "$WORK/plain.core" >"$WORK/gdb" 2>/dev/null
	grep -q 'crashy_sig_dfl' "$WORK/gdb"
	grep -q 'rb_ary_each' "$WORK/gdb"
	grep -qE 'Yes .*/libruby' "$WORK/gdb"
	grep -qE 'Yes .*/crashy.so' "$WORK/gdb"
	grep -qF '$1 = 11' "$WORK/gdb"
	grep -qF '0x28' "$WORK/gdb"
	"$LAPIDARY" crash open "$(id plain)" --state-dir "$WORK/agent.state" -- -nx -batch -ex bt >"$WORK/opened" 2>/dev/null
	grep -q 'crashy_sig_dfl' "$WORK/opened"
	grep -q 'rb_ary_each' "$WORK/opened"
}

@test "the first screen says what, where, why, how often and what to do, in 40 lines" {
	local page first
	page=$(lap crash show "$(id plain)")
	first=$(sed '/^Stack, innermost/,$d' <<<"$page")
	[ "$(wc -l <<<"$first")" -le 40 ]
	[ "$(wc -L <<<"$first")" -le 100 ]
	for text in "SIGSEGV of" crashy.so "forensics.rb:14 in 'sig_dfl'" "crashy 1.0.0" "1 time, first" "gem pristine crashy"; do
		grep -qF "$text" <<<"$first" || { echo "not on the first screen: $text" >&2; return 1; }
	done
	for text in "block in total" "rip " "crashy.so +0x" "stack +0x0" "at rsp" "<8b>" "Parts of this report"; do
		grep -qF "$text" <<<"$page" || { echo "not on the page: $text" >&2; return 1; }
	done
	[ "$(lap crash show "$(id plain)" --memory | wc -l)" -gt "$(wc -l <<<"$page")" ]
}

@test "an export tells the same elsewhere, without agent and store" {
	lap crash export "$(id plain)" -o "$WORK/plain.tar.gz"
	[ "$(stat -c %a "$WORK/plain.tar.gz")" = 600 ]
	tar -tzf "$WORK/plain.tar.gz" | sort | diff - <(ls "$WORK/agent.state/crashes/$(id plain)")
	diff <("$LAPIDARY" crash show --from "$WORK/plain.tar.gz" --json) <(lap crash show "$(id plain)" --json)
	diff <("$LAPIDARY" crash show --from "$WORK/agent.state/crashes/$(id plain)" --json) <(lap crash show "$(id plain)" --json)
	"$LAPIDARY" crash show --from "$WORK/plain.tar.gz" --state-dir /nonexistent | grep -q 'how often is known where its store is'
	core_of plain
	"$LAPIDARY" crash core "$WORK/plain.tar.gz" -o - | cmp - "$WORK/plain.core"
	run -1 lap crash export "$(id plain)" -o "$WORK/plain.tar.gz"
	[[ $output == *"--force"* ]]
	lap crash export "$(id plain)" -o "$WORK/plain.tar.gz" --force
}

@test "--force replaces files alone, and a full disk behind stdout is said" {
	mkfifo "$WORK/spared.fifo"
	ln -s "$WORK/nothing-yet" "$WORK/spared.link"
	run -1 lap crash export "$(id plain)" -o "$WORK/spared.fifo" --force
	[[ $output == *"no regular file"* ]]
	[ -p "$WORK/spared.fifo" ]
	run -1 lap crash core "$(id plain)" -o "$WORK/spared.link" --force
	[ -L "$WORK/spared.link" ]
	[ ! -e "$WORK/nothing-yet" ]
	for command in "crashes" "crash show $(id plain)" "crash show $(id plain) --json" "crash export $(id plain) -o -"; do
		# shellcheck disable=SC2086 # words
		run -1 bash -c '"$@" >/dev/full' full "$LAPIDARY" $command --state-dir "$WORK/agent.state"
		[[ $output == *"No space left on device"* ]]
	done
}

@test "a redacted export holds no memory, no host, no word of the process, and says so" {
	local folder=$WORK/redacted
	mkdir -p "$folder"
	lap crash export "$(id plain)" --redact -o "$WORK/redacted.tar.gz" --force
	tar -xzf "$WORK/redacted.tar.gz" -C "$folder"
	[ ! -e "$folder/stack.bin" ]
	[ ! -e "$folder/stderr.txt" ]
	check "$(cat "$folder/report.json")" '.host == null and .sql == null and .registers == null and .memory.stack == null'
	check "$(cat "$folder/report.json")" '.redacted | length >= 5'
	check "$(cat "$folder/report.json")" '.register_places.rip | startswith("crashy.so +0x")'
	check "$(cat "$folder/report.json")" '.parts.stack == {"state": "missing", "why": "redacted"}'
	/usr/bin/python3 -c 'import json, sys, jsonschema
jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))' \
		"$ROOT/rules/schema/report.schema.json" "$folder/report.json"
	"$LAPIDARY" crash show "$WORK/redacted.tar.gz" | grep -q 'redacted'
	run -1 "$LAPIDARY" crash core "$WORK/redacted.tar.gz" -o "$WORK/none.core"
	[[ $output == *"no core can be made: redacted"* ]]
	[ ! -e "$WORK/none.core" ]
}

@test "two crashes compared: where they part, and what is the same" {
	local diff
	diff=$(lap crash diff "$(id plain)" "$(id other)" --json)
	/usr/bin/python3 -c 'import json, sys, jsonschema
jsonschema.validate(json.load(sys.stdin), json.load(open(sys.argv[1])))' "$ROOT/rules/schema/crash_diff.schema.json" <<<"$diff"
	check "$diff" '.different | any(.name == "cause" and .a == "null" and .b == "non_canonical")'
	check "$diff" '.equal | any(.name == "Ruby")'
	check "$diff" '.frames[0].in != "both" and ([.frames[] | select(.in == "both")] | length >= 5)'
	check "$diff" '[.frames[] | select(.frame | contains("in '"'total'"'"))][0].in == "both"'
	diff=$(lap crash diff "$(id plain)" "$(id plain)" --json)
	check "$diff" '.different == [] and .registers == [] and .gems == [] and all(.frames[]; .in == "both")'
	lap crash diff "$(id plain)" "$(id other)" | grep -q 'here they part'
}

@test "groups: one row for all that are alike" {
	local groups
	groups=$(lap crashes --group --json)
	/usr/bin/python3 -c 'import json, sys, jsonschema
jsonschema.validate(json.load(sys.stdin), json.load(open(sys.argv[1])))' "$ROOT/rules/schema/groups.schema.json" <<<"$groups"
	check "$groups" '[.groups[].count] | add == 4'
	check "$groups" '.groups | any(.example == $id and (.top_frame | contains("crashy")))' --arg id "$(id plain)"
	lap crashes --group | grep -q 'innermost frame'
	run -2 lap crashes --cause nonsense
	[[ $output == *"non_canonical, bad_jump"* ]]
}

@test "what is no export is refused with one line that says where" {
	local file
	head -c 1000 "$WORK/app/forensics.rb" >"$WORK/text.tar.gz"
	head -c 900 "$WORK/plain.tar.gz" >"$WORK/cut.tar.gz"
	ln -s /etc/passwd "$WORK/stack.bin"
	tar -C "$WORK" -czf "$WORK/link.tar.gz" --format=ustar stack.bin
	printf x >"$WORK/evil"
	tar -C "$WORK" -czf "$WORK/path.tar.gz" --format=ustar --transform='s|.*|../../evil|' -P evil
	for file in text cut link path; do
		run -1 "$LAPIDARY" crash show --from "$WORK/$file.tar.gz"
		[ "${#lines[@]}" = 1 ]
		[[ ${lines[0]} == "lapidary: crash: $WORK/$file.tar.gz: "* ]]
	done
	mkfifo "$WORK/fifo"
	run -1 timeout 5 "$LAPIDARY" crash show --from "$WORK/fifo"
	run -1 "$LAPIDARY" crash show --from "$WORK/absent.tar.gz"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Causes told apart, by a table: real processes die (or do not) of each cause class, and what is said of them is held against what
# they told before (tests/crashes) and against the kernel's word. Then what a report must hold of each, whatever its cause: the
# state as it was (Property 17), the gem (18), and lines that programs can read (19).

load helper
load crashes
load shop
load obey

# NUMBER KIND HANDLER CONTEXT: a death each. SIGNAL CODE CAUSE: what it must be called. EVIDENCE: a pattern; AT is the failing
# instruction and SENDER who sent the signal, as they were. PARTS: what has to be as the process had it, by the judge.
table() {
	cat <<-'END'
		1 null_read ruby main|SIGSEGV SEGV_MAPERR null|si_code 1, read at address 0x18, below 64 KiB|registers stack ruby maps
		2 null_write default thread|SIGSEGV SEGV_MAPERR null|si_code 1, write at address 0x20, below 64 KiB|registers stack ruby maps
		3 unmapped default fiber|SIGSEGV SEGV_MAPERR unmapped|si_code 1, read at address 0x[0-9a-f]+, which is not mapped|registers stack ruby maps
		4 non_canonical ruby signal|SIGSEGV SI_KERNEL non_canonical|general protection fault .* holds 0xdead000000000000, which is no address|registers stack ruby maps
		5 jump_null default main|SIGSEGV SEGV_MAPERR bad_jump|the instruction pointer itself is the address 0x0$|registers stack ruby maps
		6 jump_data ruby fiber|SIGSEGV SEGV_ACCERR bad_jump|si_code 2, the instruction pointer itself is the address 0x[0-9a-f]+$|registers stack ruby maps
		7 write_read_only default signal|SIGSEGV SEGV_ACCERR write_read_only|write at address 0x[0-9a-f]+, which is mapped without the right to write|registers stack ruby maps
		8 overflow default main|SIGSEGV - stack_overflow|lies -?[0-9]+ bytes from the stack pointer|registers stack ruby maps
		9 overflow ruby foreign|SIGSEGV - stack_overflow|lies -?[0-9]+ bytes from the stack pointer|registers maps
		10 bus default main|SIGBUS BUS_ADRERR bus|SIGBUS, si_code 2, .* past the end of a mapped file|registers stack ruby maps
		11 illegal ruby main|SIGILL ILL_ILLOPN illegal_instruction|SIGILL, si_code 2 at AT|registers stack ruby maps
		12 divide default fiber|SIGFPE FPE_INTDIV arithmetic|SIGFPE, si_code 1: division by zero|registers stack ruby maps
		13 abort default main|SIGABRT SI_TKILL abort|the process called abort\(\)|registers stack ruby maps
		14 double_free default main|SIGABRT SI_TKILL heap_corruption|libc aborted|registers stack ruby maps
		15 heap_corruption default fiber|SIGABRT SI_TKILL heap_corruption|libc aborted|registers stack ruby maps
		16 assert default main|SIGABRT SI_TKILL assertion|__assert_fail aborted: an assertion in libcrashes_deep.so does not hold|registers stack ruby maps
		17 rb_bug ruby main|SIGABRT SI_TKILL vm_error|rb_bug: crashes: the gem found itself|registers stack ruby maps
		18 injected ruby main|SIGSEGV SI_TKILL injected|sent by process SENDER of user [0-9]+|registers stack ruby maps
		19 injected default thread|SIGSEGV SI_TKILL injected|sent by process SENDER of user [0-9]+|registers stack ruby maps
	END
}

setup_file() {
	work_begin
	crashy_build
	agent_start --log-format json
	zygote_start host-plain host plain
	{
		echo "100 rescued ruby main"
		table | cut -d'|' -f1
	} >"$WORK/orders"
	zygote_order host-plain "$(<"$WORK/orders")"
	memory_start
	zygote_wait host-plain "$(wc -l <"$WORK/orders")"
	while IFS='|' read -r order _; do crash_wait "$(truth_pid host-plain "${order%% *}")"; done < <(table)
	lap crashes --json >"$WORK/crashes.json"
	ruby --disable-gems "$ROOT/tests/crashes/judge.rb" "$WORK" "$WORK/crashes.json" host-plain >"$WORK/outcomes"
}

teardown_file() {
	zygote_end host-plain
	[ ! -e "$WORK/group" ] || zygote_end host-group
	agent_stop
	[ ! -e "$WORK/group" ] || wait_until 5 rmdir "$(<"$WORK/group")"
	work_end
}

# One that grows in a memory cgroup of its own, where that can be had.
memory_start() {
	local group
	group=$(memory_group_make $((96 << 20))) || return 0
	echo "$group" >"$WORK/group"
	CRASHES_GROUP=$group zygote_start host-group host group
	zygote_order host-group "1 memory default main"
	zygote_wait host-group 1
}

# truth_pid GENERATOR NUMBER
truth_pid() {
	cut -d' ' -f1 "$WORK/$1/truth/$2/process"
}

# told NUMBER: sets $row, $report of that death, of which there is one.
told() {
	row=$(crashes_of "$(truth_pid host-plain "$1")")
	check "$row" 'length == 1'
	row=$(jq -c '.[0]' <<<"$row")
	report=$(<"$(jq -r .bundle <<<"$row")/report.json")
}

# outcome NUMBER PART…: the judge found nothing wrong in them.
outcome() {
	local line number=$1
	shift
	set -- "$number" "$*"
	line=$(jq -c --arg number "$number" 'select(.number == $number)' "$WORK/outcomes")
	check "$line" '.wrong.found == null and .rows == 1'
	check "$line" '[.wrong[$parts | split(" ")[]] | select(. != null)] == []' --arg parts "$2"
}

# Each row of the table through a function: ORDER SIGNAL CODE CAUSE EVIDENCE PARTS. Says which row it was that failed.
each_row() {
	local order number expected evidence parts signal code cause rows=0
	while IFS='|' read -r order expected evidence parts; do
		number=${order%% *}
		read -r signal code cause <<<"$expected"
		if ! told "$number" || ! "$1" "$number" "$signal" "$code" "$cause" "$evidence" "$parts"; then
			echo "in row: $order" >&2
			return 1
		fi
		rows=$((rows + 1))
	done < <(table)
	[ "$rows" = 19 ]
}

cause_is() {
	local pattern=$5 sender
	check "$row" '.signal == $signal and .cause == $cause and ($code == "-" or .code == $code)' --arg signal "$2" --arg code "$3" --arg cause "$4" || return 1
	pattern=${pattern/AT/$(awk '$1 == "at" {print $3}' "$WORK/host-plain/truth/$1/c")}
	if [ -e "$WORK/host-plain/truth/$1/sender" ]; then
		sender=$(<"$WORK/host-plain/truth/$1/sender")
		pattern=${pattern/SENDER/$sender}
		check "$report" '.fault.sender.pid == $sender and .fault.sent_by_itself == false' --argjson sender "$sender" || return 1
	fi
	check "$report" '.cause == $cause and (.cause_evidence | test($pattern))' --arg cause "$4" --arg pattern "$pattern"
}

@test "each death by its cause, with the evidence for it" {
	each_row cause_is
}

@test "causes of one signal differ" {
	local all
	all=$(table | awk -F'|' '{split($2, word, " "); print word[1], word[3]}' | sort -u)
	[ "$(grep -c SIGSEGV <<<"$all")" -ge 7 ]
	[ "$(grep -c SIGABRT <<<"$all")" -ge 4 ]
	# and those of one cause are not of another: as many pairs are told as there are
	diff <(echo "$all") <(jq -r '.crashes[] | select(.cause != "oom") | "\(.signal) \(.cause)"' "$WORK/crashes.json" | sort -u)
}

@test "a rescued SystemStackError is no crash" {
	[ "$(<"$WORK/host-plain/truth/100/rescued")" = 3 ]
	[[ $(<"$WORK/host-plain/truth/100/death") == "exit 0 "* ]]
	# all that died after it are in the store
	check "$(crashes_of "$(truth_pid host-plain 100)")" 'length == 0'
}

@test "kill -SEGV from outside: the sender by pid and user, and nothing of the process is blamed" {
	local sender
	obey_start victim
	watch_wait "$(process_pid victim)"
	sender=$(as_user nobody bash -c "kill -SEGV $(process_pid victim); echo \$\$")
	wait_until 15 process_gone "$(process_pid victim)"
	report=$(report_of "$(process_pid victim)")
	check "$report" '.signal == "SIGSEGV" and .code == "SI_USER" and .cause == "injected"'
	check "$report" '.fault.sender == {"pid": $sender, "uid": $uid}' --argjson sender "$sender" --argjson uid "$(id -u nobody)"
	check "$report" '.cause_evidence | test("sent by process \($sender) of user \($uid)$")' --argjson sender "$sender" --argjson uid "$(id -u nobody)"
	check "$report" '.fault_address == null and .blame.gem == null and .blame.confidence == "none"'
}

@test "Property 17: out of memory: killed by the kernel, told as that, with what can be had of it" {
	[ -e "$WORK/group" ] || skip "no memory controller can be used here"
	report=$(report_of "$(truth_pid host-group 1)")
	check "$report" '.signal == "SIGKILL" and .cause == "oom" and .confirmed_by == "oom"'
	check "$report" '.cause_evidence | test("out-of-memory killer")'
	check "$report" '.exit.signal == "SIGKILL" and .blame.gem == null'
	# there was no fault to take registers and stack of, and that is said
	check "$report" '.registers == null and .parts.registers.state == "missing" and (.parts.registers.why | length > 0)'
	check "$report" '[.diagnosis[].rule] | index("oom") != null'
}

state_is() {
	# shellcheck disable=SC2086 # words
	outcome "$1" $6 || return 1
	check "$report" ".time <= .confirmed_at and .exit.signal != null" || return 1
	# taken before the end: what is in the file is what was on the stack of a process that is gone
	[ "$(stat -c %s "$(jq -r .bundle <<<"$row")/stack.bin")" = "$(jq '[.memory.stack | .size, .windows[].size] | add' <<<"$report")" ] || return 1
	check "$report" '.memory.stack.size > 0 and .parts.registers.state == "complete"'
}

@test "Property 17: whatever it died of, registers, stacks and maps are what the process had" {
	each_row state_is
}

# state_of NUMBER…: the same of some.
state_of() {
	local number parts
	for number in "$@"; do
		told "$number"
		parts=$(table | awk -F'|' -v n="$number" '{split($1, word, " ")} word[1] == n {print $4}')
		state_is "$number" '' '' '' '' "$parts"
	done
}

@test "Property 17: where no handler runs and the process is dead at once" {
	state_of 3 5 7 12
	check "$report" '.confirmed_by == "default_action" and .fault.default_action'
}

@test "Property 17: in a Fiber, in a handler of a signal, in a thread that Ruby did not make" {
	state_of 4 6 15
	told 9
	outcome 9 registers maps
	check "$report" '.fault.thread != .pid and .ruby_frames == []'
}

gem_is() {
	case $4 in
	injected) check "$report" '.blame.gem == null' && return ;;
	esac
	check "$row" '.blame.gem == "crashes" and .blame.version == "1.2.0"' || return 1
	check "$report" '.blame.module | test("/gems/crashes-1.2.0/lib/(crashes|libcrashes_deep).so$")' || return 1
	check "$report" '(.blame.how | length > 0) and .blame.confidence != "none"'
}

@test "Property 18: whatever it died of, the gem is named with version and path, and nothing is for what came from outside" {
	each_row gem_is
}

# installed_dies FOLDER [WORD…]: crashy.so as a gem that is installed there. Sets $report.
installed_dies() {
	local folder=$WORK/$1 name=${1//[^a-z0-9]/-}
	mkdir -p "$folder"
	cp "$(crashy_path)" "$folder/crashy.so"
	obey_start "$name"
	obey "$name" "require '$folder/crashy.so'"
	watch_wait "$(process_pid "$name")"
	obey_and_die "$name" "Crashy.${2:-null}"
	report=$(report_of "$(process_pid "$name")")
	check "$report" '.blame.module == $path and .blame.gem == "crashy" and .blame.version == "1.0.0"' --arg path "$folder/crashy.so"
}

abi_here() {
	ruby --disable-gems -rrbconfig -e 'print RbConfig::CONFIG["ruby_version"]'
}

@test "Property 18: an extension that Bundler installed: for which Ruby it was built, and how it is built anew" {
	installed_dies "app/vendor/bundle/ruby/$(abi_here)/gems/crashy-1.0.0/lib"
	check "$report" '.gems | any(.name == "crashy" and .version == "1.0.0" and .abi == $abi)' --arg abi "$(abi_here)"
	check "$report" '.cause == "null" and (.remedies | any(contains("pristine crashy")))'
}

@test "Property 18: an extension in the folder of RubyGems for extensions" {
	installed_dies "lib/ruby/gems/$(abi_here)/extensions/x86_64-linux/$(abi_here)/crashy-1.0.0"
	check "$report" '.gems | any(.name == "crashy" and .abi == $abi)' --arg abi "$(abi_here)"
}

@test "Property 18: an extension that was built for another Ruby: for which, and which one runs" {
	installed_dies "app/vendor/bundle/ruby/2.6.0/gems/crashy-1.0.0/lib"
	check "$report" '.cause == "abi_mismatch" and (.cause_evidence | contains("2.6") and contains($running))' --arg running "$(abi_here | cut -d. -f1,2)"
	check "$report" '.gems | any(.name == "crashy" and .abi == "2.6.0")'
	check "$report" '[.diagnosis[].rule] | index("abi_mismatch") != null'
	check "$report" '.remedies[0] | contains("crashy")'
}

@test "Property 18: libc fails for it: the gem that made the call, and not libc" {
	installed_dies "app/vendor/bundle/ruby/$(abi_here)/gems/crashy-1.0.0/other" double_free
	check "$report" '.cause == "heap_corruption" and (.location.module | contains("libc"))'
	check "$report" '.blame.confidence != "none"'
}

# valid SCHEMA: each line on standard input is a document of it.
valid_lines() {
	/usr/bin/python3 -c '
import json, sys, jsonschema
judge = jsonschema.Draft202012Validator(json.load(open(sys.argv[1])))
bad = lines = 0
for line in sys.stdin:
    lines += 1
    for error in judge.iter_errors(json.loads(line)):
        print("/" + "/".join(map(str, error.path)) + ": " + error.message, file=sys.stderr)
        bad = 1
sys.exit(bad or not lines)' "$ROOT/rules/schema/$1.schema.json"
}

line_is() {
	jq -c '{crashes: [.]}' <<<"$row" | valid_lines crashes || return 1
	jq -c . <<<"$report" | valid_lines report || return 1
	check "$report" '.id == $row.id and .cause == $row.cause and .signal == $row.signal and .code == $row.code' --argjson row "$row"
}

@test "Property 19: whatever it died of, its row and its report are a line each that is valid" {
	each_row line_is
}

@test "Property 19: the agent's log: every line is a document, and each death is one of them" {
	jq -e -s 'all(type == "object")' "$WORK/agent.err" >/dev/null
	[ "$(jq -s length "$WORK/agent.err")" = "$(wc -l <"$WORK/agent.err")" ]
	while read -r id cause; do
		[ "$(grep -cF "$id" "$WORK/agent.err")" = 1 ]
		grep -F "$id" "$WORK/agent.err" | jq -e --arg cause "$cause" '.level == "error" and (.message | contains("(" + $cause + ")"))'
	done < <(lap crashes --json | jq -r '.crashes[] | "\(.id) \(.cause)"')
}

@test "Property 19: incidents of these deaths are lines that are valid, and each says what to do" {
	lap incidents --json >"$WORK/incidents.json"
	jq -c '.incidents[] | {incidents: [.]}' "$WORK/incidents.json" | valid_lines incidents
	check "$(<"$WORK/incidents.json")" '[.incidents[] | select(.kind == "crash")] | length >= 5'
	check "$(<"$WORK/incidents.json")" '[.incidents[] | select(.kind == "crash")] | all(.remedy | length > 0)'
}

@test "Property 19: what is no text in the process is text in the line" {
	obey_start odd
	watch_wait "$(process_pid odd)"
	obey odd "require 'crashy'; Process.setproctitle(\"odd\\xff\\n\\\"{\"); File.write('/proc/self/comm', \"od\\xfe\\\"{\\t\")"
	obey_and_die odd "Crashy.null"
	told_by=$(crash_wait "$(process_pid odd)")
	jq -c '{crashes: [.]}' <<<"$told_by" | valid_lines crashes
	jq -c . "$(jq -r .bundle <<<"$told_by")/report.json" | valid_lines report
}

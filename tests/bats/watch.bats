#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Which processes are watched and which files are probed: what counts is what a process maps, never what
# it is called; and one query counts once, whatever the paths by which its libpq is reached.

load helper
load postgres
load shop
load obey

setup_file() {
	work_begin
	crashy_build
	postgres_start
	# runs before the agent does, with libpq already loaded
	obey_start early
	obey early 'require "pg"; $db = PG.connect(ENV["SHOP_DATABASE"])'
	agent_start
}

teardown_file() {
	agent_stop
	postgres_stop
	work_end
}

queries_of() {
	lap workers --json | jq --argjson pid "$1" '[.workers[] | select(.process_id == $pid) | .queries][0] // -1'
}

counted() {
	[ "$(queries_of "$1")" = "$2" ]
}

# ask NAME TIMES: so many more statements, and the agent counts exactly so many more.
ask() {
	local pid before
	pid=$(process_pid "$1")
	watch_wait "$pid"
	before=$(queries_of "$pid")
	obey "$1" "$2.times { |i| \$db.exec(\"select #{i}\") }"
	wait_until 5 counted "$pid" $((before + $2)) || { echo "$before + $2 became $(queries_of "$pid")" >&2; return 1; }
	obey "$1" '$db.exec("select 1")'
	wait_until 5 counted "$pid" $((before + $2 + 1))
}

connect='$db = PG.connect(ENV["SHOP_DATABASE"])'

@test "a Ruby that ran before the agent did is watched, with the libpq it had" {
	ask early 50
	obey_and_die early 'require "crashy"; Crashy.null'
	check "$(crash_wait "$(process_pid early)")" '.signal == "SIGSEGV" and .blame.gem == "crashy"'
	check "$(report_of "$(process_pid early)")" '.sql.statement == "select $1"'
}

# The agent reads forks before mappings: stopped for the while, it finds both of them at once.
@test "what was mapped right before a fork is in the child's maps as well" {
	local child
	obey_start brink
	watch_wait "$(process_pid brink)"
	kill -STOP "$(process_pid agent)"
	child=$(obey_value brink 'require "crashy"; pid = fork { $stderr.reopen(File::NULL); Crashy.null }; Process.wait(pid); pid')
	kill -CONT "$(process_pid agent)"
	check "$(report_of "$child")" '.location.module | endswith("/crashy.so")'
	check "$(report_of "$child")" '.blame.gem == "crashy"'
	process_stop brink KILL
}

@test "a late require of pg is seen" {
	obey_start late
	watch_wait "$(process_pid late)"
	check "$(lap workers --json)" '.workers | any(.process_id == $pid)' --argjson pid "$(process_pid late)"
	obey late 'require "pg"'
	obey late "$connect"
	ask late 30
	process_stop late
}

@test "a Ruby of another name is watched" {
	cp "$(readlink -f /usr/bin/ruby)" "$WORK/jewel"
	obey_start jewel "$WORK/jewel"
	watch_wait "$(process_pid jewel)"
	obey_and_die jewel 'require "crashy"; Crashy.sig_dfl'
	check "$(crash_wait "$(process_pid jewel)")" '.comm == "jewel" and .blame.gem == "crashy"'
}

@test "an agent that was held up names the module that was mapped and killed meanwhile" {
	local agent
	agent=$(process_pid agent)
	obey_start hasty
	watch_wait "$(process_pid hasty)"
	kill -STOP "$agent"
	obey_and_die hasty 'require "crashy"; Crashy.sig_dfl'
	kill -CONT "$agent"
	check "$(crash_wait "$(process_pid hasty)")" '.signal == "SIGSEGV" and .blame.gem == "crashy"'
	check "$(report_of "$(process_pid hasty)")" '.native_frames[0].build_id != null'
}

@test "a Ruby that is dead before its library is known is not watched for ever" {
	local examiner ghost library
	library=$(ldd /usr/bin/ruby | awk '/libruby/ {print $3}')
	mkdir -p "$WORK/ghost"
	cp "$library" "$WORK/ghost"
	examiner=$(pgrep -x lapidary-exam -s "$(process_pid agent)")
	kill -STOP "$examiner"
	# its parent never asks how it ended, so that it stays a zombie
	process_start haunted ruby --disable-gems -e \
		'puts spawn({"LD_LIBRARY_PATH" => ARGV[0]}, "ruby", "--disable-gems", "-e", "sleep"); $stdout.flush; sleep' "$WORK/ghost"
	wait_until 10 grep -q . "$WORK/haunted.out"
	ghost=$(<"$WORK/haunted.out")
	busy() { lap doctor --json | jq -e '.ready == false'; }
	wait_until 10 grep -q "$WORK/ghost" "/proc/$ghost/maps"
	wait_until 4 busy
	kill -KILL "$ghost"
	wait_until 10 grep -q ' Z ' "/proc/$ghost/stat"
	kill -CONT "$examiner"
	probed() { lap features --json | jq -e '.probes | any(.path | contains("/ghost/"))'; }
	wait_until 10 probed
	unwatched() { ! lap doctor "$ghost" && lap workers --json | jq -e --argjson pid "$ghost" '.workers | all(.process_id != $pid)'; }
	wait_until 10 unwatched
	process_stop haunted
}

@test "a libruby and a libpq of other names and places are probed" {
	local libruby libpq
	libruby=$(ldd /usr/bin/ruby | awk '/libruby/ {print $3}')
	libpq=$(ldconfig -p | awk '/libpq\.so\.5/ {print $NF; exit}')
	mkdir "$WORK/else"
	cp "$(readlink -f "$libruby")" "$WORK/else/facet.so"
	cp "$(readlink -f "$libpq")" "$WORK/else/culet.so"
	obey_start renamed ruby LD_PRELOAD="$WORK/else/facet.so $WORK/else/culet.so"
	obey renamed 'require "pg"'
	grep -q facet.so "/proc/$(process_pid renamed)/maps"
	run grep "libruby\|libpq" "/proc/$(process_pid renamed)/maps"
	[ "$status" = 1 ]
	obey renamed "$connect"
	ask renamed 20
	obey_and_die renamed 'require "crashy"; Crashy.rb_bug'
	check "$(crash_wait "$(process_pid renamed)")" '.cause == "vm_error"'
}

@test "one libpq through two overlay mounts counts once in each process" {
	local mount
	mkdir -p "$WORK"/lower "$WORK"/{one,two}/{upper,work,root}
	cp "$(ldconfig -p | awk '/libpq\.so\.5/ {print $NF; exit}')" "$WORK/lower/libpq.so.5"
	for mount in one two; do
		mount -t overlay "lapidary-$mount" "$WORK/$mount/root" \
			-o "lowerdir=$WORK/lower,upperdir=$WORK/$mount/upper,workdir=$WORK/$mount/work" ||
			skip "overlayfs cannot be mounted here"
		obey_start "$mount" ruby LD_LIBRARY_PATH="$WORK/$mount/root"
		obey "$mount" 'require "pg"'
		obey "$mount" "$connect"
	done
	grep -q "$WORK/one/root/libpq" "/proc/$(process_pid one)/maps"
	ask one 100
	ask two 100
	ask one 100
	process_stop one
	process_stop two
	# an attachment holds its file and so the mount: it is let go when nobody uses it any more
	wait_until 20 umount "$WORK/one/root"
	wait_until 20 umount "$WORK/two/root"
}

@test "a process keeps its watch through titles, threads and forks" {
	obey_start titled
	obey titled 'require "pg"; require "crashy"; $0 = "puma: cluster worker 0: 1 [other]"'
	watch_wait "$(process_pid titled)"
	obey titled 'Thread.new { Thread.current.name = "background" }.join; Process.setproctitle("no Ruby here")'
	obey titled 'File.write("/proc/self/comm", "sshd")'
	watched "$(process_pid titled)"
	obey titled '$child = fork { Crashy.null }; Process.wait($child); puts "child #{$child}"'
	check "$(crash_wait "$(awk '/^child/ {print $2}' "$WORK/titled.out")")" '.signal == "SIGSEGV"'
	obey_and_die titled 'Crashy.abort'
	check "$(crash_wait "$(process_pid titled)")" '.signal == "SIGABRT" and (.app | length) > 0'
}

@test "exec to another program ends the watch, exec to a Ruby begins another" {
	obey_start leaver
	watch_wait "$(process_pid leaver)"
	echo 'exec "sleep", "60"' >"$WORK/leaver.fifo"
	wait_until 10 grep -qs sleep "/proc/$(process_pid leaver)/comm"
	wait_until 10 not_watched "$(process_pid leaver)"
	kill -SEGV "$(process_pid leaver)"
	wait_until 10 process_gone "$(process_pid leaver)"
	obey_start changer
	watch_wait "$(process_pid changer)"
	mkfifo -m 0666 "$WORK/again.fifo"
	echo "exec '/usr/bin/ruby', '$WORK/app/obey.rb', '$WORK/again.fifo'" >"$WORK/changer.fifo"
	wait_until 10 grep -qs again.fifo "/proc/$(process_pid changer)/cmdline"
	watch_wait "$(process_pid changer)"
	echo 'require "crashy"; Crashy.null' >"$WORK/again.fifo"
	check "$(crash_wait "$(process_pid changer)")" '.signal == "SIGSEGV"'
	# had the sleep been watched, its end would have been told before this one's
	check "$(crashes_of "$(process_pid leaver)")" 'length == 0'
}

not_watched() {
	! watched "$1"
}

@test "a process that is no Ruby is not watched, and doctor says why" {
	process_start bystander sleep 60
	run lap doctor "$(process_pid bystander)"
	[ "$status" = 1 ]
	[ -n "$output" ]
	process_stop bystander
	run lap doctor 4194303
	[ "$status" = 1 ]
}

@test "what is excluded is not watched, and nothing of it is stored" {
	agent_stop
	echo '{"apps": [{"command": "hidden", "exclude": true, "why": "a test"}, {"name": "named", "uid": 65534}]}' \
		>"$WORK/exclude.json"
	AGENT=picky agent_start --config "$WORK/exclude.json"
	cp "$(readlink -f /usr/bin/ruby)" "$WORK/hidden"
	obey_start hidden "$WORK/hidden"
	obey_start shown
	AGENT=picky watch_wait "$(process_pid shown)"
	AGENT=picky wait_until 5 not_watched "$(process_pid hidden)"
	obey_and_die hidden 'require "crashy"; Crashy.null'
	obey_and_die shown 'require "crashy"; Crashy.null'
	check "$(AGENT=picky crash_wait "$(process_pid shown)")" '.app == "named"'
	check "$(AGENT=picky crashes_of "$(process_pid hidden)")" 'length == 0'
	AGENT=picky agent_stop
}

@test "with one uprobe at a time, as on older kernels, it is all the same" {
	AGENT=old agent_start --uprobe-multi off
	obey_start before_multi
	obey before_multi 'require "pg"'
	obey before_multi "$connect"
	AGENT=old ask before_multi 40
	obey before_multi 'require "crashy"; $child = fork { Crashy.null }; Process.wait($child); puts "child #{$child}"'
	check "$(AGENT=old crash_wait "$(awk '/^child/ {print $2}' "$WORK/before_multi.out")")" '.confirmed_by == "handler"'
	obey_and_die before_multi 'Crashy.rb_bug'
	check "$(AGENT=old crash_wait "$(process_pid before_multi)")" '.cause == "vm_error"'
	AGENT=old agent_stop
	bpf_gone
}

# The capabilities that deploy/lapidary.service grants, as setpriv spells them.
listed_capabilities() {
	sed -n 's/^CapabilityBoundingSet=//p' "$ROOT/deploy/lapidary.service" | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g'
}

@test "with exactly the capabilities that the service grants, it is all the same" {
	mkdir -p "$WORK/granted.state" "$WORK/granted.run"
	process_start granted setpriv --bounding-set="-all,$(listed_capabilities)" --inh-caps=-all \
		"$LAPIDARY" agent --state-dir "$WORK/granted.state" --run-dir "$WORK/granted.run" --rules "$ROOT/rules"
	wait_until 20 agent_ready granted
	grep -q "^CapEff:.*[1-9a-f]" "/proc/$(process_pid granted)/status"
	obey_start under_grant
	obey under_grant 'require "pg"'
	obey under_grant "$connect"
	AGENT=granted ask under_grant 20
	obey_and_die under_grant 'require "crashy"; Crashy.null'
	check "$(AGENT=granted crash_wait "$(process_pid under_grant)")" '.blame.gem == "crashy"'
	AGENT=granted agent_stop
}

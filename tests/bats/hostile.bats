#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Acceptance 5: a watched process turns against the agent and against its neighbours. Three scopes: the victim's
# (user nobody, app "shop"), the hostile one's (user daemon), and a good peer of the hostile one's own user.
# Whatever the hostile one says, the others' breakers, workers and boots stay their own, and they are served.

load helper
load postgres
load shop
load obey

setup_file() {
	local name
	work_begin
	crashy_build
	library_copy
	postgres_start
	TARGET="postgres://$(jq -rn --arg host "$PGHOST" '$host | @uri'):$PGPORT/shop"
	export TARGET
	agent_start --probe-interval 0 --lease 2s
	SOCKET=$WORK/agent.run/app.sock
	export SOCKET
	# two of the victim's scope, so that one of them may be restarted at all
	for name in victim second; do
		obey_start "$name" ruby LAPIDARY_SOCKET="$SOCKET" SHOP_DATABASE="$SHOP_DATABASE"
		obey "$name" 'require "pg"; require "lapidary"'
		watch_wait "$(process_pid "$name")"
		obey "$name" '$orders = []
			Lapidary.on_restart { |order| $orders << order }
			Lapidary.start(app: "shop"); $db = PG.connect(ENV["SHOP_DATABASE"]); $breaker = Lapidary.breaker($db)'
	done
	hostile_start hostile
	watch_wait "$(process_pid hostile)"
	wait_until 5 obey_says victim 'Lapidary.connected?' true
}

teardown_file() {
	agent_stop
	postgres_stop
	work_end
}

# hostile_start NAME: does as it is told, as another user than the victim.
hostile_start() {
	OBEY_USER=daemon obey_start "$1" ruby PEER=1 LAPIDARY_SOCKET="$SOCKET" SHOP_DATABASE="$SHOP_DATABASE"
}

# After each attempt: nobody's breaker but at most the hostile one's own is open, the victim has no order and its
# connection, and a good peer is welcomed at once.
unharmed() {
	obey_says victim '$breaker.open?(:query) || $breaker.open?(:connect)' false
	obey_says victim '$orders.size' 0
	obey_says victim '$db.exec("select 1").getvalue(0, 0)' 1
	obey_says victim 'Lapidary.connected?' true
	served_quickly
	process_alive "$(process_pid agent)"
	check "$(lap breakers --json)" '.breakers | all(.state == "closed" or .uid != 65534)'
}

# A process that comes now is welcomed within the 500 ms that its boot would wait.
served_quickly() {
	obey_start newcomer ruby LAPIDARY_SOCKET="$SOCKET"
	watch_wait "$(process_pid newcomer)"
	obey newcomer 'require "lapidary"; at = Process.clock_gettime(Process::CLOCK_MONOTONIC)
		Lapidary.start(app: "shop"); $took = (Process.clock_gettime(Process::CLOCK_MONOTONIC) - at) * 1000'
	obey_says newcomer 'Lapidary.connected?' true
	[ "$(obey_value newcomer '$took.round')" -le 550 ]
	process_stop newcomer KILL
}

# readers_hang COUNT: so many threads of the agent, or more, wait for an answer of a file system; 0: none does.
readers_hang() {
	local count
	count=$(cat "/proc/$(process_pid agent)"/task/*/wchan 2>/dev/null | grep -o request_wait_answer | wc -l)
	if [ "$1" = 0 ]; then [ "$count" = 0 ]; else [ "$count" -ge "$1" ]; fi
}

# A test that failed leaves no connection to the next one: a process may have two.
teardown() {
	obey hostile 'ObjectSpace.each_object(UNIXSocket) { |one| one.close rescue nil }'
}

# hostile RUBY: it does that; what it raises is its own business.
hostile() {
	obey hostile "begin; $1; rescue SystemCallError, IOError => e; warn e.message; end"
}

# peer_is NAME EXPRESSION VALUE…: one of the values.
peer_is() {
	local value one
	value=$(obey_value hostile "$1")
	shift
	for one in "$@"; do [ "$value" = "$one" ] && return; done
	echo "$value is none of: $*" >&2
	return 1
}

memory_kb() {
	awk '/^VmRSS/ {print $2}' "/proc/$(process_pid agent)/status"
}

@test "a hello as another's app joins no scope of another user" {
	hostile '$p = Peer.new; $p.join(app: "shop")'
	peer_is '$p.welcome["type"]' welcome
	lap breaker open "$TARGET" --app shop --for 10s --json >"$WORK/open.json"
	check "$(<"$WORK/open.json")" '.breakers | length >= 1'
	wait_until 5 obey_says victim '$breaker.open?(:query)' true
	# the operator's word for the app reaches every scope of that name that uses the target; the hostile one
	# never used it, so nothing is said to it
	peer_is '$p.hear_type("breaker", 1).class' NilClass
	lap breaker close "$TARGET"
	wait_until 5 obey_says victim '$breaker.open?(:query)' false
	hostile '$p.close'
	unharmed
}

@test "outcomes with forged trial ids, and for targets of others, are ignored" {
	hostile '$p = Peer.new; $p.join
		["", "0" * 16, "f" * 16, "../../etc", "x" * 39, "x" * 400].each { |id|
			$p.tell(type: "outcome", trial_id: id, target: ENV["TARGET"] || "postgres://db:5432/shop", ok: false, ms: 1, error: "made up") }'
	unharmed
	lap breaker open "$TARGET" --app shop --for 10s
	wait_until 5 obey_says victim '$breaker.open?(:query)' true
	hostile '100.times { |i| $p.tell(type: "outcome", trial_id: format("%016x", i), target: "'"$TARGET"'", ok: true, ms: 1, error: "") }'
	hostile '$p.tell(type: "pool", target: "'"$TARGET"'", size: 1, active: 0, idle: 1, waiting: 0, timeouts: 0, stale_replaced: 0, wait_ms: 0)'
	# neither opened nor closed by it: still open until the operator says otherwise
	obey_says victim '$breaker.open?(:query)' true
	lap breaker close "$TARGET"
	wait_until 5 obey_says victim '$breaker.open?(:query)' false
	hostile '$p.close'
	unharmed
}

@test "a pool report names no target that its scope did not use, and claims do no harm" {
	hostile '$p = Peer.new; $p.join
		40.times { |i| $p.tell(type: "pool", target: "postgres://elsewhere:#{5000 + i}/x", size: 1, active: 99, idle: 0, waiting: 99, timeouts: 10 ** 9, stale_replaced: 0, wait_ms: 10 ** 9) }'
	check "$(lap breakers --json)" '.breakers | all(.target | contains("elsewhere") | not)'
	hostile '$p.close'
	unharmed
}

@test "acks of orders that another got, and replayed ones, change nothing" {
	local id
	lap breaker open "$TARGET" --app shop --for 5s
	id=$(lap breakers --json | jq -r '[.breakers[].id? // empty][0] // "0123456789abcdef"')
	hostile '$p = Peer.new; $p.join
		3.times { $p.tell(type: "ack", id: "'"$id"'", result: "failed", detail: "no") }
		$p.tell(type: "ack", id: "ffffffffffffffff", result: "done", detail: "")'
	obey_says victim '$breaker.open?(:query)' true
	lap breaker close "$TARGET"
	wait_until 5 obey_says victim '$breaker.open?(:query)' false
	hostile '$p.close'
	unharmed
}

@test "a replayed ack counts once, and only for the scope that was told" {
	local line
	hostile_start twin
	watch_wait "$(process_pid twin)"
	obey twin 'require "pg"; $p = Peer.new; $p.join(app: "twin"); $q = Peer.new; $q.join(app: "twin"); $db = PG.connect(ENV["SHOP_DATABASE"])'
	wait_until 5 twin_uses
	lap breaker open "$TARGET" --app twin --scope query --for 3s
	obey twin '$order = $p.hear_type("breaker"); $other = Peer.new rescue nil'
	hostile '$p = Peer.new; $p.join(app: "other"); 3.times { $p.tell(type: "ack", id: "'"$(obey_value twin '$order["id"]')"'", result: "done", detail: "") }'
	obey twin '5.times { $p.tell(type: "ack", id: $order["id"], result: "done", detail: "") }'
	wait_until 5 twin_told
	line=$(lap actions --json | jq -r '[.actions[] | select(.app == "twin" and .action == "breaker.open")][0].outcome_reason')
	[ "$line" = "1 of 2 processes did it, 1 did not answer" ]
	process_stop twin KILL
	hostile '$p.close'
	unharmed
}

twin_uses() {
	lap breakers --json | jq -e 'any(.breakers[]; .app == "twin")'
}

twin_told() {
	lap actions --json | jq -e '[.actions[] | select(.app == "twin" and .action == "breaker.open")][0].outcome | . != "sent"'
}

@test "who comes again and again with errors fills no log" {
	local told took
	took=$SECONDS
	OBEY_SECONDS=60 hostile '100.times { p = Peer.new; p.join; 8.times { p.tell(type: "error", code: "noise", message: "n" * 150) }; p.close }'
	took=$((SECONDS - took + 2))
	hostile '$p = Peer.new; $p.join; sleep_until = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 1.1
		$p.hear(0.2) while Process.clock_gettime(Process::CLOCK_MONOTONIC) < sleep_until
		$p.tell(type: "error", code: "last", message: "one"); $p.close'
	told=$(cat "$WORK"/agent.{out,err} | grep -c noise)
	echo "# $told of 800 errors in the log in $took s" >&3
	[ "$told" -ge 1 ]
	[ "$told" -le $((took * 20)) ]
	left_out() { grep -q "more lines about peers were left out" "$WORK/agent.err" "$WORK/agent.out"; }
	wait_until 5 left_out
	unharmed
}

@test "words that only the agent may say are answered with an error and do nothing" {
	hostile '$p = Peer.new; $p.join
		$p.tell(type: "restart", id: "1", pid: '"$(process_pid victim)"', mode: "now", deadline_ms: 1)
		$p.tell(type: "breaker", id: "1", target: "'"$TARGET"'", slot: 0, scope: "query", state: "open", lease_ms: 30000)
		$p.tell(type: "welcome", hold_ms: 20000, epoch: 1)'
	peer_is '$p.hear_type("error")["code"]' unknown_type
	process_alive "$(process_pid victim)"
	hostile '$p.close'
	unharmed
}

@test "crashes of its own hold no boot of another scope" {
	local round
	for round in 1 2 3 4; do
		OBEY_USER=daemon obey_start "loop$round" ruby LAPIDARY_SOCKET="$SOCKET" PEER=1
		watch_wait "$(process_pid "loop$round")"
		# in the other's name
		obey "loop$round" 'Peer.new.join(app: "shop"); require "crashy"'
		obey_and_die "loop$round" 'Crashy.null'
		crash_wait "$(process_pid "loop$round")"
	done
	obey_start held ruby LAPIDARY_SOCKET="$SOCKET"
	watch_wait "$(process_pid held)"
	obey held 'require "lapidary"; at = Process.clock_gettime(Process::CLOCK_MONOTONIC)
		Lapidary.start(app: "shop", role: "worker", hold: true); $took = (Process.clock_gettime(Process::CLOCK_MONOTONIC) - at) * 1000'
	[ "$(obey_value held '$took.round')" -le 550 ]
	process_stop held KILL
	unharmed
}

@test "a third connection of one process is refused, its first ones stay" {
	hostile '$a = Peer.new; $a.join; $b = Peer.new; $b.join; $c = Peer.new'
	peer_is '$a.welcome["type"]' welcome
	peer_is '$b.welcome["type"]' welcome
	peer_is '($c.join; $c.welcome == :cut ? "cut" : $c.welcome["type"])' cut error
	peer_is '$a.tell(type: "nonsense").hear_type("error")["code"]' unknown_type
	hostile '[$a, $b, $c].each(&:close)'
	unharmed
}

@test "thousands of connections of one user leave room for others, and no memory is lost" {
	local before
	before=$(memory_kb)
	hostile 'Process.setrlimit(:NOFILE, [4096, Process.getrlimit(:NOFILE)[1]].min)
		5.times { crowd = Peer.crowd(1000); crowd.each { |one| one.raw("{\"type\":") }; $crowd = crowd }'
	unharmed
	hostile '$crowd.each(&:close); $crowd = nil'
	hostile 'Array.new(20) { fork { $crowd = Peer.crowd(200); sleep 20 } }.then { |pids| $children = pids }'
	unharmed
	hostile '$children.each { |pid| Process.kill(:KILL, pid); Process.wait(pid) }'
	unharmed
	# what a thousand peers may cost, and not what six thousand would
	[ "$(memory_kb)" -lt $((before + 20000)) ]
}

@test "a flood of lines is cut off with a reason" {
	hostile '$p = Peer.new; $p.join; line = JSON.generate(type: "state", state: "serving", in_flight: 1)
		5000.times { $p.raw("#{line}\n") or break }'
	peer_is '$p.fate' flood too_many_lines cut
	unharmed
}

@test "a line beyond 65,536 bytes is cut off" {
	hostile '$p = Peer.new; $p.join; $p.raw("x" * 70_000)'
	peer_is '$p.fate' long_line
	hostile '$p = Peer.new; 40.times { $p.raw("{" * 65_000) or break }'
	peer_is '$p.fate' long_line
	unharmed
}

@test "garbage, broken UTF-8, deep and huge JSON cut off who sends them" {
	local bytes
	for bytes in '"\x00\xff\xfe\n".b' '"\xc3\x28\n".b' '"[" * 60_000 + "\n"' '"[" * 30_000 + "]" * 30_000 + "\n"' \
		'"{\"type\":\"hello\",\"app\":\"\xed\xa0\x80\"}\n".b' '"null\n"' '"{}{}\n"' '"GET / HTTP/1.1\r\n\r\n"'; do
		hostile "\$p = Peer.new; \$p.join; \$p.raw($bytes)"
		[ "$(obey_value hostile '$p.fate')" != open ] || { echo "still connected after $bytes" >&2; return 1; }
	done
	unharmed
}

@test "who says nothing is cut off after a second, half a hello is none" {
	hostile '$a = Peer.new; $b = Peer.new; $b.raw("{\"type\":\"hel")'
	[ "$(obey_value hostile '$a.fate(4)')" != open ]
	[ "$(obey_value hostile '$b.fate(4)')" != open ]
	hostile '$p = Peer.new; $p.join; $p.socket.close_write'
	unharmed
}

@test "who never reads costs the agent little, and nobody a moment" {
	local before
	before=$(memory_kb)
	# each unknown type would be answered, and nobody reads the answers
	hostile '$p = Peer.new; $p.join; $sent = 0
		began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
		while Process.clock_gettime(Process::CLOCK_MONOTONIC) - began < 3
			break unless $p.raw("{\"type\":\"#{"x" * 100}\"}\n" * 90)
			$sent += 90
			IO.select(nil, nil, nil, 0.1)
		end'
	[ "$(obey_value hostile '$sent')" -ge 900 ]
	[ "$(memory_kb)" -lt $((before + 2000)) ]
	unharmed
}

@test "a seventeenth app name of a user is refused" {
	# twelve processes with two names each, all at once
	hostile '$reader, writer = IO.pipe
		$children = Array.new(12) { |i| fork { 2.times { |j| p = Peer.new; ($kept ||= []) << p
			answer = p.join(app: "made-up-#{i}-#{j}"); writer.syswrite("#{answer.is_a?(Hash) ? answer["type"] : answer}\n") }; sleep 30 } }
		writer.close; $names = Array.new(24) { $reader.gets&.chomp }'
	[ "$(obey_value hostile '$names.count("welcome")')" -le 16 ]
	[ "$(obey_value hostile '$names.count("welcome")')" -ge 12 ]
	hostile '$children.each { |pid| Process.kill(:KILL, pid); Process.wait(pid) }'
	unharmed
}

@test "it can neither remove nor replace the socket, nor listen in its place" {
	hostile 'File.unlink(Peer::PATH)'
	hostile 'File.rename(Peer::PATH, "#{Peer::PATH}.old")'
	hostile 'UNIXServer.new(Peer::PATH)'
	hostile 'File.write("#{File.dirname(Peer::PATH)}/other", "x")'
	hostile 'UNIXServer.new("#{File.dirname(Peer::PATH)}/app2.sock")'
	hostile 'File.chmod(0777, File.dirname(Peer::PATH))'
	[ -S "$SOCKET" ]
	[ "$(stat -c %u "$SOCKET")" = 0 ]
	[ "$(find "$WORK/agent.run" -mindepth 1 -user daemon | wc -l)" = 0 ]
	unharmed
}

@test "a socket of its own, where an app looks for the agent's, is not believed" {
	mkdir "$WORK/false"
	chown daemon "$WORK/false"
	chmod 0755 "$WORK/false"
	hostile '$server = UNIXServer.new("'"$WORK"'/false/app.sock"); File.chmod(0666, "'"$WORK"'/false/app.sock")
		$heard = +""
		$serving = Thread.new { loop { c = $server.accept; Thread.new { $heard << c.readpartial(4096) rescue nil
			c.write(JSON.generate(type: "welcome", epoch: 99, lease_ms: 30000, heartbeat_ms: 1000, hold_ms: 20000,
				breakers: [{ target: "'"$TARGET"'", slot: 0, scope: "query", state: "open", seq: 1, lease_ms: 30000, id: "1" }]) + "\n") rescue nil
			c.write(JSON.generate(type: "restart", id: "1", mode: "now", deadline_ms: 1) + "\n") rescue nil } } }'
	obey_start believer ruby LAPIDARY_SOCKET="$WORK/false/app.sock"
	obey believer 'require "lapidary"; $orders = []; Lapidary.on_restart { |order| $orders << order }
		at = Process.clock_gettime(Process::CLOCK_MONOTONIC); Lapidary.start(app: "shop", role: "worker", hold: true)
		$took = (Process.clock_gettime(Process::CLOCK_MONOTONIC) - at) * 1000'
	[ "$(obey_value believer '$took.round')" -le 550 ]
	obey_says believer 'Lapidary.breaker("'"$TARGET"'").open?' false
	obey_says believer 'Lapidary.connected?' false
	obey_says believer '$orders.size' 0
	process_stop believer KILL
	hostile '$serving.kill; $server.close'
	unharmed
}

# page_write NAME RUBY: every way to write into the page fails.
@test "the state page cannot be written, reopened for writing, mapped writable, cut or grown" {
	hostile '$p = Peer.new; $p.join'
	peer_is '$p.page.class' IO
	hostile '$before = $p.page.pread($p.page.size, 0) rescue $before = $p.page.pread(16448, 0)'
	cat >"$WORK/app/page_attack.rb" <<-'EOF'
		require "fiddle"
		module PageAttack
			LIBC = Fiddle.dlopen(nil)
			def self.call(name, *arguments)
				types = arguments.map { |one| one.is_a?(String) ? Fiddle::TYPE_VOIDP : Fiddle::TYPE_LONG }
				Fiddle::Function.new(LIBC[name], types, Fiddle::TYPE_LONG).call(*arguments)
			end

			# How many of the attempts the kernel let through.
			def self.run(fd)
				wins = []
				[File::RDWR, File::WRONLY, File::RDWR | File::TRUNC].each do |mode|
					again = IO.sysopen("/proc/self/fd/#{fd}", mode)
					wins << "open #{mode}"
					wins << "write" if (IO.for_fd(again).pwrite("x" * 64, 64) rescue nil)
				rescue SystemCallError
					nil
				end
				io = IO.for_fd(fd, autoclose: false)
				wins << "pwrite" if (io.pwrite("x", 0) rescue nil)
				wins << "truncate" if call("ftruncate", fd, 0).zero?
				wins << "grow" if call("ftruncate", fd, 1 << 20).zero?
				wins << "chmod and open" if call("fchmod", fd, 0o666).zero? && (IO.sysopen("/proc/self/fd/#{fd}", File::RDWR) rescue nil)
				wins << "mmap" unless call("mmap", 0, 4096, 3, 1, fd, 0) == -1 # PROT_READ | PROT_WRITE, MAP_SHARED
				read_only = call("mmap", 0, 4096, 1, 1, fd, 0)
				wins << "mprotect" if read_only != -1 && call("mprotect", read_only, 4096, 3).zero?
				wins << "punch" if call("fallocate", fd, 3, 0, 4096).zero?
				wins << "unseal" if call("fcntl", fd, 1033, 0).zero? && false
				wins
			end
		end
	EOF
	hostile 'require "'"$WORK"'/app/page_attack"; $wins = PageAttack.run($p.page.fileno)'
	[ "$(obey_value hostile '$wins.join(", ")')" = "" ]
	obey_says hostile '$p.page.pread($before.bytesize, 0).bytesize == $before.bytesize' true
	hostile '$p.close'
	unharmed
}

@test "the page of one scope tells nothing of another's" {
	hostile '$p = Peer.new; $p.join(app: "shop")'
	peer_is '$p.page.pread(16448, 0).include?("'"$TARGET"'")' false
	hostile '$p.close'
	unharmed
}

@test "SO_PEERCRED: who was handed a connection speaks for its connector alone" {
	# the hostile one connects, its child in another's user writes: still the connector's scope
	hostile '$p = Peer.new; $child = fork { $p.join(app: "shop"); File.write("'"$WORK"'/inherit.out", $p.welcome.to_s) rescue nil; sleep 30 }'
	lap breaker open "$TARGET" --app shop --for 5s
	wait_until 5 obey_says victim '$breaker.open?(:query)' true
	peer_is '$p.hear_type("breaker", 1).class' NilClass Symbol
	lap breaker close "$TARGET"
	hostile 'Process.kill(:KILL, $child); Process.wait($child); $p.close'
	wait_until 5 obey_says victim '$breaker.open?(:query)' false
	unharmed
}

@test "a process that nobody watches and nobody configured is refused" {
	process_start stranger setpriv --reuid daemon --regid daemon --clear-groups /usr/bin/python3 -c '
import json, socket, sys, time
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b"{\"type\":\"hello\",\"protocol\":1,\"app\":\"shop\",\"role\":\"single\",\"accepts\":[]}\n")
s.settimeout(3)
data = b""
try:
    while True:
        more = s.recv(4096)
        if not more: break
        data += more
except OSError: pass
print(data.decode(), flush=True); print("end", flush=True)' "$SOCKET"
	wait_until 8 grep -q end "$WORK/stranger.out"
	run grep -q '"welcome"' "$WORK/stranger.out"
	[ "$status" = 1 ]
	unharmed
}

@test "who connected as one user and is another speaks for neither, strangers too" {
	agent_stop
	agent_start --probe-interval 0 --lease 2s --peer-uids 1
	# root for the sake of the test: a set-user-id program may do the same for anybody
	process_start changed /usr/bin/python3 -c '
import os, socket, sys
os.seteuid(1)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
os.seteuid(0)
s.settimeout(3)
s.sendall(b"{\"type\":\"hello\",\"protocol\":1,\"app\":\"shop\",\"role\":\"single\",\"accepts\":[]}\n")
print(s.recv(4096).decode(), "end", flush=True)' "$SOCKET"
	wait_until 8 grep -q end "$WORK/changed.out"
	grep -q "connected as 1" "$WORK/changed.out"
	process_stop changed KILL
	agent_stop
	agent_start --probe-interval 0 --lease 2s
	wait_until 40 obey_says victim 'Lapidary.connected?' true
	wait_until 40 obey_says second 'Lapidary.connected?' true
	obey_says victim '$db.exec("select 1").getvalue(0, 0)' 1
}

@test "a title that says puma earns no signal that it does not catch" {
	local pid
	hostile_start titled
	obey titled '$0 = "puma: cluster worker 0: 1 [shop]"'
	pid=$(process_pid titled)
	watch_wait "$pid"
	run lap worker restart "$pid" --json
	wait_until 10 action_ended "$pid"
	process_alive "$pid"
	obey_says titled '1 + 1' 2
	process_stop titled KILL
	unharmed
}

# The audit line about that process is final.
action_ended() {
	lap actions --json | jq -e --argjson pid "$1" \
		'[.actions[] | select(.pid == $pid and .action == "worker.restart")] | length >= 1 and all(.outcome != "sent" and .outcome != "done")'
}

@test "twenty processes that hang whoever reads of them keep their own user's readers alone" {
	mkdir "$WORK/mute"
	process_start server /usr/bin/python3 "$WORK/app/mute.py" "$(readlink -f /usr/bin/ruby)" "$WORK/mute"
	wait_until 5 grep -q ready "$WORK/server.out"
	OBEY_USER=daemon obey_start mutes "$WORK/mute/ruby"
	watch_wait "$(process_pid mutes)"
	kill -STOP "$(process_pid server)"
	obey mutes '$forks = 20.times.map { fork { sleep } }'
	wait_until 10 readers_hang 8 # of a user in a cgroup so many are written off
	unharmed
	obey mutes '$forks.each { |pid| Process.kill(:KILL, pid) }; Process.waitall'
	kill -KILL "$(process_pid server)" # its file system answers with errors from now on
	wait_until 10 readers_hang 0
	umount -l "$WORK/mute"
	process_stop mutes KILL
	unharmed
}

@test "it cannot order by the control socket" {
	hostile '$control = (UNIXSocket.new("'"$WORK"'/agent.run/control.sock") rescue nil)'
	obey_says hostile '$control.nil?' true
	run as_user daemon "$LAPIDARY" worker restart "$(process_pid victim)" --run-dir "$WORK/agent.run"
	[ "$status" != 0 ]
	process_alive "$(process_pid victim)"
	unharmed
}

@test "after all that the agent restarts a worker of the victim's when it is asked to" {
	run lap worker restart "$(process_pid second)" --json
	ordered() { obey_says second '$orders.size' 1; }
	wait_until 10 ordered
}

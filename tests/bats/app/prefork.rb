# SPDX-License-Identifier: Apache-2.0
#
# ruby prefork.rb HOW…: a plain preforking parent. Each HOW is a child, made anew when it ends: "polite" ends in
# order by TERM, "deaf" ignores TERM, "silent" has no handler for any signal and calls itself a Puma worker. All
# make a statement five times a second, unless there is a file prefork.rb.idle beside this one, and one that fails when they
# get USR2; and say "PID HOW".
require "io/wait"
require "pg"

$stdout.sync = true
$0 = "plain: master [prefork]"

def child(how)
	$0 = how == "silent" ? "puma: cluster worker 0: #{Process.ppid} [prefork]" : "plain: #{how} [prefork]"
	wake, waker = IO.pipe
	trap("USR2") { waker.write_nonblock("x") }
	case how
	when "polite" then trap("TERM") { exit! 0 }
	when "deaf" then trap("TERM") {}
	when "silent" then (Signal.list.keys - %w[EXIT KILL STOP SEGV BUS ILL FPE VTALRM USR2]).each { |name| trap(name, "SYSTEM_DEFAULT") rescue nil }
	end
	db = PG.connect(ENV.fetch("SHOP_DATABASE"))
	puts "#{Process.pid} #{how}"
	loop do
		woken = wake.wait_readable(0.2)
		wake.read(1) if woken
		db.exec(woken ? "select 1 / 0" : "select 1") if woken || !File.exist?("#{__FILE__}.idle")
	rescue PG::DivisionByZero
		nil
	end
end

children = {}
ARGV.each { |how| children[fork { child(how) }] = how }
loop do
	pid, = Process.wait2
	how = children.delete(pid)
	children[fork { child(how) }] = how
end

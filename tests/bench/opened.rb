# SPDX-License-Identifier: Apache-2.0
#
# ruby opened.rb THREADS TARGET PAGE: an app that asks its breaker, as each request does before it uses a
# database. With THREADS busy ones they ask in turn between pieces of work of some 50 us; without, one thread
# asks and sleeps. Prints "open NS" and "closed NS" (CLOCK_MONOTONIC) when an answer differs from the last, and
# "relay FAULT NS" when the relay's page does, which is looked at in the same breath: who sees that late sees
# everything late.
require "lapidary"

threads = Integer(ARGV[0])
$stdout.sync = true
Lapidary.start(app: "bench", accepts: %w[breaker])
abort "no agent" unless Lapidary.connected?
BREAKER = Lapidary.breaker(ARGV[1])
PAGE = IO::Buffer.map(File.open(ARGV[2]), 8, 0, IO::Buffer::READONLY)
$open = false
$fault = PAGE.get_value(:u64, 0)

def look
	fault = PAGE.get_value(:u64, 0)
	if fault != $fault
		$fault = fault
		$stdout.syswrite("relay #{fault} #{Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)}\n")
	end
	open = BREAKER.open?(:query)
	return if open == $open
	now = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
	$open = open
	$stdout.syswrite("#{open ? "open" : "closed"} #{now}\n")
end

def work
	sum = 0
	i = 0
	sum += i while (i += 1) < 1500
	sum
end

puts "ready"
if threads.zero?
	loop { look || sleep(0.0001) }
else
	Array.new(threads) { Thread.new { loop { work; look } } }.each(&:join)
end

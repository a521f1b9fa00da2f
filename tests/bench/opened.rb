# SPDX-License-Identifier: Apache-2.0
#
# ruby opened.rb THREADS TARGET: an app that asks its breaker, as each request does before it uses a database.
# With THREADS busy ones they ask in turn between pieces of work of some 50 us; without, one thread asks and
# sleeps. Prints "open NS" and "closed NS" (CLOCK_MONOTONIC) when an answer differs from the last.
require "lapidary"

threads = Integer(ARGV[0])
$stdout.sync = true
Lapidary.start(app: "bench", accepts: %w[breaker])
abort "no agent" unless Lapidary.connected?
BREAKER = Lapidary.breaker(ARGV[1])
$open = false

def look
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

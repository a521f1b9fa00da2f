# SPDX-License-Identifier: Apache-2.0
#
# ruby burst.rb PARENTS EACH PER_SECOND GATE: a loaded master forks PARENTS processes, and each forks EACH
# children that die of a NULL pointer under Ruby's own handler, PER_SECOND in all. Prints the pid of every
# child that died so, as waitpid saw it, and at the end how long it took.
require "json"
require "openssl"
require "net/http"
require "pg"
require "crashy"

parents, each, per_second = ARGV.first(3).map(&:to_i)
gate = ARGV[3]
HEAP = Array.new(200_000) { |i| "string #{i}" } # a loaded app: its pages are shared with every child

def now
	Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def die
	$stderr.reopen(File::NULL)
	Crashy.null
	exit!(7)
end

def be_parent(number, each, interval, start, out)
	each.times do |round|
		wait = start + (round * PARENTS + number) * interval - now
		sleep wait if wait.positive?
		child = fork { die }
		_, status = Process.wait2(child)
		out.syswrite("#{child} #{status.termsig}\n")
	end
end

PARENTS = parents
$stdout.sync = true
puts "ready"
IO.select(nil, nil, nil, 0.01) until File.exist?(gate)
start = now + 0.1
pids = Array.new(parents) do |number|
	fork { be_parent(number, each, 1.0 / per_second, start, $stdout) }
end
pids.each { |pid| Process.wait(pid) }
puts format("took %.1f", now - start)

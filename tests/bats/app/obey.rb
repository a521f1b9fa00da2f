# SPDX-License-Identifier: Apache-2.0
#
# ruby obey.rb FIFO: does each line of Ruby that comes through the FIFO (a record separator is a line end in it), and
# prints "did N" after the Nth, or "failed N: why". A process that a test leads step by step.
$stdout.sync = true
orders = File.open(ARGV[0], "r+")
require_relative "peer" if ENV["PEER"]
count = 0
puts "ready"
while (line = orders.gets)
	count += 1
	begin
		eval(line.tr("\x1e", "\n"), TOPLEVEL_BINDING)
		puts "did #{count}"
	rescue StandardError, LoadError => error
		puts "failed #{count}: #{error.message.lines.first}"
	end
end

# SPDX-License-Identifier: Apache-2.0
#
# ruby victim.rb FIFO: for each line of the FIFO (sig_dfl or null) forks a child that dies so, and says
# "died NUMBER PID" when it is dead. The child waits until whoever wrote the line sleeps again: the bench's own
# shell would be what the death competes with.
require "crashy"

$stdout.sync = true
orders = File.open(ARGV[0], "r+")
puts "ready"
number = 0
while (how = orders.gets&.chomp)
	child = fork do
		$stderr.reopen(File::NULL)
		sleep 0.025
		Crashy.public_send(how)
	end
	Process.wait(child)
	puts "died #{number += 1} #{child}"
end

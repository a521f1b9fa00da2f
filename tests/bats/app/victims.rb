# SPDX-License-Identifier: Apache-2.0
#
# ruby victims.rb FILE FIFO: on each SIGUSR1 forks a child that dies of a NULL pointer. The child says
# "ROUND PID TIME" in both right before it does, so that whoever waits at the FIFO is just in time.
require "crashy"
require "time"

file = File.open(ARGV[0], "a")
fifo = File.open(ARGV[1], "w")
wake, waker = IO.pipe
trap("USR1") { waker.write_nonblock("x") }
round = 0
while wake.read(1)
	round += 1
	child = fork do
		$stderr.reopen(File::NULL)
		line = "#{round} #{Process.pid} #{Time.now.utc.iso8601(9)}\n"
		file.syswrite(line)
		fifo.syswrite(line)
		Crashy.null
	end
	Process.wait(child)
end

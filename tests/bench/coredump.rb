# SPDX-License-Identifier: Apache-2.0
#
# coredump.rb STORED FIFO: for each line "CORE PID UID GID SIGNAL" of the FIFO gives the core file to systemd-coredump as the kernel
# would, through a pipe and with its arguments, and prints how many milliseconds pass until core and backtrace are there:
#
#     done MS BYTES FRAMES
#
# with what it stored below STORED and the frames of the stack that it told the journal. Runs inside tests/bench/coredump.
#
# We are its socket unit and its journal: systemd-coredump hands itself the core over /run/systemd/coredump, where the instance that
# answers does the work and tells /run/systemd/journal/socket. What the kernel does before is not counted; its pipe is cat's.
require "fileutils"
require "socket"
require "timeout"

PROGRAM = ENV.fetch("SYSTEMD_COREDUMP")
LIMIT = 60

def now
	Process.clock_gettime(Process::CLOCK_MONOTONIC) * 1000
end

def listen(type, path)
	FileUtils.mkdir_p(File.dirname(path))
	socket = Socket.new(:UNIX, type)
	socket.bind(Addrinfo.unix(path))
	File.chmod(0666, path) # it tells the journal as the user whose process died
	socket
end

$service = listen(:SEQPACKET, "/run/systemd/coredump")
$service.listen(8)
$journal = listen(:DGRAM, "/run/systemd/journal/socket")

# A journal's message: in the datagram, or in a file that comes with it.
def told
	text = +""
	loop do
		message, _, _, *controls = $journal.recvmsg_nonblock(1 << 20, 0, 4096, scm_rights: true, exception: false)
		return text if message == :wait_readable || message.nil?
		text << message.force_encoding("BINARY")
		controls.each { |one| one.unix_rights&.each { |file| file.rewind; text << file.read.force_encoding("BINARY"); file.close } }
	end
end

def service
	connection, = $service.accept
	pid = fork do
		[3].each { |fd| IO.for_fd(fd, autoclose: false).close rescue nil }
		exec({"LISTEN_FDS" => "1", "LISTEN_FDNAMES" => "connection"}, "/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0"', PROGRAM, 3 => connection, :err => "/dev/null")
	end
	connection.close
	pid
end

def feed(core, pid, uid, gid, signal)
	from, to = IO.pipe
	began = now
	arguments = [pid, uid, gid, signal, Time.now.to_i, (1 << 64) - 1, Socket.gethostname].map(&:to_s)
	kernel = spawn(PROGRAM, *arguments, in: from, err: "/dev/null")
	pipe = spawn("cat", core, out: to)
	from.close
	to.close
	Process.wait(service)
	took = now - began
	[kernel, pipe].each { |one| Process.wait(one) }
	took
end

$stdout.sync = true
puts "ready"
File.open(ARGV.fetch(1)).each_line do |line|
	core, pid, uid, gid, signal = line.split
	took = Timeout.timeout(LIMIT) { feed(core, pid, uid, gid, signal) }
	files = Dir.glob(File.join(ARGV.fetch(0), "core.*"))
	frames = told.scan(/^\s*#\d+\s+0x\h+ /).size
	puts format("done %.2f %d %d", took, files.sum { |file| File.size(file) }, frames)
	FileUtils.rm_f(files)
end

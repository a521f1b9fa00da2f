# SPDX-License-Identifier: Apache-2.0
#
# ruby traffic.rb SOCKET THREADS PER_SECOND FILE PATH: asks for PATH, a new connection each time, until it is
# ended by TERM. A line for each answer: BEGAN_MS TOOK_MS ok|busy|failed PID RETRY_AFTER. "busy" is a 503; whatever
# else is no 200, an answer that breaks off or none within 15 s, has failed.
require "socket"

SOCKET, threads, per_second, file, PATH = ARGV
LIMIT = 15
OUT = File.open(file, "a").tap { |out| out.sync = true }
$stop = false
trap("TERM") { $stop = true }

def monotonic
	Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def fetch
	socket = UNIXSocket.new(SOCKET)
	socket.write("GET #{PATH} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
	answer = +""
	end_at = monotonic + LIMIT
	answer << socket.readpartial(65_536) while socket.wait_readable([end_at - monotonic, 0].max)
	"" # no end within the limit
rescue EOFError
	answer
rescue SystemCallError
	""
ensure
	socket&.close
end

def judge(answer)
	case answer
	when %r{\AHTTP/1\.1 200 .*\r\n\r\n(\d+) }m then ["ok", $1, "-"]
	when %r{\AHTTP/1\.1 503 }
		["busy", answer[/\r\n\r\n(\d+) /, 1] || "-", answer[/^retry-after: *(\d+)/i, 1] || "-"]
	else ["failed", answer[/\A[^\r]*/].tr(" ", "_").then { |word| word.empty? ? "-" : word }, "-"]
	end
end

def ask
	began = Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond)
	at = monotonic
	answer = fetch
	OUT.syswrite("#{began} #{((monotonic - at) * 1000).round} #{judge(answer).join(" ")}\n")
end

pause = threads.to_f / per_second.to_f
Array.new(threads.to_i) do |number|
	Thread.new do
		turn = monotonic + pause * number / threads.to_i
		until $stop
			wait = turn - monotonic
			sleep wait if wait.positive?
			turn = [turn + pause, monotonic].max
			ask
		end
	end
end.each(&:join)

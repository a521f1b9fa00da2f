# SPDX-License-Identifier: Apache-2.0
#
# ruby request.rb SOCKET PATH...: asks the paths one after the other over one connection, which one worker
# serves. Prints each answer; where the worker dies instead, the line is `PID died`.
require "socket"

socket = UNIXSocket.new(ARGV.shift)

def answer(socket)
	length = nil
	while (line = socket.gets) && line != "\r\n"
		length = line.split(":")[1].to_i if line.downcase.start_with?("content-length:")
	end
	line && length && socket.read(length)
end

def ask(socket, path)
	socket.write("GET #{path} HTTP/1.1\r\nHost: shop\r\n\r\n")
	answer(socket)
rescue Errno::ECONNRESET, Errno::EPIPE
	nil
end

pid = ask(socket, "/pid").to_i
abort "no worker answered" if pid.zero?
ARGV.each do |path|
	text = ask(socket, path)
	puts text || "#{pid} died"
	break unless text
end

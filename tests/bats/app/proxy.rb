# SPDX-License-Identifier: Apache-2.0
#
# ruby proxy.rb PLACE TO MODE: a server at PLACE (a port of the loopback, or a path) for the database whose socket
# is TO. MODE is a file that says what it does with who connects: "serve", or "drop": close without a word.
require "socket"

place, to, mode = ARGV
server = place.start_with?("/") ? UNIXServer.new(place) : TCPServer.new("127.0.0.1", place)
File.chmod(0o777, place) if place.start_with?("/")
$stdout.sync = true
puts "ready"
loop do
	client = server.accept
	next client.close if File.read(mode).strip == "drop"
	Thread.new do
		base = UNIXSocket.new(to)
		[Thread.new { IO.copy_stream(client, base) rescue nil; base.close_write rescue nil },
		 Thread.new { IO.copy_stream(base, client) rescue nil; client.close_write rescue nil }].each(&:join)
	rescue SystemCallError
		nil
	ensure
		client.close
	end
end

# SPDX-License-Identifier: Apache-2.0
#
# The app socket spoken by hand, for tests that say what the library never would. obey.rb loads it where
# PEER is set.
require "json"
require "socket"

class Peer
	PATH = ENV.fetch("LAPIDARY_SOCKET")
	attr_reader :socket, :page, :welcome

	def self.hello(app: "shop", accepts: %w[breaker restart hold], **more)
		{ type: "hello", protocol: 1, app: app, role: "single", server: "", ruby: RUBY_VERSION, accepts: accepts, **more }
	end

	# So many connections as the agent takes; the others are in none of them.
	def self.crowd(count)
		Array.new(count) do
			new
		rescue SystemCallError
			nil
		end.compact
	end

	def initialize(path = PATH)
		@socket = UNIXSocket.new(path)
		@held = +""
	end

	# The welcome, or what came instead of it.
	def join(**hello)
		tell(Peer.hello(**hello))
		@welcome = hear(2)
	end

	def tell(line)
		line = JSON.generate(line) unless line.is_a?(String)
		@socket.write("#{line}\n")
		self
	rescue SystemCallError
		self
	end

	def raw(bytes)
		@socket.write(bytes)
		true
	rescue SystemCallError
		false
	end

	# The next line as a Hash; :cut when the agent closed; nil when nothing came in time.
	def hear(seconds = 1)
		end_at = now + seconds
		until (line = @held.slice!(/\A.*\n/))
			return nil unless @socket.wait_readable([end_at - now, 0].max)
			return :cut unless fill
		end
		JSON.parse(line)
	end

	# Lines until one of that type comes: it, :cut or nil.
	def hear_type(type, seconds = 2)
		end_at = now + seconds
		loop do
			line = hear([end_at - now, 0].max)
			return line unless line.is_a?(Hash) && line["type"] != type
		end
	end

	# Everything up to the end: the last error's code, or "cut" without one, or "open" when it stays open.
	def fate(seconds = 3)
		code = nil
		end_at = now + seconds
		loop do
			line = hear([end_at - now, 0].max)
			return code || "cut" if line == :cut
			return "open" if line.nil?
			code = line["code"] if line["type"] == "error"
		end
	end

	def close
		@socket.close
	end

	private

	def now
		Process.clock_gettime(Process::CLOCK_MONOTONIC)
	end

	def fill
		text, _, _, *control = @socket.recvmsg(65_536, 0, nil, scm_rights: true)
		control.each { |one| one.unix_rights&.each { |io| @page = io } }
		return false if text.nil? || text.empty?
		@held << text
	rescue SystemCallError
		false
	end
end

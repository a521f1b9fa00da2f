# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require_relative "agent"

module Scripted
  # An agent that welcomes whoever comes, as long as it is open, and keeps what each of them says.
  class Reception
    class Guest
      attr_reader :peer, :hello, :pid

      def initialize(peer, hello)
        @peer = peer
        @hello = hello
        @pid = peer.socket.getsockopt(:SOCKET, :PEERCRED).unpack("l<").first
        @there = true
        @listener = Thread.new do
          @peer.closed?(3600)
        rescue IOError, SystemCallError # we closed it ourselves
          nil
        ensure
          @there = false
        end
      end

      def there?
        @there
      end

      # What it has said of this type so far.
      def said(type)
        @peer.lines.dup.select { |line| line["type"] == type }
      end

      def close
        @peer.socket.shutdown
        @listener.join
        @peer.close
      rescue IOError, SystemCallError
        nil
      end
    end

    attr_reader :guests
    # hello → fields of the welcome
    attr_writer :answer

    def initialize(agent)
      @agent = agent
      @guests = []
      @answer = ->(_hello) { {} }
      @door = Thread.new { loop { receive } }
    end

    def close
      @door.kill.join
      @agent.close
      @guests.each(&:close).clear
    end

    private

    def receive
      peer = @agent.accept(3600)
      hello = peer.read("hello") or return
      peer.welcome(**@answer.call(hello))
      @guests << Guest.new(peer, hello)
    rescue IOError, SystemCallError
      nil
    end
  end
end

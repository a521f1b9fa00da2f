# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "socket"

module Lapidary
  # One connection to the agent: lines out, lines in, and the page's descriptor. Nothing here ever waits, save
  # for a listener whose queue is full; the thread that owns the connection does the waiting.
  class Connection
    UNSENT_MAX = 256 * 1024 # bytes for an agent that does not read; then it is none
    DESCRIPTORS_SIZE = 64   # of ancillary data: a dozen descriptors, of which one is wanted
    BUSY_WAIT = 0.01

    # Whoever listens there is not the agent.
    class Stranger < StandardError; end

    attr_reader :socket

    # The kernel says who listens: what another uid put in the agent's place is not spoken to.
    def self.open(path, agent_uid, deadline)
      socket = Socket.new(:UNIX, :STREAM)
      connect(socket, Socket.sockaddr_un(path), deadline)
      _pid, uid, = socket.getsockopt(:SOCKET, :PEERCRED).unpack("l<L<L<")
      raise Stranger, "the listener has uid #{uid}" unless uid == agent_uid

      connection = new(socket)
    ensure
      socket.close if socket && connection.nil?
    end

    def self.connect(socket, address, deadline)
      socket.connect_nonblock(address)
    rescue Errno::EAGAIN # its queue is full
      raise if Clock.seconds + BUSY_WAIT > deadline

      sleep BUSY_WAIT
      retry
    end
    private_class_method :connect

    def initialize(socket)
      @socket = socket
      @unsent = String.new
      @unread = String.new
      @descriptor = nil
    end

    def say(type, fields)
      @unsent << Protocol.line(type, fields)
      raise Errno::ENOBUFS if @unsent.bytesize > UNSENT_MAX
    rescue JSON::GeneratorError # an app's word that is no text: better left out than the connection lost
      nil
    end

    # What the socket takes at once.
    def flush
      until @unsent.empty?
        sent = @socket.write_nonblock(@unsent, exception: false)
        return if sent == :wait_writable

        @unsent = @unsent.byteslice(sent..-1)
      end
    end

    # Gives it a moment: for the last word before a signal.
    def flush_within(seconds)
      flush
      flush if unsent? && IO.select(nil, [@socket], nil, seconds)
    end

    def unsent?
      !@unsent.empty?
    end

    # One read's worth of messages. False: the agent has closed.
    def receive
      data, _from, _flags, *controls = @socket.recvmsg_nonblock(Protocol::LINE_MAX, 0, DESCRIPTORS_SIZE,
                                                                scm_rights: true, exception: false)
      return true if data == :wait_readable

      keep_descriptor(controls)
      return false if data.nil? || data.empty?

      @unread << data
      while (line = @unread.slice!(/\A[^\n]*\n/n))
        yield Protocol.read(line)
      end
      raise Protocol::Garbage, "a line without end" if @unread.bytesize >= Protocol::LINE_MAX

      true
    end

    # The descriptor that came along and was not asked for yet, now the caller's; nil: none.
    def take_descriptor
      descriptor = @descriptor
      @descriptor = nil
      descriptor
    end

    # Says nothing more. Also right in a forked child, whose parent goes on speaking here.
    def close
      [@socket, @descriptor].compact.each(&:close)
    end

    private

    def keep_descriptor(controls)
      rights = controls.select { |control| control.cmsg_is?(:SOCKET, :RIGHTS) }
      came = rights.flat_map { |control| control.unix_rights || [] }
      return if came.empty?

      @descriptor&.close
      @descriptor = came.pop
      came.each(&:close)
    end
  end
end

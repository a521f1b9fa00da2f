# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "json"
require "socket"
require "tmpdir"
require "fileutils"

# An agent that does what a test tells it, and no more: it speaks protocol 1, or breaks it. The real agent is
# tested elsewhere; here the library's answers to good, bad and dead agents are.
module Scripted
  LIMIT = 10 # seconds that any wait of a test may last

  def self.now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # Waits until the block gives something, looking again when anything may have changed.
  def self.until(what, limit = LIMIT)
    ends = now + limit
    loop do
      value = yield
      return value if value
      raise "#{what}: not within #{limit} s" if now > ends

      IO.select(nil, nil, nil, 0.002)
    end
  end

  # A state page as user/act/page.h has it, in a memfd that is sealed against changing its size, or a file.
  class Page
    MEMFD_CREATE = 319 # x86-64
    F_ADD_SEALS = 1033
    SEALS = 1 | 2 | 4 # no further seals, no shrinking, no growing
    SLOTS = 64
    SIZE = 64 + SLOTS * 256

    attr_reader :io

    def initialize(epoch: 1, sealed: true, magic: "LPG1", header: 64, slots: SLOTS, slot_size: 256, size: SIZE)
      @io = sealed ? memfd : unnamed_file
      @io.truncate(size)
      @names = []
      put(0, [magic, header, epoch, slots, slot_size, 0].pack("a4 L< Q< L< L< L<")) if size >= 28
      @io.fcntl(F_ADD_SEALS, SEALS) if sealed
    end

    # The target's slot, made when it has none.
    def slot(target)
      @names.index(target) || begin
        put(64 + @names.size * 256 + 32, "#{target}\0")
        @names << target
        put(24, [@names.size].pack("L<"))
        @names.size - 1
      end
    end

    def set_word(target, kind, word)
      put(64 + slot(target) * 256 + (kind == :connect ? 0 : 8), [word].pack("Q<"))
    end

    # state: 0 closed, 1 open, 2 half-open. `for_ms` from now.
    def set(target, kind, state, for_ms = 60_000)
      ends = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond) + for_ms * 1_000_000
      set_word(target, kind, state.zero? ? 0 : ends & ~3 | state)
    end

    # A descriptor of its own that can only be read, as the agent passes it on.
    def read_only
      File.open("/proc/self/fd/#{@io.fileno}", "rb")
    end

    def close
      @io.close
    end

    private

    def put(at, bytes)
      @io.pwrite(bytes, at)
    end

    def memfd
      said = $VERBOSE
      $VERBOSE = nil # Kernel#syscall warns of itself; there is no other way to a memfd without native code
      File.for_fd(syscall(MEMFD_CREATE, +"lapidary-test", 2), "r+b")
    ensure
      $VERBOSE = said
    end

    def unnamed_file
      path = File.join(Dir.tmpdir, "lapidary-page-#{Process.pid}-#{object_id}")
      File.open(path, "w+b").tap { File.unlink(path) }
    end
  end

  # One connection of an app, from the agent's end.
  class Peer
    attr_reader :socket, :lines

    def initialize(socket)
      @socket = socket
      @lines = []
      @unread = +""
    end

    # The next line of this type, what came before it being kept in `lines`; nil: closed.
    def read(type, limit = LIMIT)
      ends = Scripted.now + limit
      loop do
        while (line = @unread.slice!(/\A.*\n/))
          message = JSON.parse(line)
          @lines << message
          return message if message["type"] == type
        end
        return nil if ended?(type, ends)
      end
    end

    # Whether the app closes, having said nothing but what is in `lines` then.
    def closed?(limit = LIMIT)
      read("\0never", limit).nil?
    end

    def say(type, fields = {})
      raw("#{JSON.generate({ type: type }.merge(fields))}\n")
    end

    def raw(bytes)
      @socket.write(bytes)
    end

    def welcome(page: nil, **fields)
      line = "#{JSON.generate({ type: 'welcome', epoch: 1, lease_ms: 3000, heartbeat_ms: 1000, hold_ms: 0,
                                preflight: { verdict: 'unknown', problems: [] }, breakers: [] }.merge(fields))}\n"
      return raw(line) unless page

      descriptor = page.is_a?(IO) ? page : page.read_only
      sent = @socket.sendmsg(line, 0, nil, Socket::AncillaryData.unix_rights(descriptor))
      raw(line.byteslice(sent..-1)) if sent < line.bytesize
      descriptor.close
    end

    def close
      @socket.close
    end

    private

    def ended?(type, ends)
      left = ends - Scripted.now
      raise "no #{type.inspect} came; only #{@lines.inspect}" if left <= 0 || !IO.select([@socket], nil, nil, left)

      @unread << @socket.readpartial(65_536)
      false
    rescue EOFError, Errno::ECONNRESET
      true
    end
  end

  class Agent
    attr_reader :path

    def initialize(path = nil)
      @folder = path ? nil : Dir.mktmpdir("lapidary-ruby")
      @path = path || File.join(@folder, "app.sock")
      @server = UNIXServer.new(@path)
      File.chmod(0o666, @path)
      @peers = []
    end

    # The next app that connects.
    def accept(limit = LIMIT)
      raise "no app connected within #{limit} s" unless IO.select([@server], nil, nil, limit)

      Peer.new(@server.accept).tap { |peer| @peers << peer }
    end

    # The next app, its hello read and answered.
    def greet(**welcome)
      accept.tap do |peer|
        peer.read("hello")
        peer.welcome(**welcome)
      end
    end

    def waiting?
      !IO.select([@server], nil, nil, 0).nil?
    end

    # Leaves the socket to a forked child.
    def close_here
      @server.close
    end

    def close
      (@peers.map(&:socket) << @server).each { |one| one.close unless one.closed? }
      FileUtils.rm_rf(@folder) if @folder
    end
  end
end

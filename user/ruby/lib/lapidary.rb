# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

# The side of Lapidary that an app loads: pure Ruby, no native code, no gem that it needs. Nothing here
# starts a thread, opens a socket or costs anything by being required.
#
#   Lapidary.start(app: "shop")
#   Lapidary.breaker(connection).run { connection.exec("select 1") }
#
# An agent that is missing, stopped, slow or false is no error: breakers are closed, nothing waits, and the
# library goes on looking for it.
require_relative "lapidary/version"
require_relative "lapidary/target"
require_relative "lapidary/clock"
require_relative "lapidary/protocol"
require_relative "lapidary/page"
require_relative "lapidary/trial"
require_relative "lapidary/board"
require_relative "lapidary/breaker"
require_relative "lapidary/backoff"
require_relative "lapidary/latch"
require_relative "lapidary/wakeup"
require_relative "lapidary/connection"
require_relative "lapidary/settings"
require_relative "lapidary/hold"
require_relative "lapidary/orders"
require_relative "lapidary/restart"
require_relative "lapidary/in_flight"
require_relative "lapidary/pools"
require_relative "lapidary/client"
require_relative "lapidary/fork"
require_relative "lapidary/middleware"

module Lapidary
  ACCEPTS = %w[breaker restart hold].freeze
  FORK_SECONDS = 0.1 # a child that lives shorter never connects

  @client = nil
  @breakers = {}
  @handlers = {}
  @board = Board.new
  @in_flight = InFlight.new
  @restart = Restart.new
  @succession = Mutex.new

  class << self
    attr_reader :in_flight

    # Connects this process to the agent, in a thread of its own; returns within 500 ms whatever the agent
    # does. accepts: the orders that the agent may give. role: "master", "worker" or "single". hold: wait, at
    # most 20 s, if the agent asks new workers to. serving: false for a worker that still has to boot, and says
    # with `serving` when it has. Children that this process forks connect by themselves.
    def start(app:, accepts: ACCEPTS, role: nil, server: nil, socket: nil, agent_uid: nil, hold: false, serving: true)
      settings = Settings.from(app: app, accepts: accepts, role: role, server: server, socket: socket,
                               agent_uid: agent_uid, serving: serving)
      Fork.install
      @at_exit ||= at_exit { stop }
      @succession.synchronize do # a forked child's own client may be on its way (`forked`)
        @client&.stop
        begin_client { Client.new(settings, @board, @in_flight, @restart, @handlers) }
      end
      wait_for_boot if hold
      nil
    end

    # Says goodbye to the agent; all breakers are closed from here on. Done by itself when the process exits.
    def stop
      @client&.stop
      @client = nil
      @board.page = nil
    end

    def connected?
      client&.connected? || false
    end

    # Why this process is not connected, in words for a person; nil while it is.
    def trouble
      client ? client.trouble : "not started"
    end

    # Waits as long as the agent holds boots back, at most 20 s; returns the seconds that it took.
    def wait_for_boot
      client&.hold&.wait || 0.0
    end

    # The breaker of a database: a PG::Connection, a Hash with :host, :port and :dbname, or a name as
    # Target.name makes it.
    def breaker(target)
      name = target.is_a?(String) ? target : Target.of(target)
      @breakers[name] ||= Breaker.new(name.dup.freeze, @board)
    end

    # What is done on an order to restart, instead of the signal by which the server ends gracefully. It is
    # called in the library's thread with a Restart::Order, and must not wait for long.
    def on_restart(&handler)
      @restart.handler = handler
    end

    # For an app that accepts "drain" or "degrade": called in the library's thread with the agent's message;
    # number("deadline_ms"), text("level") and text("reason") give its fields.
    def on_drain(&handler)
      @handlers[:drain] = handler
    end

    def on_degrade(&handler)
      @handlers[:degrade] = handler
    end

    # Tells the agent how a pool is doing. The latest counts, so it may be called at every checkout.
    def pool(target, size:, active:, idle: size - active, waiting: 0, timeouts: 0, stale_replaced: 0, wait_ms: 0)
      name = target.is_a?(String) ? target : Target.of(target)
      counts = { size: size, active: active, idle: idle, waiting: waiting, timeouts: timeouts,
                 stale_replaced: stale_replaced, wait_ms: wait_ms }
      client&.pool({ target: name }.merge(counts.transform_values(&:to_i)))
      nil
    end

    # For servers: between these two an order to restart waits, because a signal would be lost.
    def booting
      @restart.booting
    end

    def booted
      @restart.booted
      client&.wake
    end

    # For servers: this process takes requests from now on; and it takes no more. The agent spares the last worker
    # that serves.
    def serving
      client&.serving
    end

    def draining
      client&.draining
    end

    # In a forked child (Fork). Most children soon end or become another program, and each page that they write
    # is a page to copy; so a client of its own comes a moment later, or when the library is used before.
    def forked
      return unless @client&.inherited?

      thread = Thread.new do
        sleep FORK_SECONDS
        succeed("worker")
      end
      thread.thread_variable_set(:fork_safe, true)
    rescue ThreadError
      nil
    end

    # After Process.daemon: the same program, only elsewhere.
    def daemonised
      succeed(nil)
    end

    private

    def client
      succeed("worker") if @client&.inherited?
      @client
    end

    # The child's own client in place of the parent's; role nil: the parent's role.
    def succeed(role)
      @succession.synchronize do
        next unless @client&.inherited?

        @board.after_fork
        @in_flight = InFlight.new
        @restart = @restart.successor
        begin_client(wait: false) { @client.successor(role, @in_flight, @restart) }
      end
    end

    # Without a thread or a pipe to be had, it is as if there were no agent.
    def begin_client(wait: true)
      @client = yield
      @client.start(wait: wait)
    rescue ThreadError, IOError, SystemCallError
      @client = nil
    end
  end
end

# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # How this process is replaced on an order: by the app's own handler, else by the signal by which its
  # server ends gracefully; whoever supervises it starts the next. The library sends a signal and sets no
  # trap, so what happens then is the server's ordinary shutdown, with its exit status. It does nothing
  # harder: a process that outlives its deadline is the agent's to kill.
  class Restart
    Order = Struct.new(:id, :mode, :deadline_ms, :reason, :incident)

    # QUIT drains in these; TERM does not.
    DRAIN_BY_QUIT = %w[unicorn pitchfork].freeze

    attr_accessor :handler

    def initialize
      @handler = nil
      @booting = false
      @waiting = nil
    end

    # For a forked child, which has nothing to wait for and no order of its own yet.
    def successor
      Restart.new.tap { |restart| restart.handler = @handler }
    end

    # While a server boots, a TERM is lost or breaks it halfway: the order waits for the end of that.
    def booting
      @booting = true
    end

    def booted
      @booting = false
    end

    def ordered(order)
      @waiting = order
    end

    # Whether there is one to begin now.
    def due?
      !@waiting.nil? && !@booting
    end

    def begin(server)
      order = @waiting
      @waiting = nil
      return if handled?(order)

      Process.kill(Restart.signal(server, order.mode), Process.pid)
    end

    def self.signal(server, mode)
      DRAIN_BY_QUIT.include?(server) && mode != "now" ? :QUIT : :TERM
    end

    private

    # An app's handler that fails has not restarted anything; the order stands, so the signal is sent.
    def handled?(order)
      return false unless @handler

      @handler.call(order)
      true
    rescue StandardError
      false
    end
  end
end

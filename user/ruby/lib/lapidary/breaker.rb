# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # A call was not made because the breaker of its database is open.
  class BreakerOpen < StandardError
    attr_reader :target, :kind, :reason, :incident, :retry_after

    # retry_after: whole seconds, at least 1.
    def initialize(target, kind, reason: "", incident: "", retry_after: 1)
      @target = target
      @kind = kind
      @reason = reason
      @incident = incident
      @retry_after = retry_after
      why = reason.empty? ? "" : ": #{reason}"
      super("the breaker of #{target} is open for #{kind}#{why}; try again in #{retry_after} s")
    end
  end

  # The breaker of one database, as this process sees it. Asking it costs a read of one word, and the clock
  # only when that word is not closed; no lock, no system call, nothing allocated. Without an agent, without a
  # page, or for a target that the agent does not know, it is closed.
  class Breaker
    attr_reader :target

    def initialize(target, board)
      @target = target
      @board = board
      @slot = nil
    end

    # Whether calls are to be left out now. kind: :query, or :connect.
    def open?(kind = :query)
      word = word(kind)
      word & Page::STATE_BITS != Page::CLOSED &&
        word & Page::LEASE_BITS > Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
    end

    # Makes the call, or raises BreakerOpen. Half-open, one call is made in a process that the agent chose.
    def run(kind = :query, &call)
      return yield unless open?(kind)

      trial = take_trial(kind)
      raise refusal(kind) unless trial

      trial.run(&call)
    end

    # Open, and this process holds no trial: a call would be refused.
    def refuses?(kind = :query)
      open?(kind) && !(half_open?(kind) && @board.trials.held?(@target, kind, Clock.nanoseconds))
    end

    # The error that says why it is open and for how long at least.
    def refusal(kind = :query)
      left = (word(kind) & Page::LEASE_BITS) - Clock.nanoseconds
      note = @board.note(@target, kind)
      BreakerOpen.new(@target, kind, reason: note[:reason], incident: note[:incident],
                                     retry_after: [(left / 1e9).ceil, 1].max)
    end

    private

    # Page and slot belong together in one object, so that a page that is exchanged meanwhile is never read
    # at the place of the old one.
    def word(kind)
      at = Page::WORD_AT[kind] || raise(ArgumentError, "kind is :query or :connect, not #{kind.inspect}")
      page = @board.page or return 0
      slot = @slot
      unless slot && slot.page.equal?(page)
        slot = page.slot(@target) or return 0
        @slot = slot
      end
      page.word(slot.at + at)
    end

    def half_open?(kind)
      word(kind) & Page::STATE_BITS == Page::HALF_OPEN
    end

    def take_trial(kind)
      @board.trials.take(@target, kind, Clock.nanoseconds) if half_open?(kind)
    end
  end
end

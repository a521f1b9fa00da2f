# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # What the agent has told this process and its breakers go by: the page, which alone says whether one is
  # open; the reasons, which came over the socket; and the trials that this process may make. The lapidary
  # thread writes it, any thread reads it.
  class Board
    NOTES_MAX = 256
    NO_NOTE = { reason: "", incident: "" }.freeze

    attr_reader :trials
    attr_accessor :page

    def initialize
      @trials = Trials.new
      @notes = {}
    end

    def note(target, kind)
      @notes.fetch([target, kind], NO_NOTE)
    end

    # A breaker's line: its reason, and perhaps a trial.
    def tell(message, now)
      kind = kind_of(message.text("scope")) or return
      target = message.text("target")
      keep_note(target, kind, message)
      return @trials.withdraw(target, kind) unless message.text("state") == "half_open"

      lease = message.number("lease_ms").to_i * 1_000_000
      @trials.grant(target, kind, message.text("trial_id", 39), now + lease)
    end

    # The connection is gone, or another agent speaks now: its promises go with it. The page stays: its leases
    # end by themselves, and a living agent goes on renewing them.
    def forget
      @notes = {}
      @trials.withdraw_all
    end

    # In a forked child nothing is held that only the parent was promised, and no lock that it held then.
    def after_fork
      @trials = Trials.new
      @notes = @notes.dup
    end

    private

    def kind_of(scope)
      Page::WORD_AT.keys.find { |kind| kind.to_s == scope }
    end

    def keep_note(target, kind, message)
      notes = @notes.dup # readers have the old one in hand
      notes.delete([target, kind])
      unless message.text("state") == "closed"
        notes.shift if notes.size >= NOTES_MAX
        notes[[target, kind]] = { reason: message.text("reason"), incident: message.text("incident") }.freeze
      end
      @notes = notes
    end
  end
end

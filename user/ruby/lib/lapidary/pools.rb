# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # What the app says of its connection pools. However often it does, the agent hears the latest of each
  # target, once a second at most.
  class Pools
    EVERY_SECONDS = 1
    TARGETS_MAX = 64

    def initialize
      @mutex = Mutex.new
      @latest = {}
      @told_at = nil
    end

    def keep(report)
      @mutex.synchronize do
        target = report[:target]
        @latest[target] = report if @latest.key?(target) || @latest.size < TARGETS_MAX
      end
    end

    # Those to tell now, once.
    def due(now)
      return [] if wait(now) != 0

      @told_at = now
      @mutex.synchronize do
        reports = @latest.values
        @latest = {}
        reports
      end
    end

    # Seconds until some are due; nil: there are none.
    def wait(now)
      return if @latest.empty?

      @told_at ? [@told_at + EVERY_SECONDS - now, 0].max : 0
    end
  end
end

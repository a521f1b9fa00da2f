# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # Something that happens once, and can be waited for.
  class Latch
    def initialize
      @mutex = Mutex.new
      @changed = ConditionVariable.new
      @happened = false
    end

    def now
      @mutex.synchronize do
        @happened = true
        @changed.broadcast
      end
    end

    # Until it has happened, or Clock.seconds reaches `limit`.
    def wait(limit)
      @mutex.synchronize do
        until @happened || (left = limit - Clock.seconds) <= 0
          @changed.wait(@mutex, left)
        end
      end
    end
  end
end

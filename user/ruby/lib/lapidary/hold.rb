# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # After a crash loop the agent asks new workers to wait before they boot. The wait is the worker's own
  # doing, and ends by itself: after what the welcome said, 20 s in all, or as soon as the agent breaks off,
  # says 0, or is not heard for a lease, so that no dead or stopped agent holds anyone.
  #
  # Times are nanoseconds and arguments, but for `wait`.
  class Hold
    LIMIT_MS = 20_000 # Puma kills what has not booted in 60 s
    MS = 1_000_000

    def initialize
      @mutex = Mutex.new
      @changed = ConditionVariable.new
      @first = nil # when the first welcome came: the limit counts from there
      @ends = nil
      @heard = @lease = 0
    end

    def welcome(now, hold_ms, lease_ms)
      change do
        @first ||= now
        @ends = [now + hold_ms * MS, @first + LIMIT_MS * MS].min
        @heard = now
        @lease = lease_ms * MS
      end
    end

    # Any line of the agent. Who waits finds it when it wakes.
    def heard(now)
      @heard = now
    end

    def lost
      change { @ends = nil }
    end

    # How long to wait at most before looking again; 0: go on.
    def left(now)
      ends = @ends or return 0
      [[ends, @heard + @lease].min - now, 0].max
    end

    # Waits it out; returns the seconds that it took.
    def wait
      began = now = Clock.nanoseconds
      @mutex.synchronize do
        while (left = left(now)).positive?
          @changed.wait(@mutex, left / 1e9)
          now = Clock.nanoseconds
        end
      end
      (now - began) / 1e9
    end

    private

    def change
      @mutex.synchronize do
        yield
        @changed.broadcast
      end
    end
  end
end

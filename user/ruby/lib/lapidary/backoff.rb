# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # How long to wait before the agent is tried again: doubled each time from 0.1 s to 30 s, and half of it at
  # random, so that the workers of a host do not all come back to a new agent in the same moment.
  class Backoff
    FIRST = 0.1
    LAST = 30.0

    def initialize(random = Random.new)
      @random = random
      reset
    end

    def reset
      @seconds = FIRST
    end

    def next
      seconds = @seconds
      @seconds = [seconds * 2, LAST].min
      seconds * (0.5 + @random.rand / 2)
    end
  end
end

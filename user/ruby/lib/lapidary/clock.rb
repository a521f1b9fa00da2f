# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # CLOCK_MONOTONIC, the clock of the leases: the agent and all its apps on a host see the same one.
  module Clock
    module_function

    def nanoseconds
      Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
    end

    def seconds
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end

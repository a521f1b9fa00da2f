# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # How many requests this process is answering; nil while nobody counts them.
  class InFlight
    attr_reader :count

    def initialize
      @mutex = Mutex.new
      @count = nil
    end

    def during
      add(1)
      yield
    ensure
      add(-1)
    end

    private

    def add(change)
      @mutex.synchronize { @count = @count.to_i + change }
    end
  end
end

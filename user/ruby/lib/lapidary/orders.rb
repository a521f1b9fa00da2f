# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # Orders of the agent, each carried out once and acknowledged as often as it comes: the agent may not know
  # that the first word of it arrived. The memory outlives a connection, because ids outlive an agent.
  class Orders
    REMEMBERED_MAX = 256

    Answer = Struct.new(:result, :detail)

    def initialize(accepts)
      @accepts = accepts
      @answered = {}
    end

    # The block carries it out and returns nil, or why it refuses; it is not asked about a repetition, nor
    # about what this app never agreed to.
    def carry_out(key, word, &deed)
      @answered.fetch(key) do
        @answered.shift if @answered.size >= REMEMBERED_MAX
        @answered[key] = @accepts.include?(word) ? try(&deed) : Answer.new("refused", "not accepted")
      end
    end

    private

    def try
      why = yield
      why ? Answer.new("refused", why) : Answer.new("done", "")
    rescue StandardError => e # a handler of the app
      Answer.new("failed", e.class.name.to_s)
    end
  end
end

# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "rantly"
require "minitest/mock"
require_relative "tap"
require_relative "agent"
require_relative "../../../user/ruby/lib/lapidary"

# What the library's tests share.
class LapidaryTest < Minitest::Test
  TARGET = "postgres://db.example.com:5432/shop"
  NS = 1_000_000_000

  # A test named after its row of the requirements.
  def self.property(number, text, &test)
    define_method("test_Property #{number}: #{text}", &test)
  end

  attr_reader :agent

  def setup
    @agent = Scripted::Agent.new
  end

  def teardown
    Lapidary.stop
    Lapidary.on_restart
    @agent.close
  end

  def start(**more)
    Lapidary.start(**{ app: "shop", socket: agent.path, agent_uid: Process.uid }.merge(more))
  end

  # Starts with an agent that says welcome; gives the agent's end.
  def connect(start_with: {}, **welcome)
    greeting = Thread.new { agent.greet(**welcome) }
    start(**start_with)
    greeting.value.tap { |peer| peer.read("state") }
  end

  def seconds
    began = Scripted.now
    yield
    Scripted.now - began
  end

  def eventually(what, limit = Scripted::LIMIT, &block)
    Scripted.until(what, limit, &block)
  end

  # Runs the block in a forked child, which leaves by exit!, so that neither minitest nor an at_exit of this
  # process runs there. Gives its pid.
  def child
    fork do
      status = 70
      yield
      status = 0
    rescue Exception => e # rubocop:disable Lint/RescueException -- it is shown, and the status says it
      warn e.full_message
    ensure
      exit!(status)
    end
  end
end

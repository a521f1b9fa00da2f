# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "timeout"
require_relative "support/lapidary"

# What stands in for ruby-pg, whose errors know their SQLSTATE from the result.
module PG
  class Error < StandardError
    attr_reader :result

    def initialize(message = "", state = nil)
      super(message)
      @result = state && Object.new
      @result&.define_singleton_method(:error_field) { |code| state if code == "C".ord }
    end
  end

  class ConnectionBad < Error; end
  class UnableToSend < Error; end
end

# Calls through a breaker: what is refused, with which words, and the one trial while it is half-open.
class BreakerTest < LapidaryTest
  def setup
    super
    @page = Scripted::Page.new
    @board = Lapidary::Board.new
    @board.page = Lapidary::Page.open(@page.read_only)
    @outcomes = Queue.new
    @board.trials.report = ->(outcome) { @outcomes << outcome }
    @breaker = Lapidary::Breaker.new(TARGET, @board)
  end

  def teardown
    super
    @page.close
  end

  def now
    Lapidary::Clock.nanoseconds
  end

  def tell(state, **more)
    @board.tell(Lapidary::Protocol::Message.new({ "target" => TARGET, "scope" => "query", "state" => state,
                                                  "lease_ms" => 60_000 }.merge(more.transform_keys(&:to_s))), now)
  end

  def half_open(trial_id: "t1", **more)
    @page.set(TARGET, :query, Lapidary::Page::HALF_OPEN)
    tell("half_open", trial_id: trial_id, **more)
  end

  def outcome
    @outcomes.pop(true)
  end

  def test_closed_it_makes_the_call_and_gives_its_value
    assert_equal 42, (@breaker.run { 42 })
    error = assert_raises(KeyError) { @breaker.run { {}.fetch(:none) } }
    assert_equal "key not found: :none", error.message
  end

  def test_open_it_refuses_and_says_why
    @page.set(TARGET, :query, Lapidary::Page::OPEN, 2_500)
    tell("open", reason: "8 of 10 connects were refused", incident: "inc-7")
    error = assert_raises(Lapidary::BreakerOpen) { @breaker.run { flunk } }
    assert_equal [TARGET, :query, "8 of 10 connects were refused", "inc-7", 3],
                 [error.target, error.kind, error.reason, error.incident, error.retry_after]
    assert_includes error.message, "8 of 10 connects were refused"
    assert_equal 1, (@breaker.run(:connect) { 1 })
  end

  def test_retry_after_is_at_least_one_second
    @page.set(TARGET, :query, Lapidary::Page::OPEN, 300)
    assert_equal 1, @breaker.refusal.retry_after
    @page.set(TARGET, :query, Lapidary::Page::CLOSED)
    assert_equal 1, @breaker.refusal.retry_after
  end

  def test_a_reason_goes_with_the_closing
    tell("open", reason: "down")
    assert_equal "down", @board.note(TARGET, :query)[:reason]
    tell("closed", reason: "up")
    assert_equal "", @board.note(TARGET, :query)[:reason]
  end

  def test_reasons_are_bounded
    2000.times { |n| tell("open", target: "postgres://h/#{n}", reason: "r#{n}") }
    assert_equal "r1999", @board.note("postgres://h/1999", :query)[:reason]
    assert_equal "", @board.note("postgres://h/0", :query)[:reason]
  end

  def test_half_open_without_a_trial_it_refuses
    @page.set(TARGET, :query, Lapidary::Page::HALF_OPEN)
    assert_raises(Lapidary::BreakerOpen) { @breaker.run { flunk } }
    assert @breaker.refuses?
  end

  def test_a_trial_is_one_call_and_its_outcome_is_told
    half_open
    refute @breaker.refuses?
    assert_equal :row, (@breaker.run { :row })
    told = outcome
    assert_equal ["t1", TARGET, true, ""], told.values_at(:trial_id, :target, :ok, :error)
    assert_operator told[:ms], :>=, 0
    assert_raises(Lapidary::BreakerOpen) { @breaker.run { flunk } }
    assert @breaker.refuses?
  end

  def test_a_trial_counts_only_while_half_open
    half_open
    @page.set(TARGET, :query, Lapidary::Page::OPEN)
    assert_raises(Lapidary::BreakerOpen) { @breaker.run { flunk } }
    half_open(trial_id: "t2")
    tell("open")
    @page.set(TARGET, :query, Lapidary::Page::HALF_OPEN)
    assert_raises(Lapidary::BreakerOpen) { @breaker.run { flunk } }
  end

  def test_a_trial_ends_with_its_lease
    half_open(lease_ms: 0)
    assert_raises(Lapidary::BreakerOpen) { @breaker.run { flunk } }
    assert @breaker.refuses?
  end

  def test_a_trial_goes_with_its_agent
    half_open
    @board.forget
    assert_raises(Lapidary::BreakerOpen) { @breaker.run { flunk } }
  end

  def test_a_used_trial_id_is_worth_nothing
    half_open
    @breaker.run { 1 }
    half_open
    assert_raises(Lapidary::BreakerOpen) { @breaker.run { flunk } }
    half_open(trial_id: "")
    assert_raises(Lapidary::BreakerOpen) { @breaker.run { flunk } }
  end

  # Errors that say that the database is away, and errors that the database itself said.
  AWAY = [IOError.new, EOFError.new, Errno::ECONNREFUSED.new, Errno::EPIPE.new, Timeout::Error.new,
          PG::ConnectionBad.new("password=secret"), PG::UnableToSend.new, PG::Error.new("", "08006"),
          PG::Error.new("", "57P01"), PG::Error.new("", "57P03"), PG::Error.new("", "53300")].freeze
  THERE = [ArgumentError.new, PG::Error.new, PG::Error.new("", "42P01"), PG::Error.new("", "23505"),
           PG::Error.new("", "40001"), PG::Error.new("", "57014"), PG::Error.new("", "53200")].freeze

  def test_only_an_error_of_availability_fails_a_trial
    { AWAY => false, THERE => true }.each do |errors, ok|
      errors.each.with_index do |error, index|
        half_open(trial_id: "#{ok}#{index}")
        assert_same error, assert_raises(error.class) { @breaker.run { raise error } }
        told = outcome
        assert_equal [ok, error.class.name], told.values_at(:ok, :error), error.inspect
        refute_includes told.to_s, "secret"
      end
    end
  end

  def test_an_adapters_error_counts_as_its_cause
    half_open
    assert_raises(RuntimeError) do
      @breaker.run do
        raise PG::ConnectionBad
      rescue PG::Error
        raise "could not connect"
      end
    end
    assert_equal [false, "RuntimeError"], outcome.values_at(:ok, :error)
  end

  def leaves_by_return
    @breaker.run { return :early }
  end

  def test_a_trial_left_by_return_went_well_and_one_left_by_a_timeout_did_not
    half_open
    assert_equal :early, leaves_by_return
    assert outcome[:ok]
    half_open(trial_id: "t2", lease_ms: 20)
    assert_raises(Timeout::Error) { Timeout.timeout(0.05) { @breaker.run { IO.select(nil) } } }
    refute outcome[:ok]
  end

  def test_a_trial_of_a_killed_thread_failed
    half_open
    inside = Queue.new
    thread = Thread.new do
      @breaker.run do
        inside << 1
        IO.select(nil)
      end
    end
    inside.pop
    thread.kill.join
    refute outcome[:ok]
  end

  property 9, "over many threads each trial lets exactly one call through" do
    Rantly(100) { [range(2, 8), range(1, 5), array(range(0, 3)) { choose("t", "u", "v") }] }
      .each.with_index do |(threads, calls, repeats), round|
      half_open(trial_id: "round #{round}")
      made = Queue.new
      refused = Queue.new
      gate = Queue.new
      running = Array.new(threads) do
        Thread.new do
          gate.pop
          calls.times do
            @breaker.run { made << Thread.pass }
          rescue Lapidary::BreakerOpen
            refused << 1
          end
        end
      end
      threads.times { gate << 1 }
      repeats.each { half_open(trial_id: "round #{round}") } # replays of the same order
      running.each(&:join)
      assert_equal [1, threads * calls - 1, 1], [made.size, refused.size, @outcomes.size]
      @outcomes.clear
    end
  end

  property 9, "whatever is told and written, a call is made only if closed or by a trial not used before" do
    Rantly(100) { array(range(5, 40)) { [choose(:page, :tell, :call, :forget), range(0, 2), range(0, 3)] } }
      .each.with_index do |steps, round|
      @board.forget
      state = 0
      held = nil
      used = []
      @page.set(TARGET, :query, 0)
      steps.each do |step, which, number|
        id = "#{round}/#{number}"
        case step
        when :page then @page.set(TARGET, :query, state = which)
        when :forget
          @board.forget
          held = nil
        when :tell
          tell(%w[closed open half_open][which], trial_id: id)
          held = which == 2 && !used.include?(id) ? id : (which == 2 ? held : nil)
        when :call
          made = begin
            @breaker.run { true }
          rescue Lapidary::BreakerOpen
            false
          end
          assert_equal state.zero? || (state == 2 && !held.nil?), made, steps.inspect
          if made && state == 2
            assert_equal held, outcome[:trial_id]
            used << held
            held = nil
          end
        end
      end
    end
  end
end

Tap.run(BreakerTest)

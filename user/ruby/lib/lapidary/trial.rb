# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # One call that is let through a half-open breaker to see whether the database is back. The agent gives it
  # to one process of a scope; the process to one call of one thread.
  class Trial
    CAUSES_MAX = 8

    attr_reader :id, :target

    def initialize(id, target, ends, report)
      @id = id
      @target = target
      @ends = ends
      @report = report
    end

    def over?(now)
      now >= @ends
    end

    # Runs the call and tells the agent how it went, by the error's class alone: a message may hold SQL or
    # secrets.
    #
    # A call can also end without either result or error: by `return` or `break` out of the block, which says
    # that it went well, or by Timeout, which throws. What ends after the trial's own time counts as that.
    def run
      began = Clock.nanoseconds
      ok = nil
      value = yield
      ok = true
      value
    rescue Exception => e # rubocop:disable Lint/RescueException -- it is raised again
      ok = !Trial.unavailable?(e)
      raise
    ensure
      now = Clock.nanoseconds
      ok = !over?(now) && Thread.current.status != "aborting" if ok.nil?
      @report&.call(trial_id: @id, target: @target, ok: ok, ms: (now - began) / 1_000_000,
                    error: e ? e.class.name.to_s : "")
    end

    # Whether the error says that the database cannot be reached or used at all. Any other, a syntax error or
    # a conflict, was said by a database that works. Adapters wrap the driver's error: the causes count too.
    def self.unavailable?(error)
      CAUSES_MAX.times do
        return false unless error
        return true if unreachable?(error)

        error = error.cause
      end
      false
    end

    def self.unreachable?(error)
      case error
      when IOError, SystemCallError then true
      else
        (defined?(::Timeout::Error) && error.is_a?(::Timeout::Error)) ||
          (defined?(::PG::Error) && error.is_a?(::PG::Error) && postgres_away?(error))
      end
    end

    # SQLSTATE 08…: the connection; 57P0…: shut down or starting up; 53300: too many connections.
    def self.postgres_away?(error)
      return true if [:ConnectionBad, :UnableToSend].any? { |name| ::PG.const_defined?(name) && error.is_a?(::PG.const_get(name)) }

      result = error.respond_to?(:result) ? error.result : nil
      state = result.respond_to?(:error_field) ? result.error_field("C".ord).to_s : ""
      state.start_with?("08", "57P0") || state == "53300"
    rescue StandardError # a result that was cleared already says nothing
      false
    end
    private_class_method :unreachable?, :postgres_away?
  end

  # The trials that this process holds; a forked child has none of them. An id is good for one call, however
  # often the agent names it.
  class Trials
    SPENT_MAX = 64

    # Gets each outcome; set by the client.
    attr_accessor :report

    def initialize
      @pid = Process.pid
      @mutex = Mutex.new
      @held = {}
      @spent = []
    end

    def grant(target, kind, id, ends)
      return if id.empty?

      @mutex.synchronize do
        @held[[target, kind]] = Trial.new(id, target, ends, @report) unless @spent.include?(id)
      end
    end

    # nil: there is none, or another call has it.
    def take(target, kind, now)
      return if @pid != Process.pid

      @mutex.synchronize do
        trial = @held.delete([target, kind])
        next if trial.nil? || trial.over?(now)

        @spent.shift if @spent.size >= SPENT_MAX
        @spent << trial.id
        trial
      end
    end

    def held?(target, kind, now)
      return false if @pid != Process.pid

      trial = @mutex.synchronize { @held[[target, kind]] }
      !trial.nil? && !trial.over?(now)
    end

    def withdraw(target, kind)
      @mutex.synchronize { @held.delete([target, kind]) }
    end

    def withdraw_all
      @mutex.synchronize { @held.clear }
    end
  end
end

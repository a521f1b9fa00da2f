# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

# Minitest that speaks TAP, which scripts/test adds up, and properties with a seed that is printed.
require "minitest"

module Tap
  class Reporter < Minitest::AbstractReporter
    def start
      @results = []
    end

    def record(result)
      @results << result
    end

    def passed?
      @results.all? { |result| result.passed? || result.skipped? }
    end

    def report
      @results.each.with_index(1) do |result, number|
        directive = result.skipped? ? " # SKIP #{result.failure.message}" : ""
        puts "#{result.passed? || result.skipped? ? 'ok' : 'not ok'} #{number} - #{title(result)}#{directive}"
        result.failures.each { |failure| puts failure.message.gsub(/^/, "# ") } unless result.skipped?
      end
      puts "1..#{@results.size}"
    end

    private

    def title(result)
      result.name.delete_prefix("test_").tr("_", " ")
    end
  end

  SEED = Integer(ENV.fetch("LAPIDARY_SEED") { Random.new_seed % 2**32 })

  def self.run(*classes)
    puts "# seed #{SEED}"
    Minitest.seed = SEED # Rantly draws from Kernel#rand, which minitest seeds before each test
    reporter = Reporter.new
    reporter.start
    classes.each { |one| one.run(reporter, seed: SEED) }
    reporter.report
    exit reporter.passed?
  end
end

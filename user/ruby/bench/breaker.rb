# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

# What a breaker costs a call, in ns of CPU time: `ruby user/ruby/bench/breaker.rb`. Each figure is the best of
# several rounds less an empty loop, because others on the machine only ever add to it.
require_relative "../lib/lapidary"
require_relative "../../../tests/ruby/support/agent"

ROUNDS = 15
CALLS = 200_000
TARGET = "postgres://db.example.com:5432/shop"

def cpu_time
  Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID, :nanosecond)
end

def nanoseconds
  Array.new(ROUNDS) do
    began = cpu_time
    yield
    (cpu_time - began) / CALLS.to_f
  end.min
end

EMPTY = nanoseconds { CALLS.times { nil } }

def show(what, &loop)
  puts format("%-46s %7.0f ns", what, nanoseconds(&loop) - EMPTY)
end

def breaker_on(page)
  board = Lapidary::Board.new
  board.page = page
  Lapidary::Breaker.new(TARGET, board)
end

def measure(name, breaker)
  show("#{name}: open?") { CALLS.times { breaker.open? } }
  show("#{name}: run { }") { CALLS.times { breaker.run { nil } } } unless breaker.open?
end

page = Scripted::Page.new
mapped = defined?(IO::Buffer) ? Lapidary::Page.open(page.read_only) : nil
file = Scripted::Page.new(sealed: false)
read = Lapidary::Page.open(file.read_only)
many = Scripted::Page.new
63.times { |n| many.slot("postgres://h/#{n}") }

puts "Ruby #{RUBY_VERSION}"
measure("no agent", breaker_on(nil))
measure("unknown target (63 others)", breaker_on(Lapidary::Page.open(many.read_only)))
{ 0 => "closed", 1 => "open" }.each do |state, name|
  [page, file].each { |one| one.set(TARGET, :query, state) }
  measure("IO::Buffer, #{name}", breaker_on(mapped)) if mapped
  measure("pread, #{name}", breaker_on(read))
end
show("of that, the clock") { CALLS.times { Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond) } }

# frozen_string_literal: true

# The Ruby side of tests/unit/probe_ruby.c: `ruby probe_ruby.rb CASE` dies of a real fault, in native code,
# below frames of every kind. What Ruby itself then says of them is what the capture is compared with.
require 'fiddle'

$unready = Fiddle::Pointer.new(16)

def die
  $unready[0, 1]
end

# Below a block in a block, and C functions that call them.
module Blocks
  def self.run
    [1].each do |a|
      { a => 2 }.each_pair { |_, b| [b].sort_by { |_| die } }
    end
  end
end

# A method whose name is an operator, in C, that comes back to Ruby.
class Coerced
  def coerce(_other)
    die
  end
end

# Names that are set while it runs.
class Made
  define_method(:made) { |n| n.positive? ? made(n - 1) : die }
  define_method('name with spaces, far longer than any label has room for in a record of a frame') { die }

  class << self
    def method_missing(name, *rest)
      name == :absent ? new.made(rest.first) : super
    end

    def respond_to_missing?(name, all = false)
      name == :absent || super
    end
  end
end

def rescued
  raise 'once'
rescue StandardError
  begin
    raise 'twice'
  ensure
    die
  end
end

# More lines and instructions than the first words of the table of lines can tell apart.
LONG = <<~RUBY
  def long(at)
  #{(1..400).map { |n| "  die if at == #{n}\n  at += 0 if at\n" }.join}end
RUBY
eval(LONG, TOPLEVEL_BINDING, "#{'/deep' * 40}/long.rb", 7) # rubocop:disable Security/Eval

def deep(left)
  left.zero? ? die : deep(left - 1)
end

CASES = {
  'plain' => -> { die },
  'blocks' => -> { Blocks.run },
  'operator' => -> { 1 + Coerced.new },
  'made' => -> { Made.absent(3) },
  'spaces' => -> { Made.new.public_send(Made.instance_methods(false).find { |m| m.to_s.include?(' ') }) },
  'rescued' => -> { rescued },
  'long' => -> { long(1) },
  'longer' => -> { long(29) },
  'longest' => -> { long(397) },
  'deep' => -> { deep(200) },
  'evaluated' => -> { Object.new.instance_eval('[1].map { die }', 'evaluated.rb', 40) },
  'class' => -> { Class.new { [self].each { |_| die } } },
  'symbol' => -> { [Blocks].each(&:run) },
  'fiber' => -> { Fiber.new { [1].map { Fiber.new { Blocks.run }.resume } }.resume },
  'enumerator' => -> { Enumerator.new { |y| y << die }.next },
  'thread' => -> { Thread.new { Blocks.run }.join },
  'comparison' => -> { [2, 1].sort { |_, _| die } },
  'trap' => lambda {
    trap('USR1') { Blocks.run }
    Process.kill('USR1', Process.pid)
    sleep
  },
  'at_exit' => -> { at_exit { Blocks.run } },
  'forked' => -> { Process.wait(fork { Blocks.run }) },
  'gc' => lambda {
    GC.stress = true
    Blocks.run
  }
}.freeze

$stdout.sync = true
CASES.fetch(ARGV.fetch(0)).call

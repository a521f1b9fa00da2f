# frozen_string_literal: true

# Forks one child after another that dies of a real fault, below LEVELS levels of C and Ruby in turn: as a worker of
# a preforking server dies, and nearly as deep as a request goes in a large framework.
require 'fiddle'

def die
  Fiddle::Pointer.new(16)[0, 1]
end

def down(left)
  [left].each { |n| n.zero? ? die : down(n - 1) }
end

count, levels = ARGV.map { |word| Integer(word) }
$stderr.reopen(File::NULL)
count.times { Process.wait(fork { down(levels) }) }

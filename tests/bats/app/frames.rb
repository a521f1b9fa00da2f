# frozen_string_literal: true

# frames.rb GATE [fork]: waits for the gate, then dies of a real fault below Ruby and C in turn; with "fork" a child
# does, as a worker of a preforking server would. Ruby's own report goes to stderr.
require 'fiddle'

class Order
  def total(items)
    items.each_with_index.map { |item, at| price(item, at) }.sum
  end

  def price(item, _at)
    item.then { |size| Fiddle::Pointer.new(16)[0, size] }
  end
end

puts Process.pid
$stdout.flush
sleep 0.01 until File.exist?(ARGV[0])
work = -> { Order.new.total([8]) }
ARGV[1] == 'fork' ? Process.wait(fork(&work)) : work.call

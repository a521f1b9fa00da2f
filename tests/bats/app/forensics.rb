# SPDX-License-Identifier: Apache-2.0
#
# ruby forensics.rb GATE HOW [thread]: waits until the file GATE is there, then dies through a few frames of Ruby and C.
require "crashy"

class Order
	def initialize(how) = @how = how

	def total
		[1].each { |part| price(part) }
	end

	def price(_part)
		Crashy.public_send(@how)
	end
end

$stderr.sync = true
sleep 0.05 until File.exist?(ARGV[0])
order = Order.new(ARGV[1])
ARGV[2] ? Thread.new { order.total }.join : order.total

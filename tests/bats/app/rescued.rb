# SPDX-License-Identifier: Apache-2.0
#
# Overflows its machine stack, rescues that, and goes on to do something that could be mistaken for death:
# warnings call what Ruby's crash handler calls first, and an end by signal follows a signal.
require "crashy"

def overflow
	Crashy.overflow_in_ruby
rescue SystemStackError
	nil
end

how, gate = ARGV
$stdout.sync = true
puts "ready"
IO.select(nil, nil, nil, 0.01) until File.exist?(gate)
3.times { overflow }
case how
when "exit" then exit 0
when "fail" then exit 1
when "warn"
	3.times { |value| Object.const_set(:SHOP, value) } # "already initialized constant": rb_warn
	overflow
	Object.const_set(:SHOP, 4)
when "wait"
	Object.const_set(:SHOP, 1)
	Object.const_set(:SHOP, 2)
	puts "waiting"
	sleep 60
when "late" then Crashy.abort
end

# SPDX-License-Identifier: Apache-2.0
#
# ruby beside.rb OURS THEIRS: milliseconds of the same crashes, a line each (coredump.rb says "done MS BYTES FRAMES"); prints both.
ours = File.readlines(ARGV[0]).map(&:to_f)
theirs = File.readlines(ARGV[1]).grep(/^done/).map { |line| line.split.drop(1).map(&:to_f) }
abort "beside: #{ours.size} reports and #{theirs.size} cores" if ours.empty? || ours.size != theirs.size
abort "beside: systemd-coredump stored nothing, or had no backtrace" unless theirs.all? { |_, bytes, frames| bytes > 0 && frames > 10 }

def line(name, values)
	sorted = values.sort
	p50, p99 = [0.5, 0.99].map { |q| sorted[((sorted.size - 1) * q).round] }
	puts format("  %-18s min %.2f ms, p50 %.2f ms, p99 %.2f ms", name, sorted.first, p50, p99)
	p50
end

puts "the same #{ours.size} crashes by both, one after the other:"
mine = line("report, from fault", ours)
other = line("systemd-coredump", theirs.map(&:first))
puts format("  %.0f times faster at the median (aim 50); what the kernel needs to write the core is not counted on the other side", other / mine)

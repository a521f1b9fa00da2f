# SPDX-License-Identifier: Apache-2.0
#
# ruby latency.rb SAMPLES CRASHES WALL_OFFSET ROUNDS: the table of the latency bench. A report's moments are the
# kernel's time stamps (CLOCK_BOOTTIME) plus an offset that was fixed when the agent started; taken off
# again, they are what the clients' CLOCK_MONOTONIC is compared with. The two differ by the time this host slept.
samples, crashes, offset, rounds = ARGV
clock = ->(id) { Process.clock_gettime(id, :nanosecond) }
slept = clock[Process::CLOCK_BOOTTIME] - clock[Process::CLOCK_MONOTONIC]
slept = 0 if slept < 1_000_000

moment = lambda { |text|
	time = Time.iso8601(text)
	time.to_i * 1_000_000_000 + time.nsec - offset.to_i - slept
}
reports = Dir["#{crashes}/*/report.json"].to_h do |file|
	report = JSON.parse(File.read(file))
	[report["pid"], [moment[report["time"]], moment[report["confirmed_at"]]]]
end

found = Hash.new { |hash, key| hash[key] = [] } # [arm, how, threads] → ns
File.foreach(samples) do |line|
	arm, how, *rest = line.split
	rest.map!(&:to_i)
	if arm == "relay"
		found[[:relay, how]] << rest[1] - rest[0]
		next
	end
	pid, seen = rest.last(2)
	fault, confirmed = reports.fetch(pid) { abort "lapidary: bench-latency: no report of #{pid}" }
	if arm == "order"
		found[[:order, how]] << seen - confirmed
		found[[:fault, how]] << seen - fault
	else
		found[[:open, how, rest[0]]] << seen - confirmed
	end
end
abort "lapidary: bench-latency: an order was there before its event: the clocks do not fit" if found.values.flatten.min.negative?

rank = ->(values, share) { values.sort[[(values.size * share).ceil - 1, 0].max] / 1000.0 }
both = ->(values) { [rank[values, 0.5], rank[values, 0.99]] }
kinds = { "sig_dfl" => "no handler (fault = event)", "null" => "Ruby's handler (event)" }
reached = ->(yes) { yes ? "reached" : "NOT reached" }
few = rounds.to_i < 7 ? " (fewer than 7 rounds: no result)" : ""

puts "from the kernel's time stamp, in us; #{rounds} rounds"
puts "(a) until a C client has read the order"
puts "%-28s %6s | %8s %8s | %8s %8s | %5s %5s" % %w[death number relay50 relay99 order50 order99 x50 x99]
row = lambda { |name, relay, order|
	r50, r99, o50, o99 = *both[relay], *both[order]
	puts "%-28s %6d | %8.0f %8.0f | %8.0f %8.0f | %5.2f %5.2f" % [name, order.size, r50, r99, o50, o99, o50 / r50, o99 / r99]
	[o50 / r50, o99 / r99]
}
kinds.each { |how, name| row[name, found[[:relay, how]], found[[:order, how]]] }
middle, tail = row["all", *%i[relay order].map { |arm| kinds.keys.flat_map { |how| found[[arm, how]] } }]
puts "from the fault to the order where Ruby handles it: %.0f at the median, %.0f at the 99th of 100" % both[found[[:fault, "null"]]]
puts "aim: at most 1.5 times the relay at the median: %.2f, %s; at most 3 times at the 99th: %.2f, %s%s" %
	[middle, reached[middle <= 1.5], tail, reached[tail <= 3], few]

puts "(b) until `open?` is true in Ruby"
puts "%-28s %4s %6s | %8s %8s" % %w[death busy number open?50 open?99]
medians = kinds.flat_map do |how, name|
	found.keys.select { |key| key[0] == :open && key[1] == how }.map do |key|
		puts "%-28s %4d %6d | %8.0f %8.0f" % [name, key[2], found[key].size, *both[found[key]]]
		rank[found[key], 0.5]
	end
end
puts "aim: under 1000 at the median in every case: %.0f at most, %s%s" % [medians.max, reached[medians.max < 1000], few]

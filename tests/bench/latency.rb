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
	arm, how, threads, *rest = line.split
	rest.map!(&:to_i)
	if arm == "relay"
		found[[:relay, how, threads]] << rest[1] - rest[0]
	else
		fault, confirmed = reports.fetch(rest[0]) { abort "lapidary: bench-latency: no report of #{rest[0]}" }
		found[[:order, how, threads]] << rest[1] - confirmed
		found[[:order_fault, how, threads]] << rest[1] - fault
		found[[:open, how, threads]] << rest[2] - confirmed
	end
end
abort "lapidary: bench-latency: an order was there before its event: the clocks do not fit" if found.values.flatten.min.negative?

rank = ->(values, share) { values.sort[[(values.size * share).ceil - 1, 0].max] }
pooled = ->(arm, how = nil, threads = nil) { found.select { |key, _| key[0] == arm && [nil, key[1]].include?(how) && [nil, key[2]].include?(threads) }.values.flatten }
us = ->(ns) { ns / 1000.0 }
kinds = { "sig_dfl" => "no handler (fault = event)", "null" => "Ruby's handler (event)" }
counts = found.keys.map { |key| key[2] }.uniq

puts "from the kernel's time stamp, in us; %d rounds, %d deaths by the agent, %d by the relay" %
	[rounds, pooled[:order].size, pooled[:relay].size]
puts "%-28s %4s | %8s %8s | %8s %8s | %5s %5s | %8s %8s" %
	["death", "busy", "relay50", "relay99", "order50", "order99", "x50", "x99", "open?50", "open?99"]
row = lambda { |name, count, how, threads|
	relay, order, open = %i[relay order open].map { |arm| [0.5, 0.99].map { |share| us[rank[pooled[arm, how, threads], share]] } }
	puts "%-28s %4s | %8.0f %8.0f | %8.0f %8.0f | %5.2f %5.2f | %8.0f %8.0f" %
		[name, count, *relay, *order, order[0] / relay[0], order[1] / relay[1], *open]
	[order[0] / relay[0], order[1] / relay[1], open[0]]
}
medians = kinds.flat_map { |how, name| counts.map { |count| row[name, count, how, count][2] } }
middle, tail, = row["all", "", nil, nil]
fault = pooled[:order_fault, "null"]
puts "from the fault to the order where Ruby handles it: %.0f us at the median, %.0f at the 99th of 100" % [0.5, 0.99].map { |share| us[rank[fault, share]] }

reached = ->(yes) { yes ? "reached" : "NOT reached" }
few = rounds.to_i < 7 ? " (fewer than 7 rounds: no result)" : ""
puts "aim (a): at most 1.5 times the relay at the median: %.2f, %s; at most 3 times at the 99th: %.2f, %s%s" %
	[middle, reached[middle <= 1.5], tail, reached[tail <= 3], few]
puts "aim (b): open? under 1 ms at the median in every case: %.0f us at most, %s%s" %
	[medians.max, reached[medians.max < 1000], few]

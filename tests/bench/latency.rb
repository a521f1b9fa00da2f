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

found = Hash.new { |hash, key| hash[key] = {} } # [arm, how, threads] → round → ns
round = 0
File.foreach(samples) do |line|
	arm, how, *rest = line.split
	next round = how.to_i if arm == "round"
	rest.map!(&:to_i)
	keep = ->(kind, *threads, ns) { (found[[kind, how, *threads]][round] ||= []) << ns }
	next keep[:relay, rest[1] - rest[0]] if arm == "relay"
	next keep[:page, rest[0], rest[2] - rest[1]] if arm == "page"
	pid, seen = rest.last(2)
	fault, confirmed = reports.fetch(pid) { abort "lapidary: bench-latency: no report of #{pid}" }
	next keep[:open, rest[0], seen - confirmed] if arm == "open"
	keep[:order, seen - confirmed]
	keep[:fault, seen - fault]
end
if found.values.flat_map(&:values).flatten.min.negative?
	abort "lapidary: bench-latency: an order was there before its event: the clocks do not fit"
end

rank = ->(values, share) { values.sort[[(values.size * share).ceil - 1, 0].max] / 1000.0 }
# of the rounds' medians the least and the median; the 99th of 100 is of all samples: a round has too few
figures = lambda { |by_round|
	medians = by_round.values.map { |values| (rank[values, 0.5] * 1000).round }
	[medians.min / 1000.0, rank[medians, 0.5], rank[by_round.values.flatten, 0.99]]
}
joined = ->(many) { many.reduce { |one, other| one.merge(other) { |_, a, b| a + b } } }
kinds = { "sig_dfl" => "no handler (fault = event)", "null" => "Ruby's handler (event)" }
reached = ->(yes) { yes ? "reached" : "NOT reached" }
few = rounds.to_i < 7 ? " (fewer than 7 rounds: no result)" : ""

puts "from the kernel's time stamp, in us; #{rounds} rounds: least and median of their medians, 99th of 100 of all"
puts "(a) until a C client has read the order"
puts "%-26s %6s | %6s %6s %6s | %6s %6s %6s | %5s %5s %5s" %
	["death", "number", *%w[relay: 50 99 order: 50 99 x-min x-50 x-99]]
row = lambda { |name, relay, order|
	ours, theirs = figures[order], figures[relay]
	ratios = ours.zip(theirs).map { |us, them| us / them }
	puts "%-26s %6d | %6.0f %6.0f %6.0f | %6.0f %6.0f %6.0f | %5.2f %5.2f %5.2f" %
		[name, order.values.flatten.size, *theirs, *ours, *ratios]
	ratios
}
kinds.each { |how, name| row[name, found[[:relay, how]], found[[:order, how]]] }
_, middle, tail = row["all", *%i[relay order].map { |arm| joined[kinds.keys.map { |how| found[[arm, how]] }] }]
puts "from the fault to the order where Ruby handles it: least %.0f, median %.0f, 99th of 100 %.0f" %
	figures[found[[:fault, "null"]]]
puts "aim: at most 1.5 times the relay at the median: %.2f, %s; at most 3 times at the 99th: %.2f, %s%s" %
	[middle, reached[middle <= 1.5], tail, reached[tail <= 3], few]

puts "(b) until `open?` is true in Ruby, beside the relay's page as the same threads see it"
puts "%-26s %4s %6s | %6s %6s %6s | %6s %6s %6s | %5s" %
	["death", "busy", "number", *%w[page: 50 99 open?: 50 99 x-50]]
medians = kinds.flat_map do |how, name|
	found.keys.select { |key| key[0] == :open && key[1] == how }.map do |key|
		ours, theirs = figures[found[key]], figures[found[[:page, *key.drop(1)]]]
		puts "%-26s %4d %6d | %6.0f %6.0f %6.0f | %6.0f %6.0f %6.0f | %5.2f" %
			[name, key[2], found[key].values.flatten.size, *theirs, *ours, ours[1] / theirs[1]]
		ours[1]
	end
end
puts "aim: under 1000 at the median in every case: %.0f at most, %s%s" % [medians.max, reached[medians.max < 1000], few]

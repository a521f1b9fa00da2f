# SPDX-License-Identifier: Apache-2.0
#
# ruby client.rb QUERIES WARM GATE: makes WARM queries, waits for GATE, makes QUERIES more, and prints the
# processor time (user and system, of this process alone) that one of those took, in nanoseconds.
require "pg"

queries, warm = ARGV.first(2).map(&:to_i)
gate = ARGV[2]
$stdout.sync = true
db = PG.connect(ENV.fetch("SHOP_DATABASE"))
warm.times { db.exec("select 1").clear }
GC.start
puts "ready"
IO.select(nil, nil, nil, 0.01) until File.exist?(gate)
GC.disable
before = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID, :nanosecond)
queries.times { db.exec("select 1").clear }
after = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID, :nanosecond)
puts "cpu #{(after - before) / queries}"
IO.select(nil, nil, nil, 0.01) while File.exist?(gate)

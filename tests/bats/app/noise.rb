# SPDX-License-Identifier: Apache-2.0
#
# ruby noise.rb faults|queries GATE: does one thing as fast as it can until it is ended, and prints how
# often it did it. Faults are rescued SIGSEGVs, queries go to a real database.
require "pg"
require "crashy"

what, gate = ARGV
$stdout.sync = true
puts "ready"
IO.select(nil, nil, nil, 0.01) until File.exist?(gate)
done = false
trap("TERM") { done = true }
count = 0
if what == "faults"
	count += Crashy.rescue_loop(1) until done
else
	db = PG.connect(ENV.fetch("SHOP_DATABASE"))
	until done
		db.exec("select #{count}")
		count += 1
	end
end
puts "count #{count}"

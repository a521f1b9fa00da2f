# SPDX-License-Identifier: Apache-2.0
#
# ruby herd.rb CHILDREN STATEMENTS: a master that loads an app's libraries and forks CHILDREN workers, each
# with a connection of its own on which it has run STATEMENTS different statements. "ready" when all have.
require "json"
require "openssl"
require "net/http"
require "pg"

children, statements = ARGV.map(&:to_i)
$stdout.sync = true
$0 = "herd: master [herd]"
reader, writer = IO.pipe
children.times do |number|
	fork do
		reader.close
		$0 = "herd: worker #{number} [herd]"
		db = PG.connect(ENV.fetch("SHOP_DATABASE"))
		statements.times { |i| db.exec("select #{number} as of_worker_#{number}, #{i} as column_#{i}") }
		writer.write("x")
		sleep
	end
end
writer.close
reader.read(children)
puts "ready"
sleep

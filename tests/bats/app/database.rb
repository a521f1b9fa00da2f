# SPDX-License-Identifier: Apache-2.0
#
# ruby database.rb KIND TIMES GATE: after GATE exists, meets the same trouble with a database TIMES times.
# Then says "done" and stays, because an app that cannot reach its database is still there.
require "pg"

kind, times, gate = ARGV
$stdout.sync = true
HERE = { host: ENV.fetch("PGHOST"), port: ENV.fetch("PGPORT"), dbname: "shop", user: "shop" }.freeze
OVER_TCP = HERE.merge(host: "127.0.0.1", sslmode: "disable").freeze

# Another session ends this one's backend; then a statement finds out.
def lose_backend(connection)
	PG.connect(HERE.merge(user: "postgres")).tap do |other|
		other.exec("select pg_terminate_backend(#{connection.backend_pid})")
		other.finish
	end
	connection.exec("select 1")
end

MEET = {
	"refused" => -> { PG.connect(OVER_TCP.merge(port: ENV.fetch("CLOSED_PORT"))) },
	"no_socket" => -> { PG.connect(HERE.merge(host: "/nonexistent/socket")) },
	"password" => -> { PG.connect(OVER_TCP.merge(password: "wrong-#{Process.pid}")) },
	"no_database" => -> { PG.connect(HERE.merge(dbname: "nowhere")) },
	"too_many" => -> { PG.connect(HERE.merge(user: "narrow")) },
	"killed" => -> { lose_backend(PG.connect(HERE)) },
	"syntax" => -> { ($db ||= PG.connect(HERE)).exec("selekt 'a literal'") },
	"unique" => -> { ($db ||= PG.connect(HERE)).exec("insert into only_one values (1)") },
	"good" => -> { ($db ||= PG.connect(HERE)).exec("select 1") },
}.freeze

puts "ready"
IO.select(nil, nil, nil, 0.01) until File.exist?(gate)
errors = Hash.new(0)
Integer(times).times do
	MEET.fetch(kind).call
rescue PG::Error => error
	errors[error.class.name] += 1
end
puts "done #{errors}"
sleep 120

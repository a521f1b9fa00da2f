# SPDX-License-Identifier: Apache-2.0
#
# ruby secrets.rb GATE LITERAL …: an app full of secrets. Its environment and its arguments hold some, it
# connects with passwords, sends literals in every form that SQL has, fails while it does so, and forks
# children that die right after. "died PID" for each child, "done" at the end.
require "pg"
require "crashy"

gate, literal = ARGV
ADDRESS = ENV.fetch("SHOP_DATABASE")
PASSWORD = ENV.fetch("PGSECRET")
$stdout.sync = true
$stderr.reopen(File::NULL)

def attempt
	yield
rescue PG::Error
	nil
end

def die(how = :null)
	child = fork do
		db = PG.connect(ADDRESS)
		yield db
		Crashy.public_send(how)
	end
	Process.wait(child)
	puts "died #{child}"
end

# Each text ends inside a literal when it is cut at 512 or at 1024 bytes, or has the secret at the cut.
def cut_statements(literal)
	[400, 500, 506, 1000, 1012, 1018, 1200].flat_map do |room|
		padding = "x" * [room - 40, 1].max
		["select '#{padding}#{literal}#{"y" * 600}' as cut",
		 "select #{Array.new([room / 8, 1].max) { "100000" }.join(", ")}, '#{literal}' as late",
		 "select $tag$#{padding}#{literal}$tag$ as dollar"]
	end
end

def statements(literal)
	["select '#{literal}' as plain", "select E'\\'#{literal}' as escaped", "select U&'#{literal}' as unicode",
	 "select $$#{literal}$$ as dollar", "select $q$ '#{literal}' $q$ as tagged",
	 "select 1 /* #{literal} /* nested #{literal} */ */ as comment", "select 1 -- #{literal}\n as line",
	 "select '#{literal}'::int as failing", "select '' '#{literal}", "selekt '#{literal}'",
	 "select B'1' as bits, X'#{"1F" * 4}' as hex, '#{literal}'", "values ('a''#{literal}''b')",
	 "set application_name = '#{literal}'", "do $x$ begin raise exception '#{literal}'; end $x$"]
end

puts "ready"
IO.select(nil, nil, nil, 0.01) until File.exist?(gate)

attempt { PG.connect(host: "127.0.0.1", port: ENV["PGPORT"], user: "shop", dbname: "shop", password: "wrong-#{PASSWORD}") }
attempt { PG.connect("postgres://shop:#{PASSWORD}@127.0.0.1:#{ENV["CLOSED_PORT"]}/shop") }
attempt { PG.connect("postgres://shop:#{PASSWORD}@127.0.0.1:#{ENV["PGPORT"]}/nowhere") }
attempt { PG.connect("host=127.0.0.1 port=#{ENV["PGPORT"]} user=shop password='#{PASSWORD}' dbname=shop bad_option=1") }

db = PG.connect(ADDRESS)
all = statements(literal) + cut_statements(literal)
all.each { |sql| attempt { db.exec(sql) } }
attempt { db.exec_params("select $1::text as params, '#{literal}'", [literal]) }
attempt { db.prepare("stmt", "select '#{literal}' as prepared, $1::text") }
attempt { db.exec_prepared("stmt", [literal]) }
attempt { db.async_exec("select '#{literal}' as async") }
attempt { db.sync_exec("select '#{literal}' as sync") }
6.times { attempt { db.exec("select pg_terminate_backend(pg_backend_pid()), '#{literal}'") } && db.reset }

die { |own| own.exec("select '#{literal}' as last") }
die(:sig_dfl) { |own| own.exec("select '#{literal}' as last") }
die { |own| attempt { own.exec(cut_statements(literal)[2]) } }
die { |own| own.send_query("select pg_sleep(1), '#{literal}'") }
die(:rb_bug) { |own| attempt { own.exec("select '#{literal}'::int") } }
die(:abort) { |_own| $0 = "puma: cluster worker 0: #{Process.ppid} [shop]" }
puts "done"
sleep 120

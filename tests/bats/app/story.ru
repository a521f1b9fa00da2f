# SPDX-License-Identifier: Apache-2.0
#
# The shop as its owner would write it with Lapidary: each statement goes past a breaker, a database that
# does not answer in LIMIT seconds has failed, and while the breaker is open clients get 503 at once.
#   /select  /reconnect  /pid  /crash/NAME
require "pg"
require "crashy"
require "lapidary"

module Story
	DATABASE = ENV.fetch("SHOP_DATABASE")
	LIMIT = 2
	BREAKER = Lapidary.breaker(DATABASE.split.to_h { |pair| pair.split("=", 2) }.transform_keys(&:to_sym))

	def self.connection
		Thread.current[:db] ||= BREAKER.run(:connect) { PG.connect("#{DATABASE} connect_timeout=#{LIMIT}") }
	end

	def self.ask(db)
		db.send_query("select 6 * 7 as answer")
		raise PG::ConnectionBad, "no answer in #{LIMIT} s" unless db.block(LIMIT)
		db.get_last_result.getvalue(0, 0)
	end

	# Connecting is worth nothing while no statement is: the breaker of statements comes first.
	def self.select
		BREAKER.run(:query) { ask(connection) }
	rescue PG::Error
		Thread.current[:db]&.finish
		Thread.current[:db] = nil
		raise
	end

	def self.reconnect
		Thread.current[:db]&.finish
		Thread.current[:db] = nil
		connection.db
	end

	def self.respond(path)
		_, verb, name = path.split("/", 3)
		case verb
		when "select" then [200, select]
		when "pid" then [200, ""]
		when "reconnect" then [200, reconnect]
		when "crash" then [200, Crashy.public_send(name).to_s]
		else [404, "no such path"]
		end
	rescue PG::Error => error
		[500, error.class.name]
	end
end

use Lapidary::Middleware
run lambda { |env|
	status, text = Story.respond(env["PATH_INFO"])
	[status, { "Content-Type" => "text/plain" }, ["#{Process.pid} #{text}\n"]]
}

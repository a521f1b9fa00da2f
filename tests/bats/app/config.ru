# SPDX-License-Identifier: Apache-2.0
#
# The shop: a small Rack app that asks a real database and dies on request. A crash path first runs a
# statement with a literal in it, so that the record of the crash can name it without its value.
#   /pid  /query?SQL  /crash/NAME[?address]  /fiddle/NAME  /grow/MIB  /title/WORDS  /recover
require "fiddle"
require "uri"
require "pg"
require "crashy"

module Shop
	STATEMENT = "select %d as shop_statement, 'literal-%s'"

	def self.db
		Thread.current[:db] ||= PG.connect(ENV.fetch("SHOP_DATABASE"))
	end

	def self.work(name)
		db.exec(format(STATEMENT, Process.pid, name)).getvalue(0, 0)
	end

	def self.recurse(depth = 0)
		recurse(depth + 1)
	end

	# A machine-stack overflow that Ruby turns into SystemStackError: three SIGSEGVs and no crash.
	def self.recover
		Crashy.overflow_in_ruby
	rescue SystemStackError => error
		error.class.name
	end

	def self.grow(mebibytes)
		hoard = []
		mebibytes.times { hoard << ("x" * (1 << 20)) }
		hoard.size.to_s
	end

	def self.call_c(name, *arguments)
		function = Fiddle::Handle::DEFAULT[name]
		types = arguments.map { Fiddle::TYPE_VOIDP }
		Fiddle::Function.new(function, types, Fiddle::TYPE_INT).call(*arguments)
	end

	FIDDLE = {
		"null" => -> { call_c("strlen", 0) },
		"unmapped" => -> { Fiddle::Pointer.new(0x7abc_0000)[0, 8] },
		"jump" => -> { Fiddle::Function.new(0x1bad_c0de_2000, [], Fiddle::TYPE_INT).call },
		"abort" => -> { call_c("abort") },
	}.freeze

	def self.respond(path, query)
		_, verb, name = path.split("/", 3)
		case verb
		when "pid" then ""
		when "query" then db.exec(URI.decode_www_form_component(query)).values.inspect
		when "crash" then work(name) && Crashy.public_send(name).to_s
		when "fiddle" then work(name) && FIDDLE.fetch(name).call.to_s
		when "address" then Crashy.read_only_address.to_s
		when "grow" then grow(name.to_i)
		when "recover" then recover
		when "title" then $0 = name
		else raise ArgumentError, "no such path"
		end
	rescue PG::Error => error
		error.class.name
	end
end

run lambda { |env|
	body = Shop.respond(env["PATH_INFO"], env["QUERY_STRING"])
	[200, { "Content-Type" => "text/plain", "X-Pid" => Process.pid.to_s }, ["#{Process.pid} #{body}\n"]]
}

# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "rantly"
require_relative "support/tap"
require_relative "../../user/ruby/lib/lapidary"

class TargetTest < Minitest::Test
  Connection = Struct.new(:host, :port, :db)

  def test_known_names
    {
      ["db.example.com", 5433, "shop"] => "postgres://db.example.com:5433/shop",
      ["/var/run/postgresql", nil, "shop"] => "postgres://%2Fvar%2Frun%2Fpostgresql:5432/shop",
      ["::1", "5432", "shop"] => "postgres://[::1]:5432/shop",
      ["", "", ""] => "postgres://localhost:5432/",
      ["h", 1, "caf\u00e9 x"] => "postgres://h:1/caf%C3%A9%20x",
    }.each { |parts, name| assert_equal name, Lapidary::Target.name(*parts) }
  end

  def test_a_connection_and_a_hash_give_the_same_name
    assert_equal Lapidary::Target.of(Connection.new("h", 5432, "d")),
                 Lapidary::Target.of(host: "h", port: 5432, dbname: "d", user: "u", password: "secret")
  end

  def test_property_names_are_one_line_of_plain_ascii_that_gives_the_parts_back
    Rantly(200) do
      [sized(range(1, 40)) { string }, range(1, 65_535), sized(range(0, 40)) { string }]
    end.each do |host, port, dbname|
      next if host.include?(":") || host.empty?

      name = Lapidary::Target.name(host, port, dbname)
      assert_match(%r{\Apostgres://[A-Za-z0-9\-._~%:\[\]]+:\d+/[A-Za-z0-9\-._~%:\[\]]*\z}, name)
      back = name.delete_prefix("postgres://").match(%r{\A(.+):(\d+)/(.*)\z})
      decode = ->(part) { part.b.gsub(/%(..)/n) { $1.hex.chr } }
      assert_equal [host.b, port.to_s, dbname.b], [decode.(back[1]), back[2], decode.(back[3])]
    end
  end
end

Tap.run(TargetTest)

# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # The name by which app and agent speak of one database: postgres://host:port/dbname, a socket's directory
  # percent-encoded as libpq writes it, never a user, a password or a parameter. The agent derives the same
  # name from what libpq holds (user/model/connection.c), so the two can be compared as strings.
  module Target
    DEFAULT_PORT = "5432"
    PLAIN = /[^A-Za-z0-9\-._~:\[\]]/n

    module_function

    # From a PG::Connection (anything with host, port and db), or from a Hash with :host, :port, :dbname.
    def of(connection)
      if connection.respond_to?(:db)
        name(connection.host, connection.port, connection.db)
      else
        name(connection[:host], connection[:port], connection[:dbname])
      end
    end

    def name(host, port, dbname)
      host = host.to_s
      host = "localhost" if host.empty?
      host = "[#{host}]" if host.include?(":") && !host.start_with?("[") # an IPv6 address
      port = port.to_s
      port = DEFAULT_PORT if port.empty?
      "postgres://#{encode(host)}:#{encode(port)}/#{encode(dbname.to_s)}"
    end

    def encode(part)
      part.b.gsub(PLAIN) { |byte| format("%%%02X", byte.ord) }.force_encoding(Encoding::UTF_8)
    end
  end
end

# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "json"

module Lapidary
  # Protocol 1 of the app socket as words: one JSON object a line. What comes in is bounded here, once: size,
  # depth, encoding; whoever reads a field says what it must be and gets a fallback for anything else, so no
  # line of a confused or false agent can raise further up than Garbage.
  module Protocol
    VERSION = 1
    LINE_MAX = 65_536 # bytes, the newline among them
    DEPTH_MAX = 16

    # The framing is broken: the connection is of no use any more.
    class Garbage < StandardError; end

    # A line of the agent.
    class Message
      def initialize(fields)
        @fields = fields
      end

      def type
        text("type")
      end

      def text(name, limit = 255)
        value = @fields[name]
        value.is_a?(String) && value.bytesize <= limit ? value : ""
      end

      # nil: absent, not a whole number, or beyond 64 bits
      def number(name)
        value = @fields[name]
        value = value.to_i if value.is_a?(Float) && value.finite? && value == value.floor
        value if value.is_a?(Integer) && value.between?(0, 2**64 - 1)
      end

      # Messages inside this one, at most `limit`.
      def list(name, limit)
        value = @fields[name]
        value.is_a?(Array) ? value.first(limit).grep(Hash).map { |fields| Message.new(fields) } : []
      end
    end

    module_function

    def line(type, fields)
      "#{JSON.generate({ "type" => type }.merge(fields))}\n"
    end

    def read(line)
      raise Garbage, "too long" if line.bytesize > LINE_MAX

      line = line.dup.force_encoding(Encoding::UTF_8)
      raise Garbage, "not UTF-8" unless line.valid_encoding?

      fields = JSON.parse(line, max_nesting: DEPTH_MAX, create_additions: false)
      raise Garbage, "not an object" unless fields.is_a?(Hash)

      Message.new(fields)
    rescue JSON::ParserError # JSON::NestingError is one
      raise Garbage, "not JSON"
    end
  end
end

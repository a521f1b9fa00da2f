# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require_relative "lib/lapidary/version"

Gem::Specification.new do |spec|
  spec.name = "lapidary"
  spec.version = Lapidary::VERSION
  spec.summary = "The app's side of Lapidary, which sees Ruby workers die and says why"
  spec.description = "Breakers, graceful restarts and held boots by the word of the Lapidary agent on the host."
  spec.authors = ["The Lapidary authors"]
  spec.license = "Apache-2.0"
  spec.required_ruby_version = ">= 2.7"
  spec.files = Dir["lib/**/*.rb", "README.md", base: __dir__]
end

# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

# The side of Lapidary that an app loads: pure Ruby, no native code, no gem that it needs. Nothing here
# starts a thread, opens a socket or costs anything by being required.
module Lapidary
end

require_relative "lapidary/version"
require_relative "lapidary/target"

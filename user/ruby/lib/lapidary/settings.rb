# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # What `start` was told, made such that the agent takes it.
  # serving: false for a process that says itself when it serves (Lapidary.serving), as servers' plug-ins do.
  Settings = Struct.new(:app, :accepts, :role, :server, :path, :agent_uid, :serving, keyword_init: true) do
    def hello
      { protocol: Protocol::VERSION, app: app, role: role, server: server, ruby: RUBY_VERSION, accepts: accepts }
    end

    # Those of a forked child; role nil: the same. What a worker forks is a helper, and serves nobody unless it
    # says so.
    def of_child(role)
      dup.tap do |child|
        child.serving = false if role && self.role == "worker"
        child.role = role if role
      end
    end
  end

  class << Settings
    PATH = "/run/lapidary/app.sock"
    ROLES = %w[master worker single].freeze
    SERVERS = %w[puma unicorn pitchfork iodine].freeze

    def from(app:, accepts:, role:, server:, socket:, agent_uid:, serving: true)
      role = role.to_s if role
      raise ArgumentError, "role is one of #{ROLES.join(', ')}, not #{role}" unless role.nil? || ROLES.include?(role)

      new(app: name(app), accepts: accepts.map(&:to_s), role: role || "single",
          server: (server || running_server).to_s[0, 15], path: socket || default_path,
          agent_uid: agent_uid || default_uid, serving: serving)
    end

    private

    # Of an app's name the agent takes letters, digits, '.', '_' and '-', at most 63.
    def name(app)
      app = app.to_s.gsub(/[^A-Za-z0-9._-]/, "-")[0, 63]
      app.empty? ? "ruby" : app
    end

    def default_path
      given = ENV["LAPIDARY_SOCKET"].to_s
      given.empty? ? PATH : given
    end

    # A value that is no number names nobody: then no listener is the agent.
    def default_uid
      given = ENV["LAPIDARY_AGENT_UID"].to_s
      given.empty? ? 0 : Integer(given, 10, exception: false) || -1
    end

    # By the title, which servers set from the start.
    def running_server
      SERVERS.find { |server| File.basename($PROGRAM_NAME).start_with?(server) } || ""
    end
  end
end

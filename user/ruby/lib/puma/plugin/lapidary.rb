# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "lapidary"
require "puma/plugin"

# `plugin :lapidary` in config/puma.rb. The master or the single process connects when Puma starts; each
# worker connects when it boots, before anything else in it, and waits there if the agent holds boots back.
# The app's name is LAPIDARY_APP, else Puma's tag, which is its directory's name.
#
# An order to restart is TERM to the process itself. Until Puma has set its traps for good that would be lost
# in a single process and be an error in a master, so it waits until then.
Puma::Plugin.create do
  def start(launcher)
    options = launcher.config.options
    workers = options[:workers].to_i
    app = app_name(options)
    Lapidary.booting
    workers.positive? ? in_cluster(launcher, app) : in_single(launcher, app)
  end

  private

  def in_single(launcher, app)
    after_booted = %i[after_booted on_booted].find { |name| launcher.events.respond_to?(name) }
    launcher.events.public_send(after_booted) { Lapidary.booted }
    tell_states(launcher)
    Lapidary.start(app: app, role: "single", server: "puma", hold: true, serving: false)
  end

  def in_cluster(launcher, app)
    hook(launcher, :before_fork) { Lapidary.booted }
    hook(launcher, :before_worker_boot, :on_worker_boot) do
      Lapidary.start(app: app, role: "worker", server: "puma", hold: true, serving: false)
    end
    tell_states(launcher)
    Lapidary.start(app: app, role: "master", server: "puma", serving: false)
  end

  # What a process of Puma's does with requests: it has loaded the app and takes them, or takes no more.
  def tell_states(launcher)
    launcher.events.register(:state) do |state|
      case state
      when :running then Lapidary.serving
      when :stop, :halt then Lapidary.draining
      end
    end
  end

  # Adds a hook ahead of the app's own, by the first of the names that this Puma has.
  def hook(launcher, *names, &work)
    given = launcher.config.options.file_options
    dsl = Puma::DSL.new(given, launcher.config)
    dsl.public_send(names.find { |name| dsl.respond_to?(name) }, &work)
    given[names.first]&.rotate!(-1)
  end

  def app_name(options)
    [ENV["LAPIDARY_APP"], options[:tag], File.basename(Dir.pwd)].find { |name| !name.to_s.empty? }
  end
end

# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require_relative "support/lapidary"
require_relative "support/reception"

# A real Puma with `plugin :lapidary`: cluster with and without preload, and single.
class PumaTest < LapidaryTest
  LIB = File.expand_path("../../user/ruby/lib", __dir__)
  # Holds a request until the file `go` exists; "/" answers with the worker's pid.
  APP = <<~RUBY
    require "lapidary"
    run(lambda do |env|
      if env["PATH_INFO"] == "/slow"
        File.write("begun", "")
        IO.select(nil, nil, nil, 0.01) until File.exist?("go")
      end
      [200, { "content-type" => "text/plain" }, [Process.pid.to_s]]
    end)
  RUBY

  def setup
    super
    @reception = Scripted::Reception.new(agent)
    @folder = Dir.mktmpdir("shop")
    File.write(File.join(@folder, "config.ru"), APP)
  end

  def teardown
    if @puma
      Process.kill("KILL", -@puma)
      Process.wait(@puma) unless @status
    end
  rescue Errno::ESRCH
    nil
  ensure
    @reception.close
    FileUtils.rm_rf(@folder)
    super
  end

  def puma(config = "", **env)
    File.write(File.join(@folder, "puma.rb"), "bind 'unix://#{@folder}/http.sock'\nplugin :lapidary\n#{config}\n")
    env = { "LAPIDARY_SOCKET" => agent.path, "LAPIDARY_AGENT_UID" => Process.uid.to_s, "RUBYLIB" => LIB,
            "LAPIDARY_APP" => "shop", "RUBYOPT" => "-W" }.merge(env.transform_keys(&:to_s))
    @puma = spawn(env, "puma", "-C", "puma.rb", chdir: @folder, pgroup: true, %i[out err] => File.join(@folder, "log"))
  end

  def log
    File.read(File.join(@folder, "log"))
  end

  def get(path = "/")
    socket = UNIXSocket.new(File.join(@folder, "http.sock"))
    socket.write("GET #{path} HTTP/1.0\r\n\r\n")
    socket.read
  rescue Errno::ENOENT, Errno::ECONNREFUSED, Errno::ECONNRESET
    nil
  ensure
    socket&.close
  end

  def body(answer)
    answer&.split("\r\n\r\n", 2)&.last
  end

  def serving
    eventually("an answer", 30) { body(get) }
  end

  def workers
    @reception.guests.select { |guest| guest.hello["role"] == "worker" && guest.there? }
  end

  # Waits for Puma's end; gives its status.
  def ended
    eventually("puma's end", 20) { Process.wait(@puma, Process::WNOHANG) }
    @status = $?
  end

  # Puma raises the TERM that it was sent once all is done, so that its status says who ended it.
  def assert_ended_as_asked
    assert_equal "TERM", Signal.signame(ended.termsig || 0)
  end

  def two_workers(but: [])
    eventually("two workers", 30) { (workers.map(&:pid) - but).uniq.size == 2 && workers.map(&:pid).uniq.size == 2 }
    workers
  end

  def test_each_process_of_a_cluster_says_who_it_is
    ["", "preload_app!"].each do |preload|
      puma("workers 2\n#{preload}")
      two_workers
      serving
      hellos = @reception.guests.select(&:there?).map(&:hello)
      assert_equal %w[master worker worker], hellos.map { |hello| hello["role"] }.sort
      assert_equal [%w[puma shop]], hellos.map { |hello| hello.values_at("server", "app") }.uniq
      assert_equal @puma, @reception.guests.find { |guest| guest.hello["role"] == "master" }.pid
      refute_match(/warn|lapidary/i, log.gsub(/^.*\[shop.*$/, ""))
      Process.kill("TERM", @puma)
      assert_ended_as_asked
      eventually("their goodbyes") { @reception.guests.none?(&:there?) }
      @reception.guests.clear
    end
  end

  # What a process says of itself, the hello's word first.
  def states(guest)
    [guest.hello["state"], *guest.said("state").map { |line| line["state"] }].chunk_while { |a, b| a == b }.map(&:first)
  end

  def test_a_worker_says_that_it_boots_until_its_app_is_loaded_and_that_it_drains_when_puma_does
    File.write(File.join(@folder, "config.ru"), "IO.select(nil, nil, nil, 0.01) until File.exist?('boot')\n#{APP}")
    puma("workers 2")
    booting = two_workers
    eventually("their first words") { booting.all? { |guest| guest.said("state").any? } }
    assert_equal [["booting"]], booting.map { |guest| states(guest) }.uniq
    File.write(File.join(@folder, "boot"), "")
    eventually("that they serve") { booting.all? { |guest| states(guest) == %w[booting serving] } }
    assert serving
    Process.kill("TERM", booting.first.pid)
    eventually("its end") { !booting.first.there? }
    assert_equal %w[booting serving draining stopped], states(booting.first)
    assert_equal %w[booting serving], states(booting.last)
  end

  def test_an_ordered_worker_drains_and_another_takes_its_place
    puma("workers 2\nthreads 2, 2")
    old = two_workers.first
    serving
    slow = Thread.new { body(get("/slow")) }
    eventually("the slow request") { File.exist?(File.join(@folder, "begun")) }
    old.peer.say("restart", id: "r1", mode: "graceful", deadline_ms: 20_000, reason: "memory", incident: "i1")
    assert_equal "done", eventually("the ack") { old.said("ack").first }["result"]
    eventually("the draining") { old.said("state").any? { |state| state["state"] == "draining" } }
    20.times { assert body(get), "a request was refused" }
    File.write(File.join(@folder, "go"), "")
    assert slow.value, "the running request was lost"
    two_workers(but: [old.pid])
    20.times { assert body(get) }
    eventually("the goodbye") { !old.there? }
  end

  def test_a_held_worker_boots_later_and_at_once_when_the_agent_is_gone
    @reception.answer = ->(hello) { hello["role"] == "worker" ? { hold_ms: 20_000 } : {} }
    puma("workers 2")
    two_workers
    assert_nil workers.map(&:pid).find { |pid| log.include?("(PID: #{pid}) booted") }
    @reception.close
    assert serving
    refute_match(/lapidary/i, log.gsub(/^.*\[shop.*$/, ""))
  end

  def test_a_single_puma_ends_and_its_status_says_that_it_was_asked_to
    puma
    guest = eventually("its hello", 30) { @reception.guests.find(&:there?) }
    assert_equal %w[single puma], guest.hello.values_at("role", "server")
    assert_equal @puma.to_s, serving
    guest.peer.say("restart", id: "r1", mode: "graceful", deadline_ms: 20_000)
    eventually("the ack") { guest.said("ack").first }
    assert_ended_as_asked
    assert_equal "stopped", guest.said("state").last["state"]
  end

  def test_an_order_during_the_boot_waits_for_its_end
    File.write(File.join(@folder, "config.ru"), "IO.select(nil, nil, nil, 0.01) until File.exist?('boot')\n#{APP}")
    puma
    guest = eventually("its hello", 30) { @reception.guests.find(&:there?) }
    guest.peer.say("restart", id: "r1", mode: "now", deadline_ms: 20_000)
    eventually("the ack") { guest.said("ack").first }
    assert_empty(guest.said("state").select { |state| state["state"] == "draining" })
    File.write(File.join(@folder, "boot"), "")
    assert_ended_as_asked
    refute_match(/error|exception/i, log)
  end

  def test_a_master_is_ended_with_all_its_workers
    puma("workers 2\npreload_app!")
    two_workers
    serving
    master = @reception.guests.find { |guest| guest.hello["role"] == "master" }
    master.peer.say("restart", id: "r1", mode: "graceful", deadline_ms: 20_000)
    assert_ended_as_asked
    refute_match(/ThreadError|trap context/i, log)
  end

  def test_without_an_agent_puma_is_as_ever
    @reception.close
    puma("workers 2", LAPIDARY_SOCKET: "/none")
    assert serving
    refute_match(/lapidary/i, log.gsub(/^.*\[shop.*$/, ""))
    Process.kill("TERM", @puma)
    assert_ended_as_asked
  end

  def test_the_app_is_named_after_the_folder_without_other_word
    puma("", LAPIDARY_APP: "")
    guest = eventually("its hello", 30) { @reception.guests.find(&:there?) }
    assert_equal File.basename(@folder), guest.hello["app"]
  end
end

Tap.run(PumaTest)

# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "open3"
require_relative "support/lapidary"
require_relative "support/reception"

# Forks: each process speaks for itself, and what happens to one is nothing to the others.
class ForkTest < LapidaryTest
  LIB = File.expand_path("../../user/ruby/lib", __dir__)

  def setup
    super
    @page = Scripted::Page.new
    @reception = Scripted::Reception.new(agent)
    @reception.answer = ->(_hello) { { page: @page, lease_ms: 600_000 } }
  end

  def teardown
    Lapidary.stop
    @reception.close
    @page.close
    super
  end

  def start_here
    start(server: "puma")
    eventually("this process") { guest(Process.pid) }
  end

  def guest(pid)
    @reception.guests.dup.find { |guest| guest.pid == pid && guest.there? }
  end

  def status(pid)
    eventually("the end of #{pid}") { Process.wait2(pid, Process::WNOHANG) }.last
  end

  def test_a_child_opens_its_own_connection_as_a_worker
    start_here
    held, go = IO.pipe
    pid = child { held.read(1) }
    worker = eventually("the child") { guest(pid) }
    assert_equal %w[worker puma shop], worker.hello.values_at("role", "server", "app")
    assert guest(Process.pid)
    go.write("!")
    assert_predicate status(pid), :success?
    eventually("its end") { !worker.there? }
    assert guest(Process.pid)
    assert_equal %w[hello state], guest(Process.pid).peer.lines.map { |line| line["type"] }
  end

  # Its siblings' last healthy worker would not stay otherwise: a helper answers no request.
  def test_what_a_worker_forks_is_a_helper_and_serves_nobody_unless_it_says_so
    start(server: "puma", role: "worker")
    eventually("this process") { guest(Process.pid) }
    held, go = IO.pipe
    said, says = IO.pipe
    pid = child do
      held.read(1)
      Lapidary.serving
      says.write("!")
      held.read(1)
    end
    helper = eventually("the child") { guest(pid) }
    eventually("its first word") { helper.said("state").any? }
    assert_equal %w[booting booting], [helper.hello, *helper.said("state")].map { |line| line["state"] }
    go.write("!")
    said.read(1)
    eventually("its second") { helper.said("state").last["state"] == "serving" }
    go.write("!")
    assert_predicate status(pid), :success?
  end

  # A server's hook starts the library in the child while the child's own client may be on its way.
  def test_a_child_that_starts_by_itself_speaks_with_one_voice
    start_here
    pids = Array.new(20) do |round|
      child do
        gate = Queue.new
        own = Thread.new { gate.pop && Lapidary.send(:succeed, "worker") }
        gate.push(true)
        Thread.pass if round.odd?
        start(server: "puma", role: "single")
        own.join
        exit!(Thread.list.count { |thread| thread.name == "lapidary" } == 1 ? 0 : 8)
      end
    end
    assert_equal([0], pids.map { |pid| status(pid).exitstatus }.uniq)
  end

  def test_the_breaker_is_read_in_the_child_before_it_has_connected
    start_here
    @page.set(TARGET, :query, 1)
    pid = child { exit!(9) unless Lapidary.breaker(TARGET).open? && !Lapidary.connected? }
    assert_predicate status(pid), :success?
  end

  def test_a_trial_is_the_parents_alone
    start_here
    @page.set(TARGET, :query, 2)
    me = guest(Process.pid)
    me.peer.say("breaker", id: "b", seq: 1, epoch: 1, target: TARGET, scope: "query", state: "half_open",
                           lease_ms: 60_000, trial_id: "t")
    eventually("the ack") { me.said("ack").first }
    pid = child do
      Lapidary.breaker(TARGET).run { exit!(9) }
    rescue Lapidary::BreakerOpen
      nil
    end
    assert_predicate status(pid), :success?
    assert_equal 1, (Lapidary.breaker(TARGET).run { 1 })
  end

  def test_a_short_life_costs_nothing_and_says_nothing
    start_here
    20.times do
      assert_predicate status(child { nil }), :success?
      pid = fork { exec("true") }
      assert_predicate status(pid), :success?
    end
    assert_equal "x\n", `echo x`
    assert_equal [Process.pid], @reception.guests.map(&:pid).uniq
  end

  def test_nothing_is_printed_by_any_of_them
    said, status = Open3.capture2e({ "LAPIDARY_SOCKET" => agent.path }, "ruby", "-W", "-I#{LIB}", "-rlapidary", "-e", <<~RUBY)
      Lapidary.start(app: "x", agent_uid: #{Process.uid})
      children = [fork {}, fork { exit 0 }, fork { exit! 0 }, fork { exec "true" }, fork { fork {}; Process.wait }, spawn("true")]
      children << fork { Process.daemon; 500.times { Lapidary.connected? ? break : IO.select(nil, nil, nil, 0.01) } }
      children.each { |pid| Process.wait(pid); abort "status" unless $?.success? }
    RUBY
    assert_equal ["", 0], [said, status.exitstatus]
  end

  def test_a_child_may_stop_and_start_by_itself
    start_here
    pid = child do
      Lapidary.stop
      exit!(9) if Lapidary.connected?
      start(app: "other")
      exit!(8) unless Lapidary.connected?
      Lapidary.stop
    end
    assert_predicate status(pid), :success?
    assert_equal ["other"], @reception.guests.select { |guest| guest.pid == pid }.map { |guest| guest.hello["app"] }
    assert guest(Process.pid)
  end

  def test_after_stop_children_are_left_alone
    start_here
    Lapidary.stop
    pid = child { exit!(Thread.list.size == 1 ? 0 : 9) }
    assert_predicate status(pid), :success?
  end

  # By the pid, should a fork get by the hook.
  def test_a_fork_that_nobody_noticed_is_found_when_the_library_is_used
    start_here
    pid = Lapidary.stub(:forked, nil) { fork }
    if pid.nil?
      Lapidary.connected?
      eventually("the child's own connection") { Lapidary.connected? }
      exit!(0)
    end
    assert_predicate status(pid), :success?
    assert_equal [pid], @reception.guests.map(&:pid) - [Process.pid]
    assert guest(Process.pid)
  end

  def test_the_wrapped_fork_of_older_rubies_gives_the_same
    wrapped = Class.new do
      def fork
        pid = Process.fork { exit!(yield == :work ? 0 : 9) } if block_given?
        pid || Process.fork
      end
    end
    wrapped.prepend(Lapidary::Fork::Wrap)
    assert_predicate status(wrapped.new.fork { :work }), :success?
    pid = wrapped.new.fork
    exit!(3) if pid.nil?
    assert_equal 3, status(pid).exitstatus
  end

  # One worker dies in some way; the others keep connection and breaker state, as does the parent.
  WAYS = %i[KILL SEGV ABRT TERM exit! exit fork exec].freeze

  def die(way)
    case way
    when :exit! then exit!(1)
    when :exit then Lapidary.stop
    when :fork then Process.wait(Process.fork { exit!(0) })
    when :exec then exec("true")
    else
      $stderr.reopen(File::NULL) # Ruby's own report of a crash
      Process.kill(way, Process.pid)
      IO.select(nil)
    end
  end

  property 11, "the end of a worker, however it ends, leaves the others connected with their breakers" do
    start_here
    staying, stay = IO.pipe
    asks, ask = IO.pipe
    answers, answer = IO.pipe
    stayer = child do
      stay.close
      loop { answer.write(asks.read(1) == "?" && Lapidary.connected? && Lapidary.breaker(TARGET).open? ? "1" : "0") }
    end
    other = eventually("the other worker") { guest(stayer) }
    me = guest(Process.pid)
    Rantly(100) { [choose(*WAYS), boolean] }.each do |way, connected|
      @page.set(TARGET, :query, 1)
      dying, die = IO.pipe
      pid = child do
        die.close
        Process.setrlimit(:CORE, 0)
        dying.read(1)
        die(way)
      end
      eventually("the worker") { guest(pid) } if connected
      die.close
      eventually("its end") { Process.wait(pid, Process::WNOHANG) }
      dying.close
      ask.write("?")
      assert_equal "1", answers.read(1), way
      assert_equal [true, true], [other.there?, me.there?], way
      assert Lapidary.connected?
      assert Lapidary.breaker(TARGET).open?
    end
    assert_equal %w[hello state], me.peer.lines.map { |line| line["type"] }
    assert_equal %w[hello state], other.peer.lines.map { |line| line["type"] }
  ensure
    stay.close
    staying.close
    Process.kill("KILL", stayer)
    Process.wait(stayer)
  end

  property 10, "in a storm of forks each child that lives is connected once and no word is mixed" do
    start_here
    Rantly(10) { array(10) { boolean } }.each do |lives|
      held, go = IO.pipe
      pids = lives.map do |lives_on|
        child do
          go.close
          held.read(1) if lives_on
        end
      end
      living = pids.zip(lives).select(&:last).map(&:first)
      eventually("all of them") { living.all? { |pid| guest(pid) } }
      assert_equal living.sort, @reception.guests.map(&:pid).select { |pid| pids.include?(pid) }.sort
      go.close
      pids.each { |pid| assert_predicate status(pid), :success? }
      assert_equal %w[hello state], guest(Process.pid).peer.lines.map { |line| line["type"] }
      held.close
    end
  end
end

Tap.run(ForkTest)

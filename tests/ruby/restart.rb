# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require_relative "support/lapidary"
require_relative "support/reception"

# An order to restart: acknowledged, begun once, by what the app or its server understands; and the status of
# the process says what ended it.
class RestartTest < LapidaryTest
  def setup
    super
    @reception = Scripted::Reception.new(agent)
    @reception.answer = ->(_hello) { { lease_ms: 600_000 } }
    @pids = []
  end

  def teardown
    @pids.each do |pid|
      Process.kill("KILL", pid)
      Process.wait(pid)
    rescue Errno::ESRCH, Errno::ECHILD
      nil
    end
    @reception.close
    super
  end

  # A process of its own that has started the library after the block prepared it, and gives the agent's view.
  def process(**start_with)
    go_on, done = IO.pipe
    pid = fork do
      done.close
      $stderr.reopen(File::NULL) # "terminated by SIGTERM" is no news here
      yield
      start(**{ role: "worker" }.merge(start_with))
      go_on.read(1)
      exit 5
    end
    @pids << pid
    go_on.close
    [eventually("the process") { @reception.guests.dup.find { |guest| guest.pid == pid } }, done]
  end

  def order(guest, id: "r1", mode: "graceful", deadline_ms: 30_000)
    guest.peer.say("restart", id: id, mode: mode, deadline_ms: deadline_ms, reason: "memory", incident: "i1")
  end

  def status(guest)
    eventually("the end") { Process.wait2(guest.pid, Process::WNOHANG) }.last
  end

  def result(guest, id = "r1")
    eventually("the ack") { guest.said("ack").find { |ack| ack["id"] == id } }["result"]
  end

  def states(guest)
    eventually("its end") { !guest.there? }
    guest.said("state").map { |state| state["state"] }
  end

  def test_the_ack_comes_first_then_the_draining_then_the_end
    guest, = process { nil }
    order(guest)
    assert_equal 15, status(guest).termsig
    eventually("its end") { !guest.there? }
    assert_equal(%w[hello state ack state state], guest.peer.lines.map { |line| line["type"] })
    assert_equal %w[serving draining stopped], states(guest)
  end

  def test_the_number_of_requests_goes_along
    guest, = process { Thread.new { Lapidary.in_flight.during { IO.select(nil) } }.run }
    order(guest)
    status(guest)
    eventually("its end") { !guest.there? }
    assert_equal 1, guest.said("state").find { |state| state["state"] == "draining" }["in_flight"]
  end

  def test_the_handler_gets_the_order
    told, tell = IO.pipe
    guest, done = process { Lapidary.on_restart { |order| tell.write(order.to_a.inspect) } }
    order(guest)
    assert_equal "done", result(guest)
    assert_equal '["r1", "graceful", 30000, "memory", "i1"]', told.readpartial(999)
    done.close
    assert_equal 5, status(guest).exitstatus
  end

  def test_the_same_order_twice_is_one_restart
    begun, begin_one = IO.pipe
    guest, done = process { Lapidary.on_restart { begin_one.write("!") } }
    3.times { order(guest) }
    eventually("three acks") { guest.said("ack").size == 3 }
    order(guest, id: "r2")
    assert_equal "done", result(guest, "r2")
    done.close
    status(guest)
    begin_one.close
    assert_equal "!!", begun.read
  end

  def test_during_a_boot_it_waits_even_when_the_agent_dies_meanwhile
    booting, boot = IO.pipe
    guest, done = process do
      Lapidary.booting
      Thread.new do
        booting.read(1)
        Lapidary.booted
      end
    end
    order(guest)
    assert_equal "done", result(guest)
    assert_empty(guest.said("state").reject { |state| state["state"] == "serving" })
    @reception.close
    boot.write("!")
    assert_equal 15, status(guest).termsig
    done.close
  end

  def test_the_library_sets_no_trap
    before = Signal.list.keys.grep_v(/EXIT|KILL|STOP|SEGV|BUS|ILL|FPE|VTALRM/)
    traps = -> { before.map { |name| trap(name, "DEFAULT").tap { |old| trap(name, old || "DEFAULT") } } }
    was = traps.call
    start
    assert_equal was, traps.call
  end

  # Traps of a server: QUIT drains and TERM does not, or the other way round. Each exits with a status that
  # tells which came.
  TRAPS = { none: {}, term: { TERM: 21 }, both: { TERM: 21, QUIT: 22 } }.freeze

  def expected(server, mode, traps, handler, accepts)
    return [5, nil] unless accepts
    return [23, nil] if handler == :exits

    signal = %w[unicorn pitchfork].include?(server) && mode == "graceful" ? :QUIT : :TERM
    code = TRAPS[traps][signal]
    code ? [code, nil] : [nil, Signal.list[signal.to_s]]
  end

  property 16, "the status of a process under an order says what ended it" do
    Rantly(100) do
      [choose("puma", "unicorn", "pitchfork", "iodine", "other"), choose("graceful", "now"),
       choose(:none, :term, :both), choose(:none, :exits, :fails), freq([5, :literal, true], [1, :literal, false]),
       range(0, 60_000)]
    end.each.with_index do |(server, mode, traps, handler, accepts, deadline_ms), round|
      guest, done = process(server: server, accepts: accepts ? %w[restart] : %w[breaker]) do
        TRAPS[traps].each { |signal, code| trap(signal) { exit code } }
        Lapidary.on_restart { exit!(23) } if handler == :exits
        Lapidary.on_restart { raise "no" } if handler == :fails
        Process.setrlimit(:CORE, 0)
      end
      order(guest, id: "round#{round}", mode: mode, deadline_ms: deadline_ms)
      assert_equal accepts ? "done" : "refused", result(guest, "round#{round}")
      done.close unless accepts
      ended = status(guest)
      assert_equal expected(server, mode, traps, handler, accepts), [ended.exitstatus, ended.termsig],
                   [server, mode, traps, handler, accepts].inspect
      assert_equal handler == :exits && accepts ? "draining" : "stopped", states(guest).last
      done.close
    end
  end

  property 13, "an order that comes at any moment gives no error in a trap" do
    errors, told = IO.pipe
    Rantly(20) { range(0, 3) }.each do |busy|
      guest, done = process do
        trap("TERM") do
          Lapidary.stop
          exit 0
        rescue ThreadError => e
          told.write(e.message)
          raise
        end
        busy.times { Thread.new { loop { Lapidary.breaker(TARGET).run { Lapidary.pool(TARGET, size: 1, active: 1) } } } }
      end
      order(guest)
      assert_equal 0, status(guest).exitstatus
      done.close
    end
    told.close
    assert_equal "", errors.read
  end

  def test_a_unicorn_worker_drains_by_quit_and_is_replaced
    skip "no unicorn here" unless system("unicorn", "--version", out: File::NULL, err: File::NULL)
    Dir.mktmpdir do |folder|
      lib = File.expand_path("../../user/ruby/lib", __dir__)
      File.write("#{folder}/config.ru", "run ->(_env) { [200, {}, [Process.pid.to_s]] }")
      File.write("#{folder}/unicorn.rb", <<~RUBY)
        require "lapidary"
        worker_processes 2
        listen "#{folder}/http.sock"
        after_fork { |_server, _worker| Lapidary.start(app: "shop", role: "worker", server: "unicorn", hold: true) }
      RUBY
      master = spawn({ "RUBYLIB" => lib, "LAPIDARY_SOCKET" => agent.path, "LAPIDARY_AGENT_UID" => Process.uid.to_s },
                     "unicorn", "-c", "unicorn.rb", chdir: folder, %i[out err] => "#{folder}/log")
      @pids << master
      old = eventually("two workers", 30) { @reception.guests.size == 2 && @reception.guests.first }
      order(old)
      assert_equal "done", result(old)
      assert_equal %w[serving draining], states(old) # it leaves by exit!, so nobody says goodbye
      eventually("another") { @reception.guests.size == 3 && @reception.guests.count(&:there?) == 2 }
      assert_match(/reaped #<Process::Status: pid #{old.pid} exit 0>/, eventually("the log") { File.read("#{folder}/log")[/.*reaped.*/] })
      Process.kill("QUIT", master)
      eventually("unicorn's end") { Process.wait(master, Process::WNOHANG) }
    end
  end
end

Tap.run(RestartTest)

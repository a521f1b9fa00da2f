# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require_relative "support/lapidary"

# A held boot: it waits as long as the agent says, and never on a dead one.
class HoldTest < LapidaryTest
  MS = 1_000_000

  # Starts with hold: true; gives the agent's end and a thread whose value is the seconds that start took.
  def held(**welcome)
    boot = Thread.new { seconds { start(hold: true) } }
    peer = agent.greet(**welcome)
    peer.read("state")
    [peer, boot]
  end

  def test_without_a_hold_it_does_not_wait
    _peer, boot = held
    assert_operator boot.value, :<, 0.5
  end

  def test_a_boot_waits_as_long_as_it_is_told
    _peer, boot = held(hold_ms: 300)
    assert_in_delta 0.3, boot.value, 0.1
    assert_equal 0.0, Lapidary.wait_for_boot.floor(1)
  end

  def test_it_ends_at_once_when_the_agent_closes
    peer, boot = held(hold_ms: 20_000)
    assert_predicate boot, :alive?
    peer.close
    assert_operator boot.value, :<, 0.5
  end

  def test_it_ends_at_once_when_the_agent_says_so
    peer, boot = held(hold_ms: 20_000)
    peer.welcome(hold_ms: 0)
    assert_operator boot.value, :<, 0.5
  end

  def test_it_ends_when_the_agent_is_silent_for_a_lease
    _peer, boot = held(hold_ms: 20_000, lease_ms: 150)
    assert_in_delta 0.15, boot.value, 0.1
  end

  def test_it_lasts_while_the_agent_is_heard
    peer, boot = held(hold_ms: 400, lease_ms: 100)
    peer.say("ping", t: 1, renews: []) until boot.join(0.03)
    assert_in_delta 0.4, boot.value, 0.1
  end

  def test_who_did_not_accept_it_is_not_held
    boot = Thread.new { seconds { start(hold: true, accepts: %w[breaker]) } }
    agent.greet(hold_ms: 20_000)
    assert_operator boot.value, :<, 0.5
  end

  def test_without_an_agent_nobody_waits
    assert_operator seconds { start(socket: "/none", hold: true) }, :<, 0.5
    agent.close
    assert_operator seconds { start(hold: true) }, :<, 0.5
  end

  def test_who_is_held_serves_afterwards
    greeting = Thread.new { agent.greet(hold_ms: 300) }
    waiter = Thread.new { seconds { start(hold: true) } }
    peer = greeting.value
    assert_equal "booting", peer.read("state")["state"]
    assert_equal "serving", peer.read("state")["state"]
    assert_operator waiter.value, :>=, 0.3
  end

  def test_an_agent_that_is_killed_or_stopped_holds_nobody
    %w[KILL STOP].each do |signal|
      ready, told = IO.pipe
      server = Scripted::Agent.new
      pid = child do
        peer = server.greet(hold_ms: 20_000, lease_ms: 200)
        peer.read("state")
        told.write("!")
        loop { peer.say("ping", t: 1, renews: []) || IO.select(nil, nil, nil, 0.02) }
      end
      server.close_here
      boot = Thread.new { seconds { start(socket: server.path, hold: true) } }
      ready.read(1)
      Process.kill(signal, pid)
      assert_operator boot.value, :<, 1, signal
      refute Lapidary.breaker(TARGET).open?
      Process.kill("KILL", pid)
      Process.wait(pid)
      server.close
      Lapidary.stop
    end
  end

  # In simulated time: whatever the agent says and when, one who waits as `left` tells waits exactly as long as
  # the latest welcome says, a lease of silence, or 20 s in all; whichever is first.
  property 12, "a boot is held as long as the agent lives and says so, never more than 20 s" do
    Rantly(300) do
      [range(1, 2**60), range(0, 30_000), range(1, 5_000),
       array(range(0, 30)) { [range(0, 4_000), choose(:heard, :heard, :heard, :welcome, :lost), range(0, 30_000), range(1, 5_000)] }]
    end.each do |start, hold_ms, lease_ms, events|
      hold = Lapidary::Hold.new
      assert_equal 0, hold.left(start)
      hold.welcome(start, hold_ms, lease_ms)
      limit = start + 20_000 * MS
      promise = start + hold_ms * MS
      lease = lease_ms * MS
      heard = now = start
      events.each do |after, event, its_hold, its_lease|
        free = promise && [promise, limit, heard + lease].min
        # one who waits wakes at `left`, and is free then and not before
        left = hold.left(now)
        assert_equal free ? [free - now, 0].max : 0, left
        assert_equal 0, hold.left(now + left)
        assert_operator hold.left(now + left - 1), :>, 0 if left > 1
        now += after * MS
        case event
        when :heard then hold.heard(heard = now)
        when :lost
          hold.lost
          promise = nil
        when :welcome
          hold.welcome(heard = now, its_hold, its_lease)
          promise = now + its_hold * MS
          lease = its_lease * MS
        end
      end
      assert_equal 0, hold.left(limit)
    end
  end
end

Tap.run(HoldTest)

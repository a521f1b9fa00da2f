# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "open3"
require_relative "support/lapidary"

# The thread that speaks with the agent: with a good one, and with all that may sit in its place.
class ClientTest < LapidaryTest
  LIB = File.expand_path("../../user/ruby/lib", __dir__)
  START_LIMIT = 0.5

  def setup
    super
    @page = nil
  end

  def page
    @page ||= Scripted::Page.new
  end

  def teardown
    super
    @page&.close
  end

  def ack(peer, id)
    loop do
      said = peer.read("ack") or flunk "closed before an ack of #{id}"
      return said["result"] if said["id"] == id
    end
  end

  # Nothing more comes of this, and the app is as it was.
  def assert_unharmed
    refute Lapidary.breaker(TARGET).open?
    assert_equal 1, (Lapidary.breaker(TARGET).run { 1 })
    assert_equal 1, Thread.list.count { |thread| thread.name == "lapidary" && thread.alive? }
  end

  def test_hello_says_who_it_is
    greeting = Thread.new { agent.greet }
    start(app: "the shop/é", role: "worker", server: "puma", accepts: %i[breaker])
    hello = greeting.value.lines.first
    assert_equal({ "type" => "hello", "protocol" => 1, "app" => "the-shop--", "role" => "worker",
                   "server" => "puma", "ruby" => RUBY_VERSION, "accepts" => ["breaker"], "state" => "serving" }, hello)
    assert Lapidary.connected?
  end

  def test_the_page_that_comes_along_is_used
    page.set(TARGET, :query, 1)
    connect(page: page)
    assert Lapidary.breaker(TARGET).open?
    page.set(TARGET, :query, 0)
    refute Lapidary.breaker(TARGET).open?
  end

  def test_the_reasons_in_the_welcome_are_known
    page.set(TARGET, :query, 1)
    connect(page: page, breakers: [{ target: TARGET, slot: 0, scope: "query", state: "open", seq: 3,
                                     lease_ms: 3000, reason: "frozen", incident: "i1", id: "b1" }])
    assert_equal %w[frozen i1], Lapidary.breaker(TARGET).refusal.then { |error| [error.reason, error.incident] }
  end

  def test_a_page_that_is_none_is_none
    peer = connect(page: Scripted::Page.new(magic: "XXXX"))
    refute Lapidary.breaker(TARGET).open?
    page.set(TARGET, :query, 1)
    peer.welcome(epoch: 2, page: page)
    eventually("the good page") { Lapidary.breaker(TARGET).open? }
  end

  def test_a_dozen_descriptors_leak_none
    peer = connect(page: page)
    before = Dir.children("/proc/self/fd").size
    20.times do |epoch|
      files = Array.new(8) { File.open("/dev/null") }
      peer.socket.sendmsg("{\"type\":\"ping\"}\n", 0, nil, Socket::AncillaryData.unix_rights(*files))
      files.each(&:close)
      peer.welcome(epoch: epoch + 2)
    end
    peer.say("breaker", id: "last", epoch: 100, target: TARGET, scope: "query", state: "closed", seq: 1)
    assert_equal "done", ack(peer, "last")
    assert_operator Dir.children("/proc/self/fd").size, :<=, before + 1
  end

  def test_each_order_is_acknowledged_once_and_a_repetition_again
    peer = connect
    2.times { peer.say("breaker", id: "b1", seq: 1, epoch: 1, target: TARGET, scope: "query", state: "open", lease_ms: 9, reason: "x") }
    peer.say("breaker", id: "b1", seq: 2, epoch: 1, target: TARGET, scope: "query", state: "closed")
    3.times { assert_equal "done", ack(peer, "b1") }
    peer.say("drain", id: "d1", deadline_ms: 5)
    assert_equal "refused", ack(peer, "d1")
    Lapidary.stop
    assert peer.closed?
    assert_equal 4, peer.lines.count { |line| line["type"] == "ack" }
  end

  def test_an_order_of_an_older_epoch_is_refused
    peer = connect(epoch: 7)
    { 6 => "refused", 7 => "done", 8 => "done" }.each do |epoch, result|
      peer.say("breaker", id: "b#{epoch}", seq: 1, epoch: epoch, target: TARGET, scope: "query", state: "open")
      assert_equal result, ack(peer, "b#{epoch}")
    end
    peer.welcome(epoch: 9)
    peer.say("breaker", id: "old", seq: 1, epoch: 8, target: TARGET, scope: "query", state: "open")
    assert_equal "refused", ack(peer, "old")
  end

  def test_what_was_not_accepted_is_refused
    restarts = 0
    Lapidary.on_restart { restarts += 1 }
    peer = connect(start_with: { accepts: %w[hold] })
    peer.say("restart", id: "r1", mode: "graceful", deadline_ms: 1000)
    peer.say("breaker", id: "b1", seq: 1, epoch: 1, target: TARGET, scope: "query", state: "open")
    assert_equal "refused", ack(peer, "r1")
    assert_equal "refused", ack(peer, "b1")
    assert_equal 0, restarts
  end

  def test_drain_and_degrade_have_handlers
    levels = []
    Lapidary.on_degrade { |order| levels << order.text("level") }
    Lapidary.on_drain { |_order| raise "cannot" }
    peer = connect(start_with: { accepts: %w[drain degrade] })
    2.times { peer.say("degrade", id: "g1", level: "readonly") }
    peer.say("drain", id: "d1", deadline_ms: 5)
    2.times { assert_equal "done", ack(peer, "g1") }
    assert_equal "failed", ack(peer, "d1")
    assert_equal ["readonly"], levels
  end

  def test_a_trial_is_reported_to_the_agent
    peer = connect(page: page)
    page.set(TARGET, :query, 2)
    peer.say("breaker", id: "b1", seq: 4, epoch: 1, target: TARGET, scope: "query", state: "half_open",
                        lease_ms: 60_000, trial_id: "t-1")
    ack(peer, "b1")
    assert_raises(Errno::ECONNREFUSED) { Lapidary.breaker(TARGET).run { raise Errno::ECONNREFUSED, "secret" } }
    told = peer.read("outcome")
    assert_equal ["t-1", TARGET, false, "Errno::ECONNREFUSED"], told.values_at("trial_id", "target", "ok", "error")
  end

  def test_pools_are_reported_the_latest_of_each_and_not_more_often_than_a_second
    peer = connect
    500.times { |n| Lapidary.pool(TARGET, size: 500, active: n) }
    Lapidary.pool({ host: "h", dbname: "d" }, size: 2, active: 1, waiting: 3)
    first = peer.read("pool")
    reports = [first]
    reports << peer.read("pool") until reports.last["target"].end_with?("/d") && reports.size > 1 && reports.any? { |one| one["active"] == 499 }
    assert_operator reports.size, :<, 6
    assert_equal({ "size" => 500, "active" => 499, "idle" => 1 },
                 reports.find { |one| one["active"] == 499 }.slice("size", "active", "idle"))
  end

  def test_stop_says_goodbye_and_closes_everything
    page.set(TARGET, :query, 1)
    peer = connect(page: page)
    assert_operator seconds { Lapidary.stop }, :<, 0.1
    assert_equal "stopped", peer.read("state")["state"]
    assert peer.closed?
    refute Lapidary.connected?
    refute Lapidary.breaker(TARGET).open?
    assert_empty(Thread.list.select { |thread| thread.name == "lapidary" && thread.alive? })
    Lapidary.stop
  end

  def test_an_agent_that_comes_back_is_found_again
    peer = connect
    3.times do |epoch|
      peer.close
      eventually("the loss") { !Lapidary.connected? }
      peer = agent.greet(epoch: epoch + 2)
      eventually("the new welcome") { Lapidary.connected? }
    end
  end

  def test_an_agent_that_comes_later_is_found
    path = File.join(Dir.mktmpdir, "app.sock")
    assert_operator seconds { start(socket: path) }, :<, START_LIMIT
    refute Lapidary.connected?
    late = Scripted::Agent.new(path)
    late.greet
    eventually("the welcome") { Lapidary.connected? }
  ensure
    late&.close
    FileUtils.rm_rf(File.dirname(path))
  end

  def test_why_it_is_not_connected_can_be_asked
    assert_equal "not started", Lapidary.trouble
    start(socket: "/nonexistent/app.sock")
    assert_match(/No such file/, Lapidary.trouble)
    start(agent_uid: Process.uid + 1)
    assert_equal "the listener has uid #{Process.uid}", Lapidary.trouble
    agent.accept
    greeting = Thread.new { agent.accept.tap { |peer| peer.say("error", code: "too_many", message: "64 a uid") }.close }
    start
    greeting.join
    assert_equal "too_many: 64 a uid", Lapidary.trouble
    connect
    assert_nil Lapidary.trouble
  end

  def test_who_accepts_no_breakers_has_none
    page.set(TARGET, :query, 1)
    connect(page: page, start_with: { accepts: %w[restart] })
    assert Lapidary.connected?
    refute Lapidary.breaker(TARGET).open?
  end

  def test_a_pool_that_is_no_text_costs_nothing_but_itself
    peer = connect
    Lapidary.pool("postgres://\xff", size: 1, active: 1)
    Lapidary.pool(TARGET, size: 1.5, active: 1)
    assert_equal [TARGET, 1], peer.read("pool").values_at("target", "size")
    assert Lapidary.connected?
  end

  def test_connected_means_heard_within_a_lease
    peer = connect(lease_ms: 50)
    eventually("the lease's end") { !Lapidary.connected? }
    peer.say("ping", t: 1, renews: [])
    eventually("the ping") { Lapidary.connected? }
  end

  # --- what is not an agent ------------------------------------------------------------------------------

  def test_no_agent
    assert_operator seconds { start(socket: "/nonexistent/app.sock") }, :<, START_LIMIT
    assert_unharmed
  end

  def test_a_path_that_no_socket_can_have
    assert_operator seconds { start(socket: "/#{'x' * 200}") }, :<, START_LIMIT
    assert_unharmed
    Tempfile.create("app.sock") do |file|
      assert_operator seconds { start(socket: file.path) }, :<, START_LIMIT
      assert_unharmed
    end
  end

  def test_a_listener_that_never_answers
    assert_operator seconds { start }, :<=, START_LIMIT
    refute Lapidary.connected?
    assert_unharmed
    peer = agent.accept
    peer.read("hello")
    peer.welcome
    eventually("the late welcome") { Lapidary.connected? }
  end

  def test_a_listener_whose_queue_is_full
    folder = Dir.mktmpdir
    path = File.join(folder, "app.sock")
    server = UNIXServer.new(path)
    server.listen(0)
    crowd = Array.new(8) { Socket.new(:UNIX, :STREAM) }
    crowd.each do |one|
      one.connect_nonblock(Socket.sockaddr_un(path))
    rescue Errno::EAGAIN
      nil
    end
    assert_operator seconds { start(socket: path) }, :<=, START_LIMIT
    assert_unharmed
  ensure
    [server, *crowd].compact.each(&:close)
    FileUtils.rm_rf(folder)
  end

  def test_a_listener_of_another_uid_is_not_spoken_to
    assert_operator seconds { start(agent_uid: Process.uid + 12_345) }, :<, START_LIMIT
    refute Lapidary.connected?
    peer = agent.accept
    assert peer.closed?
    assert_empty peer.lines
    assert_unharmed
  end

  def test_a_listener_that_another_uid_put_there
    skip "needs root" unless Process.uid.zero?
    folder = Dir.mktmpdir
    File.chmod(0o777, folder)
    path = File.join(folder, "app.sock")
    ready, told = IO.pipe
    impostor = child do
      Process::Sys.setuid(65_534)
      server = UNIXServer.new(path)
      told.write("!")
      got = Scripted::Peer.new(server.accept)
      told.write(got.closed? && got.lines.empty? ? "nothing" : got.lines.inspect)
    end
    told.close
    ready.read(1)
    start(socket: path, agent_uid: 0)
    assert_equal "nothing", ready.read
    Process.wait(impostor)
    assert_unharmed
  ensure
    FileUtils.rm_rf(folder)
  end

  def test_the_environment_names_the_agent_and_nonsense_names_nobody
    { "0" => 0, "" => 0, "1000" => 1000, "root" => -1 }.each do |given, uid|
      ENV["LAPIDARY_AGENT_UID"] = given
      ENV["LAPIDARY_SOCKET"] = "/run/other.sock"
      settings = Lapidary::Settings.from(app: "x", accepts: [], role: nil, server: nil, socket: nil, agent_uid: nil)
      assert_equal [uid, "/run/other.sock"], [settings.agent_uid, settings.path]
    end
  ensure
    ENV.delete("LAPIDARY_AGENT_UID")
    ENV.delete("LAPIDARY_SOCKET")
  end

  # --- what speaks badly ---------------------------------------------------------------------------------

  def test_a_line_in_pieces_is_one_line
    peer = connect
    line = "#{JSON.generate(type: 'breaker', id: 'b1', seq: 1, epoch: 1, target: TARGET, scope: 'query', state: 'open')}\n"
    line.each_char { |char| peer.raw(char) }
    assert_equal "done", ack(peer, "b1")
    peer.raw(line * 50)
    50.times { assert_equal "done", ack(peer, "b1") }
  end

  BAD = { "no JSON" => "hello\n", "no object" => "[1]\n", "not UTF-8" => "{\"type\":\"\xff\"}\n".b,
          "too deep" => "#{'{"a":' * 40}1#{'}' * 40}\n", "an empty line" => "\n",
          "a line without end" => "x" * 70_000, "a line too long" => "{\"type\":\"ping\",\"t\":\"#{'x' * 66_000}\"}\n",
          "NUL" => "\0\0\0\n", "half a line" => "{\"type\":\"wel" }.freeze

  def test_who_breaks_the_framing_is_left_and_tried_again
    BAD.each do |what, bytes|
      peer = connect
      begin
        peer.raw(bytes)
        peer.close if what == "half a line"
        assert peer.closed?, what unless what == "half a line"
      rescue Errno::EPIPE, Errno::ECONNRESET
        nil
      end
      agent.greet
      eventually("the next connection after #{what}") { Lapidary.connected? }
      assert_unharmed
      Lapidary.stop
    end
  end

  def test_before_the_welcome_too
    peer = nil
    greeting = Thread.new do
      peer = agent.accept
      peer.raw("garbage\n")
    end
    assert_operator seconds { start }, :<, START_LIMIT
    greeting.join
    assert peer.closed?
    assert_unharmed
  end

  def test_an_unknown_type_is_answered_and_an_error_is_not
    peer = connect
    peer.say("sing", song: 1)
    assert_equal "unknown_type", peer.read("error")["code"]
    peer.say("error", code: "x", message: "y")
    peer.say("breaker", id: "b1", seq: 1, epoch: 1, target: TARGET, scope: "query", state: "open")
    assert_equal "done", ack(peer, "b1")
    assert_equal 1, peer.lines.count { |line| line["type"] == "error" }
  end

  def test_an_agent_that_does_not_read_is_left
    peer = connect
    socket = peer.socket
    sent = 0
    order = "{\"type\":\"breaker\",\"id\":\"%d\",\"seq\":1,\"epoch\":1}\n"
    begin
      loop { socket.write(format(order, sent += 1)) }
    rescue Errno::EPIPE, Errno::ECONNRESET
      nil
    end
    agent.greet
    eventually("the next connection") { Lapidary.connected? }
    assert_unharmed
  end

  # Wrong types and values in every field of every message.
  property 10, "no message of a false agent reaches the app as an error" do
    values = [nil, true, -1, 0, 1, 2**64, 1e300, "", "x" * 300, TARGET, "query", "open", "half_open", [], [{}], {}, "\u0000", [nil, 1]]
    fields = %w[epoch lease_ms heartbeat_ms hold_ms preflight breakers id seq target slot scope state reason incident
                trial_id mode deadline_ms level t renews code message]
    restarts = Queue.new
    Lapidary.on_restart { |order| restarts << order }
    peer = connect(page: page)
    Rantly(300) do
      [choose("welcome", "breaker", "restart", "drain", "degrade", "ping", "error", "nonsense", 7, nil),
       array(range(0, 12)) { [choose(*fields), choose(*values)] }]
    end.each do |type, pairs|
      peer.raw("#{JSON.generate(pairs.to_h.merge('type' => type))}\n")
    end
    peer.welcome(epoch: 2**63)
    peer.say("breaker", id: "the end", seq: 1, epoch: 2**63, target: TARGET, scope: "query", state: "open")
    assert_equal "done", ack(peer, "the end")
    assert Lapidary.connected?
    assert_unharmed
  end

  property 10, "any bytes are survived and the next agent is heard" do
    peer = connect
    Rantly(100) { [range(0, 2**32), range(1, 3000)] }.each_slice(10) do |burst|
      burst.each do |seed, size|
        peer.raw(Random.new(seed).bytes(size))
      rescue Errno::EPIPE, Errno::ECONNRESET
        nil
      end
      peer.close
      Lapidary.stop # or the backoff would be waited for
      peer = connect
      assert_unharmed
    end
  end

  # --- the process around it -----------------------------------------------------------------------------

  def ruby(script)
    Open3.capture2e({ "LAPIDARY_SOCKET" => agent.path, "LAPIDARY_AGENT_UID" => Process.uid.to_s },
                    "ruby", "-W", "-I#{LIB}", "-rlapidary", "-e", script)
  end

  def test_an_exit_says_goodbye_within_its_time_and_prints_nothing
    peer = nil
    greeting = Thread.new { peer = agent.greet(page: page) }
    said, status = ruby("Lapidary.start(app: 'x'); Thread.abort_on_exception = true; exit 3")
    greeting.join
    assert_equal ["", 3], [said, status.exitstatus]
    assert peer.closed?
    assert_equal %w[hello state state], peer.lines.map { |line| line["type"] }
    assert_equal "stopped", peer.lines.last["state"]
  end

  def test_an_exit_without_an_agent_does_not_wait
    said, = ruby("Lapidary.start(app: 'x', socket: '/none'); at_exit { p Process.clock_gettime(1) - $t < 0.3 }; " \
                 "$t = Process.clock_gettime(1)")
    assert_equal "true\n", said
  end

  def test_requiring_it_starts_nothing
    said, = ruby("p Thread.list.size, Dir.children('/proc/self/fd').size <= 10")
    assert_equal "1\ntrue\n", said
  end

  def test_without_descriptors_it_is_as_without_an_agent
    said, = ruby("Process.setrlimit(:NOFILE, 3); Lapidary.start(app: 'x'); p Lapidary.connected?, Lapidary.breaker('t').run { 1 }")
    assert_equal "false\n1\n", said
  end

  def test_stop_and_pool_are_allowed_in_a_trap
    greeting = Thread.new { agent.greet }
    said, = ruby("Lapidary.start(app: 'x'); trap('USR1') { Lapidary.connected?; Lapidary.stop; print 'ok' }; " \
                 "Process.kill('USR1', $$); IO.select(nil, nil, nil, 0.01) while Lapidary.connected?")
    greeting.join
    assert_equal "ok", said
  end

  def test_the_backoff_doubles_to_half_a_minute_and_is_never_the_same
    waits = Array.new(200) { Lapidary::Backoff.new.then { |backoff| Array.new(12) { backoff.next } } }
    waits.transpose.each.with_index do |column, index|
      full = [0.1 * 2**index, 30].min
      assert_operator column.min, :>=, full / 2
      assert_operator column.max, :<=, full
      assert_operator column.uniq.size, :>, 150
    end
  end
end

require "tempfile"
Tap.run(ClientTest)

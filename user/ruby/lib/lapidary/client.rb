# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # The thread that speaks with the agent, one a process, and nobody else touches the socket. It connects,
  # says hello, and then listens; when that ends, for whatever reason, it tries again for ever, more and more
  # seldom, and without a word. Nothing that an agent does, or what sits in an agent's place, reaches the app
  # as an error or keeps it waiting.
  class Client
    START_SECONDS = 0.48   # what `start` waits at most; 500 ms are promised
    WELCOME_SECONDS = 5    # what the thread itself grants an agent that is slow
    STOP_SECONDS = 0.1
    LASTING_SECONDS = 2    # a welcome that held that long was worth something: the next try is soon

    # The agent did not say welcome in time, or closed.
    class Gone < StandardError; end

    # trouble: why there is no connection, for a person; nil while there is one.
    attr_reader :hold, :trouble

    def initialize(settings, board, in_flight, restart, handlers)
      @settings = settings
      @board = board
      @in_flight = in_flight
      @restart = restart
      @handlers = handlers
      @wakeup = Wakeup.new
      @hold = Hold.new
      @orders = Orders.new(settings.accepts)
      @pools = Pools.new
      @settled = Latch.new
      @pid = Process.pid
      @stopping = @draining = false
      @serving = settings.serving
      @connection = @epoch = @trouble = nil
      @board.page = nil unless accepts?("breaker")
      @board.trials.report = method(:report_trial)
    end

    # Starts the thread, and waits for its first attempt.
    def start(wait: true)
      limit = Clock.seconds + START_SECONDS
      @thread = Thread.new { live(limit) }
      @thread.name = "lapidary"
      @thread.report_on_exception = false
      @thread.thread_variable_set(:fork_safe, true) # Puma warns of other threads that it finds before a fork
      @settled.wait(limit) if wait
    end

    def connected?
      connection = @connection
      !connection.nil? && !@epoch.nil? && Clock.nanoseconds - @heard < @lease
    end

    # A forked child's own, in place of this one, whose thread stayed behind in the parent. role nil: the same.
    def successor(role, in_flight, restart)
      abandon
      Client.new(@settings.of_child(role), @board, in_flight, restart, @handlers)
    end

    def inherited?
      @pid != Process.pid
    end

    # Says goodbye and ends the thread, or leaves it to the end of the process after STOP_SECONDS.
    def stop
      return abandon if inherited?

      @stopping = true
      @wakeup.post
      @thread&.join(STOP_SECONDS)
    end

    def pool(report)
      @pools.keep(report)
      @wakeup.post
    end

    # It serves from now on, or, asked to end by its server, no more.
    def serving
      @serving = true
      wake
    end

    def draining
      @draining = true
      wake
    end

    # Something that the thread looks at has changed.
    def wake
      @wakeup.post
    end

    private

    # In a forked child the parent's socket is closed without a word on it.
    def abandon
      [@connection, @wakeup].compact.each(&:close)
      nil
    end

    def live(limit)
      backoff = Backoff.new
      until ended?
        began = Clock.seconds
        try_once(limit || began + START_SECONDS)
        limit = nil
        begin_restart if @restart.due?
        backoff.reset if Clock.seconds - began > LASTING_SECONDS
        @wakeup.wait(backoff.next) unless ended?
        @wakeup.take
      end
    ensure
      @settled.now
      @wakeup.close unless inherited?
    end

    # The thread of a handler that forked comes back here in the child too, where it has no business.
    def ended?
      @stopping || inherited?
    end

    # Whatever goes wrong with an agent ends here, quietly: it is no matter of the app's.
    def try_once(limit)
      @error = nil
      @connection = Connection.open(@settings.path, @settings.agent_uid, limit)
      converse
    rescue StandardError, NotImplementedError => e # the latter: a system without these sockets
      @trouble = @error || e.message
    ensure
      leave unless inherited?
    end

    def leave
      @connection&.close
      @connection = @epoch = nil
      @board.forget
      @hold.lost
      @settled.now
    end

    def converse
      silent_from = Clock.seconds + WELCOME_SECONDS
      @connection.say("hello", @settings.hello.merge(state: @told = state))
      loop do
        step
        return goodbye if ended?
        raise Gone, "no welcome came" if @epoch.nil? && Clock.seconds > silent_from

        wait_for_more
        raise Gone, "the agent closed" unless @connection.receive { |message| understand(message) }
      end
    end

    # What this side has to say and do now.
    def step
      @wakeup.take.each { |type, fields| @connection.say(type, fields) }
      @pools.due(Clock.seconds).each { |report| @connection.say("pool", report) } if @epoch
      begin_restart if @restart.due?
      say_state(state) if @epoch && @told != state
      @connection.flush
    rescue Errno::EPIPE # it closed, and may have said why
      @connection.receive { |message| understand(message) }
      raise
    end

    def wait_for_more
      socket = @connection.socket
      limit = @epoch ? [@pools.wait(Clock.seconds), held].compact.min : WELCOME_SECONDS
      IO.select([socket, @wakeup.io], @connection.unsent? ? [socket] : nil, nil, limit)
    end

    # Seconds that this boot still waits; nil: it is not held.
    def held
      left = @hold.left(Clock.nanoseconds)
      left / 1e9 if left.positive?
    end

    def state
      return "draining" if @draining

      @serving && !held ? "serving" : "booting"
    end

    def goodbye
      return if inherited?

      say_state("stopped")
      @connection.flush_within(STOP_SECONDS / 2)
    end

    def understand(message)
      @hold.heard(@heard = Clock.nanoseconds)
      case message.type
      when "welcome" then welcome(message)
      when "breaker" then obey(message, "breaker", message.number("seq")) { breaker(message) }
      when "restart" then obey(message, "restart") { restart_ordered(message) }
      when "drain" then obey(message, "drain") { handler(:drain, message) }
      when "degrade" then obey(message, "degrade") { handler(:degrade, message) }
      when "ping" then nil # that it came is what it says
      when "error" then @error = "#{message.text('code')}: #{message.text('message')}"
      else @connection.say("error", code: "unknown_type", message: "no such type")
      end
    end

    def welcome(message)
      @lease = [message.number("lease_ms").to_i, 1].max * 1_000_000
      epoch = message.number("epoch") || 0
      first = @epoch.nil?
      @board.forget unless epoch == @epoch
      @epoch = epoch
      take_page
      message.list("breakers", Board::NOTES_MAX).each { |breaker| @board.tell(breaker, @heard) }
      @hold.welcome(@heard, accepts?("hold") ? message.number("hold_ms").to_i : 0, @lease / 1_000_000)
      say_state(state) if first
      @trouble = nil
      @settled.now
    end

    def accepts?(word)
      @settings.accepts.include?(word)
    end

    # An app that accepts no breakers reads no page either.
    def take_page
      descriptor = @connection.take_descriptor or return
      return descriptor.close unless accepts?("breaker")

      @board.page = Page.open(descriptor)
    rescue Page::Unsound
      @board.page = nil
    end

    # Acknowledges an order that was carried out or refused, now or before.
    def obey(message, word, *more, &deed)
      id = message.text("id", 39)
      return if id.empty?

      answer = @orders.carry_out([id, word, *more], word, &deed)
      @connection.say("ack", id: id, result: answer.result, detail: answer.detail)
    end

    def breaker(message)
      epoch = message.number("epoch")
      return "an older epoch" if epoch && @epoch && epoch < @epoch

      @board.tell(message, @heard)
      nil
    end

    def restart_ordered(message)
      @restart.ordered(Restart::Order.new(message.text("id", 39), message.text("mode"),
                                          message.number("deadline_ms"), message.text("reason"),
                                          message.text("incident")))
      nil
    end

    # First the agent hears that it begins, then it begins: afterwards there may be nobody to say it.
    def begin_restart
      @draining = true
      if @connection
        say_state("draining")
        @connection.flush_within(STOP_SECONDS)
      end
      @restart.begin(@settings.server)
    end

    def handler(name, message)
      handler = @handlers[name] or return "no handler"
      handler.call(message)
      nil
    end

    def say_state(state)
      @told = state
      @connection.say("state", { state: state, in_flight: @in_flight.count }.compact)
    end

    def report_trial(outcome)
      @wakeup.post("outcome", outcome)
    end
  end
end

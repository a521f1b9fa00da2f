# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require "rack"
require_relative "support/lapidary"

# Requests while a breaker is open: a short 503 that says when to come back.
class MiddlewareTest < LapidaryTest
  OTHER = "postgres://other:5432/db"

  def setup
    super
    @page = Scripted::Page.new
    @calls = 0
    @peer = connect(page: @page)
  end

  def teardown
    super
    @page.close
  end

  def get(path = "/", **options, &app)
    app ||= ->(_env) { [200, { "Content-Type" => "text/plain" }, ["fine"]] }
    counted = lambda do |env|
      @calls += 1
      app.call(env)
    end
    middleware = Lapidary::Middleware.new(counted, **{ targets: [TARGET] }.merge(options))
    Rack::MockRequest.new(Rack::Lint.new(middleware)).get(path)
  end

  def test_closed_nothing_changes
    answer = get
    assert_equal [200, "fine", 1], [answer.status, answer.body, @calls]
    assert_raises(KeyError) { get { {}.fetch(:none) } }
  end

  def test_open_it_answers_503_with_the_time_and_does_not_ask_the_app
    @page.set(TARGET, :query, 1, 4_200)
    answer = get
    assert_equal [503, "5", 0], [answer.status, answer["retry-after"], @calls]
    assert_equal "no-store", answer["cache-control"]
    assert_includes answer.body, "5 s"
    refute_match(/postgres|example/, answer.body + answer.headers.to_s)
  end

  def test_a_target_may_be_a_hash
    @page.set(TARGET, :query, 1)
    assert_equal 503, get(targets: [{ host: "db.example.com", port: 5432, dbname: "shop" }]).status
    assert_equal 200, get(targets: [OTHER]).status
    assert_equal 503, get(targets: [OTHER, TARGET]).status
    assert_equal 200, get(targets: []).status
  end

  def test_only_the_kinds_that_are_asked_for
    @page.set(TARGET, :connect, 1)
    assert_equal 200, get.status
    assert_equal 503, get(kind: :connect).status
    assert_equal 503, get(kind: %i[query connect]).status
  end

  def test_some_paths_need_no_database
    @page.set(TARGET, :query, 1)
    assert_equal 200, get("/up", except: ["/up"]).status
    assert_equal 503, get("/upper", except: ["/up"]).status
  end

  def test_a_breaker_that_the_app_meets_gives_the_same
    @page.set(OTHER, :connect, 1, 1_500)
    answer = get { Lapidary.breaker(OTHER).run(:connect) { flunk } }
    assert_equal [503, "2", 1], [answer.status, answer["retry-after"], @calls]
  end

  def test_half_open_it_lets_in_who_has_the_trial
    @page.set(TARGET, :query, 2)
    assert_equal 503, get.status
    @peer.say("breaker", id: "b", seq: 1, epoch: 1, target: TARGET, scope: "query", state: "half_open",
                         lease_ms: 60_000, trial_id: "t")
    @peer.read("ack")
    answer = get { [200, {}, [Lapidary.breaker(TARGET).run { "tried" }]] }
    assert_equal [200, "tried"], [answer.status, answer.body]
    assert_equal true, @peer.read("outcome")["ok"]
    assert_equal 503, get.status
  end

  def test_requests_are_counted_while_they_run
    seen = nil
    get { seen = Lapidary.in_flight.count; [200, {}, []] }
    assert_equal 1, seen
    assert_raises(KeyError) { get { raise KeyError } }
    @page.set(TARGET, :query, 1)
    get
    assert_equal 0, Lapidary.in_flight.count
  end

  def test_without_an_agent_nothing_changes
    @page.set(TARGET, :query, 1)
    Lapidary.stop
    assert_equal 200, get.status
  end

  property 9, "what is open answers 503 and what is closed is let through, whatever the page says" do
    Rantly(100) { [range(0, 3), range(-5_000, 5_000), range(0, 3), range(-5_000, 5_000)] }
      .each do |first, first_ms, second, second_ms|
      @page.set(TARGET, :query, first, first_ms)
      @page.set(OTHER, :query, second, second_ms)
      @calls = 0
      shut = (first.positive? && first_ms > 100) || (second.positive? && second_ms > 100)
      next if [first_ms, second_ms].any? { |ms| ms.between?(-1, 100) } # may end while we look

      answer = get(targets: [TARGET, OTHER])
      assert_equal shut ? [503, 0] : [200, 1], [answer.status, @calls]
      assert_operator answer["retry-after"].to_i, :>=, 1 if shut
    end
  end
end

Tap.run(MiddlewareTest)

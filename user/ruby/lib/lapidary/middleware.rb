# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # For Rack: while a breaker that requests need is open, they are answered with 503 at once, instead of each
  # of them waiting for the database to fail it; and the same for a BreakerOpen that the app lets through.
  #
  #   use Lapidary::Middleware, targets: ["postgres://db:5432/shop"], except: ["/up"]
  #
  # A half-open breaker lets requests in while this process holds its trial, for a `run` in the app to make.
  class Middleware
    # targets: as for Lapidary.breaker. kind: :query, :connect or both. except: paths that need no database.
    def initialize(app, targets: [], kind: :query, except: [])
      @app = app
      @breakers = targets.map { |target| Lapidary.breaker(target) }
      @kinds = Array(kind)
      @except = except
    end

    def call(env)
      Lapidary.in_flight.during do
        refusal = refusal_of(env)
        refusal ? unavailable(refusal) : @app.call(env)
      end
    rescue BreakerOpen => e
      unavailable(e)
    end

    private

    def refusal_of(env)
      @breakers.each do |breaker|
        @kinds.each do |kind|
          return breaker.refusal(kind) if breaker.refuses?(kind) && !@except.include?(env["PATH_INFO"])
        end
      end
      nil
    end

    # Says nothing of the database: that is for the log, not for who asked.
    def unavailable(refusal)
      body = "Service unavailable. Please try again in #{refusal.retry_after} s.\n"
      [503, { "content-type" => "text/plain; charset=utf-8", "content-length" => body.bytesize.to_s,
              "retry-after" => refusal.retry_after.to_s, "cache-control" => "no-store" }, [body]]
    end
  end
end

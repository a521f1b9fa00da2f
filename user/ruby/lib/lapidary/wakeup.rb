# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # What other threads have to say to the lapidary thread, and the pipe that wakes it from its select. Posting
  # takes no lock and never waits, so it is also allowed in a trap handler.
  class Wakeup
    POSTS_MAX = 10_000 # what is posted beyond is dropped: nobody reads it

    def initialize
      @posts = Queue.new
      @reader, @writer = IO.pipe
    end

    def post(*words)
      @posts << words unless words.empty? || @posts.size >= POSTS_MAX
      @writer.write_nonblock(".", exception: false)
    rescue IOError, SystemCallError # it has ended
      nil
    end

    # The pipe's end to select on.
    def io
      @reader
    end

    # All that was posted since.
    def take
      @reader.read_nonblock(4096, exception: false)
      Array.new(@posts.size) { @posts.pop }
    end

    # Up to `seconds`, or until something was posted; nothing is taken.
    def wait(seconds)
      IO.select([@reader], nil, nil, seconds)
    end

    def close
      @reader.close
      @writer.close
    end
  end
end

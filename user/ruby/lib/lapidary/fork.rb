# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # Tells the library in a forked child that it is one. From Ruby 3.1 every fork passes Process._fork; before,
  # Kernel#fork is wrapped. Process.daemon passes neither. What gets by all of them is noticed by the pid when
  # the library is next used.
  module Fork
    module Hook
      def _fork
        pid = super
        Lapidary.forked if pid.zero?
        pid
      end
    end

    module Wrap
      def fork(&work)
        return super { Fork.in_child(&work) } if work

        pid = super
        Lapidary.forked if pid.nil?
        pid
      end
    end

    module Daemon
      def daemon(*arguments)
        result = super
        Lapidary.daemonised
        result
      end
    end

    def self.in_child
      Lapidary.forked
      yield
    end

    @installed = false

    def self.install
      return if @installed

      @installed = true
      if Process.respond_to?(:_fork)
        Process.singleton_class.prepend(Hook)
      else
        Object.prepend(Module.new { include Wrap; private :fork })
        [Kernel, Process].each { |owner| owner.singleton_class.prepend(Wrap) }
      end
      Process.singleton_class.prepend(Daemon)
    end
  end
end

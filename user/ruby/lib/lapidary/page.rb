# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

module Lapidary
  # The state page, which the agent writes and its apps read (user/act/page.h has the layout): for each target
  # one word for connects and one for queries. A word says by itself whether it counts, because it holds the
  # end of its lease: nobody has to be alive for an open breaker to end.
  #
  # A Ruby thread that a socket wakes waits for the GVL, 200 ms and more behind a busy one; a word that the
  # busy thread itself reads is there at once. Hence a page, and not a message.
  class Page
    MAGIC = "LPG1"
    HEADER_SIZE = 64
    SLOT_SIZE = 256
    SLOTS_MAX = 4096
    IN_USE_AT = 24 # in the header
    NAME_AT = 32 # in a slot
    NAME_SIZE = 192
    WORD_AT = { connect: 0, query: 8 }.freeze # in a slot

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2
    STATE_BITS = 3
    LEASE_BITS = ~STATE_BITS

    # What does not have this layout is no page.
    class Unsound < StandardError; end

    # Where a target lies in a page; never another target's while the page lives.
    Slot = Struct.new(:page, :at)

    class << self
      def shut?(word, now)
        word & STATE_BITS != CLOSED && word & LEASE_BITS > now
      end

      # `io` is the page's from here on, whatever happens.
      def open(io)
        slots = slots_of(io)
        page = Mapped.open(io, slots) || Read.new(io, slots)
      rescue SystemCallError, IOError
        raise Unsound, "a page that cannot be read"
      ensure
        io.close unless page.is_a?(Read)
      end

      private

      def slots_of(io)
        magic, header, slots, slot = io.pread(HEADER_SIZE, 0).unpack("a4 L< x8 L< L<")
        sound = magic == MAGIC && header == HEADER_SIZE && slot == SLOT_SIZE && slots.between?(1, SLOTS_MAX)
        raise Unsound, "not a state page" unless sound && io.stat.size >= HEADER_SIZE + slots * SLOT_SIZE

        slots
      end
    end

    def initialize(slots)
      @slots = slots
      @names = {}
      @scanned = 0
    end

    # nil: the agent has no slot for that target, so its breakers are closed. Names are looked at again only
    # when there are more of them; the count is written after the name.
    def slot(target)
      in_use = number(IN_USE_AT)
      scan(in_use) if in_use > @scanned
      @names[target]
    end

    private

    def scan(in_use)
      found = (0...[in_use, @slots].min).map do |index|
        at = HEADER_SIZE + index * SLOT_SIZE
        [bytes(at + NAME_AT, NAME_SIZE).unpack1("Z*").force_encoding(Encoding::UTF_8), Slot.new(self, at).freeze]
      end
      @names = found.reverse.to_h # should a name be there twice, the first is meant, as by the agent
      @scanned = in_use
    end
  end

  # A page read where it lies in memory: Ruby 3.1 and later.
  class Page::Mapped < Page
    F_GET_SEALS = 1034
    F_SEAL_SHRINK = 2

    # nil: this page is better read. Only what is sealed against shrinking is mapped, because to read a
    # mapping of a file that became shorter ends the process by SIGBUS; and some kernels map nothing that is
    # sealed against writing.
    def self.open(io, slots)
      return unless defined?(IO::Buffer) && io.fcntl(F_GET_SEALS) & F_SEAL_SHRINK != 0

      size = HEADER_SIZE + slots * SLOT_SIZE
      new(quietly { IO::Buffer.map(io, size, 0, IO::Buffer::READONLY) }, slots)
    rescue SystemCallError
      nil
    end

    # IO::Buffer says once in a process that it is experimental; an app's log is not the place for that.
    def self.quietly
      said = Warning[:experimental]
      Warning[:experimental] = false
      yield
    ensure
      Warning[:experimental] = said
    end
    private_class_method :quietly

    def initialize(memory, slots)
      super(slots)
      @memory = memory
    end

    def word(at)
      @memory.get_value(:u64, at)
    end

    private

    def number(at)
      @memory.get_value(:u32, at)
    end

    def bytes(at, size)
      @memory.get_string(at, size)
    end
  end

  # A page read with pread. One that cannot be read any more (an app may close descriptors that are not its
  # own) reads as zeroes: closed.
  class Page::Read < Page
    def initialize(io, slots)
      super(slots)
      @io = io
    end

    def word(at)
      bytes(at, 8).unpack1("Q<")
    end

    private

    def number(at)
      bytes(at, 4).unpack1("L<")
    end

    def bytes(at, size)
      @io.pread(size, at)
    rescue SystemCallError, IOError
      "\0" * size
    end
  end
end

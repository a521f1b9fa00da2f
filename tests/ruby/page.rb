# SPDX-License-Identifier: Apache-2.0
# frozen_string_literal: true

require_relative "support/lapidary"

# The state page: what a word means, where it is found, and what is no page.
class PageTest < LapidaryTest
  def setup
    super
    @pages = []
  end

  def teardown
    @pages.each(&:close)
    super
  end

  def page(**how)
    Scripted::Page.new(**how).tap { |page| @pages << page }
  end

  # The two ways to read the same page.
  def readers(page)
    [page.read_only, page.read_only].zip([Lapidary::Page, Unmapped]).map { |io, way| way.open(io) }
  end

  # As on a Ruby without IO::Buffer.
  module Unmapped
    def self.open(io)
      Lapidary::Page::Mapped.stub(:open, nil) { Lapidary::Page.open(io) }
    end
  end

  def breaker_on(reader, target = TARGET)
    board = Lapidary::Board.new
    board.page = reader
    Lapidary::Breaker.new(target, board)
  end

  def test_a_sealed_page_is_mapped_and_any_other_is_read
    assert_kind_of Lapidary::Page::Mapped, Lapidary::Page.open(page.read_only) if defined?(IO::Buffer)
    assert_kind_of Lapidary::Page::Read, Lapidary::Page.open(page(sealed: false).read_only)
  end

  def test_mapping_a_page_says_nothing
    lib = File.expand_path("../../user/ruby/lib", __dir__)
    mapped = page.read_only
    script = "p Lapidary::Page.open(IO.for_fd(#{mapped.fileno})).class"
    said = IO.popen(["ruby", "-W", "-I#{lib}", "-rlapidary", "-e", script, { err: %i[child out], mapped => mapped }], &:read)
    assert_match(/\ALapidary::Page::(Mapped|Read)\n\z/, said)
  ensure
    mapped&.close
  end

  # page.h: "Shut while the state is not BREAKER_CLOSED and the end is in the future."
  property 9, "open is exactly what the page says" do
    written = page
    both = readers(written).map { |reader| breaker_on(reader) }
    Rantly(200) do
      base = range(0, 2**60)
      [%i[connect query].sample, range(0, 3), base & ~3, choose(0, 1, 2, 3, 4, 5, range(0, 2**61))]
    end.each do |kind, state, ends, offset|
      other = kind == :query ? :connect : :query
      written.set_word(TARGET, kind, ends | state)
      written.set_word(TARGET, other, 0)
      [ends - offset, ends + offset].each do |now|
        shut = state != 0 && ends > now
        both.each do |breaker|
          Process.stub(:clock_gettime, now) do
            assert_equal shut, breaker.open?(kind), "#{kind} state #{state} ends #{ends} now #{now}"
            refute breaker.open?(other)
          end
        end
      end
    end
  end

  property 9, "a target has its own slot whenever it came" do
    Rantly(100) { array(range(1, 64)) { sized(range(1, 60)) { string(:graph) } }.uniq }.each do |targets|
      written = page
      open = targets.select { [true, false].sample }
      reader = readers(written).sample
      breakers = targets.map { |target| breaker_on(reader, target) }
      breakers.each { |breaker| refute breaker.open? }
      targets.shuffle.each { |target| written.set(target, :query, open.include?(target) ? 1 : 0) }
      assert_equal open.sort, breakers.select(&:open?).map(&:target).sort
      refute breaker_on(reader, "postgres://never/seen").open?
      @pages.delete(written).close
    end
  end

  def test_a_target_the_agent_does_not_know_is_closed
    readers(page).each { |reader| refute breaker_on(reader).open? }
  end

  def test_what_is_no_page_is_refused
    { magic: "LPG2", header: 128, slots: 0, slot_size: 128, size: 64 }.each do |field, value|
      [true, false].each do |sealed|
        wrong = page(field => value, :sealed => sealed)
        assert_raises(Lapidary::Page::Unsound, field.to_s) { Lapidary::Page.open(wrong.read_only) }
      end
    end
    [0, 63, 64, 64 + 64 * 256 - 1].each do |size|
      assert_raises(Lapidary::Page::Unsound) { Lapidary::Page.open(page(size: size).read_only) }
    end
    assert_raises(Lapidary::Page::Unsound) { Lapidary::Page.open(page(slots: 2**32 - 1).read_only) }
  end

  def test_what_is_no_file_is_refused
    reader, writer = IO.pipe
    assert_raises(Lapidary::Page::Unsound) { Lapidary::Page.open(reader) }
    assert reader.closed?
  ensure
    writer.close
  end

  property 9, "garbage is never a page nor an error" do
    Rantly(200) { [range(0, 70_000), range(0, 2**32)] }.each do |size, seed|
      file = Tempfile.create("lapidary")
      file.binmode
      file.write(Random.new(seed).bytes(size))
      file.flush
      assert_raises(Lapidary::Page::Unsound) { Lapidary::Page.open(File.open(file.path, "rb")) }
    ensure
      file.close
      File.unlink(file.path)
    end
  end

  # Beyond its header a page may hold anything: still no error, and nothing read outside of it.
  property 9, "any content is only open or closed" do
    Rantly(100) { [range(0, 2**32), range(0, 2**32 - 1)] }.each do |seed, in_use|
      written = page(sealed: false)
      written.io.pwrite(Random.new(seed).bytes(64 * 256), 64)
      written.io.pwrite([in_use].pack("L<"), 24)
      reader = Lapidary::Page.open(written.read_only)
      assert_includes [true, false], breaker_on(reader).open?
      @pages.delete(written).close
    end
  end

  def test_a_page_that_shrinks_or_is_closed_reads_as_closed
    written = page(sealed: false)
    written.set(TARGET, :query, 1)
    reader = Lapidary::Page.open(written.read_only)
    breaker = breaker_on(reader)
    assert breaker.open?
    written.io.truncate(0)
    refute breaker.open?
  end

  def test_a_new_page_is_never_read_at_the_old_ones_place
    first = page
    second = page
    first.slot("postgres://other")
    first.set(TARGET, :query, 1)
    second.set(TARGET, :query, 0)
    second.set("postgres://other", :query, 1)
    board = Lapidary::Board.new
    breaker = Lapidary::Breaker.new(TARGET, board)
    board.page = Lapidary::Page.open(first.read_only)
    assert breaker.open?
    board.page = Lapidary::Page.open(second.read_only)
    refute breaker.open?
    board.page = nil
    refute breaker.open?
  end

  def test_the_kind_is_one_of_two
    assert_raises(ArgumentError) { breaker_on(nil).open?(:both) }
  end

  # Beside what IO::Buffer itself may need for a number, which is nothing up to 2**62.
  def test_asking_allocates_nothing
    skip "no IO::Buffer in this Ruby" unless defined?(IO::Buffer)
    written = page
    written.set(TARGET, :query, 1)
    breaker = breaker_on(Lapidary::Page.open(written.read_only))
    breaker.open?
    before = GC.stat(:total_allocated_objects)
    1000.times { breaker.open?(:query) }
    assert_operator GC.stat(:total_allocated_objects) - before, :<, 10
  end
end

require "tempfile"
Tap.run(PageTest)

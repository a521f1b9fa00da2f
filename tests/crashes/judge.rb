# SPDX-License-Identifier: Apache-2.0
#
# ruby judge.rb WORK CRASHES.json GENERATOR…: holds every report against what its process told before it died (zygote.rb), never
# against what the report says of itself. GENERATOR is a folder name below WORK. Where the kernel left a core file, the program
# counters are gdb's too. Prints a line of JSON for each crash, of which sum.rb makes the tables.
require "fileutils"
require "json"
require "open3"
require "tmpdir"

HERE = __dir__
SEGMENT = Struct.new(:from, :to, :protection, :offset, :path)

# What is to be said of each kind: signal, code and cause. A stripped libc may hide that abort was an assertion's: then abort is right.
KINDS = {
	"null_read" => ["SIGSEGV", "SEGV_MAPERR", "null"], "null_write" => ["SIGSEGV", "SEGV_MAPERR", "null"],
	"unmapped" => ["SIGSEGV", "SEGV_MAPERR", "unmapped"], "non_canonical" => ["SIGSEGV", "SI_KERNEL", "non_canonical"],
	"jump_null" => ["SIGSEGV", "SEGV_MAPERR", "bad_jump"], "jump_data" => ["SIGSEGV", "SEGV_ACCERR", "bad_jump"],
	"write_read_only" => ["SIGSEGV", "SEGV_ACCERR", "write_read_only"], "overflow" => ["SIGSEGV", nil, "stack_overflow"],
	"abort" => ["SIGABRT", "SI_TKILL", "abort"], "double_free" => ["SIGABRT", "SI_TKILL", "heap_corruption"],
	"heap_corruption" => ["SIGABRT", "SI_TKILL", "heap_corruption"], "assert" => ["SIGABRT", "SI_TKILL", /^(assertion|abort)$/],
	"rb_bug" => ["SIGABRT", "SI_TKILL", "vm_error"], "divide" => ["SIGFPE", "FPE_INTDIV", "arithmetic"],
	"illegal" => ["SIGILL", "ILL_ILLOPN", "illegal_instruction"], "bus" => ["SIGBUS", "BUS_ADRERR", "bus"],
	"injected" => ["SIGSEGV", "SI_TKILL", "injected"], "memory" => ["SIGKILL", nil, "oom"]
}.freeze

# What one process told.
class Truth
	attr_reader :folder, :number, :kind, :handler, :context, :hole, :at, :pcs, :chain, :ruby, :maps, :pid, :time, :thread, :death

	def initialize(folder)
		@folder = folder
		@number, @kind, @handler, @context, *words = read("order").split
		@core_wanted = words.include?("core")
		@hole = words.grep(/^hole=/).first.to_s[/\d+/].to_i
		@pid = read("process").split.first.to_i
		@death = read("death").to_s.strip
		@pcs = []
		@chain = []
		read_c
		@ruby = read("ruby").to_s.lines.map { |line| line.chomp.split("\t") }.map { |label, path, line| [label, path, line.to_i] }
		@maps = read("maps").to_s.lines.filter_map { |line| segment(line) }
	end

	def read(name)
		File.read(File.join(@folder, name)).scrub
	rescue Errno::ENOENT
		nil
	end

	def read_c
		read("c").to_s.each_line do |line|
			word, name, address, file = line.split
			case word
			when "at" then @at = address.hex
			when "chain" then @chain << [name, address.hex, file]
			when "pc" then @pcs << [address.hex, name, file]
			when "thread" then @thread = name[/\d+\z/].to_i
			when "time" then @time = name.to_i
			end
		end
	end

	def segment(line)
		range, protection, offset, _, _, path = line.split(" ", 6)
		from, to = range.split("-").map(&:hex)
		path = path.to_s.strip.delete_suffix(" (deleted)")
		SEGMENT.new(from, to, protection, offset.hex, path) if path.start_with?("/")
	end

	def file_at(address)
		@maps.find { |one| one.from <= address && address < one.to }
	end

	def core_wanted?
		@core_wanted
	end

	def core
		path = File.join(@folder, "core")
		path if File.size?(path)
	end

	def gdb
		@gdb ||= (read("core.pcs") || "").lines.map(&:hex).tap { |all| all.pop while all.last == 0 && all.size > 1 }
	end

	# Ruby may take a fault near a stack for that stack's overflow and raise: then nothing died.
	def dies?
		@kind != "rescued" && !read("failed").to_s.match?(/SystemStackError|machine stack overflow/)
	end

	# Runs no Ruby, so there is no frame of it.
	def foreign?
		@context == "foreign"
	end
end

# All mapped files under their last names and the names that the loader has them by, for gdb.
class Libraries
	def initialize(root, kept)
		@folder = Dir.mktmpdir("libraries")
		@root = root
		@kept = kept
		@seen = {}
	end

	attr_reader :folder

	def add(truth)
		truth.maps.map(&:path).uniq.each do |path|
			next if @seen[path]
			@seen[path] = true
			link(path)
		end
	end

	def program
		"/usr/bin/ruby".then { |path| File.realpath(File.join(@root, path)) }
	end

	def link(path)
		own = File.join(@kept, File.basename(path))
		file = File.exist?(own) ? own : File.join(@root, path)
		return unless File.file?(file)
		name = `readelf -d #{file} 2>/dev/null`[/SONAME.*\[(.*)\]/, 1]
		[File.basename(path), name].compact.uniq.each { |one| File.symlink(file, File.join(@folder, one)) }
	end
end

# One crash: what is wrong, by part.
class Judgement
	PARTS = %i[found registers stack ruby maps cause blame].freeze
	attr_reader :truth, :wrong, :row, :report

	def initialize(truth, rows, sizes)
		@truth = truth
		@sizes = sizes
		@rows = rows
		@row = rows.first
		@report = @row && read_report
		@wrong = Hash.new { |all, part| all[part] = [] }
		judge
	end

	def read_report
		JSON.parse(File.read(File.join(@row["bundle"], "report.json")))
	rescue SystemCallError, JSON::ParserError
		nil
	end

	def check(part, holds, text)
		@wrong[part] << text unless holds
		holds
	end

	def judge
		return check(:found, @rows.empty?, "a crash was recorded that was none") unless @truth.dies?
		return unless check(:found, @rows.size == 1, @rows.empty? ? "lost" : "#{@rows.size} reports")
		return unless check(:found, @report, "no readable report.json")
		judge_cause
		return if @truth.kind == "memory"
		judge_registers
		judge_stack
		judge_ruby
		judge_maps
	end

	def frames
		@report["native_frames"]
	end

	def pcs
		@pcs ||= frames.map { |frame| frame["address"].hex }
	end

	def rip
		@report.dig("registers", "rip")&.hex
	end

	# --- registers

	def judge_registers
		return unless check(:registers, rip, "none")
		expected = expected_rip
		check(:registers, expected === rip, "rip #{rip.to_s(16)}, but it failed at #{expected.is_a?(Integer) ? expected.to_s(16) : expected}")
		check(:registers, @report.dig("fault", "thread") == @truth.thread, "another thread")
	end

	def expected_rip
		case @truth.kind
		when "jump_null" then 0
		when "jump_data" then @report["fault_address"].to_s.hex
		when "overflow" then inside("die_recursion")
		when "abort", "double_free", "heap_corruption", "assert", "rb_bug", "injected" then in_file(/libc[.-]/)
		else @truth.at
		end
	end

	def in_file(pattern)
		->(pc) { @truth.file_at(pc)&.path.to_s.match?(pattern) }
	end

	# A proc: is this address in the function of the gem, as nm has it?
	def inside(function)
		lambda do |pc|
			file = @truth.file_at(pc) or next false
			from, size = @sizes.dig(File.basename(file.path), function)
			base = @truth.maps.find { |one| one.path == file.path }
			from && (from..from + size).cover?(pc - base.from + base.offset)
		end
	end

	# --- C frames

	def judge_stack
		return unless check(:stack, !pcs.empty?, "no frame")
		judge_gdb if @truth.core_wanted?
		return judge_recursion if @truth.kind == "overflow"
		tail = @truth.pcs.drop(1).map(&:first)
		return unless check(:stack, pcs.last(tail.size) == tail, "not the stack that the process had: #{difference(tail)}")
		check(:stack, inside(@truth.chain.first.first).call(pcs[-tail.size - 1].to_i), "the frame of #{@truth.chain.first.first} is not there")
		judge_names
	end

	def difference(tail)
		from = pcs.index(tail.first) or return "#{frames.size} frames, #{@report.dig("unwind", "end")}: #{@report.dig("unwind", "why")}"
		mine = pcs.drop(from)
		at = tail.each_index.find { |i| tail[i] != mine[i] }
		at ? "#{at} of #{tail.size} equal, then #{hex(mine[at])} for #{hex(tail[at])}" : "#{mine.size - tail.size} too many"
	end

	def hex(value)
		value ? value.to_s(16) : "the end"
	end

	# gdb saw the process at its end: after a handler those frames are above, so the report's are its last ones.
	def judge_gdb
		gdb = @truth.gdb
		return unless check(:stack, !gdb.empty?, "the kernel left no core file that gdb reads")
		if @truth.kind == "overflow"
			from = gdb.index(rip)
			check(:stack, from && gdb[from, pcs.size] == pcs, "not gdb's frames")
		else
			check(:stack, gdb.last(pcs.size) == pcs, "not gdb's frames: #{pcs.size} for #{gdb.size}")
		end
	end

	# Endless: as far as the captured stack goes, all of them are the one function, and it is said where it ended.
	def judge_recursion
		bytes = @report.dig("memory", "stack", "size").to_i
		check(:stack, pcs.all?(&inside("die_recursion")), "frames of something else than the recursion")
		check(:stack, pcs.size >= [bytes / 2200, 200].min, "#{pcs.size} frames in #{bytes} bytes")
		check(:stack, @report.dig("unwind", "end") != "outermost", "it says that this is all")
	end

	def judge_names
		names = frames.map { |frame| frame["symbol"] }
		@truth.chain.map(&:first).each do |name|
			at = names.index(name)
			return check(:stack, false, "#{name} is not named where it was called") unless at
			names = names.drop(at + 1)
		end
	end

	# --- Ruby frames

	def judge_ruby
		mine = @report["ruby_frames"].reject { |frame| frame["kind"] == "other" }
		return check(:ruby, mine.empty?, "frames of a thread that runs no Ruby") if @truth.foreign?
		mine = mine.map { |frame| [frame["method"], frame["path"], frame["line"].to_i] }
		same_frames(mine, @truth.ruby, "the process's own")
		own = report_of_ruby
		same_frames(mine, own, "Ruby's own report") unless own.empty?
	end

	def same_frames(mine, theirs, whose)
		theirs = theirs.first(mine.size) if mine.size >= 60 # no more are kept
		at = theirs.each_index.find { |i| !same_frame(mine[i], theirs[i]) }
		return check(:ruby, mine.size == theirs.size, "#{mine.size} frames for #{theirs.size} of #{whose}") unless at
		check(:ruby, false, mine.empty? ? "none: #{@report.dig("parts", "ruby_frames", "why")}" : "#{mine[at].inspect} for #{theirs[at].inspect} of #{whose}")
	end

	def same_frame(mine, theirs)
		mine && mine[0] == theirs[0] && mine[2] == theirs[2] && !mine[1].to_s.empty? && theirs[1].end_with?(mine[1])
	end

	def report_of_ruby
		text = @truth.read("stderr").to_s[/^-- Ruby level backtrace information -+\n(.*?)\n\n/m, 1].to_s
		text.lines.reverse.filter_map { |line| [$3, $1, $2.to_i] if line =~ /^(.+?):(\d+):in [`'](.*)'$/ }
	end

	# --- maps: every executable mapping of a file, and each frame's place in it

	def judge_maps
		text = File.readlines(File.join(@row["bundle"], "maps.txt")).filter_map { |line| @truth.segment(line.sub(/ build-id:\h+$/, "")) }
		theirs = text.map { |one| [one.from, one.to, one.offset, one.path.sub(/ build-id:\h+$/, "")] }
		@truth.maps.select { |one| one.protection[2] == "x" }.each do |one|
			check(:maps, theirs.include?([one.from, one.to, one.offset, one.path]), "#{File.basename(one.path)} is not where it was")
		end
		frames.each do |frame|
			one = @truth.file_at(frame["address"].hex)
			next unless one && one.protection[2] == "x"
			offset = frame["address"].hex - one.from + one.offset
			check(:maps, frame["module"] == one.path && frame["offset"].to_s.hex == offset, "a frame in #{frame["module"]} for #{File.basename(one.path)}")
		end
	rescue Errno::ENOENT
		check(:maps, false, "none")
	end

	# --- cause and blame

	def judge_cause
		signal, code, cause = KINDS.fetch(@truth.kind)
		check(:cause, @row["signal"] == signal, "#{@row["signal"]} for #{signal}")
		check(:cause, code.nil? || @row["code"] == code, "#{@row["code"]} for #{code}")
		check(:cause, cause === @row["cause"], "#{@row["cause"]} for #{cause}")
		sender = @truth.read("sender")
		check(:cause, @report.dig("fault", "sender", "pid") == sender.to_i, "another sender") if sender
		judge_blame
	end

	def judge_blame
		blame = @report["blame"]
		if %w[injected memory].include?(@truth.kind)
			return check(:blame, blame["gem"].nil?, "#{blame["gem"]} for what came from outside")
		end
		check(:blame, [blame["gem"], blame["version"]] == %w[crashes 1.2.0], "#{blame["gem"] || blame["module"]} #{blame["version"]}")
	end

	def complete?(part)
		@wrong[:found].empty? && @wrong[part].empty?
	end

	# A part that calls itself complete and is not.
	def lies
		{registers: "registers", stack: "native_frames", ruby: "ruby_frames", maps: "maps"}.filter_map do |part, name|
			name if @report && !complete?(part) && @report.dig("parts", name, "state") == "complete"
		end
	end

	# What the sum is made of.
	def outcome(where, ruby)
		{
			cell: [@truth.kind, @truth.handler, @truth.context, where, ruby], wrong: @wrong.transform_values(&:first), dies: @truth.dies?,
			rows: @rows.size, lies: lies, after_ms: @row && @row["finished_after_ms"], large_us: large_us, gdb: !@truth.gdb.empty?,
			number: @truth.number, id: @row && @row["id"]
		}
	end

	# Of a large capture: how long it took in the kernel.
	def large_us
		took = @report&.dig("capture", "took_ns") or return
		took / 1000.0 if @report.dig("memory", "stack", "size").to_i >= 65_536 && @report["ruby_frames"].size >= 20
	end
end

class Judge
	def initialize(work, crashes)
		@work = work
		@rows = JSON.parse(File.read(crashes))["crashes"].group_by { |row| row["pid"] }
	end

	def judge_generator(name)
		folder = File.join(@work, name)
		ruby, place = File.read(File.join(folder, "cell")).split
		gems = File.join(folder, "gems/crashes-1.2.0/lib")
		truths = Dir.children(File.join(folder, "truth")).sort_by(&:to_i).map { |one| Truth.new(File.join(folder, "truth", one)) }
		backtraces(truths, File.read(File.join(folder, "root")).strip, gems)
		sizes = sizes_of(gems)
		truths.each do |truth|
			where = truth.hole > 0 ? "hole" : place
			puts JSON.generate(Judgement.new(truth, @rows[truth.pid] || [], sizes).outcome(where, ruby))
		end
	end

	def backtraces(truths, root, gems)
		with_core = truths.select { |truth| truth.core && !File.exist?("#{truth.core}.pcs") }
		return if with_core.empty?
		libraries = Libraries.new(root, gems)
		with_core.each { |truth| libraries.add(truth) }
		list = File.join(libraries.folder, "cores")
		File.write(list, with_core.map { |truth| "#{truth.core} #{libraries.program} #{libraries.folder}\n" }.join)
		out, status = Open3.capture2e({"BACKTRACES" => list}, "gdb", "-nx", "-batch", "-x", File.join(HERE, "backtraces.py"))
		abort "judge: gdb failed: #{out}" unless status.success?
	ensure
		FileUtils.rm_r(libraries.folder) if libraries
	end

	def sizes_of(folder)
		Dir.children(folder).to_h do |file|
			symbols = `nm -DS #{File.join(folder, file)}`.lines.map(&:split).select { |words| words.size == 4 }
			[file, symbols.to_h { |from, size, _, name| [name, [from.hex, size.hex]] }]
		end
	end
end

ARGV.drop(2).each { |name| Judge.new(ARGV[0], ARGV[1]).judge_generator(name) }

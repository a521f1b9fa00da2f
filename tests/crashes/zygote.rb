# SPDX-License-Identifier: Apache-2.0
#
# ruby zygote.rb FOLDER ORDERS: for each line of the file (or FIFO) ORDERS
#
#     NUMBER KIND HANDLER CONTEXT [WORD…]
#
# forks a child that tells the truth into FOLDER/NUMBER and dies of KIND; when it is dead, says "died NUMBER".
#
# HANDLER  ruby: its crash handler stays; default: taken away
# CONTEXT  main, thread, fiber, signal (in a handler of SIGUSR1), altstack (the same, on the other stack),
#          foreign (a thread that Ruby did not make)
# WORD     core            with a core file of the kernel
#          room=BYTES      so much used stack in the last stretch
#          hole=1|2|3      with pages in it dropped, unmapped, protected
#          depth=N         so many more Ruby frames
#
# FOLDER/NUMBER holds afterwards: order, process (pid as the host sees it, of the ns as it is itself), ruby (its frames, by
# Ruby's own caller_locations), c (chain, failing instruction, the stack by the compiler's unwinder; crashes.so wrote it),
# maps, stderr (Ruby's report), sender (who killed it from outside), death (how it ended and when), and core.
#
# Environment: CRASHES_JOBS children at a time (default 1); CRASHES_GONE=1 deletes the gem's libraries once they are loaded,
# CRASHES_GONE=2 puts other files in their place.
require "crashes"
require "etc" # a mapped library more
require "io/wait"

FOLDER = File.expand_path(ARGV.fetch(0))
JOBS = Integer(ENV.fetch("CRASHES_JOBS", "1"))

# /proc is the host's, also in a pid namespace of our own: so this is the host's pid
def host_pid
	File.readlink("/proc/self").to_i
end

def write(name, text)
	File.write(name, text)
end

class Order
	attr_reader :number, :kind, :context

	def initialize(line)
		@line = line
		@number, @kind, @handler, @context, *words = line.split
		@words = words.to_h { |word| word.split("=", 2).push("1").first(2) }
	end

	def core?
		@words.key?("core")
	end

	def room
		@words.fetch("room", 512).to_i
	end

	def hole
		@words.fetch("hole", 0).to_i
	end

	def depth
		@words.fetch("depth", 0).to_i
	end

	def default?
		@handler == "default"
	end

	def to_s
		@line
	end
end

# --- the Ruby half of the chain: each kind of frame that there is --------------------------------------------

module Chain
	module_function

	def begin_with(order)
		[order].each { |one| from_hash(one) }
	end

	def from_hash(order)
		{order => 1}.each_pair { |one, _| rescued(one) }
	end

	def rescued(order)
		raise ArgumentError, "to be rescued"
	rescue ArgumentError
		ensured(order)
	end

	def ensured(order)
		order.to_s
	ensure
		defined_by_block(order)
	end

	define_method(:defined_by_block) { |order| missing(order) }
	module_function :defined_by_block

	def method_missing(name, order)
		name == :missing ? by_send(order) : super
	end

	def respond_to_missing?(name, all = false)
		name == :missing || super
	end

	def by_send(order)
		send(:deeper, order, order.depth)
	end

	def deeper(order, left)
		return deeper(order, left - 1) if left > 0
		evaluated(order)
	end

	class_eval "def self.evaluated(order)\n\tthrough_c(order)\nend\n", "evaluated.rb", 40

	def through_c(order)
		Crashes.enter(order) do |one|
			catch(:end) { last(one) }
		end
	end

	# What was true right before. The call and its frames have to be on one line.
	def last(order)
		where = %w[signal altstack foreign].include?(order.context) ? order.context : "here"
		prepare(order)
		told(caller_locations(0)); Crashes.die(order.kind, where, order.room, order.hole)
	end

	def told(locations)
		lines = [["die", locations[0].path, locations[0].lineno]]
		lines.concat(locations.map { |one| [one.label, one.path, one.lineno] })
		write("ruby", lines.map { |line| line.join("\t") << "\n" }.join)
		write("maps", File.read("/proc/self/maps"))
		write("thread", "#{Crashes.thread}\n")
		$ready&.puts Crashes.thread
	end

	def prepare(order)
		Crashes.default if order.default?
	end
end

# --- one death ------------------------------------------------------------------------------------------------

class Rescued
	def self.run
		3.times do
			Crashes.recurse
		rescue SystemStackError
			$count = $count.to_i + 1
		end
		write("rescued", "#{$count}\n")
		exit!(0)
	end
end

def child(order)
	folder = File.join(FOLDER, order.number)
	Dir.mkdir(folder)
	Dir.chdir(folder)
	$stderr.reopen(File.open("stderr", "w"))
	write("order", "#{order}\n")
	write("process", "#{host_pid} #{Process.pid}\n")
	Process.setrlimit(:CORE, order.core? ? Process::RLIM_INFINITY : 0, Process::RLIM_INFINITY)
	Crashes.tell_to(IO.sysopen("c", "w"))
	case order.context
	when "thread" then Thread.new { Chain.begin_with(order) }.join
	when "fiber" then Fiber.new { Chain.begin_with(order) }.resume
	else order.kind == "rescued" ? Rescued.run : Chain.begin_with(order)
	end
ensure
	write("failed", "#{$!.inspect}\n") # whoever comes here did not die as ordered
	exit!(96)
end

# SIGSEGV from another process, to the thread that is below the known chain.
def kill_from_outside(order, pid, thread)
	sender = fork do
		write(File.join(FOLDER, order.number, "sender"), "#{host_pid}\n")
		sleep 0.001 until asleep?(File.join(FOLDER, order.number))
		Crashes.kill_thread(pid, thread, 11)
		exit!(0)
	end
	Process.wait(sender)
end

# It tells the truth before it waits, and the truth ends in a line of the time.
def asleep?(folder)
	return false unless File.read(File.join(folder, "c")).match?(/^time \d+$/)
	pid = File.read(File.join(folder, "process")).split[0]
	thread = Dir.children("/proc/#{pid}/task").max_by(&:to_i)
	%W[#{pid} #{thread}].any? { |one| File.read("/proc/#{pid}/task/#{one}/syscall").start_with?("34 ") }
rescue Errno::ENOENT, Errno::ESRCH
	true
end

def start(order)
	from, to = order.kind == "injected" ? IO.pipe : nil
	pid = fork do
		$ready = to
		child(order)
	end
	if from
		to.close
		kill_from_outside(order, pid, from.gets.to_i)
		from.close
	end
	pid
end

# One that is dead; waits for it unless flags say no.
def reap(running, flags = 0)
	pid, status = Process.wait2(-1, flags)
	return if pid.nil?
	now = Process.clock_gettime(Process::CLOCK_BOOTTIME, :nanosecond)
	order = running.delete(pid) or return
	how = status.signaled? ? "signal #{status.termsig}" : "exit #{status.exitstatus}"
	write(File.join(FOLDER, order.number, "death"), "#{how} #{now} #{status.coredump? ? "core" : "no-core"}\n")
	puts "died #{order.number}"
end

case ENV["CRASHES_GONE"]
when "1" then $LOADED_FEATURES.grep(/crashes\.so/) { |path| File.unlink(path, File.join(File.dirname(path), "libcrashes_deep.so")) }
when "2"
	$LOADED_FEATURES.grep(/crashes\.so/) do |path|
		[path, File.join(File.dirname(path), "libcrashes_deep.so")].each do |file|
			File.write("#{file}.new", "not a library\n")
			File.rename("#{file}.new", file)
		end
	end
end

$stdout.sync = true
running = {}
orders = File.open(ARGV.fetch(1), "r+")
puts "ready #{host_pid} #{RUBY_VERSION}"
loop do
	reap(running, Process::WNOHANG) until running.empty? || orders.wait_readable(0.002)
	line = orders.gets
	break if line.nil? || line.start_with?("end")
	reap(running) while running.size >= JOBS
	order = Order.new(line.chomp)
	running[start(order)] = order
end
reap(running) until running.empty?
puts "done"

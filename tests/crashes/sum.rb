# SPDX-License-Identifier: Apache-2.0
#
# ruby sum.rb FOLDER: of the outcomes in its files (judge.rb) prints the cells that were not right, what was wrong, shares and
# times; exits 1 when a part was wrong.
#
# Environment: JUDGE_LIST=N prints the first N findings of each kind (3); JUDGE_LAX=1 exits 0 unless there is no result.
require "json"

PARTS = {"registers" => "registers", "stack" => "C stack", "ruby" => "Ruby stack", "maps" => "maps", "cause" => "cause", "blame" => "blame"}.freeze

class Outcome
	def initialize(file, line)
		@file = file
		@all = JSON.parse(line)
	end

	%w[cell wrong rows lies after_ms large_us gdb].each { |name| define_method(name) { @all[name] } }

	def dies?
		@all["dies"]
	end

	# Killed from outside and at once: there is no fault to take a stack of.
	def memory?
		cell.first == "memory"
	end

	def right?
		wrong.empty?
	end

	def complete?(part)
		!wrong.key?("found") && !wrong.key?(part)
	end

	def to_s
		"#{cell.join(" ")} (#{File.basename(@file)}/truth/#{@all["number"]}, #{@all["id"] || "no report"})"
	end
end

class Sum
	def initialize(folder)
		files = Dir.glob(File.join(folder, "*-*")).reject { |file| file.end_with?(".new") }
		@all = files.flat_map { |file| File.readlines(file).map { |line| Outcome.new(file, line) } }
		abort "sum: no crash was judged" if @all.empty?
		@cells = @all.group_by(&:cell)
	end

	def print
		table
		findings
		counts
		shares
		times
		@all.all?(&:right?)
	end

	# A cell that is right in all is not listed, one that is not says which parts are not.
	def table
		puts "cells: cause handler context place ruby, right of all, what was wrong"
		@cells.sort.each do |cell, ones|
			bad = ones.reject(&:right?)
			next if bad.empty?
			parts = bad.flat_map { |one| one.wrong.keys }.tally.map { |part, n| "#{part} #{n}" }.join(", ")
			puts format("  %-16s %-8s %-9s %-11s %-9s %3d/%-3d %s", *cell, ones.size - bad.size, ones.size, parts)
		end
		sizes = @cells.values.map(&:size)
		right = @cells.count { |_, ones| ones.all?(&:right?) }
		puts "#{right} of #{@cells.size} cells right in every crash; #{sizes.min} to #{sizes.max} crashes a cell"
	end

	def findings
		limit = ENV.fetch("JUDGE_LIST", "3").to_i
		found = @all.flat_map { |one| one.wrong.map { |part, text| [part, text, one] } }
		found.group_by { |part, text, _| [part, text.gsub(/\h{6,}|\d+/, "#")] }.each_value do |alike|
			puts "#{alike.first.first}: #{alike.size} times:"
			alike.first(limit).each { |_, text, one| puts "    #{one}: #{text}" }
		end
		lies = @all.flat_map(&:lies).tally
		puts "called complete and not so: #{lies.map { |name, n| "#{name} #{n}" }.join(", ")}" unless lies.empty?
	end

	def counts
		dead = @all.select(&:dies?)
		puts format("%d crashes, %d of them for lack of memory, %d held against gdb; lost %d, twice %d; none for %d rescued overflows", dead.size,
			dead.count(&:memory?), dead.count(&:gdb), dead.count { |one| one.rows == 0 }, dead.count { |one| one.rows > 1 },
			@all.count { |one| !one.dies? && one.right? })
	end

	def shares
		ones = @all.select { |one| one.dies? && !one.memory? }
		PARTS.each do |part, name|
			[["all", ones], ["SIG_DFL", ones.select { |one| one.cell[1] == "default" }]].each do |of, list|
				next if list.empty?
				good = list.count { |one| one.complete?(part) }
				puts format("  %-10s %-8s %6.2f %% (%d of %d; aim 99.9)", name, of, 100.0 * good / list.size, good, list.size)
			end
		end
	end

	def times
		after = @all.filter_map(&:after_ms)
		puts format("fault to finished report: p50 %.2f ms, p99 %.2f ms (aim 5, 50) of %d", *quantiles(after), after.size) unless after.empty?
		took = @all.filter_map(&:large_us)
		return puts "capture: none with 64 KiB of stack and 20 Ruby frames" if took.empty?
		puts format("capture in the kernel, 64 KiB of stack and 20 Ruby frames or more: p50 %.1f us, p99 %.1f us (aim 75, 150) of %d", *quantiles(took), took.size)
	end

	def quantiles(values)
		sorted = values.sort
		[0.5, 0.99].map { |q| sorted[((sorted.size - 1) * q).round] }
	end
end

right = Sum.new(ARGV.fetch(0)).print
exit(right || ENV["JUDGE_LAX"] ? 0 : 1)

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# The Ruby frames of a report are those that Ruby itself prints of the same crash, however the agent came to know where
# the process has its Ruby: it ran before the agent did, it was forked by one that did, it started under the probe, its
# library was deleted or replaced meanwhile, it lives in namespaces of its own.

load helper

setup_file() {
	work_begin
	LIBRUBY=$(find /usr/lib -name 'libruby-*.so.*.*.*' -type f | head -n 1)
	export LIBRUBY
	mkdir "$WORK/lib"
	frames_start early
	frames_start early_parent fork
	agent_start
}

teardown_file() {
	agent_stop
	work_end
}

# frames_start NAME [fork]: with a copy of libruby where $COPY says that one shall be.
frames_start() {
	rm -f "$WORK/$1.gate"
	# shellcheck disable=SC2086 # words
	process_start "$1" ${IN:-} env ${COPY:+LD_LIBRARY_PATH="$COPY"} ruby "$WORK/app/frames.rb" "$WORK/$1.gate" ${2:-}
	wait_until 5 test -s "$WORK/$1.out"
}

# library_copied NAME: a folder with a libruby of its own. Prints it.
library_copied() {
	mkdir -p "$WORK/lib/$1"
	cp "$LIBRUBY" "$WORK/lib/$1/$(basename "$LIBRUBY" | sed -E 's/(\.so\.[0-9]+\.[0-9]+)\..*/\1/')"
	echo "$WORK/lib/$1"
}

# "path:line method" of each frame, innermost first, as Ruby printed them and as the report has them.
frames_printed() {
	sed -n '/^-- Ruby level backtrace/,/^$/{s/^\(.*\):\([0-9]*\):in [`'"'"']\(.*\)'"'"'$/\1:\2 \3/p}' "$WORK/$1.err" | tac
}

frames_reported() {
	jq -r '.ruby_frames[] | "\(.path):\(.line) \(.method)"' <<<"$1"
}

# frames_are NAME PID: dies, and both agree. Sets $report.
frames_are() {
	touch "$WORK/$1.gate"
	wait_until 15 process_gone "$2"
	report=$(report_of "$2")
	check "$report" '.parts.ruby_frames.state == "complete"'
	check "$report" '[.ruby_frames[].method] | index("each_with_index") and index("block in price")'
	diff <(frames_printed "$1") <(frames_reported "$report")
	[ "$(frames_printed "$1" | wc -l)" -ge 8 ]
	check "$report" '.capture.took_ns > 0'
}

@test "a Ruby that ran before the agent did" {
	watch_wait "$(process_pid early)"
	check "$(lap doctor "$(process_pid early)" --json)" '.ruby_frames | startswith("yes")'
	frames_are early "$(process_pid early)"
}

@test "the child of a Ruby that ran before the agent did" {
	watch_wait "$(process_pid early_parent)"
	touch "$WORK/early_parent.gate"
	wait_until 15 process_gone "$(process_pid early_parent)"
	child=$(lap crashes --json | jq --argjson not "$(process_pid early)" '[.crashes[] | select(.pid != $not)][0].pid')
	frames_are early_parent "$child"
}

@test "a Ruby that starts under the probe, and its child" {
	frames_start later
	frames_are later "$(process_pid later)"
	frames_start later_parent fork
	touch "$WORK/later_parent.gate"
	wait_until 15 process_gone "$(process_pid later_parent)"
	child=$(lap crashes --json | jq --arg comm ruby '[.crashes[] | select(.comm == $comm)] | sort_by(.time) | last.pid')
	frames_are later_parent "$child"
}

@test "a Ruby whose library was deleted, and one whose library was replaced" {
	COPY=$(library_copied deleted) frames_start deleted
	watch_wait "$(process_pid deleted)"
	rm -r "$WORK/lib/deleted"
	frames_are deleted "$(process_pid deleted)"
	COPY=$(library_copied replaced) frames_start replaced
	watch_wait "$(process_pid replaced)"
	find "$WORK/lib/replaced" -type f -exec sh -c 'echo other >"$1.new" && mv "$1.new" "$1"' - {} \;
	frames_are replaced "$(process_pid replaced)"
}

@test "a Ruby in pid and mount namespaces of its own" {
	IN="unshare --pid --mount --fork --kill-child" frames_start apart
	pid=$(pgrep -s "$(process_pid apart)" -x ruby)
	[ "$(cat "$WORK/apart.out")" = 1 ]
	watch_wait "$pid"
	frames_are apart "$pid"
}

@test "what is walked, and by what, is told" {
	check "$(lap features --json)" '[.probes[] | select(.kind == "ruby")] | length > 0 and all(.ruby_frames | startswith("yes"))'
	lap features | grep -q "^Ruby frames of a crash: yes"
}

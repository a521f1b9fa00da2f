# SPDX-License-Identifier: Apache-2.0
#
# What every test on real parts starts from: a work folder, waiting with a limit, an agent of its own.
#
# Everything a test starts is started in a session of its own (setsid), and its first pid is kept in
# $WORK/NAME.pid. That is how it is ended (by pid, never by name) and how a test proves that nothing of it is
# left: the session is empty. Names, not variables, because bats runs each test in a new shell.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LAPIDARY=${LAPIDARY:-$ROOT/build/lapidary}
BPFTOOL=$(PATH=$PATH:/usr/sbin command -v bpftool)
export ROOT LAPIDARY BPFTOOL

# wait_until SECONDS COMMAND…: until the command succeeds; says which one did not.
wait_until() {
	local end=$(($(date +%s%N) + ${1%.*} * 1000000000))
	shift
	until "$@" >/dev/null 2>&1; do
		if (($(date +%s%N) > end)); then
			echo "waited in vain for: $*" >&2
			return 1
		fi
		read -rt 0.05 <> <(:) || true
	done
}

# --- the work folder ---------------------------------------------------------------------------------

# Readable to all, because the app and the database do not run as root.
work_begin() {
	WORK=$(mktemp -d /tmp/lapidary-bats.XXXXXX)
	export WORK
	chmod 0755 "$WORK"
	cp -r "$ROOT/tests/bats/app" "$WORK/app" # the clone itself may lie where only root can read
	ulimit -Sc 0 # a test that wants core files may still ask for them
	bpf_ids >"$WORK/bpf.before"
}

# Ends what is still running, and fails when something was left behind.
work_end() {
	local file bad=0
	for file in "$WORK"/*.pid; do
		[ -f "$file" ] || continue
		process_stop "$(basename "$file" .pid)" KILL 10 || bad=1
	done
	nothing_left || bad=1
	if [ "$bad" = 0 ]; then rm -rf "$WORK"; else echo "left for a look: $WORK" >&2; fi
	return "$bad"
}

# Lapidary's programs, and links to them, that the kernel holds and no process has a descriptor of: what an
# agent may not leave behind. Those of another agent on this host are held, and none of this test's business.
bpf_ids() {
	local names
	names=$(grep -hoE '^int (BPF_PROG\()?[a-z_0-9]+' "$ROOT"/bpf/*.bpf.c | sed 's/.*[ (]//' | jq -Rsc 'split("\n")')
	comm -23 <({
		"$BPFTOOL" -j prog list
		"$BPFTOOL" -j link list
	} | jq -rs --argjson names "$names" '
		([.[0][]? | select(.name as $n | $names | any(. != "" and startswith($n // "?"))) | .id]) as $ours |
		($ours[] | "prog \(.)"), (.[1][]? | select(.prog_id as $p | $ours | index($p)) | "link \(.id)")' | sort) \
		<(grep -hsE '^(link|prog)_id:' /proc/[0-9]*/fdinfo/* | awk '{sub(/_id:/, "", $1); print $1, $2}' | sort -u)
}

# No agent runs on this host: what a bench asks before it measures without one.
nobody_probes() {
	"$BPFTOOL" -j prog list | jq -e '[.[] | select(.name == "libpq_send_query")] | length == 0' >/dev/null
}

# Programs are freed a grace period after their last reference, and others on this host come and go: what is
# there now must be gone soon, and what comes later is not asked for.
bpf_gone() {
	bpf_ids | comm -13 "$WORK/bpf.before" - >"$WORK/bpf.left"
	wait_until 5 bpf_shrinks || { echo "left in the kernel: $(tr '\n' ' ' <"$WORK/bpf.left")" >&2; return 1; }
}

bpf_shrinks() {
	bpf_ids | comm -12 "$WORK/bpf.left" - >"$WORK/bpf.still"
	mv "$WORK/bpf.still" "$WORK/bpf.left"
	[ ! -s "$WORK/bpf.left" ]
}

nothing_left() {
	local file sid
	for file in "$WORK"/*.pid; do
		[ -f "$file" ] || continue
		sid=$(<"$file")
		if ! wait_until 5 session_empty "$sid"; then
			echo "still running of $(basename "$file" .pid):" >&2
			ps -o pid,ppid,stat,args -s "$sid" >&2
			return 1
		fi
	done
	bpf_gone
}

session_empty() {
	! pgrep -s "$1" -r R,S,D,T,I >/dev/null # zombies do not count
}

# --- processes ---------------------------------------------------------------------------------------

# process_start NAME COMMAND…: in a session of its own, output in $WORK/NAME.out and .err.
process_start() {
	local name=$1
	shift
	if [ -s "$WORK/$name.pid" ] && ! session_empty "$(process_pid "$name")"; then
		echo "$name runs already" >&2
		return 1
	fi
	rm -f "$WORK/$name.pid"
	setsid --fork sh -c 'echo $$ > "$0"; exec "$@"' "$WORK/$name.pid" "$@" \
		>"$WORK/$name.out" 2>"$WORK/$name.err" </dev/null 3>&- 4>&-
	wait_until 5 test -s "$WORK/$name.pid"
}

process_pid() {
	cat "$WORK/$1.pid"
}

process_alive() {
	[ "$(awk '{print $3}' "/proc/$1/stat" 2>/dev/null || echo X)" != X ] &&
		! grep -qs '^State:.*zombie' "/proc/$1/status"
}

process_gone() {
	! process_alive "$1"
}

# process_stop NAME [SIGNAL [SECONDS]]: signals the first process and waits until its whole session ended.
process_stop() {
	local sid
	[ -s "$WORK/$1.pid" ] || return 0
	sid=$(process_pid "$1")
	if [ "${2:-TERM}" = KILL ]; then
		session_pids "$sid" | xargs -r kill -KILL 2>/dev/null || true
	else
		kill -"${2:-TERM}" "$sid" 2>/dev/null || true
	fi
	wait_until "${3:-20}" session_empty "$sid"
}

session_pids() {
	pgrep -s "$1"
}

# as_user USER COMMAND…
as_user() {
	local user=$1
	shift
	setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups -- "$@"
}

# memory_group_make BYTES: a memory cgroup of this test, v2 or v1; prints its folder.
memory_group_make() {
	local group root=/sys/fs/cgroup
	if grep -qw memory "$root/cgroup.subtree_control" 2>/dev/null; then
		group=$root/lapidary-test-$$
		mkdir "$group" && echo "$1" >"$group/memory.max" && echo "$group"
	elif [ -d "$root/memory" ]; then
		group=$root/memory$(awk -F: '$2 == "memory" {print $3}' /proc/self/cgroup)/lapidary-test-$$
		mkdir "$group" && echo "$1" >"$group/memory.limit_in_bytes" && echo "$group"
	else
		return 1
	fi
}

# --- the agent ---------------------------------------------------------------------------------------

# agent_start [FLAG…]: the agent "agent", ready when this returns. AGENT=name makes another one.
agent_start() {
	local name=${AGENT:-agent}
	mkdir -p "$WORK/$name.state" "$WORK/$name.run"
	process_start "$name" "$LAPIDARY" agent --state-dir "$WORK/$name.state" --run-dir "$WORK/$name.run" \
		--rules "${AGENT_RULES:-$ROOT/rules}" "$@"
	if ! wait_until 20 agent_ready "$name"; then
		cat "$WORK/$name.out" "$WORK/$name.err" >&2
		return 1
	fi
}

agent_ready() {
	local status=0
	"$LAPIDARY" doctor --run-dir "$WORK/${1:-agent}.run" >/dev/null 2>&1 || status=$?
	[ "$status" = 0 ] || [ "$status" = 1 ] # 1: ready, and something to look at
}

agent_stop() {
	process_stop "${AGENT:-agent}" TERM 20
}

# lap COMMAND…: a client command of this test's agent.
lap() {
	local command=$1
	shift
	"$LAPIDARY" "$command" "$@" --state-dir "$WORK/${AGENT:-agent}.state" --run-dir "$WORK/${AGENT:-agent}.run"
}

# Watched, and every library that it maps is probed.
watched() {
	lap doctor "$1"
}

watch_wait() {
	local pid
	for pid in "$@"; do
		if ! wait_until 15 watched "$pid"; then
			lap doctor "$pid" >&2
			return 1
		fi
	done
}

# --- what the agent saw ------------------------------------------------------------------------------

crashes_of() {
	lap crashes --json | jq -c --argjson pid "$1" '[.crashes[] | select(.pid == $pid)]'
}

has_crash() {
	[ "$(crashes_of "$1" | jq length)" -ge 1 ]
}

# crash_wait PID: the row of its crash, once it is durable.
crash_wait() {
	wait_until 15 has_crash "$1" || return 1
	crashes_of "$1" | jq -c '.[0]'
}

# report_of PID: report.json of its crash.
report_of() {
	lap crash show "$(crash_wait "$1" | jq -r .id)" --json
}

# check JSON FILTER [ARGS…]: the filter must hold; shows the document when it does not.
check() {
	local document=$1 filter=$2
	shift 2
	if ! jq -e "$@" "$filter" <<<"$document" >/dev/null; then
		printf 'does not hold: %s\n%s\n' "$filter" "$(jq . <<<"$document" || echo "$document")" >&2
		return 1
	fi
}

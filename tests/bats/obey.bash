# SPDX-License-Identifier: Apache-2.0
#
# A Ruby process that a test leads step by step (app/obey.rb): it does each line of Ruby that it is sent.

# obey_start NAME [PROGRAM [NAME=VALUE…]]: as nobody, or OBEY_USER; OBEY_IN="nsenter …" runs it elsewhere.
obey_start() {
	local name=$1 program=${2:-ruby} user=${OBEY_USER:-nobody}
	shift
	[ $# = 0 ] || shift
	[ -p "$WORK/$name.fifo" ] || mkfifo -m 0666 "$WORK/$name.fifo"
	# shellcheck disable=SC2086 # words
	process_start "$name" ${OBEY_IN:-} env RUBYLIB="$WORK/gems/crashy-1.0.0/lib:$WORK/ruby/lib" HOME=/nonexistent "$@" \
		setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups "$program" "$WORK/app/obey.rb" "$WORK/$name.fifo"
	wait_until 10 grep -q ready "$WORK/$name.out"
	echo 0 >"$WORK/$name.count"
}

# obey_send NAME RUBY: as one line, so its own line ends travel as record separators.
obey_send() {
	printf '%s\n' "${2//$'\n'/$'\x1e'}" | timeout 15 tee "$WORK/$1.fifo" >/dev/null # it may have ended: then nobody reads
}

# obey NAME RUBY: done when this returns.
obey() {
	local count
	count=$(($(<"$WORK/$1.count") + 1))
	echo "$count" >"$WORK/$1.count"
	obey_send "$1" "$2"
	wait_until "${OBEY_SECONDS:-15}" grep -qE "^(did|failed) $count\b" "$WORK/$1.out"
	grep -q "^did $count$" "$WORK/$1.out" || { tail -n 5 "$WORK/$1.out" >&2; return 1; }
}

# obey_value NAME EXPRESSION: its value, as one line.
obey_value() {
	obey "$1" "puts 'value ' + ($2).to_s" || return 1
	sed -n 's/^value //p' "$WORK/$1.out" | tail -n 1
}

# obey_says NAME EXPRESSION VALUE: the expression has that value now.
obey_says() {
	[ "$(obey_value "$1" "$2")" = "$3" ]
}

# Does not wait: it will not live to say so.
obey_and_die() {
	obey_send "$1" "$2"
	wait_until 15 process_gone "$(process_pid "$1")"
}

# SPDX-License-Identifier: Apache-2.0
#
# What the tests of acting share: an agent that acts fast, decisions at will, audit lines, and processes to act upon.
# Needs helper, postgres, shop, obey.

# act_begin: a work folder with all that acting needs, and an agent with a rule of the test's own, which asks for a
# worker's restart when one of its statements divides by zero, so that a decision can be had at will.
act_begin() {
	work_begin
	crashy_build
	library_copy
	postgres_start
	cp -r "$ROOT/rules" "$WORK/rules"
	jq -n '{name: "poke", why: "A decision to restart a worker that a test can have at will.",
		match: {notice: "db_error", where: [{field: "sqlstate", is: "22012"}]}, per: ["app", "pid"], count: 1, window_s: 1, quiet_s: 1,
		incident: {kind: "poke", severity: "warning", subject: "{app} {pid}", title: "{app}: {pid} divided by zero"},
		decisions: [{action: "worker.restart", target: "{app}", reason: "{pid} divided by zero"}]}' >"$WORK/rules/poke.json"
	act_start
}

act_end() {
	agent_stop
	postgres_stop
	work_end
}

# act_start [FLAG…]: the agent, with a deadline that a test can wait for.
act_start() {
	AGENT_RULES=$WORK/rules agent_start --restart-deadline 2s --probe-interval 0 --lease 2s "$@"
}

# act_again [FLAG…]: with other flags.
act_again() {
	agent_stop
	act_start "$@"
}

# restart_line PID: the last audit line about a restart of that process, once it is final.
restart_line() {
	wait_until 15 restart_final "$1" || { lap actions --json >&2; return 1; }
	lap actions --json | jq -c --argjson pid "$1" '[.actions[] | select(.pid == $pid and .action == "worker.restart")] | sort_by(.time) | last'
}

restart_final() {
	lap actions --json | jq -e --argjson pid "$1" \
		'[.actions[] | select(.pid == $pid and .action == "worker.restart")] | length >= 1 and all(.outcome != "sent")'
}

# poke_puma: a worker of the shop divides by zero. Sets $pid.
poke_puma() {
	read -r pid _ < <(shop_get '/query?select+1/0')
}

# http_get SOCKET PATH: the body, from a server that closes after each answer.
http_get() {
	ruby --disable-gems -rsocket -e 's = UNIXSocket.new(ARGV[0]); s.write("GET #{ARGV[1]} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
		puts s.read.split("\r\n\r\n", 2)[1]' "$1" "$2"
}

prefork_start() {
	process_start plain env SHOP_DATABASE="$SHOP_DATABASE" HOME=/nonexistent \
		setpriv --reuid nobody --regid nogroup --clear-groups ruby "$WORK/app/prefork.rb" "$@"
	wait_until 15 prefork_has $#
	prefork_serves
}

# Each child is watched and was seen to work.
prefork_serves() {
	# shellcheck disable=SC2046 # pids
	watch_wait "$(process_pid plain)" $(pgrep -P "$(process_pid plain)") && wait_until 15 serves $(pgrep -P "$(process_pid plain)")
}

prefork_has() {
	[ "$(grep -c . "$WORK/plain.out")" -ge "$1" ]
}

# prefork_child HOW: the pid of the youngest child of that kind.
prefork_child() {
	awk -v how="$1" '$2 == how {pid = $1} END {print pid}' "$WORK/plain.out"
}

# serves PID…: each is counted as healthy (user/model/health.c).
serves() {
	local pid
	for pid in "$@"; do
		health_is "$pid" running || return 1
	done
}

health_is() {
	check "$(lap workers --json)" '[.workers[] | select(.process_id == $pid)] | length == 1 and .[0].health_status == $health' \
		--argjson pid "$1" --arg health "$2"
} >/dev/null 2>&1

# shop_warm: asks until every worker of the shop, which has no library here, was seen to answer a statement.
shop_warm() {
	shop_watched || return 1
	wait_until 30 shop_answers
}

shop_answers() {
	# shellcheck disable=SC2046 # pids
	serves $(shop_workers) || { shop_get '/query?select+1'; false; }
}

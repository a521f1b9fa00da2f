# SPDX-License-Identifier: Apache-2.0
#
# The story of acceptance 1, for its tests and for `make demo`: a shop that uses Lapidary's library, a steady
# client that keeps count, a PostgreSQL that is stopped, frozen and started. Needs helper, postgres, shop.
# shellcheck disable=SC2034 # shared between the story, its assertions and the demo

# Fast, so that the story fits into a minute; the defaults are for production.
STORY_SETTINGS=(--probe-interval 1s --probe-timeout 500ms --lease 2s --breaker-wait 1s --restart-deadline 10s)

story_start() {
	crashy_build
	library_copy
	postgres_start
	SHOP_DATABASE="host=127.0.0.1 port=$PGPORT dbname=shop user=shop password=$PGSECRET"
	TARGET="postgres://127.0.0.1:$PGPORT/shop"
	export SHOP_DATABASE TARGET
	agent_start "${STORY_SETTINGS[@]}" "$@"
	story_shop
	traffic_start
}

story_shop() {
	SHOP_CONFIG=story_puma.rb shop_start LAPIDARY_SOCKET="$WORK/agent.run/app.sock"
	shop_watched
	wait_until 15 shop_joined
}

story_stop() {
	traffic_stop
	shop_stop
	agent_stop
	postgres_signal CONT 2>/dev/null
	postgres_stop
}

# --- the steady client ------------------------------------------------------------------------------

traffic_start() {
	install -o nobody /dev/null "$WORK/traffic"
	process_start traffic setpriv --reuid nobody --regid nogroup --clear-groups \
		ruby --disable-gems "$WORK/app/traffic.rb" "$WORK/shop/app.sock" 6 "${TRAFFIC:-40}" "$WORK/traffic" /select
	wait_until 10 test -s "$WORK/traffic"
}

traffic_stop() {
	process_stop traffic TERM 20
}

now_ms() {
	date +%s%3N
}

# traffic_since MS [UNTIL_MS]: "OK BUSY FAILED SLOWEST_MS MEDIAN_BUSY_MS PIDS" of the requests that began then.
traffic_since() {
	sort -k2n "$WORK/traffic" | awk -v from="$1" -v to="${2:-9999999999999}" '
		$1 >= from && $1 < to {
			count[$3]++
			if ($2 > slowest) slowest = $2
			if ($3 == "ok" && !seen[$4]++) pids++
			if ($3 == "busy") busy[++n] = $2
		}
		END { print count["ok"] + 0, count["busy"] + 0, count["failed"] + 0, slowest + 0, busy[int((n + 1) / 2)] + 0, pids + 0 }'
}

# served_since MS COUNT: at least so many requests were answered with 200.
served_since() {
	local ok
	read -r ok _ < <(traffic_since "$1")
	((ok >= $2))
}

# refused_since MS COUNT: at least so many were answered with 503 and a Retry-After.
refused_since() {
	(($(awk -v from="$1" '$1 >= from && $3 == "busy" && $5 ~ /^[0-9]+$/ {n++} END {print n + 0}' "$WORK/traffic") >= $2))
}

# --- what the agent says ------------------------------------------------------------------------------

# The library of the master and of every worker has been welcomed.
shop_joined() {
	local peers
	peers=$(lap doctor --json | jq '.acting.peers // 0')
	((peers > $(shop_workers | wc -l))) # the master is one as well
}

# breaker_is STATE [TARGET]: the state of the worse of both kinds.
breaker_is() {
	[ "$(breaker_state "${2:-$TARGET}")" = "$1" ]
}

breaker_state() {
	lap breakers --json | jq -r --arg target "$1" '
		[.breakers[] | select(.target == $target) | .state] |
		if any(. == "open") then "open" elif any(. == "half_open") then "half_open" else "closed" end'
}

# action_where FILTER: an audit line for which it holds.
action_where() {
	lap actions --json | jq -e "[.actions[] | select($1)] | length >= 1"
}

# actions_of ACTION: its audit lines, the youngest last.
actions_of() {
	lap actions --json | jq -c --arg action "$1" '[.actions[] | select(.action == $action)] | sort_by(.time)'
}

# --- what happens to the shop --------------------------------------------------------------------------


# Another worker than those of the list (a file) runs.
worker_new() {
	comm -13 <(sort "$1") <(shop_workers | sort) | grep .
}

# --- the chapters: each does one thing to the shop and waits for what must come of it ---------------------

# A worker dies of a NULL pointer; the crash is told, a successor serves. Sets $dead, $row.
chapter_crash() {
	dead=$(shop_die /crash/null) || return 1
	row=$(crash_wait "$dead") || return 1
	wait_until 20 shop_whole && wait_until 15 shop_joined && wait_until 10 served_since "$(now_ms)" 20
}

# A worker is ordered to go: it acknowledges, finishes its requests, ends, and has a successor. Sets $old,
# $fresh, $action.
chapter_restart() {
	local id
	shop_workers >"$WORK/workers.before"
	old=$(head -n 1 "$WORK/workers.before")
	lap worker restart "$old" --json >"$WORK/restart.json" || { cat "$WORK/restart.json" >&2; return 1; }
	id=$(jq -r .id "$WORK/restart.json")
	wait_until 20 process_gone "$old" || return 1
	wait_until 20 action_where ".id == \"$id\" and .outcome == \"done\"" || return 1
	wait_until 20 worker_new "$WORK/workers.before" || return 1
	fresh=$(worker_new "$WORK/workers.before")
	action=$(lap actions --json | jq -c --arg id "$id" '.actions[] | select(.id == $id)')
	wait_until 20 shop_whole && wait_until 15 shop_joined && wait_until 10 served_since "$(now_ms)" 20
}

# Workers die one after the other until the boots of their successors are held back. Sets $deaths.
chapter_loop() {
	deaths=0
	until holding; do
		((deaths < 5)) || { echo "$deaths crashes, and no hold" >&2; return 1; }
		shop_die /crash/null >>"$WORK/deaths" || return 1
		deaths=$((deaths + 1))
		wait_until 15 crashes_told "$deaths" || return 1
	done
	wait_until 15 boots_held
}

crashes_told() {
	local pid
	while read -r pid; do has_crash "$pid" || return 1; done <"$WORK/deaths"
	[ "$(wc -l <"$WORK/deaths")" -ge "$1" ]
}

acting() {
	lap doctor --json | jq -ce .acting
}

holding() {
	acting | jq -e '.holds | length >= 1'
} >/dev/null

boots_held() {
	acting | jq -e '.holds[0].boots >= 1'
}

# The database is gone: the breaker opens, clients are told to come back. Sets $open_ms, since the database went.
chapter_stopped() {
	away_ms=$(now_ms)
	postgres_stop || return 1
	breaker_opened
}

# It is there and does not move: only the prober can tell.
chapter_frozen() {
	away_ms=$(now_ms)
	postgres_signal STOP
	breaker_opened
}

breaker_opened() {
	wait_until 20 breaker_is open || { lap breakers >&2; return 1; }
	open_ms=$(($(now_ms) - away_ms))
	wait_until 10 refused_since "$(now_ms)" 20
}

# And back: the breaker closes by itself. Sets $closed_ms, since the database came.
chapter_started() {
	postgres_up || return 1
	breaker_closed
}

chapter_thawed() {
	postgres_signal CONT
	breaker_closed
}

breaker_closed() {
	back_ms=$(now_ms)
	wait_until 25 breaker_is closed || { lap breakers >&2; return 1; }
	closed_ms=$(($(now_ms) - back_ms))
	wait_until 10 served_since "$(now_ms)" 20
}

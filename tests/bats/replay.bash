# SPDX-License-Identifier: Apache-2.0
#
# A recording against the agent that made it: replayed by nobody, twice, it gives the same bytes, and they
# name the same crashes, incidents and decisions as the live agent's store.

# replay_prepare RECORDING: program, rules and recording where nobody can read them, because the clone may
# lie where only root can.
replay_prepare() {
	rm -rf "$WORK/replay"
	mkdir "$WORK/replay"
	cp "$LAPIDARY" "$WORK/replay/lapidary"
	cp -r "$ROOT/rules" "$WORK/replay/rules"
	cp "$1" "$WORK/replay/recording"
	chmod -R a+rX "$WORK/replay"
}

replay_as_nobody() {
	(cd / && as_user nobody env -i "$WORK/replay/lapidary" replay "$WORK/replay/recording" --rules "$WORK/replay/rules" "$@")
}

# Where others fill a small recording, nothing need come of it: that is not asked for here.
replays_alike() {
	replay_prepare "$1"
	replay_as_nobody --json >"$WORK/replay/one"
	replay_as_nobody --json >"$WORK/replay/two"
	cmp "$WORK/replay/one" "$WORK/replay/two"
	replay_as_nobody >"$WORK/replay/text-one"
	replay_as_nobody >"$WORK/replay/text-two"
	cmp "$WORK/replay/text-one" "$WORK/replay/text-two"
}

# same_as_store: what the replay says against what the store of the live agent holds.
same_as_store() {
	local what filter
	diff <(jq -c 'select(.event == "crash") | [.id, .pid, .signal, .sql, .confirmed_by]' "$WORK/replay/one" | sort) \
		<(lap crashes --json --limit 1000 | jq -r '.crashes[].id' | while read -r id; do
			lap crash show "$id" --json | jq -c '[.id, .pid, .signal, .sql.statement, .confirmed_by]'
		done | sort)
	# an incident is told each time that it changes: its last word counts
	filter='[.id, .kind, .rule, .app, .subject, .state, .count]'
	diff <(jq -sc "map(select(.event == \"incident\")) | group_by(.id)[] | last | $filter" "$WORK/replay/one" | sort) \
		<(lap incidents --json --limit 1000 | jq -c ".incidents[] | $filter" | sort)
	filter='[.id, .incident, .rule, .action, .app, .count, .window_ms, .live_workers, .threshold, .reason]'
	diff <(jq -c "select(.event == \"decision\") | $filter" "$WORK/replay/one" | sort) \
		<(lap decisions --json --limit 1000 | jq -c ".decisions[] | $filter" | sort)
	for what in crash incident decision; do
		jq -se --arg what "$what" 'map(select(.event == $what)) | length >= 1' "$WORK/replay/one" >/dev/null ||
			{ echo "the replay holds no $what" >&2; return 1; }
	done
}

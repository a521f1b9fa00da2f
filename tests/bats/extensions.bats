#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# No false alarm: every native extension of the packages that Debian's release has for its Ruby (scripts/extensions), each
# judged, each loaded by that Ruby; the check and the linker must be of one mind.

bats_require_minimum_version 1.5.0
load helper

setup_file() {
	work_begin
	export LAPIDARY_STATE_DIR=$WORK/state LAPIDARY_RUN_DIR=$WORK/none LAPIDARY_RULES=$ROOT/rules
	export EXTENSIONS=${LAPIDARY_EXTENSIONS:-$ROOT/build/extensions}
	"$ROOT/scripts/extensions" bookworm >/dev/null 2>"$WORK/extensions.log" || true
	DEBIAN=$EXTENSIONS/bookworm
	export DEBIAN
	if [ -e "$DEBIAN/usr/bin/ruby" ]; then
		"$LAPIDARY" check --static --root "$DEBIAN" --json >"$WORK/checked.json" || [ $? = 1 ]
	fi
}

teardown_file() {
	work_end
}

setup() {
	[ -e "$WORK/checked.json" ] || skip "no extensions: $(tail -n 1 "$WORK/extensions.log")"
}

# What does not load on any Debian 12, by Ruby's own word (the second test): fcgi was built against names that Ruby 3 took
# away; ffi-yajl's two count on a libyajl that the gem's Ruby half opens by hand; pg-query's is a leftover for Ruby 3.0.
does_not_load='/(fcgi|ffi_yajl/ext/encoder|ffi_yajl/ext/parser)\.so$'

@test "each extension of Debian's packages is compatible with its own Ruby" {
	local filter
	for filter in '[.gems[] | select(.compatibility_status == "compatible")] | length >= 250' \
		'[.gems[] | select(.compatibility_status != "compatible") | .path | select(test($known) | not)] == []' \
		'[.gems[] | select(.path | test($known)) | .compatibility_status] | length == 3 and all(. == "broken")' \
		'[.problems[] | select(.kind != "gem")] | length == 1 and (.[0] | .kind == "no_ruby" and (.path | contains("/3.0.0/")))'; do
		jq -e --arg known "$does_not_load" "$filter" "$WORK/checked.json" >/dev/null || {
			echo "$filter"
			jq -c '.problems' "$WORK/checked.json"
			return 1
		}
	done
}

# load FILE…: by the Ruby of the root, one behind the other. That the Ruby half of a gem is not there (NameError) is none of
# the linker's business: its object was loaded, and its Init ran.
loads() {
	timeout 20 chroot "$DEBIAN" ruby -e 'ARGV.each do |file|
		require file
	rescue LoadError => e
		abort e.message if e.message.match?(/undefined symbol|cannot open shared object|incompatible library/)
	rescue StandardError
	end' "$@" 2>"$WORK/loads.err" >/dev/null </dev/null
}

# The same, with those before it whose names it asks for, and theirs before them: as the Ruby half of its gem does.
loads_after_others() {
	local before=() one kept name giver tries=0
	until loads "${before[@]}" "$1"; do
		name=$(sed -n 's/.*undefined symbol: \([A-Za-z0-9_]*\).*/\1/p' "$WORK/loads.err" | head -n 1)
		giver=$(awk -v name="$name" '$2 == name {print $1; exit}' "$WORK/gives")
		[ -n "$giver" ] && ((++tries < 32)) || return 1
		kept=()
		for one in "${before[@]}"; do
			[ "$one" = "$giver" ] || kept+=("$one")
		done
		before=("$giver" "${kept[@]}")
	done
}

@test "and loads, where the check says so; and does not, where it does not" {
	local path status bad=0
	(cd "$DEBIAN" && find usr/lib/*/ruby/vendor_ruby usr/lib/*/rubygems-integration/3.1.0/extensions -name '*.so' -type f |
		while read -r path; do nm -D --defined-only "$path" | awk -v path="/$path" '{print path, $3}'; done) >"$WORK/gives"
	while IFS=$'\t' read -r path status; do
		if loads_after_others "$path"; then
			[ "$status" = compatible ] || { echo "$path loads, and is called $status"; bad=1; }
		else
			[ "$status" != compatible ] || { echo "$path is called compatible: $(head -n 3 "$WORK/loads.err")"; bad=1; }
		fi
	done < <(jq -r '.gems[] | select(.path | endswith(".so")) | [.path, .compatibility_status] | @tsv' "$WORK/checked.json")
	[ "$bad" = 0 ]
}

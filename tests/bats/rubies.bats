#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# A smoke of what `make test-rubies` does at length: on each Ruby one crash of each cause, handler and context, in one of the places,
# held against what the process told before it died, against Ruby's own report and, where there is a core file, against gdb. The
# systems of Ruby 2.7 and 3.3 are made by scripts/rubies.

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || exit 1
	read -r pattern </proc/sys/kernel/core_pattern
	[ "$pattern" = core ] || skip "core_pattern is not 'core' here"
}

# smoke NAME VERSION: nothing of any crash was wrong, and enough was compared.
smoke() {
	local rubies=${LAPIDARY_RUBIES:-$PWD/build/rubies}
	[ "$1" = host ] || [ -e "$rubies/$1/usr/bin/ruby" ] || skip "scripts/rubies makes it"
	ON=$1 tests/bench/crashes smoke >"$BATS_TEST_TMPDIR/out" 2>&1 || { cat "$BATS_TEST_TMPDIR/out" >&2; return 1; }
	[ "$(awk '/crashes .* held against gdb/ {print ($1 >= 70 && $10 >= 8)}' <(sed 's/,//g' "$BATS_TEST_TMPDIR/out"))" = 1 ] ||
		{ cat "$BATS_TEST_TMPDIR/out" >&2; return 1; }
	grep -E 'crashes,|cells right|fault to finished' "$BATS_TEST_TMPDIR/out" | sed "s/^/# $1: /" >&3
}

@test "Property 17: this host's Ruby: whatever it dies of, stacks, maps, cause and blame are what the process had" {
	smoke host
}

@test "Property 17: Ruby 2.7 in a system of its own: the same" {
	smoke bullseye
}

@test "Property 17: Ruby 3.3 in a system of its own, with a library that is stripped: the same" {
	smoke trixie
}

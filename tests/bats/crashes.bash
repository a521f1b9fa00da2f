# SPDX-License-Identifier: Apache-2.0
#
# The generator of crashes (tests/crashes): Ruby processes that fork children which tell the truth and die. Needs helper.bash.

RUBIES=${LAPIDARY_RUBIES:-$ROOT/build/rubies}

# crashes_root RUBY: "host", or the chroot of that name.
crashes_root() {
	if [ "$1" = host ]; then echo /; else echo "$RUBIES/$1"; fi
}

# crashes_build RUBY: compiles the gem for it, once: $WORK/gems.RUBY/crashes-1.2.0/lib/*.so
crashes_build() {
	local root out=$WORK/gems.$1
	root=$(crashes_root "$1")
	[ ! -d "$out" ] || return 0
	mkdir "$out"
	if [ "$root" = / ]; then
		"$ROOT/tests/crashes/build" "$out/crashes-1.2.0"
	else
		rm -rf "$root/crashes"
		cp -r "$ROOT/tests/crashes" "$root/crashes"
		chroot "$root" /crashes/build /crashes/gems/crashes-1.2.0
		cp -r "$root/crashes/gems/." "$out"
		rm -rf "$root/crashes"
	fi
}

# zygote_start NAME RUBY PLACE: a generator; its folder is $WORK/NAME, its truth $WORK/NAME/truth. Watched when this returns.
# CRASHES_GROUP=FOLDER: in this cgroup. Set it for what waits to die for lack of memory.
zygote_start() {
	local folder=$WORK/$1
	crashes_build "$2"
	mkdir "$folder" "$folder/truth" "$folder/here" "$folder/here/gems"
	cp "$ROOT/tests/crashes/zygote.rb" "$folder"
	cp -r "$WORK/gems.$2" "$folder/gems"
	[ "$3" = namespaces ] || cp -r "$folder/gems/." "$folder/here/gems"
	mkfifo -m 0666 "$folder/orders"
	chmod -R a+rX "$folder"
	chown -R nobody "$folder/truth" "$folder/here"
	crashes_root "$2" >"$folder/root"
	echo "$2 $3" >"$folder/cell"
	process_start "$1" "$ROOT/tests/crashes/launch" "$(crashes_root "$2")" "$3" "$folder"
	wait_until 20 grep -q ^ready "$WORK/$1.out" || { cat "$WORK/$1.err" >&2; return 1; }
	[ -n "${CRASHES_UNWATCHED:-}" ] || watch_wait "$(zygote_pid "$1")"
}

zygote_pid() {
	awk '$1 == "ready" {print $2}' "$WORK/$1.out"
}

# zygote_order NAME LINES: see tests/crashes/zygote.rb
zygote_order() {
	printf '%s\n' "$2" >"$WORK/$1/orders"
}

# zygote_wait NAME COUNT [SECONDS]: so many have died.
zygote_wait() {
	wait_until "${3:-60}" zygote_died "$1" "$2"
}

zygote_died() {
	[ "$(grep -c ^died "$WORK/$1.out")" -ge "$2" ]
}

# zygote_end NAME: no more orders; it ends when the last child is dead, and a chroot holds nothing of it.
zygote_end() {
	local root
	root=$(<"$WORK/$1/root")
	zygote_order "$1" end
	wait_until 30 session_empty "$(process_pid "$1")"
	[ "$root" = / ] || rmdir -p --ignore-fail-on-non-empty "$root$WORK/$1"
}

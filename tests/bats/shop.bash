# SPDX-License-Identifier: Apache-2.0
#
# The watched app: a Puma cluster of three workers that runs as nobody, with the gem that crashes. The gem
# is compiled into a folder that looks like an installed gem, because that is how its name is found.

CRASHY=gems/crashy-1.0.0/lib/crashy.so

# Compiles the extension: $WORK/gems/crashy-1.0.0/lib/crashy.so
crashy_build() {
	local folder=$WORK/gems/crashy-1.0.0
	mkdir -p "$folder/lib" "$folder/ext"
	cp "$ROOT"/tests/bats/crashy/* "$folder/ext"
	(cd "$folder/ext" && ruby extconf.rb && make) >"$WORK/crashy.log" 2>&1 ||
		{ cat "$WORK/crashy.log" >&2; return 1; }
	mv "$folder/ext/crashy.so" "$folder/lib"
}

crashy_path() {
	echo "$WORK/$CRASHY"
}

crashy_build_id() {
	readelf -n "$(crashy_path)" | awk '/Build ID/ {print $3}'
}

# crashy_holds FUNCTION OFFSET: the offset (0x…) lies in that C function of crashy.so.
crashy_holds() {
	nm -S "$(crashy_path)" | awk -v name="crashy_$1" '$4 == name {print $1, $2}' | {
		read -r start size || return 1
		(($2 >= 16#$start && $2 < 16#$start + 16#$size))
	}
}

# What an app loads of Lapidary, where nobody can read it: the clone may lie where only root can.
library_copy() {
	mkdir -p "$WORK/ruby"
	cp -r "$ROOT/user/ruby/lib" "$WORK/ruby"
	chmod -R a+rX "$WORK/ruby"
}

# shop_start [NAME=VALUE…]: ready when a worker answers. Runs in the session "shop", as SHOP_CONFIG says.
shop_start() {
	mkdir -p "$WORK/shop"
	chown nobody "$WORK/shop"
	rm -f "$WORK/shop/app.sock"
	process_start shop env SHOP_SOCKET="$WORK/shop/app.sock" SHOP_DATABASE="$SHOP_DATABASE" \
		RUBYLIB="$WORK/gems/crashy-1.0.0/lib:$WORK/ruby/lib" HOME=/nonexistent "$@" \
		setpriv --reuid nobody --regid nogroup --clear-groups \
		puma -q -C "$WORK/app/${SHOP_CONFIG:-puma.rb}"
	wait_until 30 shop_whole || { tail -n 50 "$WORK/shop.out" "$WORK/shop.err" >&2; return 1; }
}

shop_stop() {
	process_stop shop TERM 30
}

shop_master() {
	process_pid shop
}

shop_workers() {
	pgrep -P "$(shop_master)"
}

# Every worker has loaded the app and answers: a mapped crashy.so in each, and an answer.
shop_whole() {
	local worker count=0
	for worker in $(shop_workers); do
		grep -qs crashy.so "/proc/$worker/maps" && count=$((count + 1))
	done
	[ "$count" = "${SHOP_WORKERS:-3}" ] && shop_get /pid
}

# Whole, and every process of it watched with all its libraries.
shop_watched() {
	wait_until 30 shop_whole || return 1
	# shellcheck disable=SC2046 # pids
	watch_wait "$(shop_master)" $(shop_workers)
}

# shop_get PATH…: answers, one a line, all from one worker: "PID text", or "PID died".
shop_get() {
	timeout 30 ruby --disable-gems "$ROOT/tests/bats/app/request.rb" "$WORK/shop/app.sock" "$@"
}

# shop_die PATH: asks for it, expects the worker to die, prints its pid.
shop_die() {
	local pid word
	read -r pid word < <(shop_get "$1")
	[ "$word" = died ] || { echo "$1: the worker lives: $pid $word" >&2; return 1; }
	wait_until 20 process_gone "$pid" || return 1
	echo "$pid"
}

# ruby_start NAME USER SCRIPT [ARGUMENT…]: a script of app/ as a process of its own, in the session NAME.
ruby_start() {
	local name=$1 user=$2 script=$WORK/app/$3
	shift 3
	process_start "$name" env RUBYLIB="$WORK/gems/crashy-1.0.0/lib" HOME=/nonexistent \
		setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups ruby "$script" "$@"
}

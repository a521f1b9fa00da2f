#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Property 3 on real parts: the command that is told for an app is run as it is told, by sh, and then the gem
# loads, which it did not before. The gems are built here, their index is a folder of this test's; what apt-get
# changes is an overlay of this test's.

bats_require_minimum_version 1.5.0
load helper

# gem_make NAME VERSION: NAME-VERSION.gem, with an extension that is compiled at installation, and
# NAME-VERSION-x86_64-linux.gem, which holds an object for another Ruby alone.
gem_make() {
	local name=$1 version=$2 module=${1^} dir="$WORK/src/$1-$2"
	mkdir -p "$dir/ext" "$dir/lib/$name/9.9"
	printf 'require "mkmf"\ncreate_makefile("%s/%s")\n' "$name" "$name" >"$dir/ext/extconf.rb"
	printf '#include <ruby.h>\nvoid Init_%s(void);\nvoid Init_%s(void) { rb_define_module("%s"); }\n' \
		"$name" "$name" "$module" >"$dir/ext/$name.c"
	printf 'require "%s/#{RUBY_PLATFORM == "none" ? "" : "%s"}"\n' "$name" "$name" >"$dir/lib/$name.rb"
	echo 'for another Ruby' >"$dir/lib/$name/9.9/$name.so"
	cat >"$dir/$name.gemspec" <<-GEMSPEC
		Gem::Specification.new do |s|
		  s.name, s.version, s.summary, s.authors = "$name", "$version", "of a test", ["a test"]
		  s.homepage, s.license = "https://example.org", "MIT"
		  if ENV["PRECOMPILED"]
		    s.platform, s.files = "x86_64-linux", ["lib/$name.rb", "lib/$name/9.9/$name.so"]
		  else
		    s.files, s.extensions = ["lib/$name.rb", "ext/$name.c", "ext/extconf.rb"], ["ext/extconf.rb"]
		  end
		end
	GEMSPEC
	(cd "$dir" && gem build "$name.gemspec" && PRECOMPILED=1 gem build "$name.gemspec") >/dev/null 2>&1
	mv "$dir"/*.gem "$WORK/index/gems/"
}

setup_file() {
	work_begin
	unset GEMRC GEM_HOME GEM_PATH BUNDLE_PATH BUNDLE_GEMFILE RUBYOPT
	mkdir -p "$WORK/index/gems" "$WORK/home"
	mkdir -m 1777 "$WORK/cwd"
	export HOME=$WORK/home
	printf -- '---\n:sources:\n- file://%s/index/\ngem: --no-document\n' "$WORK" >"$HOME/.gemrc"
	gem_make stone 1.2.0
	gem_make flint 0.3.1
	(cd "$WORK/index" && gem generate_index >/dev/null 2>&1)
	chmod -R go+rX "$WORK"
	make -s -C "$ROOT" -j2 build/libgems.a build/libelf.a build/libbase.a >/dev/null
	cc -std=gnu11 -D_GNU_SOURCE -I"$ROOT" -o "$WORK/remedy" "$ROOT/tests/bats/remedy.c" \
		-Wl,--start-group "$ROOT"/build/lib{gems,elf,base}.a -Wl,--end-group -lcjson -lmd
	ruby=$(readlink -f "$(command -v ruby)")
	export ruby
}

teardown_file() {
	work_end
}

# mended COMMAND LOADS…: LOADS fails, COMMAND is run by sh from another folder, LOADS succeeds.
mended() {
	local command=$1
	shift
	echo "$command"
	[ -n "$command" ]
	run ! "$@"
	(cd "$WORK/cwd" && sh -euc "$command" </dev/null)
	"$@"
}

# loads DIR GEM
loads() {
	GEM_HOME=$1 GEM_PATH=$1 ruby -e 'require ARGV[0]; Object.const_get(ARGV[0].capitalize)' "$2"
}

# damage DIR: no object below it is one any more.
damage() {
	find "$1" -name '*.so' | while read -r object; do echo 'no ELF' >"$object.new" && mv "$object.new" "$object"; done
}

app_make() {
	mkdir -p "$1"
	printf 'source "file://%s/index"\ngem "stone"\n' "$WORK" >"$1/Gemfile"
	(cd "$1" && bundle config set --local path vendor/bundle && { [ -z "${2-}" ] || bundle config set --local "$2" true; } &&
		bundle install) >"$1/log" 2>&1
}

app_loads() {
	(cd "$1" && bundle exec "$ruby" -e 'require "stone"; Stone')
}

@test "Property 3: a gem whose extension was never built: gem pristine builds it" {
	GEM_HOME=$WORK/a gem install stone --version 1.2.0 --platform ruby >/dev/null
	loads "$WORK/a" stone
	rm -r "$WORK/a/extensions" "$WORK/a/gems/stone-1.2.0/lib/stone"
	mended "$("$WORK/remedy" gem=stone version=1.2.0 ruby="$ruby" gem_home="$WORK/a")" loads "$WORK/a" stone
}

@test "Property 3: a damaged extension, in a folder that means harm, of another user" {
	local home name
	# what make can build in is the tool's business: the worst name that it takes
	for name in "it's \$(touch harm)" "it's;touch harm" "it's"; do
		home=$WORK/$name
		mkdir "$home"
		chown nobody "$home"
		! runuser -u nobody -- env HOME="$WORK/home" GEM_HOME="$home" gem install stone --version 1.2.0 --platform ruby || break
	done >/dev/null 2>&1
	echo "in $home"
	damage "$home"
	mended "$("$WORK/remedy" gem=stone version=1.2.0 ruby="$ruby" user=nobody home="$WORK/home" gem_home="$home")" \
		loads "$home" stone
	[ "$(stat -c %U "$home/gems/stone-1.2.0/lib/stone/stone.so")" = nobody ]
	[ ! -e "$WORK/cwd/harm" ]
}

@test "Property 3: a precompiled gem without an object for this Ruby: compiled from source instead" {
	GEM_HOME=$WORK/c gem install stone --version 1.2.0 --platform x86_64-linux >/dev/null
	mended "$("$WORK/remedy" gem=stone version=1.2.0 platform=x86_64-linux ruby="$ruby" gem_home="$WORK/c")" \
		loads "$WORK/c" stone
}

@test "Property 3: Bundler: a damaged extension below vendor/bundle: bundle pristine" {
	app_make "$WORK/shop" force_ruby_platform
	app_loads "$WORK/shop"
	damage "$WORK/shop/vendor"
	mended "$("$WORK/remedy" by=bundler gem=stone version=1.2.0 ruby="$ruby" app="$WORK/shop")" app_loads "$WORK/shop"
}

@test "Property 3: Bundler: a precompiled gem without an object for this Ruby: the platform ruby is forced" {
	app_make "$WORK/pre compiled"
	[ -d "$WORK/pre compiled/vendor/bundle" ]
	mended "$("$WORK/remedy" by=bundler gem=stone version=1.2.0 platform=x86_64-linux ruby="$ruby" app="$WORK/pre compiled")" \
		app_loads "$WORK/pre compiled"
}

@test "Property 3: rbenv: the version that the app runs with is the one that builds" {
	local root=$WORK/rbenv program
	mkdir -p "$root/versions/3.1.7-test/bin"
	for program in ruby gem; do
		printf '#!/bin/sh\nexec %s "$@"\n' "${ruby/ruby/$program}" >"$root/versions/3.1.7-test/bin/$program"
		chmod 0755 "$root/versions/3.1.7-test/bin/$program"
	done
	GEM_HOME=$WORK/r gem install stone --version 1.2.0 --platform ruby >/dev/null
	damage "$WORK/r"
	mended "$("$WORK/remedy" by=rbenv gem=stone version=1.2.0 ruby="$root/versions/3.1.7-test/bin/ruby" \
		ruby_version=3.1.7-test rbenv_root="$root" gem_home="$WORK/r")" loads "$WORK/r" stone
}

@test "Property 3: Debian: the package is installed anew" {
	local command
	command=$("$WORK/remedy" by=debian gem=pg)
	[ "$command" = "apt-get install --reinstall ruby-pg" ]
	mkdir "$WORK/overlay"
	unshare -m bash -euo pipefail -c '
		mount -t tmpfs none "$1/overlay"
		for part in usr var etc; do
			mkdir "$1/overlay/$part" "$1/overlay/$part.work"
			mount -t overlay none -o "lowerdir=/$part,upperdir=$1/overlay/$part,workdir=$1/overlay/$part.work" "/$part"
		done
		object=$(find /usr/lib -name pg_ext.so | head -n 1)
		echo "no ELF" >"$object.new"
		mv "$object.new" "$object"
		! ruby -e "require %q(pg)" 2>/dev/null
		sh -euc "$2" </dev/null
		ruby -e "require %q(pg)"' bash "$WORK" "$command"
}

@test "Property 3: the script of several, read as it is: all of them load" {
	local gem
	GEM_HOME=$WORK/s gem install stone flint --platform ruby >/dev/null
	damage "$WORK/s"
	"$WORK/remedy" --script gem=stone version=1.2.0 ruby="$ruby" gem_home="$WORK/s" -- \
		gem=stone version=1.2.0 ruby="$ruby" gem_home="$WORK/s" -- \
		gem=flint version=0.3.1 ruby="$ruby" gem_home="$WORK/s" >"$WORK/fix"
	cat "$WORK/fix"
	[ "$(grep -c '^(' "$WORK/fix")" = 2 ]
	sh "$WORK/fix"
	for gem in stone flint; do loads "$WORK/s" "$gem"; done
}

@test "Property 3: a script ends with the first command that fails" {
	GEM_HOME=$WORK/e gem install stone --platform ruby >/dev/null
	damage "$WORK/e"
	"$WORK/remedy" --script gem=flint version=9.9 replace_with=9.9.9 ruby="$ruby" gem_home="$WORK/e" -- \
		gem=stone version=1.2.0 ruby="$ruby" gem_home="$WORK/e" >"$WORK/fails"
	run ! sh "$WORK/fails"
	run ! loads "$WORK/e" stone
}

# told GEM ARGS…: what lapidary check tells for the one extension of the gem that is wrong.
told() {
	local gem=$1
	shift
	"$LAPIDARY" check --static --json "$@" | jq -r --arg gem "$gem" '
		[.gems[] | select(.gem_name == $gem and .compatibility_status != "compatible") | .recompilation_command] | unique[]'
}

@test "Property 3: lapidary check finds it, tells the command, and is content afterwards: RubyGems" {
	export GEM_HOME=$WORK/k
	gem install stone --platform ruby >/dev/null
	"$LAPIDARY" check --static
	damage "$WORK/k"
	run -1 "$LAPIDARY" check --static
	mended "$(told stone)" loads "$WORK/k" stone
	"$LAPIDARY" check --static
}

@test "Property 3: lapidary check finds it, tells the command, and is content afterwards: Bundler" {
	app_make "$WORK/store" force_ruby_platform
	"$LAPIDARY" check --static "$WORK/store"
	damage "$WORK/store/vendor"
	run -1 "$LAPIDARY" check --static "$WORK/store"
	mended "$(told stone "$WORK/store")" app_loads "$WORK/store"
	"$LAPIDARY" check --static "$WORK/store"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Every --json document against its schema, by a judge that is not ours: python3-jsonschema. The C tests use
# our own reader of schemas, so this also shows that the schemas mean the same to both.

bats_require_minimum_version 1.5.0
load helper

setup_file() {
	work_begin
	agent_start
	process_start killed ruby -e 'sleep'
	process_start faulty ruby -rfiddle -e 'sleep 0.1 until File.exist?(ARGV[0]); Fiddle::Pointer.new(8)[0]' "$WORK/go"
	process_start bug ruby -rfiddle -e 'sleep 0.1 until File.exist?(ARGV[0])
		Fiddle::Function.new(Fiddle.dlopen(nil)["rb_bug"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOID).call("made %d up")' "$WORK/go"
	watch_wait "$(process_pid killed)" "$(process_pid faulty)" "$(process_pid bug)"
	touch "$WORK/go"
	kill -SEGV "$(process_pid killed)"
	crash_wait "$(process_pid killed)"
	crash_wait "$(process_pid faulty)"
	crash_wait "$(process_pid bug)"
}

teardown_file() {
	work_end
}

# valid SCHEMA: the document on standard input.
valid() {
	/usr/bin/python3 -c '
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
document = json.load(sys.stdin)
errors = list(jsonschema.Draft202012Validator(schema).iter_errors(document))
for error in errors:
    print("/" + "/".join(map(str, error.path)) + ": " + error.message, file=sys.stderr)
sys.exit(bool(errors))' "$ROOT/rules/schema/$1.schema.json"
}

@test "each schema is one, and refuses what is not of it" {
	local file name
	for file in "$ROOT"/rules/schema/*.schema.json; do
		name=$(basename "$file" .schema.json)
		run ! valid "$name" <<<'{"surprise": 1}'
	done
}

@test "listings of the store" {
	local name
	for name in crashes incidents decisions actions gaps; do
		lap "$name" --json | valid "$name"
		lap "$name" --json --state-dir "$WORK/agent.state" | jq -e --arg name "$name" '.[$name] | type == "array"'
	done
	check "$(lap crashes --json)" '.crashes | length >= 3'
	check "$(lap incidents --json)" '.incidents | length >= 1'
}

@test "Property 19: each report is of its schema, and the file in the bundle is what is shown" {
	local id bundle
	while read -r id bundle; do
		lap crash show "$id" --json 2>/dev/null | valid report
		valid report <"$bundle/report.json"
		diff <(jq -S . "$bundle/report.json") <("$LAPIDARY" crash show "$id" --json --state-dir "$WORK/agent.state" | jq -S .)
	done < <(lap crashes --json | jq -r '.crashes[] | "\(.id) \(.bundle)"')
}

@test "what the agent answers" {
	lap workers --json | valid workers
	lap health --json >"$WORK/health.json" || [ "$?" = 1 ]
	valid health <"$WORK/health.json"
	lap breakers --json | valid breakers
}

@test "what check finds: of the watched apps, of one process, of a root" {
	local pid
	process_start pg ruby -rpg -e 'sleep'
	pid=$(process_pid pg)
	watch_wait "$pid"
	# problems of this host are not this test's: 0 or 1
	lap check --json >"$WORK/check.json" || [ "$?" = 1 ]
	valid check <"$WORK/check.json"
	check "$(<"$WORK/check.json")" '.gems | any(.gem_name == "pg" and .pid != null)'
	lap check --pid "$pid" --json | valid check
	lap check --root / --json | valid check
}

@test "configuration" {
	"$LAPIDARY" config show --json --config "$ROOT/deploy/lapidary.json" | valid config
	"$LAPIDARY" config check "$ROOT/deploy/lapidary.json" --json | jq -e .valid
}

@test "the store reads the same without an agent" {
	lap crashes --json >"$WORK/before.json"
	agent_stop
	lap crashes --json | diff - "$WORK/before.json"
	lap gaps --json | valid gaps
	check "$(lap gaps --json)" '.gaps[0].to == null and .gaps[0].graceful'
}

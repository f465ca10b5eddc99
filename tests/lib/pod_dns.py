# SPDX-License-Identifier: Apache-2.0
"""One DNS question asked inside a workload, without the C library's resolver: pod_dns.py JSON -> JSON.

{"name", "type": 1, "over": "udp" | "udp-unconnected" | "tcp", "edns": 0, "server": address (else of resolv.conf), "raw": hex,
 "when": ask as soon as this file is there (within 20 s), having said "waits"}
-> {"rcode", "tc", "aa", "question", "answers": [[type, ttl, text]], "from": address} or {"timeout": true}
"""
import json
import os
import socket
import struct
import sys
import time


def encode(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def nameserver():
    with open("/etc/resolv.conf") as f:
        return next(line.split()[1] for line in f if line.startswith("nameserver"))


def message(ask):
    if ask.get("raw"):
        return bytes.fromhex(ask["raw"])
    m = struct.pack(">6H", 0x4242, 0x0100, 1, 0, 0, 1 if ask.get("edns") else 0)
    m += encode(ask["name"]) + struct.pack(">2H", ask.get("type", 1), 1)
    if ask.get("edns"):
        m += b"\0" + struct.pack(">HHIH", 41, ask["edns"], 0, 0)
    return m


def decode(m, question):
    ident, flags, qd, an = struct.unpack(">4H", m[:8])
    assert ident == 0x4242 and flags & 0x8000
    at, answers = 12 + (len(question) if qd else 0), []
    for _ in range(an):
        while m[at] and m[at] < 0xc0:
            at += 1 + m[at]
        at += 2 if m[at] >= 0xc0 else 1
        kind, _, ttl, n = struct.unpack(">HHIH", m[at:at + 10])
        value = m[at + 10:at + 10 + n]
        text = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, value) if kind in (1, 28) else value.hex()
        answers.append([kind, ttl, text])
        at += 10 + n
    return {"rcode": flags & 15, "tc": bool(flags & 0x200), "aa": bool(flags & 0x400), "answers": answers,
            "question": m[12:12 + len(question)] == question if qd else None}


def exchange(ask, m, server):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    stream = ask.get("over") == "tcp"
    with socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as s:
        s.settimeout(ask.get("timeout", 5))
        if ask.get("over") == "udp-unconnected":
            s.sendto(m, (server, 53))
            reply, peer = s.recvfrom(65535)
            return reply, peer
        s.connect((server, 53))
        if not stream:
            s.send(m)
            return s.recv(65535), s.getpeername()
        s.sendall(struct.pack(">H", len(m)) + m)
        got = b""
        while len(got) < 2 or len(got) < 2 + struct.unpack(">H", got[:2])[0]:
            part = s.recv(65535)
            assert part, "the connection ended before the answer"
            got += part
        return got[2:], s.getpeername()


def main():
    ask = json.loads(sys.argv[1])
    m = message(ask)
    if ask.get("when"):
        print("waits", flush=True)
        until = time.monotonic() + 20
        while not os.path.exists(ask["when"]) and time.monotonic() < until:
            time.sleep(0.02)
    try:
        reply, peer = exchange(ask, m, ask.get("server") or nameserver())
    except (socket.timeout, TimeoutError):
        print(json.dumps({"timeout": True}))
        return
    question = encode(ask["name"]) + struct.pack(">2H", ask.get("type", 1), 1) if not ask.get("raw") else b""
    print(json.dumps(dict(decode(reply, question), **{"from": f"{peer[0]}:{peer[1]}", "server": ask.get("server") or nameserver()})))


main()

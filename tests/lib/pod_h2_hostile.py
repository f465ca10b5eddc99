#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A hostile HTTP/2 origin: pod_h2_hostile.py PORT MUTE_PORT

Plays tests/vectors/h2_response.txt: a request for /case/NAME gets that case's bytes, on its stream; the second one for the same path, and
any other, a clean answer with target and connection. On MUTE_PORT nobody's SETTINGS are ever acknowledged.
"""
import itertools
import json
import socket
import struct
import sys
import threading

import hpack

import h2_vectors
from h2_vectors import ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITIZED, SETTINGS, frame, literal, settings

CASES = {c.name: c for c in h2_vectors.load("h2_response.txt")}
numbers = itertools.count(1)
tries, lock = {}, threading.Lock()


def on_stream(raw, stream):
    """The case's bytes with its stream 1 replaced by the request's, and GOAWAY's last stream likewise."""
    out = b""
    while len(raw) >= 9:
        length, kind, flags, n = int.from_bytes(raw[:3], "big"), *struct.unpack(">BBI", raw[3:9])
        payload, raw = raw[9:9 + length], raw[9 + length:]
        if kind > 12 and kind != 0x5f:  # no frame
            return out + struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, n) + payload + raw
        if kind == GOAWAY and payload[:4] == b"\0\0\0\1":
            payload = struct.pack(">I", stream) + payload[4:]
        out += frame(kind, flags, stream if n == 1 else n, payload, length)
    return out + raw


class Connection:
    def __init__(self, sock, acks):
        self.sock, self.acks, self.number = sock, acks, next(numbers)
        self.decoder, self.buffer, self.block = hpack.Decoder(max_header_list_size=1 << 20), b"", b""

    def take(self, n):
        while len(self.buffer) < n:
            got = self.sock.recv(65536)
            if not got:
                raise EOFError
            self.buffer += got
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def serve(self):
        with self.sock:
            try:
                self.take(len(PREFACE))
                self.sock.sendall(settings())
                while self.frame():
                    pass
            except (EOFError, OSError, hpack.HPACKError):
                pass

    def frame(self):
        head = self.take(9)
        length, kind, flags, stream = int.from_bytes(head[:3], "big"), *struct.unpack(">BBI", head[3:])
        payload = self.take(length)
        if kind == SETTINGS and not flags & ACK and self.acks:
            self.sock.sendall(settings(flags=ACK))
        elif kind == PING and not flags & ACK:
            self.sock.sendall(frame(PING, ACK, 0, payload))
        elif kind in (HEADERS, CONTINUATION):
            if kind == HEADERS and flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
            self.block = self.block + payload if kind == CONTINUATION else payload[5:] if flags & PRIORITIZED else payload
            if flags & END_HEADERS:
                return self.request(stream, dict(self.decoder.decode(self.block, raw=True)))
        return True

    def request(self, stream, fields):
        """False: the origin hangs up."""
        target = fields.get(b":path", b"/").decode("latin-1")
        name = target.removeprefix("/case/").split("?")[0]
        with lock:
            tries[target] = tries.get(target, 0) + 1
            first = tries[target] == 1
        if target.startswith("/case/") and name in CASES and first:
            self.sock.sendall(on_stream(CASES[name].raw, stream))
            if "hangs_up" in CASES[name].flags:
                self.sock.shutdown(socket.SHUT_RDWR)
                return False
            return True
        own = json.dumps({"target": target, "conn": self.number, "again": not first}).encode()
        block = b"".join(literal(n, v) for n, v in ((b":status", b"200"), (b"x-origin", b"1"), (b"content-length", b"%d" % len(own))))
        if fields.get(b":method") == b"HEAD":
            self.sock.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
        else:
            self.sock.sendall(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, own))
        return True


def listen(port, acks):
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", port))
    s.listen(512)
    while True:
        conn, _ = s.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Connection(conn, acks).serve, daemon=True).start()


def main(argv):
    threading.Thread(target=listen, args=(int(argv[2]), False), daemon=True).start()
    listen(int(argv[1]), True)


if __name__ == "__main__":
    main(sys.argv)

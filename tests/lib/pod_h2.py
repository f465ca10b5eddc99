#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One request of HTTP/2 in cleartext, frame by frame (python's h2); runs inside workloads.

    pod_h2.py FUNCTION JSON-ARGUMENTS      the result is printed as JSON
"""
import hashlib
import json
import os
import socket
import struct
import sys
import time

import h2.config
import h2.connection
import h2.events
import h2.settings

PATIENCE_S = 20


class Stream:
    """A connection with one request on it: events as they come."""

    def __init__(self, host, port, headers, end=True):
        self.sock = socket.create_connection((host, port), PATIENCE_S)
        self.sock.settimeout(PATIENCE_S)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.head, self.trailers, self.body, self.ended, self.reset = None, None, b"", False, None
        self.head_ended = False  # no frame came after the head
        self.headers, self.end, self.id = headers, end, None

    def start(self):
        self.id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(self.id, self.headers, end_stream=self.end)
        self.flush()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def turn(self):
        """What one read brings; False at the end of the connection."""
        raw = self.sock.recv(65536)
        if not raw:
            return False
        for e in self.h2.receive_data(raw):
            if isinstance(e, h2.events.ResponseReceived):
                self.head, self.head_ended = e.headers, e.stream_ended is not None
            elif isinstance(e, h2.events.TrailersReceived):
                self.trailers = e.headers
            elif isinstance(e, h2.events.DataReceived):
                self.body += e.data
                self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif isinstance(e, h2.events.StreamEnded):
                self.ended = True
            elif isinstance(e, h2.events.StreamReset):
                self.reset = int(e.error_code)
        self.flush()
        return True

    def until(self, what):
        while not what() and self.reset is None:
            if not self.turn():
                break

    def report(self):
        return {"head": self.head, "head_ended": self.head_ended, "trailers": self.trailers, "body": self.body.decode("latin1"),
                "ended": self.ended, "reset": self.reset}


def request(host, port, headers):
    s = Stream(host, port, headers)
    s.start()
    s.until(lambda: s.ended)
    return s.report()


# WebSocket over HTTP/2, RFC 8441

def frame(opcode, payload, fin=True):
    """A frame as a client sends it, masked."""
    mask = os.urandom(4)
    n = len(payload)
    size = bytes([128 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536 else b"\xff" + struct.pack(">Q", n)
    key = int.from_bytes((mask * (n // 4 + 1))[:n], "big")
    return bytes([128 * fin | opcode]) + size + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(n, "big")


class WebSocket(Stream):
    def __init__(self, host, port, path, authority):
        super().__init__(host, port, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path), (":authority", authority),
                                      ("sec-websocket-version", "13")], end=False)
        self.flush()
        self.may = None
        deadline = time.monotonic() + PATIENCE_S
        while self.may is None and time.monotonic() < deadline:
            if not self.turn():
                break
            self.may = self.h2.remote_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL, 0)

    def open(self):
        self.start()
        self.until(lambda: self.head)
        return dict(self.head or []).get(":status")

    def send(self, raw):
        while raw:
            room = min(self.h2.local_flow_control_window(self.id), self.h2.max_outbound_frame_size, len(raw))
            if room > 0:
                self.h2.send_data(self.id, raw[:room])
                raw = raw[room:]
                self.flush()
            else:
                self.turn()

    def frame(self):
        """(opcode, payload) of the next frame; servers send no masks."""
        self.until(lambda: len(self.body) >= 2 or self.ended)
        n, at = self.body[1] & 127, 2
        if n > 125:
            at += 2 if n == 126 else 8
            self.until(lambda: len(self.body) >= at)
            n = int.from_bytes(self.body[2:at], "big")
        self.until(lambda: len(self.body) >= at + n)
        opcode, payload, self.body = self.body[0], self.body[at:at + n], self.body[at + n:]
        return opcode, payload

    def message(self):
        opcode, whole = self.frame()
        last = opcode
        while not last & 128:
            last, part = self.frame()
            whole += part
        return opcode & 15, whole


def websocket(host, port, path="/", sizes=(5, 70000, 1 << 20)):
    """Echoes of these sizes, a ping, a fragmented message, and the close handshake, on one stream."""
    w = WebSocket(host, port, path, host)
    result = {"may": w.may, "status": None}
    if not w.may:
        return result
    result["status"] = w.open()
    if result["status"] != "200":
        return dict(result, **w.report())
    result["echoed"] = []
    for n in sizes:
        payload = (hashlib.sha256(str(n).encode()).digest() * (n // 32 + 1))[:n]
        w.send(frame(2, payload))
        result["echoed"].append(w.message() == (2, payload))
    w.send(frame(9, b"there?"))
    result["pong"] = w.frame() == (128 | 10, b"there?")
    w.send(frame(1, b"in ", fin=False) + frame(0, b"three ", fin=False) + frame(0, b"parts"))
    result["fragments"] = w.message() == (1, b"in three parts")
    w.send(frame(8, struct.pack(">H", 1000)))
    opcode, payload = w.frame()
    result["close"] = opcode & 15 == 8 and int.from_bytes(payload[:2], "big")
    w.h2.end_stream(w.id)  # hypercorn leaves its half of the stream open, until it closes the connection
    w.flush()
    return result


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))), flush=True)

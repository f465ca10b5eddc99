#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 vectors on live connections; runs inside workloads and beside them, as pod_vectors.py does for HTTP/1.1.

    pod_h2_vectors.py origin PORT SOCKET    a recording origin that reads with python h2, which has nothing in common with ours
    pod_h2_vectors.py requests < job        hostile callers, prior knowledge over cleartext
    pod_h2_vectors.py responses < job       good callers of a hostile origin (pod_h2_hostile.py)

After each case a clean request on the same connection, where that stays open, and two on a fresh one must get their own answers.
"""
import json
import socket
import struct
import sys
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack

from h2_vectors import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITIZED, PUSH_PROMISE, RST_STREAM, SETTINGS,
                        WINDOW_UPDATE, CONTINUATION, code_name, frame, request_block, settings)
from pod_vectors import MOST_BYTES, NEVER, PATIENCE_S, SILENCE_S, Control, Origin, send_apart, text


class H2Origin(Origin):
    """Answers each request with its target and the connection's number."""

    def _connection(self, sock):
        with self.changed:
            c = {"id": len(self.connections), "raw": b"", "messages": [], "error": None, "closed": None, "unclean": False}
            self.connections.append(c)
        how = "end"
        with sock:
            try:
                self._read(sock, c)
            except OSError:
                how = "reset"
            except h2.exceptions.ProtocolError as e:
                how, c["error"] = "by the origin", f"{type(e).__name__}: {e}"
        with self.changed:
            c["closed"] = how
            self.changed.notify_all()

    def _read(self, sock, c):
        h = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None, normalize_inbound_headers=False))
        h.initiate_connection()
        h.decoder.max_header_list_size = MOST_BYTES  # what is too much is said by others
        open_streams = {}
        sock.sendall(h.data_to_send())
        while True:
            got = sock.recv(65536)
            if not got:
                return
            with self.changed:
                c["raw"] += got
            try:
                for event in h.receive_data(got):
                    self._event(h, c, open_streams, event)
                    if isinstance(event, h2.events.ConnectionTerminated):
                        return
            finally:
                with self.changed:
                    c["unclean"] = bool(open_streams)
                    self.changed.notify_all()
                sock.sendall(h.data_to_send())

    def _event(self, h, c, open_streams, event):
        if isinstance(event, h2.events.RequestReceived):
            open_streams[event.stream_id] = [event.headers, b"", []]
        elif isinstance(event, h2.events.DataReceived):
            open_streams[event.stream_id][1] += event.data
            if event.flow_controlled_length:
                h.increment_flow_control_window(event.flow_controlled_length)
                h.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            open_streams[event.stream_id][2] = event.headers
        elif isinstance(event, h2.events.StreamReset):
            open_streams.pop(event.stream_id, None)
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(h, c, event.stream_id, *open_streams.pop(event.stream_id))

    def _answer(self, h, c, stream, headers, body, trailers):
        headers = [[text(n), text(v)] for n, v in headers]
        pseudo = {n: v for n, v in headers if n.startswith(":")}
        m = {"method": pseudo[":method"], "target": pseudo.get(":path", ""), "authority": pseudo.get(":authority"), "scheme": pseudo.get(":scheme"),
             "fields": [f for f in headers if not f[0].startswith(":")], "body": text(body), "trailers": [f"{text(n)}: {text(v)}" for n, v in trailers]}
        with self.changed:
            self.n_messages += 1
            c["messages"].append({"number": self.n_messages, "at": [0, len(c["raw"])], **m})
        own = json.dumps({"conn": c["id"], "target": m["target"]}).encode()
        head = [(":status", "200"), ("x-origin", "1"), ("content-length", str(len(own)))]
        h.send_headers(stream, head, end_stream=m["method"] == "HEAD")
        if m["method"] != "HEAD":
            h.send_data(stream, own, end_stream=True)


class Caller:
    """One HTTP/2 connection, read frame by frame."""

    def __init__(self, where, patience=PATIENCE_S, acks=True):
        self.socket = socket.create_connection(tuple(where), timeout=patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.patience, self.acks = patience, acks
        self.decoder = hpack.Decoder(max_header_list_size=1 << 24)
        self.decoder.max_allowed_table_size = 1 << 20
        self.buffer, self.block, self.streams = b"", None, {}
        self.over, self.goaway, self.fault, self.h1 = None, None, None, ""
        self.n_frames = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def send(self, parts):
        try:
            send_apart(self.socket, parts)
        except OSError:  # refused before all was sent: the answer tells
            pass

    def stream(self, n):
        return self.streams.setdefault(n, {"statuses": [], "fields": [], "body": "", "trailers": [], "end": False, "reset": None})

    def is_over(self, n):
        return n in self.streams and (self.streams[n]["end"] or self.streams[n]["reset"] is not None)

    def pump(self, done, patience=None):
        """Reads until done() or the end; False when neither came."""
        deadline = time.monotonic() + (patience or self.patience)
        while not done() and not self.over:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.socket.settimeout(left)
            try:
                got = self.socket.recv(65536)
                self.over = None if got else "end"
            except socket.timeout:
                return False
            except OSError:
                got, self.over = b"", "reset"
            self.buffer += got
            self.frames()
        return True

    def frames(self):
        if self.buffer[:5] == b"HTTP/":
            self.h1 = text(self.buffer)
            return
        while len(self.buffer) >= 9:
            length, kind, flags, stream = int.from_bytes(self.buffer[:3], "big"), *struct.unpack(">BBI", self.buffer[3:9])
            if len(self.buffer) < 9 + length:
                return
            payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
            self.n_frames[kind] = self.n_frames.get(kind, 0) + 1
            try:
                self.frame(kind, flags, stream & 0x7fffffff, payload)
            except (hpack.HPACKError, IndexError, struct.error) as e:
                self.fault, self.over = f"frame {kind} on {stream}: {type(e).__name__}: {e}", "our reading"

    def frame(self, kind, flags, stream, payload):
        if kind in (DATA, HEADERS, PUSH_PROMISE) and flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if kind == DATA:
            self.stream(stream)["body"] += text(payload)
            if payload and self.acks:
                self.send([frame(WINDOW_UPDATE, 0, n, struct.pack(">I", len(payload))) for n in ([0] if flags & END_STREAM else [0, stream])])
        elif kind == HEADERS:
            self.block = payload[5:] if flags & PRIORITIZED else payload
        elif kind == CONTINUATION:
            self.block += payload
        elif kind == PUSH_PROMISE:
            self.fault = "a push was promised"
        elif kind == RST_STREAM:
            self.stream(stream)["reset"] = code_name(struct.unpack(">I", payload)[0])
        elif kind == GOAWAY:
            last, code = struct.unpack(">II", payload[:8])
            self.goaway = {"last": last & 0x7fffffff, "code": code_name(code), "debug": text(payload[8:])}
        elif kind == SETTINGS and not flags & ACK and self.acks:
            self.send([settings(flags=ACK)])
        elif kind == PING and not flags & ACK and self.acks:
            self.send([frame(PING, ACK, 0, payload)])
        if kind in (HEADERS, CONTINUATION) and flags & END_HEADERS:
            self.section(self.stream(stream), self.decoder.decode(self.block, raw=True))
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.stream(stream)["end"] = True

    @staticmethod
    def section(s, fields):
        fields = [[text(n), text(v)] for n, v in fields]
        status = [int(v) for n, v in fields if n == ":status"]
        if status:
            s["statuses"] += status
            s["fields"] = [f for f in fields if f[0] != ":status"]
        else:
            s["trailers"] = [f"{n}: {v}" for n, v in fields]

    def probe(self, stream, target):
        """None when a clean request got its own answer, else what it got."""
        self.send([frame(HEADERS, END_HEADERS | END_STREAM, stream, request_block(b"GET", target.encode(), b"a"))])
        self.pump(lambda: self.is_over(stream))
        got = self.streams.get(stream)
        try:
            own = got["statuses"][-1:] == [200] and got["end"] and json.loads(got["body"])["target"] == target
        except (ValueError, TypeError):
            own = False
        return None if own else {"got": got, "over": self.over, "goaway": self.goaway, "fault": self.fault, "h1": self.h1}


def fresh_probes(where, name, patience):
    try:
        return _fresh_probes(where, name, patience)
    except OSError as e:  # nobody is there any more
        return [str(e)]


def _fresh_probes(where, name, patience):
    with Caller(where, patience) as fresh:
        fresh.send([PREFACE + settings()])
        return [w for w in (fresh.probe(1 + 2 * i, f"/probe/{name}/{i}") for i in range(2)) if w]


def one_request(job, control, case, before):
    patience = job.get("patience", PATIENCE_S)
    with Caller(job["where"], patience, acks=not case["last"]) as caller:
        for what, value in case["steps"]:
            if what == "wait":
                caller.pump(lambda: caller.is_over(value))
            else:
                caller.send([p.encode("latin-1") for p in value])
        if case["last"]:
            caller.pump(lambda: all(map(caller.is_over, case["awaited"])) if case["awaited"] else False, patience if case["awaited"] else SILENCE_S)
        elif case["closes"]:
            caller.pump(lambda: False)
        else:
            caller.pump(lambda: all(map(caller.is_over, case["awaited"])))
        same = None
        if case["probe"] and not caller.over:
            same = caller.probe(case["probe"], f"/probe/{case['name']}/same")
            caller.streams.pop(case["probe"], None)
        if case["last"]:
            caller.socket.close()
        seen = control("since", number=before["number"], settle=patience)
    wrong = fresh_probes(job["where"], case["name"], patience)
    return {"name": case["name"], "streams": caller.streams, "goaway": caller.goaway, "over": caller.over, "fault": caller.fault, "h1": caller.h1,
            "same": same, "seen": [m for m in seen["messages"] if not m["target"].startswith("/probe/")], "unclean": seen["unclean"], "wrong": wrong,
            "reached": seen["bytes"] - before["bytes"], "unreadable": seen["errors"] - before["errors"]}


def requests(job):
    with Control(job["control"]) as control:
        return [one_request(job, control, c, control("since", number=NEVER)) for c in job["cases"]]


def one_response(job, case):
    """A good caller of the hostile origin's path; then clean requests on the same connection and a fresh one."""
    patience = job.get("patience", PATIENCE_S)
    with Caller(job["where"], patience) as caller:
        caller.send([PREFACE + settings()])
        block = request_block(case["method"].encode(), case["target"].encode(), b"a")
        caller.send([frame(HEADERS, END_HEADERS | END_STREAM, 1, block)])
        silent = not caller.pump(lambda: caller.is_over(1))
        same = caller.probe(3, f"/probe/{case['name']}/same") if not caller.over else {"over": caller.over, "goaway": caller.goaway}
    wrong = fresh_probes(job["where"], case["name"], patience)
    return {"name": case["name"], "stream": caller.stream(1), "silent": silent, "same": same, "fault": caller.fault, "wrong": wrong}


def responses(job):
    done = []
    for case in job["cases"]:
        done.append(one_response(job, case))
        if "refused" in str(done[-1]["wrong"]):
            break  # the proxy is gone
    return done


def main(argv):
    if argv[1] == "origin":
        origin = H2Origin()
        threading.Thread(target=origin.control, args=(argv[3],), daemon=True).start()
        origin.serve(int(argv[2]))
    print(json.dumps(globals()[argv[1]](json.load(sys.stdin))))


if __name__ == "__main__":
    main(sys.argv)

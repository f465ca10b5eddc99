#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Message vectors on live connections; runs inside workloads and beside them.

    pod_vectors.py origin PORT SOCKET    a recording origin: every byte that reached it, per connection
    pod_vectors.py requests < job        hostile callers; the job and what came of it are JSON
    pod_vectors.py responses < job       a good caller of a hostile origin

The origin reads with h11, a parser that has nothing in common with ours. It is asked over a unix socket, which passes
by the mesh. After each case a clean request on the same connection, where that stays open, and two on a fresh one must
get their own answers.
"""
import contextlib
import json
import socket
import sys
import threading
import time

import h11

PATIENCE_S = 3  # until an end that should have come is given up
SILENCE_S = 0.03
NEVER = 1 << 60  # number of a message
MOST_BYTES = 1 << 21


def text(raw):
    return bytes(raw).decode("latin-1")


def send_apart(sock, parts):
    """In parts that the other side can see one by one."""
    for part in parts:
        sock.sendall(part)
        if len(parts) > 1:
            time.sleep(0.001 if len(parts) < 10 else 0.0003)


class Origin:
    """Answers each request with its target and the connection's number, or with the bytes set for that target."""

    def __init__(self):
        self.changed = threading.Condition()
        self.connections, self.scripts, self.n_messages = [], {}, 0

    def serve(self, port):
        s = socket.socket(socket.AF_INET6)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.bind(("::", port))
        s.listen(512)
        while True:
            conn, _ = s.accept()
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._connection, args=(conn,), daemon=True).start()

    def _connection(self, sock):
        with self.changed:
            c = {"id": len(self.connections), "raw": b"", "messages": [], "error": None, "closed": None, "unclean": False}
            self.connections.append(c)
        how = "by the origin"
        with sock:
            try:
                while self._message(sock, c):
                    pass
            except EOFError:
                how = "end"
            except OSError:
                how = "reset"
            except h11.RemoteProtocolError as e:
                c["error"] = str(e)
        with self.changed:
            c["closed"] = how
            self.changed.notify_all()

    def _message(self, sock, c):
        """One request and its answer; False: the origin closes."""
        h = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_BYTES)
        head, body, event, begins = None, b"", None, len(c["raw"])
        while type(event) is not h11.EndOfMessage:
            event = h.next_event()
            if event is h11.NEED_DATA:
                if h.they_are_waiting_for_100_continue:
                    sock.sendall(h.send(h11.InformationalResponse(status_code=100, headers=[])))
                got = sock.recv(65536)
                if not got:
                    raise EOFError
                with self.changed:
                    c["raw"] += got
                    c["unclean"] = True  # inside a message
                h.receive_data(got)
            elif type(event) is h11.Request:
                head = event
                early = self.scripts.get(text(head.target), {}).get("early")
                if early:
                    c["unclean"] = True
                    sock.sendall(early.encode("latin-1"))
            elif type(event) is h11.Data:
                body += bytes(event.data)
        if h.trailing_data[0]:
            raise h11.RemoteProtocolError("bytes behind a request: " + text(h.trailing_data[0]))
        target = text(head.target)
        with self.changed:
            self.n_messages += 1
            c["messages"].append({"number": self.n_messages, "at": [begins, len(c["raw"])], "method": text(head.method), "target": target, "body": text(body),
                                  "fields": [[text(n), text(v)] for n, v in head.headers.raw_items()],
                                  "trailers": [f"{text(n)}: {text(v)}" for n, v in event.headers.raw_items()]})
            script = self.scripts.get(target)
            c["unclean"] = bool(script)  # until it is known that this answer may be followed by another
        if script:
            send_apart(sock, [p.encode("latin-1") for p in script["parts"]])
            got = b""
            while not got.endswith(script.get("until", "").encode()):
                got += sock.recv(65536)
            sock.sendall(got)
            return not script["end"]
        own = json.dumps({"conn": c["id"], "target": target}).encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-Origin: 1\r\nContent-Length: %d\r\n\r\n" % len(own) + (b"" if head.method == b"HEAD" else own))
        return True

    def control(self, path):
        s = socket.socket(socket.AF_UNIX)
        s.bind(path)
        s.listen(16)
        while True:
            conn, _ = s.accept()
            threading.Thread(target=self._asked, args=(conn,), daemon=True).start()

    def _asked(self, conn):
        with conn, conn.makefile("rw") as f:
            for line in f:
                args = json.loads(line)
                with self.changed:
                    result = getattr(self, "op_" + args.pop("op"))(**args)
                f.write(json.dumps(result) + "\n")
                f.flush()

    def op_script(self, scripts):
        self.scripts = scripts

    def op_since(self, number, settle=True):
        """Messages newer than this one; before that, settle (True, or seconds) waits until unclean connections have been closed."""
        deadline = time.monotonic() + (PATIENCE_S if settle is True else settle)
        while settle and self._unclean() and self.changed.wait(deadline - time.monotonic()):
            pass
        new = [{**m, "conn": c["id"]} for c in self.connections for m in c["messages"] if m["number"] > number]
        return {"number": self.n_messages, "messages": sorted(new, key=lambda m: m["number"]), "unclean": self._unclean(),
                "bytes": sum(len(c["raw"]) for c in self.connections), "errors": sum(c["error"] is not None for c in self.connections)}

    def op_clean(self):
        """The connections that are open may be used again."""
        for c in self.connections:
            c["unclean"] = False

    def op_history(self):
        return [{**c, "raw": text(c["raw"])} for c in self.connections]

    def _unclean(self):
        return [c["id"] for c in self.connections if c["unclean"] and not c["closed"]]


class Control:
    """The caller's end of the origin's unix socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw")

    def __call__(self, op, **args):
        self.file.write(json.dumps({"op": op, **args}) + "\n")
        self.file.flush()
        return json.loads(self.file.readline())

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.file.close()
        self.socket.close()


class Caller:
    """One raw connection."""

    def __init__(self, where):
        self.socket = socket.create_connection(tuple(where), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left, self.over = b"", None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def send(self, parts):
        with contextlib.suppress(OSError):  # refused before all was sent: the answer tells
            send_apart(self.socket, parts)

    def receive(self):
        """The next bytes; b"" when there are none, and self.over says why."""
        try:
            got = self.socket.recv(65536)
        except socket.timeout:
            self.over = "silence"
            return b""
        except OSError:
            self.over = "reset"
            return b""
        if not got:
            self.over = "end"
        return got

    def rest(self):
        """Everything up to the end."""
        got = self.left
        while not self.over:
            got += self.receive()
        return text(got)

    def answer(self, method="GET", upgrade=None, late=""):
        """The next final answer, with the interim ones before it, as h11 reads it; late: sent when it is a tunnel."""
        h = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_BYTES)
        ours = [("Host", "a")] + ([("Upgrade", upgrade), ("Connection", "Upgrade")] if upgrade else [])
        h.send(h11.Request(method=method, target="/", headers=ours))
        h.send(h11.EndOfMessage())
        got = {"statuses": [], "fields": [], "body": "", "trailers": [], "whole": False, "error": None}
        raw, self.left = self.left, b""
        if raw:
            h.receive_data(raw)
        try:
            while not got["whole"]:
                event = h.next_event()
                if event is h11.NEED_DATA:
                    part = self.receive()
                    if not part and self.over != "end":
                        break
                    raw += part
                    h.receive_data(part)
                elif type(event) in (h11.InformationalResponse, h11.Response):
                    got["statuses"].append(event.status_code)
                    got["fields"] = [[text(n), text(v)] for n, v in event.headers.raw_items()]
                elif type(event) is h11.Data:
                    got["body"] += text(event.data)
                elif event is h11.PAUSED:  # 101: what follows is no HTTP
                    self.left = h.trailing_data[0]
                    self.send([late.encode()])
                    n, body = len(self.left), self.rest()
                    raw += body[n:].encode("latin-1")
                    got.update(body=body, whole=True)
                    self.left = b""
                elif type(event) is h11.EndOfMessage:
                    got.update(trailers=[f"{text(n)}: {text(v)}" for n, v in event.headers.raw_items()], whole=True)
                    self.left = h.trailing_data[0]
                else:
                    break
        except h11.RemoteProtocolError as e:
            got["error"] = str(e)
        got["raw"] = text(raw[:len(raw) - len(self.left)])
        return got

    def probe(self, target):
        """None when a clean request got its own answer, else what it got."""
        self.send([f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()])
        got = self.answer()
        try:
            own = got["whole"] and got["statuses"] == [200] and json.loads(got["body"])["target"] == target and not self.left
        except ValueError:
            own = False
        return None if own else got


def probes(where, caller, name):
    """What clean requests got that was not their own: on the case's connection, where it is open, and twice on a fresh one."""
    wrong = [caller.probe(f"/probe/{name}/same")] if caller else []
    with Caller(where) as fresh:
        wrong += [fresh.probe(f"/probe/{name}/{i}") for i in range(2)]
    return [w for w in wrong if w]


def one_request(where, control, case, before):
    """before: what the origin had seen."""
    with Caller(where) as caller:
        caller.send([p.encode("latin-1") for p in case["parts"]])
        answers = []
        for method in case["methods"]:
            answers.append(caller.answer(method))
            if not answers[-1]["whole"]:
                break
        if case["then"] == "closed":
            behind = caller.rest()
        elif case["then"] == "cut":
            caller.socket.settimeout(SILENCE_S)
            behind = caller.rest()
            caller.socket.close()
        else:
            behind = text(caller.left)
        seen = control("since", number=before["number"], settle=PATIENCE_S)
        wrong = probes(where, caller if case["then"] == "open" and not caller.over else None, case["name"])
    return {"name": case["name"], "answers": answers, "over": caller.over, "behind": behind, "seen": seen["messages"],
            "unclean": seen["unclean"], "reached": seen["bytes"] - before["bytes"], "unreadable": seen["errors"] - before["errors"], "wrong": wrong}


def requests(job):
    global PATIENCE_S
    PATIENCE_S = job.get("patience", PATIENCE_S)
    with Control(job["control"]) as control:
        return [one_request(job["where"], control, c, control("since", number=NEVER)) for c in job["cases"]]


def one_response(where, control, case):
    with Caller(where) as caller:
        upgrade = f"Connection: Upgrade\r\nUpgrade: {case['upgrade']}\r\n" if case["upgrade"] else ""
        head = f"{case['method']} {case['target']} HTTP/1.1\r\nHost: a\r\n{upgrade}{case.get('fields', '')}\r\n"
        caller.send([head.encode() + case.get("behind", "").encode("latin-1")])
        got = caller.answer(case["method"], case["upgrade"], case.get("late", ""))
        behind = text(caller.left) if got["whole"] and not case.get("ends") else caller.rest()
        unclean = control("since", number=NEVER, settle=case["closes"])["unclean"]
        if not case["closes"]:
            control("clean")
        wrong = probes(where, caller if got["whole"] and not case["upgrade"] and not caller.over else None, case["name"])
    return {"name": case["name"], "answer": got, "over": caller.over, "behind": behind, "unclean": unclean, "wrong": wrong}


def responses(job):
    with Control(job["control"]) as control:
        control("script", scripts={c["target"]: c for c in job["cases"]})
        return [one_response(job["where"], control, c) for c in job["cases"]]


def main(argv):
    if argv[1] == "origin":
        origin = Origin()
        threading.Thread(target=origin.control, args=(argv[3],), daemon=True).start()
        origin.serve(int(argv[2]))
    job = json.load(sys.stdin)
    print(json.dumps(globals()[argv[1]](job)))


if __name__ == "__main__":
    main(sys.argv)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A good client beside an attack: pod_good.py h1|h2 HOST PORT SECONDS RATE, on one connection of its own, each answer checked."""
import http.client
import json
import sys
import time

from h2_vectors import END_HEADERS, END_STREAM, HEADERS, PREFACE, frame, request_block, settings
from pod_h2_vectors import Caller

PATIENCE_S = 20


class H1:
    def __init__(self, where):
        self.conn = http.client.HTTPConnection(*where, timeout=PATIENCE_S)

    def ask(self, i):
        """None, or what was wrong."""
        target = f"/good/{i}"
        self.conn.request("GET", target)
        r = self.conn.getresponse()
        body = json.loads(r.read())
        return None if (r.status, body["path"]) == (200, target) else f"{r.status} {body}"


class H2:
    def __init__(self, where):
        self.caller, self.next = Caller(where, PATIENCE_S), 1
        self.caller.send([PREFACE + settings()])

    def ask(self, i):
        stream, self.next = self.next, self.next + 2
        self.caller.send([frame(HEADERS, END_HEADERS | END_STREAM, stream, request_block(b"GET", b"/f%d" % (i % 10), b"a"))])
        self.caller.pump(lambda: self.caller.is_over(stream))
        got = self.caller.streams.pop(stream, None)
        ok = got and got["end"] and got["statuses"] == [200] and got["body"] == f"file {i % 10}\n"
        return None if ok else f"{got} over {self.caller.over}, goaway {self.caller.goaway}"


def main(kind, host, port, seconds, rate):
    client, begin, wrong, took = {"h1": H1, "h2": H2}[kind]((host, int(port))), time.monotonic(), [], []
    i = 0
    while (now := time.monotonic()) < begin + float(seconds):
        due = begin + i / float(rate)
        if due > now:
            time.sleep(due - now)
        start = time.monotonic()
        try:
            fault = client.ask(i)
        except (OSError, ValueError, KeyError, http.client.HTTPException) as e:
            fault = f"{type(e).__name__}: {e}"
        took.append(time.monotonic() - start)
        i += 1
        if fault:
            wrong.append(fault[:300])
            if len(wrong) > 20:
                break
    took.sort()
    print(json.dumps({"asked": i, "wrong": wrong, "p50_ms": round(took[len(took) // 2] * 1000, 2), "p99_ms": round(took[len(took) * 99 // 100] * 1000, 2)}))


if __name__ == "__main__":
    main(*sys.argv[1:])

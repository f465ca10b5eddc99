#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A sick server and those who ask it all the same.

    pod_storm.py serve PORT            503 for everything but /count, which says how many requests came
    pod_storm.py ask HOST PORT S       eight askers for S seconds: {"asked", "statuses"}
"""
import http.client
import http.server
import json
import sys
import threading
import time


class Sick(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    came, lock = 0, threading.Lock()

    def log_message(self, *args):
        pass

    def do_GET(self):
        counts = self.path == "/count"
        with self.lock:
            Sick.came += not counts
            body = str(Sick.came).encode()
        self.send_response(200 if counts else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def ask(host, port, seconds):
    asked, statuses, lock = [0], {}, threading.Lock()

    def one(end):
        conn = http.client.HTTPConnection(host, port, timeout=20)
        while time.monotonic() < end:
            conn.request("GET", "/storm")
            r = conn.getresponse()
            r.read()
            with lock:
                asked[0] += 1
                statuses[r.status] = statuses.get(r.status, 0) + 1

    threads = [threading.Thread(target=one, args=(time.monotonic() + seconds,)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(json.dumps({"asked": asked[0], "statuses": statuses}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[2])), Sick).serve_forever()
    ask(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))

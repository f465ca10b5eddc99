#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Servers that run inside workloads: pod_servers.py NAME KIND:PORT[@ADDRESS]...

KIND is http (a recording origin) or one of the TCP behaviours below. Each listens on IPv6 and IPv4 alike unless an
address is given. Prints "ready" when all listen.
"""
import hashlib
import http.server
import json
import os
import socket
import struct
import sys
import threading
import time

NAME = "?"
RECORDS = []  # what the TCP behaviours saw, newest last; the behaviour "record" gives it out


def pattern(n, seed=b"trammel"):
    """n bytes that no compressor or repeated block hides a loss in."""
    out, i = [], 0
    while i < n:
        block = hashlib.sha256(seed + struct.pack(">Q", i)).digest() * 32
        out.append(block)
        i += len(block)
    return b"".join(out)[:n]


def address(pair):
    return f"[{pair[0]}]:{pair[1]}" if ":" in pair[0] and not pair[0].startswith("::ffff:") else \
        f"{pair[0].replace('::ffff:', '')}:{pair[1]}"


class Origin(http.server.BaseHTTPRequestHandler):
    """Answers with what it saw, as JSON. Paths: /status/N /bytes/N /slow/MS /chunked/N /close /reset /early-close/N"""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    seen = 0

    def log_message(self, *args):
        pass

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            digest, n = hashlib.sha256(), 0
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                left = size
                while left:
                    part = self.rfile.read(min(left, 65536))
                    digest.update(part)
                    n += len(part)
                    left -= len(part)
                self.rfile.readline()
                if size == 0:
                    return n, digest.hexdigest()
        digest, left, n = hashlib.sha256(), int(self.headers.get("Content-Length") or 0), 0
        while n < left:
            part = self.rfile.read(min(left - n, 1 << 20))
            if not part:
                break
            digest.update(part)
            n += len(part)
        return n, digest.hexdigest()

    def _report(self, n, sha):
        return json.dumps({
            "server": NAME, "method": self.command, "path": self.path, "version": self.request_version,
            "headers": [[k, v] for k, v in self.headers.items()],
            "peer": address(self.client_address), "own": address(self.connection.getsockname()),
            "bytes": n, "sha256": sha, "connection": self.connection_number,
        }).encode()

    def setup(self):
        Origin.seen += 1
        self.connection_number = Origin.seen
        super().setup()

    def do(self):
        n, sha = self._body()
        words = self.path.split("?")[0].strip("/").split("/")
        status, body = 200, self._report(n, sha)
        if words[0] == "status":
            status = int(words[1])
        elif words[0] == "bytes":
            body = pattern(int(words[1]))
        elif words[0] == "slow":
            time.sleep(int(words[1]) / 1000)
        elif words[0] == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        elif words[0] == "early-close":
            self.send_response(200)
            self.send_header("Content-Length", str(int(words[1]) * 2))
            self.end_headers()
            self.wfile.write(b"x" * int(words[1]))
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("X-Origin", NAME)
        if words[0] == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(int(words[1])):
                self.wfile.write(b"5\r\nhello\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        if words[0] == "close":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do


def who(conn):
    """For each line: who is on both sides, as JSON."""
    f = conn.makefile("rwb")
    for line in f:
        f.write(json.dumps({"server": NAME, "peer": address(conn.getpeername()), "own": address(conn.getsockname()),
                            "line": line.decode().strip()}).encode() + b"\n")
        f.flush()


def banner(conn):
    """Speaks first, then echoes."""
    conn.sendall(b"220 " + NAME.encode() + b" speaks first\r\n")
    echo(conn)


def echo(conn):
    while True:
        part = conn.recv(65536)
        if not part:
            break
        conn.sendall(part)


def digest(conn):
    """Reads to the end (half-close of the caller), then answers with count and checksum."""
    h, n = hashlib.sha256(), 0
    while True:
        part = conn.recv(1 << 20)
        if not part:
            break
        h.update(part)
        n += len(part)
    conn.sendall(json.dumps({"bytes": n, "sha256": h.hexdigest()}).encode())


def source(conn):
    """Reads a count, sends that many bytes, half-closes, and records what still comes."""
    n = int(conn.makefile("rb").readline())
    conn.sendall(pattern(n))
    conn.shutdown(socket.SHUT_WR)
    rest = b""
    while True:
        part = conn.recv(65536)
        if not part:
            break
        rest += part
    RECORDS.append({"kind": "source", "after_half_close": rest.decode()})


def rst(conn):
    """Reads something, answers with a reset."""
    conn.recv(100)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def ending(conn):
    """Greets, reads to the end, and records how it ended."""
    conn.sendall(b"hello\n")
    how = "eof"
    try:
        while conn.recv(65536):
            pass
    except ConnectionResetError:
        how = "reset"
    RECORDS.append({"kind": "ending", "how": how, "peer": None})


def lazy(conn):
    """Reads nothing for two seconds, then everything; records the sum."""
    time.sleep(2)
    digest(conn)


def record(conn):
    conn.sendall(json.dumps(RECORDS).encode())


def fionread(conn):
    """Reads as nginx, Java and .NET do: waits, asks FIONREAD, reads that many; answers the sizes it was told."""
    import array
    import fcntl
    import select
    import termios
    sizes, total = [], 0
    while True:
        select.select([conn], [], [], 10)
        buf = array.array("i", [0])
        fcntl.ioctl(conn, termios.FIONREAD, buf)
        sizes.append(buf[0])
        if buf[0] == 0:
            break
        part = conn.recv(buf[0])
        total += len(part)
        if len(part) != buf[0] or total >= 30000:
            break
    conn.sendall(json.dumps({"sizes": sizes, "total": total}).encode())


def peek(conn):
    """Looks before it reads, as protocol detectors do."""
    conn.recv(1, socket.MSG_PEEK)
    time.sleep(0.1)
    looked = conn.recv(64, socket.MSG_PEEK)
    got = conn.recv(64)
    conn.sendall(json.dumps({"same": looked == got, "got": got.decode()}).encode())


def waitall(conn):
    got = conn.recv(100000, socket.MSG_WAITALL)
    conn.sendall(json.dumps({"got": len(got)}).encode())


def spliced(conn):
    """Echoes with splice(2) through a pipe, as byte movers do."""
    r, w = os.pipe()
    try:
        while True:
            n = os.splice(conn.fileno(), w, 65536)
            if n == 0:
                break
            while n:
                n -= os.splice(r, conn.fileno(), n)
    finally:
        os.close(r)
        os.close(w)


def sendfile(conn):
    """Reads a line, sends a file of 1 MiB with sendfile(2)."""
    import tempfile
    conn.makefile("rb").readline()
    with tempfile.TemporaryFile() as f:
        f.write(pattern(1 << 20))
        f.flush()
        off = 0
        while off < 1 << 20:
            off += os.sendfile(conn.fileno(), f.fileno(), off, (1 << 20) - off)


def mute(conn):
    """Takes everything and never answers."""
    while conn.recv(65536):
        pass


BEHAVIOURS = {f.__name__: f for f in (who, banner, echo, digest, source, rst, ending, lazy, record, fionread, peek, waitall,
                                      spliced, sendfile, mute)}


def bind(port, host, kind=socket.SOCK_STREAM):
    family = socket.AF_INET if host and ":" not in host else socket.AF_INET6
    s = socket.socket(family, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind((host or "::", port))
    return s


def serve_tcp(kind, port, host):
    s = bind(port, host)
    s.listen(512)

    def one(conn):
        with conn:
            try:
                BEHAVIOURS[kind](conn)
            except OSError:
                pass

    def loop():
        while True:
            conn, _ = s.accept()
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=one, args=(conn,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


def serve_http(port, host):
    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 512
        address_family = socket.AF_INET6

        def server_bind(self):
            self.socket.close()
            self.socket = bind(port, host)
            self.server_address, self.server_name, self.server_port = self.socket.getsockname(), NAME, port

        def handle_error(self, request, client_address):
            pass  # a caller that leaves is no error here

    server = Server(("::", port), Origin)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def serve_udp(port, host):
    s = bind(port, host, socket.SOCK_DGRAM)

    def loop():
        while True:
            got, peer = s.recvfrom(65536)
            s.sendto(json.dumps({"server": NAME, "peer": address(peer), "got": got.decode()}).encode(), peer)

    threading.Thread(target=loop, daemon=True).start()


def main(argv):
    global NAME
    NAME = argv[1]
    for spec in argv[2:]:
        spec, _, host = spec.partition("@")
        kind, _, port = spec.partition(":")
        if kind == "http":
            serve_http(int(port), host)
        elif kind == "udp":
            serve_udp(int(port), host)
        else:
            serve_tcp(kind, int(port), host)
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv)

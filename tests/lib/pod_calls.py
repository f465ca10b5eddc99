#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls that run inside workloads: pod_calls.py FUNCTION JSON-ARGUMENTS; the result is printed as JSON."""
import errno
import hashlib
import http.client as http_client
import json
import os
import select
import socket
import struct
import sys
import time

from pod_servers import address, pattern

IPPROTO_MPTCP = 262
TCP_FASTOPEN_CONNECT = 30


def resolve(host, port, family=0):
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0]


def dial(host, port, how="plain", family=0, cgroup=None, first=b"", timeout=15):
    """A connected socket. how: plain, nonblocking, fastopen_connect, fastopen_send, mptcp, mapped, moved, bound"""
    if how == "mapped":
        ip = resolve(host, port, socket.AF_INET)[4][0]
        fam, sa = socket.AF_INET6, ("::ffff:" + ip, port)
    else:
        fam, _, _, _, sa = resolve(host, port, family)
    s = socket.socket(fam, socket.SOCK_STREAM, IPPROTO_MPTCP if how == "mptcp" else 0)
    s.settimeout(timeout)
    if how == "moved":  # the socket is older than our place in the workload
        with open(os.path.join(cgroup, "cgroup.procs"), "w") as f:
            f.write(str(os.getpid()))
    if how == "bound":
        s.bind(("::" if fam == socket.AF_INET6 else "0.0.0.0", 0))
    if how == "nonblocking":
        s.setblocking(False)
        err = s.connect_ex(sa)
        assert err in (0, errno.EINPROGRESS), os.strerror(err)
        _, w, _ = select.select([], [s], [], timeout)
        assert w, "connect did not end"
        err = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if err:
            raise OSError(err, os.strerror(err))
        s.settimeout(timeout)
    elif how == "fastopen_connect":
        s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        s.connect(sa)
    elif how == "fastopen_send":
        s.settimeout(None)  # a non-blocking one answers EINPROGRESS here
        s.sendto(first, socket.MSG_FASTOPEN, sa)
        s.settimeout(timeout)
        return s
    else:
        s.connect(sa)
    if first:
        s.sendall(first)
    return s


def who(host, port, how="plain", family=0, cgroup=None):
    """What the server saw of us and we of it."""
    with dial(host, port, how, family, cgroup, first=b"who\n") as s:
        line = s.makefile("rb").readline()
        return {"server": json.loads(line) if line else None, "peer": address(s.getpeername()), "own": address(s.getsockname())}


def moved_answer(host, port, **how):
    """The answer on a socket that is older than our place in the workload, None when there is no connection."""
    how["first"] = b"who\n"
    try:
        with dial(host, port, **how) as s:
            return {"answer": s.recv(1000).decode()}
    except OSError as e:
        return {"answer": None, "error": str(e)}


def talk(host, port, send="", half_close=False, family=0, timeout=15, limit=1 << 20, pause_s=0):
    """Send text, read to the end (or limit): {"got", "error", "seconds"}"""
    start, got, error = time.monotonic(), b"", None
    try:
        with dial(host, port, family=family, timeout=timeout) as s:
            time.sleep(pause_s)
            if send:
                s.sendall(send.encode("latin1"))
            if half_close:
                s.shutdown(socket.SHUT_WR)
            while len(got) < limit:
                part = s.recv(65536)
                if not part:
                    break
                got += part
    except OSError as e:
        error = type(e).__name__ if e.errno is None else errno.errorcode.get(e.errno, str(e.errno))
    return {"got": got.decode("latin1"), "error": error, "seconds": time.monotonic() - start}


def converse(host, port, lines, pause=0.2):
    """Say one thing after another; all that came back."""
    got = b""
    with dial(host, port) as s:
        for line in lines:
            s.sendall(line.encode())
            time.sleep(pause)
        s.settimeout(1)
        try:
            while True:
                part = s.recv(65536)
                if not part:
                    break
                got += part
        except socket.timeout:
            pass
    return got.decode("latin1")


def first_words(host, port, family=0, timeout=15):
    """What the server says before we say anything, then an echo."""
    with dial(host, port, family=family, timeout=timeout) as s:
        start = time.monotonic()
        greeting = s.recv(1000).decode()
        waited = time.monotonic() - start
        s.sendall(b"ping")
        return {"greeting": greeting, "waited": waited, "echo": s.recv(1000).decode()}


def upload(host, port, count):
    """Send count bytes, half-close, read the server's checksum."""
    body = pattern(count)
    with dial(host, port, timeout=60) as s:
        s.sendall(body)
        s.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: s.recv(65536), b""))
    return {"server": json.loads(reply), "sha256": hashlib.sha256(body).hexdigest()}


def download(host, port, count):
    """Ask for count bytes; the server half-closes; send a farewell after that."""
    h, n = hashlib.sha256(), 0
    with dial(host, port, timeout=60) as s:
        s.sendall(b"%d\n" % count)
        while True:
            part = s.recv(1 << 20)
            if not part:
                break
            h.update(part)
            n += len(part)
        s.sendall(b"farewell after your half-close")
    return {"bytes": n, "sha256": h.hexdigest(), "expected": hashlib.sha256(pattern(count)).hexdigest()}


def reset_after_greeting(host, port):
    with dial(host, port) as s:
        greeting = s.recv(100).decode()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return greeting


def close_after_greeting(host, port):
    with dial(host, port) as s:
        return s.recv(100).decode()


def ping_pong(host, port, rounds, size, pause=0.0):
    """Echo rounds over one connection; how many came back right."""
    good = 0
    with dial(host, port) as s:
        for i in range(rounds):
            body = (str(i).encode() + b" ") * size
            body = body[:size]
            s.sendall(body)
            got = b""
            while len(got) < size:
                part = s.recv(size - len(got))
                if not part:
                    return good
                got += part
            good += got == body
            time.sleep(pause)
    return good


def small_writes(host, port, total, step):
    """Many small writes on one connection, then the server's answer."""
    with dial(host, port) as s:
        body = pattern(total)
        for i in range(0, total, step):
            s.sendall(body[i:i + step])
        return json.loads(s.recv(65536))


def full_pipe(host, port, count):
    """Write into a server that does not read: how much is taken within 1.5 s, then all of it and the checksum."""
    body = pattern(count)
    with dial(host, port, timeout=60) as s:
        s.setblocking(False)
        sent, end = 0, time.monotonic() + 1.5
        while time.monotonic() < end and sent < count:
            try:
                sent += s.send(body[sent:sent + 65536])
            except BlockingIOError:
                time.sleep(0.01)
        early = sent
        s.settimeout(60)
        s.sendall(body[sent:])
        s.shutdown(socket.SHUT_WR)
        reply = json.loads(b"".join(iter(lambda: s.recv(65536), b"")))
    return {"early": early, "server": reply, "sha256": hashlib.sha256(body).hexdigest()}


def http(host, port, path="/", method="GET", headers=(), body="", count=1, upload_bytes=0, timeout=20, family=0, chunked=False):
    """count requests on one connection; the last answer."""
    sa = resolve(host, port, family)[4] if family else (host, port)
    c = http_connection(sa, timeout)
    payload = pattern(upload_bytes) if upload_bytes else body.encode()
    try:
        for _ in range(count):
            c.putrequest(method, path, skip_host=any(k.lower() == "host" for k, _ in headers), skip_accept_encoding=True)
            for k, v in headers:
                c.putheader(k, v)
            if chunked:
                c.putheader("Transfer-Encoding", "chunked")
                c.endheaders()
                for i in range(0, len(payload), 10000):
                    part = payload[i:i + 10000]
                    c.send(b"%x\r\n" % len(part) + part + b"\r\n")
                c.send(b"0\r\n\r\n")
            else:
                if payload:
                    c.putheader("Content-Length", str(len(payload)))
                c.endheaders(payload or None)
            start = time.monotonic()
            r = c.getresponse()
            got = r.read()
    finally:
        c.close()
    answer = {"status": r.status, "headers": [[k.lower(), v] for k, v in r.getheaders()], "bytes": len(got),
              "sha256": hashlib.sha256(got).hexdigest(), "sent_sha256": hashlib.sha256(payload).hexdigest(),
              "seconds": time.monotonic() - start}
    if len(got) < 100000:
        answer["text"] = got.decode("latin1")
        try:
            answer["json"] = json.loads(got)
        except ValueError:
            pass
    return answer


def http_connection(sa, timeout):
    c = http_client.HTTPConnection(sa[0], sa[1], timeout=timeout)
    return c


def http_steady(host, port, seconds, path="/", pause=0.002, timeout=10, keep=True):
    """Requests one after another for some seconds: {"ok", "failed": [...], "longest"}"""
    ok, failed, longest, c = 0, [], 0.0, None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            if c is None:
                c = http_connection((host, port), timeout)
            c.request("GET", path)
            r = c.getresponse()
            text = r.read()
            if r.status == 200:
                ok += 1
            else:
                failed.append(f"{r.status} {text[:80]!r} {r.getheader('x-trammel-reason')}")
        except Exception as e:
            failed.append(repr(e))
            c.close()
            c = None
        if c is not None and not keep:
            c.close()
            c = None
        longest = max(longest, time.monotonic() - start)
        time.sleep(pause)
    return {"ok": ok, "failed": failed[:50], "n_failed": len(failed), "longest": longest}


def http_tagged(host, port, seconds, marker, keep=True, pause=0.002):
    """As http_steady, but each answer must be the one to its own question: {"ok", "failed", "n_failed", "wrong", "longest"}"""
    ok, wrong, failed, longest, c, n = 0, 0, [], 0.0, None, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        n += 1
        body = pattern(1 + n * 37 % 5000, b"%d-%d" % (os.getpid(), n))
        path = f"/{marker}/{os.getpid()}/{n}"
        start = time.monotonic()
        try:
            c = c or http_connection((host, port), 10)
            c.request("POST", path, body)
            r = c.getresponse()
            text = r.read()
            if r.status != 200:
                failed.append(f"{r.status} {r.getheader('x-trammel-reason')}")
            else:
                saw = json.loads(text)
                right = saw["path"] == path and saw["bytes"] == len(body) and saw["sha256"] == hashlib.sha256(body).hexdigest()
                ok += right
                wrong += not right
        except Exception as e:
            failed.append(repr(e))
            c.close()
            c = None
        if c is not None and not keep:
            c.close()
            c = None
        longest = max(longest, time.monotonic() - start)
        time.sleep(pause)
    return {"ok": ok, "wrong": wrong, "failed": failed[:50], "n_failed": len(failed), "longest": longest}


def http_many(host, port, count, path="/"):
    """Which server answered how often."""
    seen, c = {}, http_connection((host, port), 10)
    for _ in range(count):
        c.request("GET", path)
        name = json.loads(c.getresponse().read())["server"]
        seen[name] = seen.get(name, 0) + 1
    c.close()
    return seen


def names(host, family=0):
    return sorted({a[4][0] for a in socket.getaddrinfo(host, 80, family, socket.SOCK_STREAM)})


def dns(question, tcp=False, server=None, wait=1):
    """One DNS message sent to the configured resolver, or another; the answer as hex, None when there was none in time."""
    if server is None:
        with open("/etc/resolv.conf") as f:
            server = next(l.split()[1] for l in f if l.startswith("nameserver"))
    message = bytes.fromhex(question)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as s:
        s.settimeout(wait if not tcp else 5)
        s.connect((server, 53))
        try:
            if tcp:
                s.sendall(struct.pack(">H", len(message)) + message)
                f = s.makefile("rb")
                n, = struct.unpack(">H", f.read(2))
                return {"answer": f.read(n).hex()}
            s.send(message)
            return {"answer": s.recv(65536).hex()}
        except socket.timeout:
            return {"answer": None}


def udp(host, port, connected=True, family=0):
    fam, sa = resolve(host, port, family)[0::4]
    with socket.socket(fam, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        if connected:
            s.connect(sa)
            s.send(b"datagram")
        else:
            s.sendto(b"datagram", sa)
        reply = json.loads(s.recv(65536))
        return {"server": reply, "peer": address(s.getpeername()) if connected else None}


def hold(host, port, count, seconds):
    """Open connections and keep them: how many were opened."""
    held = [dial(host, port) for _ in range(count)]
    print(json.dumps(len(held)), flush=True)
    time.sleep(seconds)
    for s in held:
        s.close()
    return len(held)


def main(argv):
    args = json.loads(argv[2])
    time.sleep(args.pop("after", 0))
    try:
        result = globals()[argv[1]](**args)
    except Exception as e:
        result = {"exception": type(e).__name__, "errno": errno.errorcode.get(getattr(e, "errno", None) or 0), "text": str(e)}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv)

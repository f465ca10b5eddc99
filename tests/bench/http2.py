# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 and gRPC unary, by nghttp2's h2load: 8 connections with 32 streams each, at saturation and at fixed rates."""
import os
import re
import struct
import sys
import zlib

from accounts import Spent

HERE = os.path.dirname(os.path.abspath(__file__))
CONNS, STREAMS, BODY_BYTES, MESSAGE_BYTES = 8, 32, 1024, 100


def is_grpc(k):
    return k.scene.protocol == "grpc"


def message_file(k):
    """One gRPC message as it stands in DATA: a byte that says uncompressed, the length, the message."""
    path = os.path.join(k.folder, "message")
    with open(path, "wb") as f:
        f.write(struct.pack(">BI", 0, MESSAGE_BYTES) + b"m" * MESSAGE_BYTES)
    return path


def seconds(text):
    """What h2load says of a time: 1.23ms"""
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(value) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[unit]


def h2load(k, *args):
    """Run it in pod A: counts, requests/s, mean time, the proxies' CPU time per request. Every answer has to be one of 2xx."""
    host, port = k.target()
    what = ["-d", message_file(k), "-H", "content-type: application/grpc", "-H", "te: trailers"] if is_grpc(k) else []
    with Spent(k) as spent:
        r = k.run_in_a("h2load", "-c", CONNS, "-m", STREAMS, "-t", 1, *what, *args,
                       f"http://{host}:{port}/" + ("bench.Echo/Unary" if is_grpc(k) else str(BODY_BYTES)))
    done, good, failed, errored, late = map(int, re.search(r" (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", r.stdout).groups())
    ok = int(re.search(r"status codes: (\d+) 2xx", r.stdout).group(1))
    if failed or errored or late or good != done or ok < done or done == 0:
        raise RuntimeError(f"{k.name}: h2load: {r.stdout[-600:]}")
    mean = re.search(r"time for request: +\S+ +\S+ +(\S+)", r.stdout).group(1)
    return {"requests": done, "rate": float(re.search(r"([\d.]+) req/s", r.stdout).group(1)), "mean_us": seconds(mean) * 1e6,
            "cpu_us": spent.ns / 1000 / done}


def pattern(n):
    """What the bench's servers send: body_pattern.h"""
    one = bytes((i * 131 + (i >> 8)) & 255 for i in range(65521))
    return (one * (n // len(one) + 1))[:n]


def check(b, k):
    """Once, before anything is measured: the answer is the server's, byte for byte; gRPC's own client is content with status and trailers."""
    host, port = k.target()
    if is_grpc(k):
        k.run_in_a(sys.executable, os.path.join(HERE, "grpc_check.py"), f"{host}:{port}", MESSAGE_BYTES)
    else:
        path = os.path.join(k.folder, "answer")
        r = k.run_in_a("curl", "-sS", "--http2-prior-knowledge", "-o", path, "-w", "%{http_code} %{http_version}", f"http://{host}:{port}/{BODY_BYTES}")
        with open(path, "rb") as f:
            if r.stdout != "200 2" or zlib.crc32(f.read()) != zlib.crc32(pattern(BODY_BYTES)):
                raise RuntimeError(f"{k.name}: the answer is another: {r.stdout}")
    h2load(k, "-n", 2 * CONNS * STREAMS)  # and every connection is there


def saturated(b, k):
    label = f"{'gRPC unary' if is_grpc(k) else 'HTTP/2'}, {CONNS} x {STREAMS} streams, saturated: "
    got = h2load(k, "-n", 20000 if b.options.quick else 100000)
    b.add(label + "CPU us/request", k, got["cpu_us"])
    b.add(label + "requests/s", k, got["rate"])


def rate_cell(b, k, rate):
    label = f"{'gRPC unary' if is_grpc(k) else 'HTTP/2'}, {CONNS} x {STREAMS} streams, {rate}/s: "
    got = h2load(k, "-D", int(b.options.seconds), f"--rps={rate / CONNS:g}")
    b.add(label + "CPU us/request", k, got["cpu_us"])
    b.add(label + "mean us", k, got["mean_us"])

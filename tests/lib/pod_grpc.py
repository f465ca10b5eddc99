#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A second, independent gRPC library (grpcio, in C++) on the same service as tests/peers/echo; runs inside workloads.

    pod_grpc.py serve PORT [CRT KEY]        Chat and Fail; under TLS
    pod_grpc.py FUNCTION JSON-ARGUMENTS     a caller; the result is printed as JSON

The messages are protobuf's wrappers, one field each: written by hand here.
"""
import concurrent.futures
import json
import sys
import threading
import time

import grpc

SERVICE = "trammel.peers.Echo"


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def varint_at(raw, at):
    n = shift = 0
    while True:
        n |= (raw[at] & 127) << shift
        shift += 7
        at += 1
        if raw[at - 1] < 128:
            return n, at


def number_put(n):
    return b"\x08" + varint(n) if n else b""


def number_of(raw):
    return varint_at(raw, 1)[0] if raw else 0


def text_put(s):
    raw = s.encode()
    return b"\x0a" + varint(len(raw)) + raw if raw else b""


def text_of(raw):
    return raw[varint_at(raw, 1)[1]:].decode() if raw else ""


def serve(port, crt=None, key=None):
    def chat(numbers, call):
        call.send_initial_metadata([(k, v) for k, v in call.invocation_metadata() if k.startswith("x-echo-")])
        yield from numbers

    def fail(want, call):
        code, _, message = want.partition(" ")
        if int(code):
            call.abort(next(c for c in grpc.StatusCode if c.value[0] == int(code)), message)
        return message

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(300))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {
        "Chat": grpc.stream_stream_rpc_method_handler(chat, number_of, number_put),
        "Fail": grpc.unary_unary_rpc_method_handler(fail, text_of, text_put),
    })])
    if crt:
        with open(key, "rb") as k, open(crt, "rb") as c:
            assert server.add_secure_port(f"[::]:{port}", grpc.ssl_server_credentials([(k.read(), c.read())]))
    else:
        assert server.add_insecure_port(f"[::]:{port}")
    server.start()
    server.wait_for_termination()


class Caller:
    def __init__(self, target, compressed=False):
        how = grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression
        self.channel = grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)], compression=how)
        self.chat = self.channel.stream_stream(f"/{SERVICE}/Chat", number_put, number_of)
        self.fail = self.channel.unary_unary(f"/{SERVICE}/Fail", text_put, text_of)
        self.wait = self.channel.unary_stream(f"/{SERVICE}/Wait", text_put, text_of)


def numbers(target, count=100, streams=1):
    """Concurrent streams, each of so many numbers; how many were right to the end."""
    c, ok, lock = Caller(target), [], threading.Lock()

    def one(first):
        sent = list(range(first, first + count))
        got = list(c.chat(iter(sent), timeout=60))
        with lock:
            ok.append(got == sent)

    threads = [threading.Thread(target=one, args=(i * count,)) for i in range(streams)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return {"ok": sum(ok), "of": streams}


def big(target, size, compressed=False):
    text = "".join(f"{i:08d}" for i in range(size // 8))
    return {"same": Caller(target, compressed).fail("0 " + text, timeout=60) == text}


def status(target, code, message):
    try:
        return {"code": 0, "message": Caller(target).fail(f"{code} {message}", timeout=30)}
    except grpc.RpcError as e:
        return {"code": e.code().value[0], "message": e.details()}


def deadline(target, after_s):
    start = time.monotonic()
    call = Caller(target).wait("x", timeout=after_s)
    try:
        list(call)
    except grpc.RpcError as e:
        head = dict(call.initial_metadata())
        return {"code": e.code().value[0], "took_s": time.monotonic() - start, "told_ms": int(head["x-deadline-ms"])}


def cancelled(target):
    """Left after the first answer."""
    go_on = threading.Event()

    def feed():
        yield 1
        go_on.wait(30)

    call = Caller(target).chat(feed(), timeout=60)
    first = next(call)
    call.cancel()
    try:
        next(call)
    except grpc.RpcError as e:
        return {"first": first, "code": e.code().value[0]}
    finally:
        go_on.set()


def metadata(target):
    call = Caller(target).chat(iter([1]), timeout=30, metadata=[("x-echo-a", "1"), ("x-echo-a", "2"), ("x-echo-raw-bin", bytes(range(256)))])
    got = list(call)
    head = [(k, v.hex() if isinstance(v, bytes) else v) for k, v in call.initial_metadata() if k.startswith("x-echo")]
    return {"got": got, "head": sorted(head)}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), *sys.argv[3:])
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))), flush=True)

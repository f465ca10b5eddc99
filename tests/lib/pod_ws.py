#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""WebSocket peers on python's websockets, a library that has nothing in common with ours; runs inside workloads.

    pod_ws.py serve PORT                 echoes; /close/CODE closes so; pings are answered
    pod_ws.py FUNCTION JSON-ARGUMENTS    a caller; the result is printed as JSON
"""
import asyncio
import hashlib
import json
import sys

import websockets.asyncio.client
import websockets.asyncio.server
import websockets.exceptions

LIMITS = {"max_size": 64 << 20, "compression": None, "ping_interval": None, "close_timeout": 30}
PATIENCE_S = 60


def bytes_of(n, seed=0):
    return (hashlib.sha256(f"{n}/{seed}".encode()).digest() * (n // 32 + 1))[:n]


async def echo(ws):
    path = ws.request.path
    if path.startswith("/close/"):
        await ws.close(int(path.split("/")[2]), "as asked")
        return
    async for message in ws:
        await ws.send(message)


async def serve(port):
    async with websockets.asyncio.server.serve(echo, None, int(port), **LIMITS):
        await asyncio.get_running_loop().create_future()


def dial(url, **more):
    return websockets.asyncio.client.connect(url, proxy=None, open_timeout=PATIENCE_S, **LIMITS, **more)


async def load(url, count, size, rounds):
    """Connections that are all open at once; each echoes messages with pings between."""
    opened, everybody = 0, asyncio.Event()

    async def one(number):
        nonlocal opened
        async with dial(url) as ws:
            opened += 1
            if opened == count:
                everybody.set()
            await asyncio.wait_for(everybody.wait(), PATIENCE_S)
            for i in range(rounds):
                payload = bytes_of(size, number * rounds + i)
                pong = await ws.ping()
                await ws.send(payload)
                assert await ws.recv() == payload
                await pong
        return ws.close_code

    results = await asyncio.gather(*(one(i) for i in range(count)), return_exceptions=True)
    return {"ok": sum(r == 1000 for r in results), "bad": sorted({repr(r) for r in results if r != 1000})[:10]}


async def big(url, sizes):
    """Large messages, each in one frame."""
    async with dial(url) as ws:
        same = []
        for n in sizes:
            await ws.send(bytes_of(n))
            same.append(await ws.recv() == bytes_of(n))
        return {"same": same}


async def fragments(url, count, size):
    """One message in many frames, a ping in their midst."""
    async with dial(url) as ws:
        pongs = []

        async def parts():
            for i in range(count):
                if i == count // 2:
                    pongs.append(await ws.ping())
                yield bytes_of(size, i)

        await ws.send(parts())
        got = await ws.recv()
        await pongs[0]
        return {"same": got == b"".join(bytes_of(size, i) for i in range(count))}


async def closed(url):
    """With which code and reason the server ends it."""
    async with dial(url) as ws:
        try:
            await ws.recv()
        except websockets.exceptions.ConnectionClosed as e:
            return {"code": e.rcvd.code if e.rcvd else None, "reason": e.rcvd.reason if e.rcvd else None, "answered": bool(e.sent)}


async def closing(url, code):
    """We end it: the server's answer repeats the code."""
    async with dial(url) as ws:
        await ws.send("x")
        await ws.recv()
        await ws.close(code, "done")
        return {"code": ws.close_code}


async def subprotocol(url):
    async with dial(url, subprotocols=["other", "echo.trammel"]) as ws:
        return {"chosen": ws.subprotocol, "status": ws.response.status_code}


async def refused(url):
    try:
        async with dial(url):
            return {"status": 101}
    except websockets.exceptions.InvalidStatus as e:
        return {"status": e.response.status_code}


async def idle(url, seconds):
    """Silent for so long, then as before."""
    async with dial(url) as ws:
        await asyncio.sleep(seconds)
        await ws.send("still there")
        return {"got": await ws.recv()}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2]))
    print(json.dumps(asyncio.run(globals()[sys.argv[1]](**json.loads(sys.argv[2])))), flush=True)

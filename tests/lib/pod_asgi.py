# SPDX-License-Identifier: Apache-2.0
"""An application for hypercorn, a server that speaks WebSocket by HTTP/1.1 and by HTTP/2's extended CONNECT: echoes."""


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": scope["http_version"].encode()})
        return
    await receive()
    await send({"type": "websocket.accept", "headers": [(b"x-http-version", scope["http_version"].encode())]})
    while True:
        event = await receive()
        if event["type"] != "websocket.receive":
            return
        await send({"type": "websocket.send", **{k: event[k] for k in ("bytes", "text") if event.get(k) is not None}})

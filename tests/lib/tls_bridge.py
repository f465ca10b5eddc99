# SPDX-License-Identifier: Apache-2.0
"""Plain TCP in, mesh TLS out: for tools that know neither client certificates nor the mesh's ALPN.

    tool -> 127.0.0.1:port ---- bridge ==== mTLS ==== proxy        all in one network namespace

Ends are passed on as they come: what the proxy closes, the tool sees closed, in order (never a reset of the bridge's own, as
a socket closed over bytes of the tool's would be). Nothing is read ahead of the reader.
"""
import asyncio
import socket
import ssl
import threading

from netns import socket_in

CHUNK = 65536
LINGER_S = 5  # for the tool to close when the proxy has


def context(ca, crt, key, alpn):
    """A client of the mesh: its certificate is proven; the peer's name is its SPIFFE ID, which this does not look at."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.minimum_version = ssl.TLSVersion.TLSv1_3
    c.check_hostname = False
    c.load_verify_locations(ca)
    c.load_cert_chain(crt, key)
    c.set_alpn_protocols(list(alpn))
    return c


def handshake(netns, ip, port, tls, timeout=10):
    """A TLS socket to the workload, from that namespace."""
    s = socket_in(netns, socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(timeout)
    s.connect((ip, port))
    return tls.wrap_socket(s)


class TlsBridge:
    """with TlsBridge(netns, ip, port, context(...)) as b: run the tool in netns against 127.0.0.1:b.port"""

    def __init__(self, netns, ip, port, tls):
        self.netns, self.peer, self.tls = netns, (ip, port), tls
        self.listener = socket_in(netns, socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]
        self.failures = []  # dials that came to nothing
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(asyncio.start_server(self._on_accept, sock=self.listener))
        self.loop.run_forever()

    async def _on_accept(self, reader, writer):
        try:
            s = socket_in(self.netns, socket.AF_INET6 if ":" in self.peer[0] else socket.AF_INET, socket.SOCK_STREAM)
            s.setblocking(False)
            await self.loop.sock_connect(s, self.peer)
            far_reader, far_writer = await asyncio.open_connection(sock=s, ssl=self.tls, server_hostname="")
        except OSError as e:
            self.failures.append(repr(e))
            writer.transport.abort()
            return
        to_proxy = self.loop.create_task(self._to_proxy(reader, far_writer))
        await self._pass_on(far_reader, writer)
        to_proxy.cancel()
        await asyncio.gather(to_proxy, return_exceptions=True)
        try:
            writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await reader.read(CHUNK):
                    pass
        except (OSError, TimeoutError):
            pass
        await self._close(writer)
        await self._close(far_writer)

    async def _to_proxy(self, reader, far_writer):
        await self._pass_on(reader, far_writer)
        await self._close(far_writer)  # TLS knows no half-close here: the end of one side ends both

    @staticmethod
    async def _pass_on(reader, writer):
        try:
            while part := await reader.read(CHUNK):
                writer.write(part)
                await writer.drain()
        except (OSError, ssl.SSLError):
            pass

    @staticmethod
    async def _close(writer):
        try:
            writer.close()
            await writer.wait_closed()
        except (OSError, ssl.SSLError):
            pass

    async def _end(self):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self.loop.stop()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        asyncio.run_coroutine_threadsafe(self._end(), self.loop)
        self.thread.join(10)
        self.listener.close()

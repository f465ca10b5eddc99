# SPDX-License-Identifier: Apache-2.0
"""HBONE as a peer speaks it that shares no code with ours: HTTP/2 CONNECT in mTLS, on python3-h2 and the ssl module.

    with Client(socket, crt, key, ca, peer=URI) as c:          # of a connected socket, in whichever namespace
        s = c.connect("10.78.0.2:8080")                        # a tunnel, once it is answered: s.status, s.headers
        s.send(b"..."); s.end(); s.recv()                      # raw bytes; b"" when the other side has ended

    with Server(listening_socket, crt, key, ca, dial=...) as s: # dial(host, port): a connected socket to the app
        s.seen                                                 # one record for each tunnel that was asked for

What is of interest to tests is kept: headers as they came, settings, SNI, pings, how a stream ended. Each connection has a thread that reads
and one that writes; h2 and TLS are sans-I/O and used under the connection's lock.
"""
import collections
import os
import socket
import ssl
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame

STREAM_WINDOW, CONNECTION_WINDOW, FRAME = 4 << 20, 16 << 20, 1 << 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GOAWAY = 7
QUEUE_MAX = 1 << 20
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BAGGAGE = "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=far,service.name=far,service.version=v1"


class Reset(ConnectionResetError):
    """The stream was reset; code is HTTP/2's."""

    def __init__(self, code):
        super().__init__(f"stream reset: {code!r}")
        self.code = code


def authority(ip, port):
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def split_authority(text):
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not host:
        raise ValueError(f"no HOST:PORT: {text!r}")
    return host.strip("[]"), int(port)


def tls_context(server, crt, key, ca, alpn=("h2",)):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    ctx.minimum_version = ssl.TLSVersion.TLSv1_3
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_REQUIRED
    ctx.load_verify_locations(ca)
    if crt:
        ctx.load_cert_chain(crt, key)
    if alpn:
        ctx.set_alpn_protocols(list(alpn))
    return ctx


class Stream:
    """One tunnel, from either end."""

    def __init__(self, conn, number):
        self.conn, self.id = conn, number
        self.received, self.n_received = collections.deque(), 0
        self.headers = self.status = self.error = None
        self.ended = self.end_sent = False

    def _dead(self):
        return self.error or self.conn.error

    def wait_head(self, timeout=10):
        """Until the answer's head is there; self."""
        self.conn.wait(lambda: self.headers is not None or self._dead(), timeout, f"stream {self.id}: no answer")
        if self.headers is None:
            raise self._dead()
        return self

    def header(self, name):
        values = [v for k, v in self.headers if k == name]
        return values[0] if values else None

    def recv(self, timeout=20):
        """What has come, at least one byte; b"" once the other side has ended."""
        c = self.conn
        c.wait(lambda: self.received or self.ended or self._dead(), timeout, f"stream {self.id}: no bytes")
        with c.lock:
            if self.received:
                part = self.received.popleft()
                c.acknowledge(self, len(part))
                return part
        if self.ended:
            return b""
        raise self._dead()

    def recv_until(self, n=None, end=None, timeout=20):
        """n bytes, or until `end` stands in it, or all that comes."""
        got, deadline = b"", time.monotonic() + timeout
        while (n is None or len(got) < n) and (end is None or end not in got):
            part = self.recv(max(0.01, deadline - time.monotonic()))
            if not part:
                break
            got += part
        return got

    def send(self, payload, timeout=60):
        c, view = self.conn, memoryview(payload)

        def room():
            return self._dead() or (c.n_queued < QUEUE_MAX and c.h2.local_flow_control_window(self.id) > 0)

        while view:
            c.wait(room, timeout, f"stream {self.id}: no window to send in")
            with c.lock:
                if self._dead():
                    raise self._dead()
                n = min(c.h2.local_flow_control_window(self.id), c.h2.max_outbound_frame_size, 65536, len(view))
                if n <= 0:
                    continue
                c.h2.send_data(self.id, bytes(view[:n]))
                c.flush()
            view = view[n:]

    def end(self):
        """Half-close: END_STREAM."""
        with self.conn.lock:
            if self._dead() or self.end_sent:
                return
            self.end_sent = True
            self.conn.h2.end_stream(self.id)
            self.conn.flush()

    def reset(self, code=h2.errors.ErrorCodes.CANCEL):
        with self.conn.lock:
            if self._dead():
                return
            self.error = Reset(code)
            try:
                self.conn.h2.reset_stream(self.id, code)
                self.conn.flush()
            except h2.exceptions.ProtocolError:  # it is over
                pass


class Connection:
    """What both sides have in common."""

    def __init__(self, sock, ctx, server, settings, timeout=10):
        self.sock, self.server = sock, server
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.streams, self.error, self.goaway, self.settings = {}, None, None, {}
        self.n_pings, self.n_queued, self.queue = 0, 0, collections.deque()
        self.preface = b""
        self.plain = b""
        self.closing = False
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.sni = None
        self.tls = ctx.wrap_bio(self.incoming, self.outgoing, server_side=server)
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._handshake()
        except BaseException:
            sock.close()
            raise
        self.peer = [v for k, v in (self.tls.getpeercert() or {}).get("subjectAltName", ()) if k == "URI"]
        self.alpn = self.tls.selected_alpn_protocol()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=not server, header_encoding="utf-8", validate_inbound_headers=False, validate_outbound_headers=False,
            normalize_inbound_headers=False, normalize_outbound_headers=False))
        values = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW, h2.settings.SettingCodes.MAX_FRAME_SIZE: FRAME,
                  h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 65536 if server else 16384, **settings}
        if not server:
            values[h2.settings.SettingCodes.ENABLE_PUSH] = 0
        self.h2.local_settings = h2.settings.Settings(client=not server, initial_values=values)
        self.h2.max_inbound_frame_size = FRAME
        self.threads = []

    def _handshake(self):
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send_raw()
                part = self.sock.recv(65536)
                if not part:
                    raise ConnectionResetError("the connection ended in the handshake")
                self.incoming.write(part)
                continue
            except ssl.SSLError:
                self._send_raw()  # the alert
                raise
            self._send_raw()
            return

    def _send_raw(self):
        if self.outgoing.pending:
            self.sock.sendall(self.outgoing.read())

    def start(self):
        self.sock.settimeout(None)
        with self.lock:
            self.h2.initiate_connection()
            self.h2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
            self.flush()
        for body in (self._read_loop, self._write_loop):
            t = threading.Thread(target=body, daemon=True)
            t.start()
            self.threads.append(t)
        self._take_plain()  # what came with the end of the handshake

    # Under the lock

    def flush(self, raw=b""):
        """What h2 (and raw, frames of our own) has to say goes to the writer."""
        part = self.h2.data_to_send() + raw
        if part and not self.error:
            self.tls.write(part)
            cipher = self.outgoing.read()
            self.queue.append(cipher)
            self.n_queued += len(cipher)
        self.changed.notify_all()

    def acknowledge(self, stream, n):
        try:
            self.h2.acknowledge_received_data(n, stream.id)
            self.flush()
        except h2.exceptions.ProtocolError:  # the stream or connection is over
            pass

    def fail(self, error):
        with self.lock:
            self.error = self.error or error
            self.changed.notify_all()

    def wait(self, what, timeout, complaint):
        with self.lock:
            if not self.changed.wait_for(what, timeout):
                raise TimeoutError(complaint)

    # Threads

    def _write_loop(self):
        while True:
            with self.lock:
                self.changed.wait_for(lambda: self.queue or self.error or self.closing)
                if not self.queue:
                    break
                part = self.queue.popleft()
            try:
                self.sock.sendall(part)
            except OSError as e:
                self.fail(e)
                break
            with self.lock:
                self.n_queued -= len(part)
                self.changed.notify_all()
        if self.closing and not self.error:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def _read_loop(self):
        while not self.error:
            try:
                part = self.sock.recv(1 << 18)
            except OSError as e:
                self.fail(e)
                return
            if not part:
                self.fail(ConnectionResetError("the connection ended"))
                return
            with self.lock:  # a BIO that is written while SSL reads it looks like one that has ended
                self.incoming.write(part)
            self._take_plain()

    def _take_plain(self):
        with self.lock:
            try:
                while True:
                    part = self.tls.read(1 << 18)
                    if not part:  # close_notify
                        raise ConnectionResetError("the connection ended in order")
                    self.plain += part
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLError, ConnectionResetError) as e:
                self._take_frames()
                self.fail(e if isinstance(e, ConnectionResetError) else ConnectionResetError(str(e)))
                return
            self._take_frames()

    def _take_frames(self):
        """Hands whole frames to h2, which takes no GOAWAY: it would call the connection closed, with streams still open."""
        out, at = b"", 0
        if self.server and len(self.preface) < len(PREFACE):
            n = len(PREFACE) - len(self.preface)
            self.preface, out, at = self.preface + self.plain[:n], self.plain[:n], min(n, len(self.plain))
        while len(self.plain) - at >= 9:
            n = 9 + int.from_bytes(self.plain[at:at + 3], "big")
            if len(self.plain) - at < n:
                break
            if self.plain[at + 3] == GOAWAY:
                body = self.plain[at + 9:at + n]
                self.goaway = (int.from_bytes(body[:4], "big") & 0x7fffffff, int.from_bytes(body[4:8], "big"), body[8:])
                for s in self.streams.values():
                    if not self.server and s.id > self.goaway[0]:
                        s.error = s.error or Reset(h2.errors.ErrorCodes.REFUSED_STREAM)
            else:
                out += self.plain[at:at + n]
            at += n
        self.plain = self.plain[at:]
        try:
            events = self.h2.receive_data(out) if out else []
        except h2.exceptions.ProtocolError as e:
            events = []
            self.fail(ConnectionError(f"HTTP/2: {e!r}"))
        for event in events:
            self._take_event(event)
        self.flush()

    def _take_event(self, e):
        stream = self.streams.get(getattr(e, "stream_id", None))
        if isinstance(e, h2.events.RequestReceived):
            stream = self.streams[e.stream_id] = Stream(self, e.stream_id)
            stream.headers = list(e.headers)
            self.on_request(stream)
        elif isinstance(e, h2.events.ResponseReceived) and stream:
            stream.headers = list(e.headers)
            stream.status = int(stream.header(":status"))
        elif isinstance(e, h2.events.DataReceived):
            if stream and e.data:
                stream.received.append(e.data)
                stream.n_received += len(e.data)
                padding = e.flow_controlled_length - len(e.data)
                if padding:
                    self.acknowledge(stream, padding)
            elif e.flow_controlled_length:
                self.acknowledge(stream or Stream(self, e.stream_id), e.flow_controlled_length)
        elif isinstance(e, h2.events.StreamEnded) and stream:
            stream.ended = True
        elif isinstance(e, h2.events.StreamReset) and stream:
            stream.error = stream.error or Reset(h2.errors.ErrorCodes(e.error_code))
        elif isinstance(e, h2.events.RemoteSettingsChanged):
            self.settings.update({int(k): v.new_value for k, v in e.changed_settings.items()})
        elif isinstance(e, h2.events.PingAckReceived):
            self.n_pings += 1

    def on_request(self, stream):
        """A server's."""

    # For tests

    def ping(self, timeout=5):
        """Seconds until the answer."""
        start = time.monotonic()
        with self.lock:
            n = self.n_pings
            self.h2.ping(os.urandom(8))
            self.flush()
        self.wait(lambda: self.n_pings > n or self.error, timeout, "no answer to PING")
        if self.n_pings == n:
            raise self.error
        return time.monotonic() - start

    def send_goaway(self, last_stream_id=None, code=0):
        """Gracefully: streams that the other side opened up to last_stream_id (all so far; a client knows of none) go on."""
        with self.lock:
            if last_stream_id is None:
                last_stream_id = 0 if self.h2.config.client_side else max(self.streams, default=0)
            frame = hyperframe.frame.GoAwayFrame(0)
            frame.last_stream_id, frame.error_code = last_stream_id, code
            self.flush(frame.serialize())

    def raw(self, octets):
        """Bytes as they are, whatever HTTP/2 says of them."""
        with self.lock:
            self.flush(octets)

    def n_open(self):
        with self.lock:
            return sum(1 for s in self.streams.values() if not (s.error or (s.ended and s.end_sent)))

    def close(self, timeout=3):
        with self.lock:
            self.closing = True
            self.changed.notify_all()
        if len(self.threads) == 2:
            self.threads[1].join(timeout)
        self.fail(ConnectionResetError("closed by us"))
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        for t in self.threads:
            if t is not threading.current_thread():
                t.join(timeout)
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Client(Connection):
    """A caller's side. crt None: without a certificate. peer: the SPIFFE ID that must answer."""

    def __init__(self, sock, crt, key, ca, peer=None, alpn=("h2",), settings=None):
        super().__init__(sock, tls_context(False, crt, key, ca, alpn), False, settings or {})
        if self.alpn != "h2":
            sock.close()
            raise ConnectionError(f"ALPN chosen: {self.alpn}")
        if peer is not None and self.peer != [peer]:
            sock.close()
            raise ConnectionError(f"answered by {self.peer} instead of {peer}")
        self.start()

    def request(self, headers, end=False):
        """Any head, as it is: a Stream, not waited for."""
        with self.lock:
            if self.error:
                raise self.error
            if self.goaway:
                raise ConnectionError("told to go away")
            number = self.h2.get_next_available_stream_id()
            stream = self.streams[number] = Stream(self, number)
            self.h2.send_headers(number, headers, end_stream=end)
            stream.end_sent = end
            self.flush()
        return stream

    def connect(self, to, source=None, host=None, extra=(), wait=True, timeout=10):
        """A tunnel to "IP:PORT"; once it is answered, whatever the status."""
        forwarded = f'for="{source}"' if source else 'for="192.0.2.7:4711"'
        s = self.request([(":method", "CONNECT"), (":authority", to), ("baggage", BAGGAGE),
                          ("forwarded", forwarded + (f";host={host}" if host else "")), ("traceparent", TRACEPARENT), *extra])
        return s.wait_head(timeout) if wait else s


class Server:
    """The other end. Answers 200 once the app is connected, 503 when it is not, 400 for what is no tunnel to `own` addresses.

    Attributes may be changed while it runs: answer (a status for every request), extra (fields of every answer), deny
    (identities: 401), refuse (every stream is reset unprocessed, without GOAWAY).
    """

    def __init__(self, listener, crt, key, ca, dial, own=(), max_streams=200):
        self.listener, self.crt, self.key, self.ca, self.dial, self.own = listener, crt, key, ca, dial, set(own)
        self.max_streams = max_streams
        self.answer, self.deny, self.stall, self.extra, self.refuse = None, set(), 0, [], False
        self.seen, self.connections, self.refused = [], [], []
        self.lock = threading.Lock()
        self.closed = False
        self.listener.settimeout(0.2)
        self.thread = threading.Thread(target=self._accept_loop, daemon=True)
        self.thread.start()

    def _accept_loop(self):
        while not self.closed:
            try:
                sock, _ = self.listener.accept()
            except socket.timeout:
                continue
            except OSError:
                return
            threading.Thread(target=self._take, args=(sock,), daemon=True).start()

    def _take(self, sock):
        names = []
        ctx = tls_context(True, self.crt, self.key, self.ca)
        ctx.sni_callback = lambda tls, name, _: names.append(name)
        source = sock.getpeername()[:2]
        try:
            c = _Served(self, sock, ctx, source)
            domains = [p.split("/")[2] for p in c.peer]
            if c.alpn != "h2" or len(domains) != 1:
                raise ConnectionError(f"ALPN {c.alpn}, identities {c.peer}")
        except (OSError, ssl.SSLError) as e:
            self.refused.append(f"{source}: {e}")
            sock.close()
            return
        c.sni = names[0] if names else None
        with self.lock:
            c.number = len(self.connections)
            self.connections.append(c)
        c.start()

    def drain(self):
        """GOAWAY on every connection; open tunnels go on, new ones are refused there."""
        for c in self.live():
            c.draining = True
            c.send_goaway()

    def live(self):
        return [c for c in self.connections if not c.error]

    def forget(self):
        """Ends what stands: the next tunnel comes by a new connection."""
        for c in self.live():
            c.close()

    def close(self):
        self.closed = True
        self.thread.join(3)
        self.listener.close()
        for c in self.connections:
            c.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class _Served(Connection):
    def __init__(self, owner, sock, ctx, source):
        super().__init__(sock, ctx, True, {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: owner.max_streams})
        self.owner, self.source, self.draining, self.number = owner, source, False, -1

    def on_request(self, stream):
        if self.draining or self.owner.refuse:
            stream.reset(h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        record = {"connection": self.number, "stream": stream.id, "peer": self.peer[0], "source": self.source, "sni": self.sni,
                  "headers": stream.headers, "method": stream.header(":method"), "authority": stream.header(":authority"),
                  "status": None, "ended": None, "data_before_answer": 0}
        self.owner.seen.append(record)
        threading.Thread(target=self._serve, args=(stream, record), daemon=True).start()

    def _status_of(self, record):
        if self.owner.answer:
            return self.owner.answer, None
        try:
            host, port = split_authority(record["authority"] or "")
        except ValueError:
            return 400, None
        if record["method"] != "CONNECT" or (self.owner.own and host not in self.owner.own):
            return 400, None
        if record["peer"] in self.owner.deny:
            return 401, None
        try:
            return 200, self.owner.dial(host, port)
        except OSError:
            return 503, None

    def _answer(self, stream, status):
        with self.lock:
            if stream._dead():
                return False
            stream.end_sent = status != 200
            self.h2.send_headers(stream.id, [(":status", str(status)), *self.owner.extra], end_stream=stream.end_sent)
            self.flush()
        return True

    def _serve(self, stream, record):
        time.sleep(self.owner.stall)
        status, app = self._status_of(record)
        record["status"], record["data_before_answer"] = status, stream.n_received
        try:
            if not self._answer(stream, status) or not app:
                record["ended"] = f"answered {status}"
                return
            app.settimeout(None)
            back = threading.Thread(target=self._app_to_stream, args=(app, stream), daemon=True)
            back.start()
            record["ended"] = self._stream_to_app(stream, app)
            back.join()
        finally:
            if app:
                app.close()

    @staticmethod
    def _stream_to_app(stream, app):
        try:
            while True:
                part = stream.recv(3600)
                if not part:
                    app.shutdown(socket.SHUT_WR)
                    return "end"
                app.sendall(part)
        except Reset as e:  # NO_ERROR and CANCEL are ends, all else an error
            app.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            try:
                app.shutdown(socket.SHUT_RD if e.code in (0, 8) else socket.SHUT_RDWR)
            except OSError:
                pass
            return f"reset {int(e.code)}"
        except OSError as e:
            try:
                app.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            return f"broken: {e}"

    @staticmethod
    def _app_to_stream(app, stream):
        try:
            while True:
                part = app.recv(1 << 18)
                if not part:
                    stream.end()
                    return
                stream.send(part)
        except OSError:
            stream.reset(h2.errors.ErrorCodes.INTERNAL_ERROR)

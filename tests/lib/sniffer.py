# SPDX-License-Identifier: Apache-2.0
"""Looks for marker bytes in what really crosses the wire of a network namespace."""
import select
import socket
import struct
import threading

from netns import socket_in

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
SO_RCVBUFFORCE = 33


class Sniffer:
    """Counts frames and marker hits on every interface of a namespace but its loopback.

    with Sniffer(netns, markers=[b"secret"]) as wire: ...
    assert wire.hits[b"secret"] == 0 and wire.complete
    """

    def __init__(self, netns, markers, keep=False):
        self.hits = {m: 0 for m in markers}
        self.frames = self.tcp_payload_frames = self.dropped = 0
        self.payloads = [] if keep else None
        self.socket = socket_in(netns, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.wake_r, self.wake_w = socket.socketpair()
        self.thread = threading.Thread(target=self._loop, daemon=True)

    def _loop(self):
        while True:
            ready, _, _ = select.select([self.socket, self.wake_r], [], [])
            if self.socket in ready:
                self._take()
            elif self.wake_r in ready:
                return  # asked to end, and the queue is empty

    def _take(self):
        for _ in range(256):
            try:
                frame, sll = self.socket.recvfrom(1 << 17, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if sll[0] == "lo":
                continue
            self.frames += 1
            for m in self.hits:
                if m in frame:
                    self.hits[m] += 1
            payload = tcp_payload(frame)
            if payload:
                self.tcp_payload_frames += 1
                if self.payloads is not None and len(self.payloads) < 10000:
                    self.payloads.append(payload)

    @property
    def complete(self):
        """True when the kernel dropped nothing on its way to us and we saw traffic at all."""
        return self.dropped == 0 and self.frames > 0

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.wake_w.send(b"x")
        self.thread.join()
        stats = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self.dropped = struct.unpack("II", stats)[1]
        for s in (self.socket, self.wake_r, self.wake_w):
            s.close()


def tcp_payload(frame):
    """The TCP payload of an Ethernet frame, b"" when there is none."""
    if len(frame) < 14:
        return b""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == 0x0800 and len(frame) >= 34 and frame[23] == 6:
        ip_len, total = (frame[14] & 15) * 4, int.from_bytes(frame[16:18], "big")
        segment = frame[14 + ip_len:14 + total] if total else frame[14 + ip_len:]
    elif kind == 0x86dd and len(frame) >= 54 and frame[20] == 6:
        segment = frame[54:]
    else:
        return b""
    return segment[(segment[12] >> 4) * 4:] if len(segment) >= 20 else b""

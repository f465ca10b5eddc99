# SPDX-License-Identifier: Apache-2.0
"""Opens mTLS connections, sends one request on each, and holds them: idle_tls.py IP PORT COUNT CRT KEY ALPN

Prints "held N", and leaves when its standard input ends.
"""
import socket
import ssl
import sys

ip, port, count, crt, key, alpn = sys.argv[1:7]
ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
ctx.load_cert_chain(crt, key)
if alpn:
    ctx.set_alpn_protocols([alpn])
held = []
for _ in range(int(count)):
    s = ctx.wrap_socket(socket.create_connection((ip, int(port)), 10))
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    got = b""
    while len(got) < 1024:
        part = s.recv(4096)
        if not part:
            sys.exit("cut off: " + repr(got[:100]))
        got += part
    held.append(s)
print("held", len(held), flush=True)
sys.stdin.read()

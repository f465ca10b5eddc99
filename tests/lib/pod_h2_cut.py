#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 server whose answers break off: pod_h2_cut.py PORT (python's h2)

    /BEGUN/HOW      BEGUN: "head" (a gRPC answer's head and one message go out first) or "bare"
                    HOW: a reset code; "wait" (nothing more comes); "close" (the connection ends)
"""
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events

MESSAGE = b"\0\0\0\0\2hi"


def answer(c, sock, stream, path):
    begun, how = path.strip("/").split("/")
    if begun == "head":
        c.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        c.send_data(stream, MESSAGE)
    if how.isdigit():
        c.reset_stream(stream, int(how))
    sock.sendall(c.data_to_send())
    return how != "close"


def serve(sock):
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    c.initiate_connection()
    with sock:
        sock.sendall(c.data_to_send())
        while raw := sock.recv(65536):
            for e in c.receive_data(raw):
                if isinstance(e, h2.events.RequestReceived) and not answer(c, sock, e.stream_id, dict(e.headers)[":path"]):
                    return
            sock.sendall(c.data_to_send())


def main(argv):
    with socket.create_server(("", int(argv[0]))) as listener:
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1:])

# SPDX-License-Identifier: Apache-2.0
"""grpc_check.py HOST:PORT BYTES: one unary call by gRPC's own client; exit 0 when message, status and trailers are what h2_server gives."""
import sys

import grpc

message = b"m" * int(sys.argv[2])
with grpc.insecure_channel(sys.argv[1]) as channel:
    call = channel.unary_unary("/bench.Echo/Unary", request_serializer=bytes, response_deserializer=bytes)
    got, info = call.with_call(message, timeout=10)
if got != message or info.code() != grpc.StatusCode.OK or ("bench-trailer", "yes") not in [tuple(m) for m in info.trailing_metadata()]:
    sys.exit(f"grpc_check: {len(got)} bytes, {info.code()}, trailers {info.trailing_metadata()}")

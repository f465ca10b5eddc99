# SPDX-License-Identifier: Apache-2.0
"""Large bodies, down and up, one after the other, by curl: the proxies' CPU time for each GiB."""
import os
import zlib

from accounts import Spent
from http2 import pattern

GIB = 1 << 30
CHECK_BYTES = 3 * 1024 * 1024 + 17


def curl(k, *args):
    """curl in pod A with the scene's protocol; its output, which ends with status and version."""
    version = ["--http2-prior-knowledge"] if k.scene.http2 else ["--http1.1"]
    host, port = k.target()
    r = k.run_in_a("curl", "-sS", "--max-time", 100, *version, "-H", "Expect:", "-w", "%{http_code} %{http_version} %{size_download}", *args[:-1],
                   f"http://{host}:{port}/{args[-1]}")
    got = r.stdout.split()
    if got[-3:-1] != ["200", "2" if k.scene.http2 else "1.1"]:
        raise RuntimeError(f"{k.name}: curl: {r.stdout}")
    return got


def body_file(k, name, n):
    """n bytes of zeros that take no room."""
    path = os.path.join(k.folder, name)
    with open(path, "wb") as f:
        f.truncate(n)
    return path


def check(b, k):
    """Once: both ways byte for byte."""
    path = os.path.join(k.folder, "body")
    curl(k, "-o", path, CHECK_BYTES)
    with open(path, "rb") as f:
        if zlib.crc32(f.read()) != zlib.crc32(pattern(CHECK_BYTES)):
            raise RuntimeError(f"{k.name}: the body that came is another")
    with open(path, "wb") as f:
        sent = os.urandom(CHECK_BYTES)
        f.write(sent)
    if curl(k, "-T", path, "crc")[:2] != [str(CHECK_BYTES), str(zlib.crc32(sent))]:
        raise RuntimeError(f"{k.name}: the body that arrived is another")


def bodies(b, k):
    n = b.options.body_mib << 20
    label = f"{'HTTP/2' if k.scene.http2 else 'HTTP/1.1'}, {n / GIB:g} GiB "
    with Spent(k) as spent:
        got = curl(k, "-o", "/dev/null", n)
    if int(got[-1]) != n:
        raise RuntimeError(f"{k.name}: {got[-1]} of {n} bytes came")
    b.add(label + "down: CPU ms/GiB", k, spent.ns / 1e6 * GIB / n)
    path = body_file(k, "zeros", n)
    with Spent(k) as spent:
        got = curl(k, "-T", path, "")
    if int(got[0]) != n:
        raise RuntimeError(f"{k.name}: {got[0]} of {n} bytes arrived")
    b.add(label + "up: CPU ms/GiB", k, spent.ns / 1e6 * GIB / n)

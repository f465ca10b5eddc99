# SPDX-License-Identifier: Apache-2.0
"""Programs of others, and our own on top of others' libraries, as tests/lib/setup.sh built them (tests/peers)."""
import importlib
import json
import os
import shutil

import pytest

from mesh import TOP

FOLDER = os.environ.get("TRAMMEL_PEERS", os.path.join(TOP, "build-peers"))


def peer(name):
    """Path of a program from tests/peers."""
    path = os.path.join(FOLDER, name)
    if not os.path.exists(path):
        pytest.skip(f"{path} is not there: tests/run builds it, as does peers_ensure of tests/lib/setup.sh")
    return path


def need(*programs):
    for p in programs:
        if not shutil.which(p):
            pytest.skip(f"{p} is not installed: tests/packages")


def need_modules(*names):
    for n in names:
        try:
            importlib.import_module(n)
        except ImportError:
            pytest.skip(f"no python module {n}: tests/requirements.txt")


def finish(p, timeout):
    """(exit code, last line of standard output as JSON, everything else it said) of a program that was started."""
    out, err = p.communicate(timeout=timeout)
    lines = out.strip().splitlines()
    assert lines, f"{p.args}: exit {p.returncode}, nothing said; stderr: {err[-4000:]}"
    return p.returncode, json.loads(lines[-1]), "\n".join(lines[:-1]) + err

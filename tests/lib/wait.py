# SPDX-License-Identifier: Apache-2.0
"""Waiting for something to become true, and saying what was seen when it does not."""
import time


def eventually(probe, timeout=10, step=0.05, what=""):
    """Call probe until it returns something true; that is the result. Its exceptions count as not yet."""
    deadline = time.monotonic() + timeout
    seen = None
    while True:
        try:
            seen = probe()
            if seen:
                return seen
        except Exception as e:
            seen = e
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or getattr(probe, '__doc__', '') or probe}: last seen {seen!r}")
        time.sleep(step)


def took(fn, *args, **kwargs):
    """(seconds, result)"""
    start = time.monotonic()
    result = fn(*args, **kwargs)
    return time.monotonic() - start, result

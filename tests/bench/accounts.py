# SPDX-License-Identifier: Apache-2.0
"""What processes have used, by the kernel's own accounts."""
import os


def cpu_ns(pids):
    """CPU time the threads of these processes have had."""
    total = 0
    for pid in pids:
        try:
            for t in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{t}/schedstat") as f:
                    total += int(f.read().split()[0])
        except OSError:
            pass
    return total


def smaps_kb(pids, fields):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith(fields))
    return total


def pss_kb(pids):
    return smaps_kb(pids, ("Pss:",))


def private_kb(pids):
    return smaps_kb(pids, ("Private_Dirty:", "Private_Clean:"))


def pin(pids, cpus):
    for pid in pids:
        try:
            for t in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(t), cpus)
        except OSError:
            pass


class Spent:
    """with Spent(contender) as s: ...; then s.ns: CPU time of its proxies meanwhile."""

    def __init__(self, contender):
        self.pids = contender.proxies_a() + contender.proxies_b()

    def __enter__(self):
        self.before = cpu_ns(self.pids)
        return self

    def __exit__(self, *exc):
        self.ns = cpu_ns(self.pids) - self.before

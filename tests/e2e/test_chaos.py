# SPDX-License-Identifier: Apache-2.0
"""Kills at random moments, again and again, under load whose answers tell loss, repeat and crossing apart.

    client ---- proxy ==== mTLS ==== proxy ---- web         agent and proxies are killed; the seed is printed
"""
import os
import random
import signal
import time

import pytest

from mesh import Mesh, finish_call, peer_authentication, service
from sniffer import Sniffer

POLICY = [peer_authentication("STRICT"), service("web", {"http": {"port": 80, "targetPort": 8080}, "tcp-echo": 7003})]
MARKER = b"chaos-marker-2718281828"


@pytest.fixture
def seed():
    value = int(os.environ.get("TRAMMEL_TEST_SEED", random.randrange(1 << 32)))
    print("seed", value)
    return random.Random(value)


@pytest.mark.slow
def test_agent_killed_ten_times_no_request_fails(seed):
    with Mesh(POLICY) as m:
        m.serve("web", "http:8080", "echo:7003")
        client = m.client()
        m.wait_endpoints("web", 1)
        assert client.http("web", 80)["status"] == 200
        with Sniffer(m.netns(), [MARKER]) as wire:
            calls = [client.start_call("http_tagged", "web", 80, seconds=10, marker=MARKER.decode(), keep=k) for k in (True, True, False)]
            tcp = client.start_call("ping_pong", "web", 7003, rounds=900, size=3000, pause=0.01)
            for _ in range(10):
                time.sleep(seed.uniform(0.05, 0.5))
                os.kill(m.agent_pid(), signal.SIGKILL)
                time.sleep(seed.uniform(0, 0.2))
                m.up()
            got = [finish_call(c) for c in calls]
            assert finish_call(tcp) == 900
        for g in got:
            assert g["n_failed"] == 0 and g["wrong"] == 0 and g["ok"] > 100, g
        assert wire.complete and wire.hits[MARKER] == 0


@pytest.mark.slow
@pytest.mark.parametrize("n_kills, pauses", [(10, (0.3, 1.0)), (20, (0.1, 0.9))], ids=["now-and-then", "rapidly"])
def test_proxies_killed_again_and_again_nothing_crosses_and_all_comes_back(seed, n_kills, pauses):
    with Mesh(POLICY) as m:
        web = m.serve("web", "http:8080", "echo:7003")
        client = m.client()
        m.wait_endpoints("web", 1)
        assert client.http("web", 80)["status"] == 200
        with Sniffer(m.netns(), [MARKER]) as wire:
            calls = [client.start_call("http_tagged", "web", 80, seconds=12, marker=MARKER.decode(), keep=True) for _ in range(4)]
            kills = 0
            while kills < n_kills:
                time.sleep(seed.uniform(*pauses))
                pid = seed.choice([web, client]).proxy_pid()
                if pid:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
            got = [finish_call(c) for c in calls]
        for g in got:
            assert g["wrong"] == 0, "an answer to someone else's question"
            assert g["n_failed"] <= 2 * kills, g
            assert g["longest"] < 1.5, g  # back within a second, and a moment to answer
            assert g["ok"] > 100, g
        assert client.http("web", 80)["status"] == 200
        assert wire.complete and wire.hits[MARKER] == 0

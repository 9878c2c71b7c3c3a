"""An update on Ray Serve, with the shipped configuration: who talks is not cut off, who comes gets the new version."""

import socket as sockets
import threading
import time
from pathlib import Path

import pytest
import yaml
from support.ray_serve import python_of_ray_serve, ray_serve
from support.serving import ask, take
from support.talkers import write_talker
from websockets.sync.client import connect

from anytalk.recipes.serve import ray_serve as served_by_ray
from anytalk.synth.codec import load_codec
from anytalk.synth.hearing import FakeWhisper

pytestmark = pytest.mark.slow

SHIPPED = Path(served_by_ray.__file__).with_name("ray-serve.yaml")
WAIT_S = 300
"""For replicas that load torch and a model, several on one core."""


@pytest.fixture(scope="module")
def cluster():
    python = python_of_ray_serve()
    if python is None:
        pytest.skip("no Ray Serve; tests/support/ray_serve.py says how to install it")
    with ray_serve(python) as started:
        yield started


def until(true, seconds=WAIT_S):
    deadline_s = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
    return found


def model_of(socket):
    [created] = take(socket, {"session.created"})
    return created["session"]["model"]


class Talkative(threading.Thread):
    """Asks in one session, again and again, until it is told that it is enough."""

    def __init__(self, socket):
        super().__init__()
        self.socket, self.enough, self.ends = socket, threading.Event(), []

    def run(self):
        while not self.enough.is_set():
            ask(self.socket)
            events = take(self.socket, {"response.done"}, WAIT_S)
            spoken = any(event["type"] == "response.output_audio.delta" for event in events)
            self.ends.append((events[-1]["response"]["status"], spoken))


def test_an_update_cuts_nobody_off_and_new_sessions_get_the_new_version(cluster, tmp_path):
    checkpoint = write_talker(tmp_path, load_codec("bundled"), FakeWhisper(), positions=1500)
    with sockets.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def deploy(version):
        configuration = yaml.safe_load(SHIPPED.read_text())
        configuration["http_options"] |= {"host": "127.0.0.1", "port": port}
        [application] = configuration["applications"]
        application["args"] |= {"run": str(checkpoint), "name": version}
        (tmp_path / "ray-serve.yaml").write_text(yaml.safe_dump(configuration))
        cluster.deploy(tmp_path / "ray-serve.yaml")

    def enter():
        return connect(f"ws://127.0.0.1:{port}/v1/realtime", max_size=None, open_timeout=60)

    def models(count):
        found = []
        for _ in range(count):
            with enter() as socket:
                found.append(model_of(socket))
        return found

    deploy("first")
    until(lambda: cluster.application().get("status") == "RUNNING")
    old = cluster.replicas()
    assert sorted(old.values()) == ["RUNNING"] * 2

    with enter() as socket:
        assert model_of(socket) == "first"
        talkative = Talkative(socket)
        talkative.start()
        deploy("second")
        new = until(lambda: [n for n, state in cluster.replicas().items() if n not in old and state == "RUNNING"][1:])
        assert models(6) == ["second"] * 6
        draining = {name: state for name, state in cluster.replicas().items() if name in old}
        assert [*draining.values()] == ["STOPPING"]
        answered = len(talkative.ends)
        until(lambda: len(talkative.ends) >= answered + 2)  # it still answers, now that the others are gone
        talkative.enough.set()
        talkative.join(WAIT_S)
        assert not talkative.is_alive()
        assert {*talkative.ends} == {("incomplete", True)}  # this model speaks as long as it has positions

    assert new
    until(lambda: cluster.application()["status"] == "RUNNING")
    assert not cluster.replicas().keys() & old.keys()
    assert models(2) == ["second"] * 2
    assert cluster.application()["deployments"]["anytalk"]["status"] == "HEALTHY"

"""`anytalk serve` as a user starts and stops it, and its benchmark, in processes of their own."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import yaml
from support.command_line import anytalk
from support.talkers import write_talker

from anytalk.recipes.serve import ray_serve
from anytalk.synth.codec import load_codec
from anytalk.synth.hearing import FakeWhisper


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_talker(tmp_path_factory.mktemp("talker"), load_codec("bundled"), FakeWhisper(), positions=50)


@pytest.mark.slow
@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_cleanly(checkpoint, ends):
    command = [sys.executable, "-m", "anytalk.recipes", "serve", str(checkpoint), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[0]
        assert httpx2.get(f"{address}/health", timeout=60).json()["status"] == "ok"
        process.send_signal(ends)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "stopped\n", "")


@pytest.mark.slow
def test_its_benchmark_counts_clients_and_gaps(checkpoint):
    done = anytalk("bench", "serve", str(checkpoint), "--clients", "2", "--seconds", "2", "--json")
    found = json.loads(done.stdout)
    two = found["clients"]["2"]
    assert two["answers"] >= 2
    assert two["without_sound"] == 0
    assert 0 < two["first_sound_ms_p50"] <= two["first_sound_ms_p95"]
    assert two["speech_s"] > 0
    assert two["gaps_per_client_minute"] == pytest.approx(two["gaps"] * 60 / (2 * 2))
    assert found["value"] == pytest.approx(two["first_sound_ms_p95"], abs=1)
    assert found["one_after_another"]["2"]["answers"] >= 2
    assert "2 in turn" in done.stderr


def test_what_cannot_be_served_is_one_line(checkpoint, tmp_path):
    for words, message in (
        ([str(tmp_path / "none")], "does not exist"),
        ([str(checkpoint), "--token-env", "NO_SUCH_VARIABLE"], "the environment holds no NO_SUCH_VARIABLE"),
        ([str(checkpoint), "--int8", "--device", "cuda"], "--int8 is for float32 weights on a CPU"),
    ):
        done = anytalk("serve", *words)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert message in done.stderr


def test_the_shipped_configuration_of_ray_serve_is_valid():
    shipped = Path(ray_serve.__file__).with_name("ray-serve.yaml")
    [application] = yaml.safe_load(shipped.read_text())["applications"]
    assert application["import_path"] == f"{ray_serve.application.__module__}:application"
    arguments = ray_serve.Arguments(**application["args"])
    assert (arguments.replicas, arguments.sessions) == (2, 8)
    with pytest.raises(ValueError, match="replica"):
        ray_serve.Arguments(run="RUN", replica=2)

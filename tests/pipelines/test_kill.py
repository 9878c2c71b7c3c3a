"""Killed anywhere, a build goes on to the same bytes, and leaves nothing else behind."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.command_line import anytalk

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(24)]


def command(recipe, out, *more):
    return [sys.executable, "-m", "anytalk.recipes", "build", str(recipe), "--out", str(out), *more]


def finish(recipe, out, *more):
    """Go on with a build, in this process."""
    done = anytalk("build", recipe, "--out", out, *more)
    assert done.returncode == 0, done.stderr


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("shards", "rejects")
        for path in (folder / part).glob("*")
    }


def start(recipe, out, *more):
    return subprocess.Popen(
        command(recipe, out, *more), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill_at_sidecar(process, out, count):
    """Send SIGKILL to the whole process group when so many sidecars have appeared."""
    deadline = time.monotonic() + 300
    while len(list((out / "units").glob("*.json"))) < count:
        assert process.poll() is None, "the build ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, fake_sections):
    """An uninterrupted build, its recipe, and room for more; one row in four is rejected."""
    import json

    import yaml

    folder = tmp_path_factory.mktemp("kill")
    rows = [pair if n % 4 else {**pair, "question": f"[unspeakable] {n}"} for n, pair in enumerate(PAIRS)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = fake_sections | {"source": str(folder / "pairs.jsonl"), "resources": {"units_in_flight": 2}}
    (folder / "kill.yaml").write_text(yaml.safe_dump(recipe))
    finish(folder / "kill.yaml", folder / "whole", "--local")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_killed_build_goes_on_to_the_same_bytes(whole, count):
    out = whole / f"killed-{count}"
    kill_at_sidecar(start(whole / "kill.yaml", out, "--local"), out, count)
    assert not (out / "dataset.json").exists()
    finish(whole / "kill.yaml", out, "--local")
    assert contents(out) == contents(whole / "whole")
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {str(path.relative_to(whole / "whole")) for path in (whole / "whole").rglob("*") if path.is_file()}


@pytest.mark.usefixtures("on_ray")
@pytest.mark.slow
def test_a_build_killed_on_ray_goes_on_to_the_same_bytes(whole):
    out = whole / "killed-ray"
    kill_at_sidecar(start(whole / "kill.yaml", out), out, 2)
    finish(whole / "kill.yaml", out)
    assert contents(out) == contents(whole / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(whole, number):
    interrupt(whole, f"interrupted-{number}", number, "--local")


@pytest.mark.slow
@pytest.mark.usefixtures("on_ray")
def test_sigterm_on_ray_stops_cleanly_and_says_how_to_go_on(whole):
    interrupt(whole, "interrupted-ray", signal.SIGTERM)


def interrupt(whole, name, number, *more):
    """Send a signal to a build in the middle, and see that it says how to go on, and that it does."""
    out = whole / name
    process = subprocess.Popen(
        command(whole / "kill.yaml", out, *more),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts its background jobs deaf to Ctrl-C, and they hand that on; SIGTERM must stop those, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL if number == signal.SIGINT else signal.SIG_IGN),
    )
    deadline = time.monotonic() + 300
    while not list((out / "units").glob("*.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert "SIGTERM" not in errors
    finish(whole / "kill.yaml", out, "--local")
    assert contents(out) == contents(whole / "whole")

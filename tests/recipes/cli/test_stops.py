"""Whatever breaks under a build, the command line says so in a few lines and says how to go on: no traceback."""

import resource

import pytest
import support.faulty
from support.command_line import anytalk

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(4)]


@pytest.fixture
def build_to(fake_recipe, write_jsonl, tmp_path):
    """Build four rows into a folder or URL, in this process unless told otherwise."""
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    return lambda out, *options: anytalk("build", recipe, "--out", out, *(options or ["--local"]))


def told(done):
    assert "Traceback" not in done.stderr
    assert "ExceptionGroup" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("anytalk: ")]


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("gs://bucket/set", 'pip install "anytalk[gcs]"'),
        ("nowhere://bucket/set", "Protocol not known"),
        ("/etc/hosts/set", "Not a directory"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_in_one_line(build_to, out, why):
    done = build_to(out)
    [line] = told(done)
    assert done.returncode == 2
    assert out in line
    assert why in line


def test_a_cluster_that_is_not_there_is_refused_in_one_line(build_to, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    done = build_to(tmp_path / "out", "--set", "seed=1")
    [line] = told(done)
    assert done.returncode == 2
    assert "there is no Ray cluster at RAY_ADDRESS=127.0.0.1:1" in line


@pytest.mark.slow
def test_a_disk_that_takes_no_more_stops_the_build_and_the_same_command_goes_on(build_to, tmp_path):
    # What fills up is the size that files of this process may have: enough for the plan, too little for shards.
    assert build_to(tmp_path / "out", "--local", "--set", "resources.hours=1e-9").returncode == 1
    was, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        done = build_to(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (was, hard))
    assert told(done) == []
    assert done.returncode == 1
    assert "File too large; tried 5 times" in done.stdout
    assert "the same command tries the deferred rows again" in done.stdout
    assert build_to(tmp_path / "out").returncode == 0


@pytest.mark.slow
@pytest.mark.usefixtures("on_ray")
def test_a_crew_that_lacks_what_the_driver_has_is_told_in_one_line(build_to, tmp_path, monkeypatch):
    monkeypatch.setenv("FAULTY_PARTS", str(tmp_path))
    done = build_to(f"{support.faulty.FaultyFileSystem.protocol}://{tmp_path}/out", "--set", "resources.cpus=0.5")
    [line] = told(done)
    assert done.returncode == 2
    # Only this process knows of the object store, as where a library is installed on one machine alone.
    assert "a crew cannot start: " in line
    assert "Protocol not known: faulty; every node needs what this one has" in line

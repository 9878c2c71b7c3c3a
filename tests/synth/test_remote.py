"""Models at URLs are what they are on the disk; a copy of each version is kept."""

from importlib import resources
from pathlib import Path

import pytest
from support.random_whisper import write_random_pt

from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import load_whisper
from anytalk.synth.remote import brought

WEIGHTS = Path(str(resources.files("anytalk.synth.codec") / "weights" / "bundled.safetensors"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "anytalk" / "models"


def test_a_codec_in_a_bucket_is_the_one_on_the_disk(bucket, cache):
    bucket.write("codec/codec.safetensors", WEIGHTS.read_bytes())
    local = load_codec(str(WEIGHTS)).fingerprint
    for url in (f"{bucket}/codec/codec.safetensors", f"bundled:{bucket}/codec"):
        found = load_codec(url).fingerprint
        assert {**found, "name": ""} == {**local, "name": ""}


@pytest.mark.filterwarnings("ignore:.*tiktoken:pytest.PytestUnraisableExceptionWarning")
def test_a_whisper_in_a_bucket_is_the_one_on_the_disk(bucket, cache, tmp_path):
    path = write_random_pt(tmp_path / "random.pt")
    bucket.write("random.pt", path.read_bytes())
    here, there = (load_whisper(name).fingerprint for name in (str(path), f"{bucket}/random.pt"))
    assert {**here, "model": ""} == {**there, "model": ""}


def test_a_copy_is_made_once_of_each_version(bucket, cache, faults):
    bucket.write("model/a/one.bin", b"1")
    bucket.write("model/two.bin", b"2")
    folder = Path(brought(f"{bucket}/model"))
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {"a/one.bin": b"1", "two.bin": b"2"}
    assert brought(f"utmos:{bucket}/model") == f"utmos:{folder}"
    bucket.write("model/two.bin", b"3")
    changed = Path(brought(f"{bucket}/model"))
    assert (changed.name, (changed / "two.bin").read_bytes(), len(list(cache.iterdir()))) == ("model", b"3", 2)
    assert brought("openai:small") == "openai:small"


def test_a_model_that_is_not_there_is_one_line(bucket, cache):
    with pytest.raises(SetupError, match=rf"{bucket}/none\.pt does not exist"):
        load_whisper(f"{bucket}/none.pt")

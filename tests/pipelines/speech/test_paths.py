"""A crew on a machine that does not have what the recipe names says so before the first row, in one line for each."""

import asyncio
import shutil

import numpy as np
import pytest

from anytalk.pipelines.dataset import Store
from anytalk.pipelines.plan import load_or_make
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.speech import Assignment
from anytalk.pipelines.speech.crews import CrewActor
from anytalk.pipelines.speech.paths import paths_of
from anytalk.synth.audio import flac_bytes
from anytalk.synth.errors import SetupError


def lines_of(loaded, out, paths):
    with pytest.raises(SetupError) as refused:
        asyncio.run(CrewActor(Assignment(str(out), loaded), {}, ".", paths).open())
    return str(refused.value).splitlines()


def test_models_noises_and_the_dataset_must_be_where_crews_are(fake_recipe, write_jsonl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noises").mkdir()
    (tmp_path / "joe.onnx").write_bytes(b"")
    recipe = fake_recipe(
        source=str(write_jsonl([{"question": "Who?", "answer": "Me."}])),
        voices={"question": ["piper:joe.onnx"], "answer": "fake:eve"},
        augment=[{"kind": "noise", "folder": "noises", "snr_db": [10, 20]}],
    )
    loaded, out = load_recipe(recipe), tmp_path / "out"
    load_or_make(loaded, Store(out))
    paths = paths_of(loaded, Store(out))
    assert paths == [str(tmp_path / name) for name in ("joe.onnx", "noises", "out/plan/plan.json")]
    for path in (tmp_path / "joe.onnx", tmp_path / "out" / "plan" / "plan.json"):
        path.unlink()
    first, second = lines_of(loaded, out, paths)
    assert first.startswith(f"{tmp_path}/joe.onnx is not on ")
    assert second.startswith(f"{tmp_path}/out/plan/plan.json is not on ")
    assert "must lie on a file system that all of them share" in first


def test_recordings_must_be_where_crews_are(fake_recipe, write_jsonl, tmp_path):
    sound = flac_bytes(np.sin(np.arange(16_000) / 10).astype(np.float32) * 0.3, 16_000)
    (tmp_path / "talks").mkdir()
    for name in ("a", "b"):
        (tmp_path / "talks" / f"{name}.flac").write_bytes(sound)
    rows = [{"question_audio": f"talks/{name}.flac", "question": "Who?", "answer": "Me."} for name in ("a", "b")]
    loaded, out = load_recipe(fake_recipe(source=str(write_jsonl(rows)))), tmp_path / "out"
    load_or_make(loaded, Store(out))
    shutil.rmtree(tmp_path / "talks")
    [line] = lines_of(loaded, out, paths_of(loaded, Store(out)))
    assert line.startswith(f"{tmp_path}/talks/")

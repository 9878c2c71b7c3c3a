"""CONTRIBUTING.md: each engine that it shows how to add is added as it stands there, loaded by name, and used."""

import ast
import importlib
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
from support.contracts import (
    decodes_what_it_can,
    encodes_what_it_can,
    hears_what_it_can,
    scores_what_it_can,
    speaks_what_it_can,
)

from anytalk.pipelines import build, check
from anytalk.recipes.cli.doctor import examine
from anytalk.synth.codec import load_codec
from anytalk.synth.hearing import load_whisper
from anytalk.synth.judge import load_mos
from anytalk.synth.voice import load_voice

ROOT = Path(__file__).resolve().parents[1]
ADDED = re.compile(
    r"Write `(?P<file>synth/\S+\.py)`:\n\n```python\n(?P<code>.*?)```\n\n"
    r"Add a line to `(?P<table>\w+)` in `(?P<catalogue>synth/\S+\.py)`:\n\n```python\n(?P<line>.*?)```",
    re.DOTALL,
)


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Put the engines of the page where it says; give the names of their files."""
    examples = [match.groupdict() for match in ADDED.finditer((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))]
    for example in examples:
        assert not (ROOT / example["file"]).exists()
        path = tmp_path / Path(example["file"]).name
        path.write_text(example["code"], encoding="utf-8")
        name = dotted(example["file"])
        spec = importlib.util.spec_from_file_location(name, path)
        monkeypatch.setitem(sys.modules, name, importlib.util.module_from_spec(spec))
        spec.loader.exec_module(sys.modules[name])
        table = getattr(importlib.import_module(dotted(example["catalogue"])), example["table"])
        for engine, module in ast.literal_eval(f"{{{example['line']}}}").items():
            assert engine not in table
            monkeypatch.setitem(table, engine, module)
    return [example["file"] for example in examples]


def dotted(path):
    return f"anytalk.{path.removesuffix('.py').replace('/', '.')}"


def test_the_page_shows_how_to_add_each_kind_of_engine(added):
    assert [Path(file).parent.name for file in added] == ["voice", "hearing", "judge", "codec"]


@pytest.mark.usefixtures("added")
def test_what_was_added_keeps_the_contracts():
    for name in ("hum:low", "hum:high"):
        speaks_what_it_can(load_voice(name))
    hears_what_it_can(load_whisper("loudness"))
    scores_what_it_can(load_mos("peak"))
    encodes_what_it_can(load_codec("decibel"))
    decodes_what_it_can(load_codec("decibel"))


@pytest.mark.usefixtures("added")
def test_a_build_uses_what_was_added(fake_recipe, write_jsonl, anything, tmp_path):
    pairs = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(3)]
    recipe = fake_recipe(
        source=str(write_jsonl(pairs)),
        voices={"question": ["hum:low"], "answer": "hum:high"},
        check={"mos": "peak", "question": anything, "answer": anything},
        features={"model": "loudness"},
        codec={"model": "decibel"},
    )
    summary = build(recipe, tmp_path / "out", local=True)
    assert (summary.rows_accepted, summary.rows_rejected) == (3, 0)
    prints = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))["fingerprints"]
    assert prints["voices"].keys() == {"hum:low", "hum:high"}
    assert (prints["features"]["model"], prints["judges"]["mos"]["model"]) == ("loudness", "peak")
    assert prints["codec"]["name"] == "decibel"
    assert check(tmp_path / "out").problems == []


@pytest.mark.slow
@pytest.mark.usefixtures("added")
def test_doctor_lists_what_was_added():
    works = {finding.name: finding.works for finding in examine()}
    assert [works[name] for name in ("hum:low", "hum:high", "loudness", "peak", "decibel")] == [True] * 5

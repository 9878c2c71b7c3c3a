"""The dataset card says what the hub asks for, how to load the rows, and who really spoke."""

import json
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import yaml

from anytalk.pipelines import build, rejudge

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(6)]


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


def speakers(card):
    """Names in the table of voices."""
    return re.findall(r"^\| `([^`]+)` \|", card.split("## Voices")[1], re.MULTILINE)


CHECKS = {"check.question.max_wer": 9.5, "check.answer.max_wer": 8.5, "check.attempts": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fake_sections):
    root = tmp_path_factory.mktemp("card")
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    recipe = fake_sections | {"source": str(root / "pairs.jsonl"), "split": {"validation": 0.4}}
    (root / "card.yaml").write_text(yaml.safe_dump(recipe))
    build(root / "card.yaml", root / "out", local=True, **CHECKS)
    return root / "out"


@pytest.fixture(scope="module")
def card(folder):
    return (folder / "README.md").read_text()


def test_the_front_matter_names_licence_language_size_and_tasks(card):
    front = front_matter(card)
    assert front["license"] == ["apache-2.0"]
    assert front["language"] == ["en"]
    assert front["size_categories"] == ["n<1K"]
    assert front["task_categories"] == ["automatic-speech-recognition", "text-to-speech", "audio-to-audio"]


def test_the_card_lists_every_column(folder, card):
    [shard, *_] = (folder / "shards").glob("train-*.arrow")
    listed = card.split("## Columns")[1].split("## Checks")[0]
    for name in pa.ipc.open_file(shard).schema.names:
        side, _, measure = name.partition("_")
        assert f"`{name}`" in listed or (side in ("question", "answer") and measure in listed), name


def test_the_card_lists_thresholds_and_names_models_as_the_recipe_does(folder, card):
    recipe = json.loads((folder / "dataset.json").read_text())["recipe"]
    assert "| `max_wer` | 9.5 | 8.5 |" in card
    assert f"| codec | `{recipe['codec']['model']}` |" in card
    assert "spoken again, up to 3 attempts in all" in card


@pytest.mark.slow  # imports and runs datasets in a process of its own
def test_the_cards_snippet_runs_where_the_card_lies(folder, card, tmp_path):
    [snippet] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Question number")


def test_only_voices_that_spoke_are_listed(fake_recipe, card, tmp_path):
    assert speakers(card) == ["fake:ann", "fake:bob", "fake:eve"]
    talks = tmp_path / "talks"
    talks.mkdir()
    soundfile.write(talks / "one.wav", 0.1 * np.sin(np.arange(22_050) / 9), 22_050)
    (talks / "one.txt").write_text("This is one.")
    build(fake_recipe(source=str(talks)), tmp_path / "out", local=True)
    of_recordings = (tmp_path / "out" / "README.md").read_text()
    assert speakers(of_recordings) == ["recording"]
    assert front_matter(of_recordings)["license"] == ["other"]
    assert front_matter(of_recordings)["task_categories"] == ["automatic-speech-recognition"]


def test_after_a_judgement_that_speaks_nothing_the_card_says_so(fake_recipe, tmp_path):
    build(fake_recipe(source={"kind": "bundled", "limit": 4}), tmp_path / "out", local=True)
    rejudge(tmp_path / "out", {"check.question.min_mos": 5.0})
    assert "rows that fail them were not spoken again" in (tmp_path / "out" / "README.md").read_text()
    rejudge(tmp_path / "out", reroll=True, local=True)
    assert "spoken again, up to 4 attempts in all" in (tmp_path / "out" / "README.md").read_text()

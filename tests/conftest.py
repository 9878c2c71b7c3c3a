"""Recipes that need no weights: tones for voices, a recogniser that hears nothing, a codec of loudness."""

import json
from pathlib import Path

import pytest
import yaml

ANYTHING = dict.fromkeys(
    (
        "max_wer",
        "min_mos",
        "min_seconds_per_word",
        "max_seconds_per_word",
        "max_leading_silence_s",
        "max_trailing_silence_s",
        "max_inner_silence_s",
    )
)
"""A policy that lets tones pass."""

FAKE = {
    "name": "fake",
    "source": "bundled",
    "voices": {"question": ["fake:ann", "fake:bob"], "answer": "fake:eve"},
    "check": {"question": ANYTHING, "answer": ANYTHING},
    "features": {"model": "fake"},
    "codec": {"model": "fake"},
    "shards": {"unit_rows": 4, "batch_rows": 2},
}


@pytest.fixture
def anything():
    """A policy that lets everything pass."""
    return dict(ANYTHING)


@pytest.fixture
def fake_recipe(tmp_path):
    """Write a recipe of fake engines with some sections replaced, and give its path."""

    def write(name="fake.yaml", **sections) -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(FAKE | sections))
        return path

    return write


@pytest.fixture
def write_jsonl(tmp_path):
    """Write rows as a JSON-lines file, and give its path."""

    def write(rows, name="pairs.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write

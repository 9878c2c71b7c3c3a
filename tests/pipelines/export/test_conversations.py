"""Whole conversations: chats with audios, and stereo recordings with word times."""

import json

import datasets
import jiwer
import numpy as np
import pytest
import soundfile
import yaml

from anytalk.pipelines import build
from anytalk.pipelines.export import Messages, Moshi, export
from anytalk.pipelines.recipe import load_recipe

TURNS = [
    {"conversation": "a", "turn": 0, "question": "Where do penguins live?", "answer": "They live far in the south."},
    {"conversation": "a", "turn": 1, "question": "Is it cold there?", "answer": "Yes, it is very cold."},
]


@pytest.fixture(scope="module")
def spoken(fake_sections, tmp_path_factory):
    """A conversation of two turns that a real voice spoke; all else is fake."""
    folder = tmp_path_factory.mktemp("spoken")
    (folder / "turns.jsonl").write_text("".join(json.dumps(turn) + "\n" for turn in TURNS))
    sections = {
        "source": str(folder / "turns.jsonl"),
        "voices": {"question": ["hibari:heart"], "answer": "hibari:heart"},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(fake_sections | sections))
    build(load_recipe(folder / "recipe.yaml"), folder / "dataset", local=True)
    return folder / "dataset"


def test_chats_name_a_recording_for_each_audio_in_turn(spoken, tmp_path):
    export(spoken, Messages(system="Be brief.", answer_audio=True), tmp_path / "out")
    [line] = (tmp_path / "out" / "train" / "train-00000-of-00001.jsonl").read_text().splitlines()
    chat = json.loads(line)
    assert chat["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "<audio>"},
        {"role": "assistant", "content": TURNS[0]["answer"]},
        {"role": "user", "content": "<audio>"},
        {"role": "assistant", "content": TURNS[1]["answer"]},
    ]
    assert [soundfile.info(tmp_path / "out" / path).samplerate for path in chat["audios"]] == [16_000, 16_000]
    assert [soundfile.info(tmp_path / "out" / path).samplerate for path in chat["answer_audios"]] == [24_000, 24_000]
    described = json.loads((tmp_path / "out" / "dataset_info.json").read_text())["anytalk_train"]
    # LLaMA-Factory loads the folder `file_name` below `dataset_dir` as JSON.
    rows = datasets.load_dataset(
        "json", data_dir=str(tmp_path / "out" / described["file_name"]), cache_dir=str(tmp_path)
    )
    assert rows["train"][0][described["columns"]["messages"]] == chat["messages"]


def test_a_chat_ends_before_a_turn_that_was_rejected(fake_sections, write_jsonl, tmp_path):
    turns = [*TURNS, {"conversation": "a", "turn": 2, "question": "Why?", "answer": "Because."}]
    turns[1] = turns[1] | {"answer": "See https://example.org for it."}
    turns += [turn | {"conversation": "b"} for turn in TURNS]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(fake_sections | {"source": str(write_jsonl(turns))}))
    summary = build(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "dataset", local=True)
    found = export(tmp_path / "dataset", Messages(), tmp_path / "out")
    lines = (tmp_path / "out" / "train" / "train-00000-of-00001.jsonl").read_text().splitlines()
    chats = [len(json.loads(line)["audios"]) for line in lines]
    assert found.rows + sum(found.left_out.values()) == summary.rows_accepted
    assert sum(chats) == found.rows
    assert 2 in chats


@pytest.mark.slow
def test_moshi_has_the_answers_left_the_questions_right_and_times_of_words(spoken, tmp_path):
    export(spoken, Moshi(gap_s=0.25), tmp_path / "out")
    [line] = map(json.loads, (tmp_path / "out" / "train.jsonl").read_text().splitlines())
    stereo, rate_hz = soundfile.read(tmp_path / "out" / line["path"])
    assert (stereo.shape[1], rate_hz, len(stereo) / rate_hz) == (2, 24_000, line["duration"])
    # One speaks at a time.
    assert not np.any(np.abs(stereo).min(axis=1) > 1e-4)
    alignments = json.loads((tmp_path / "out" / line["path"]).with_suffix(".json").read_text())["alignments"]
    assert {speaker for _, _, speaker in alignments} == {"SPEAKER_MAIN"}
    starts = [start for _, (start, _), _ in alignments]
    assert starts == sorted(starts)
    heard = " ".join(word for word, _, _ in alignments)
    spoken_text = " ".join(turn["answer"] for turn in TURNS)
    assert jiwer.wer(spoken_text.lower(), heard.lower()) <= 0.2
    # The answer's words lie where the left channel sounds.
    for _, (start, end), _ in alignments:
        piece = stereo[round(start * rate_hz) : round(end * rate_hz) + 1]
        assert np.abs(piece[:, 0]).max() > 10 * np.abs(piece[:, 1]).max()

"""`make household` on engines of no weight: every command of it runs, and what it came to is told by kind."""

import json
import os

import pytest

from anytalk.recipes import household, steps
from anytalk.recipes.cli import main

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = {
    "model_type": "qwen2",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 128,
}
TRAINING = {
    "model.shape": SHAPE,
    "model.vocabulary": 300,
    "model.adapter_hidden": 8,
    "stages": [{"name": "all", "train": "all", "tasks": {"A1A2": 1, "T1A2": 1}, "steps": 1, "learning_rate": 1e-3}],
    "loader.positions": 128,
    "loader.max_positions": 128,
    "optim.compile": False,
}


@pytest.fixture
def cheaply(monkeypatch, fake_sections):
    """Run each command in this process, on fake engines and few rows."""
    fakes = {
        "source.limit": 160,
        "split.test": 0.35,
        "split.held_out_voices": ["fake:bob"],
        "voices.question": fake_sections["voices"]["question"],
        "voices.answer": fake_sections["voices"]["answer"],
        **{key: fake_sections[key] for key in ("check", "features", "codec")},
    }
    read = {key: fakes[key] for key in ("source.limit", "voices.answer", "features", "codec")}
    read |= {"voices.question": ["fake:ann"]}
    more = {
        name: ["--local", *(word for key, value in keys.items() for word in ("--set", f"{key}={json.dumps(value)}"))]
        for name, keys in (("build", fakes), ("read aloud", read))
    } | {
        "train": [word for key, value in TRAINING.items() for word in ("--set", f"{key}={json.dumps(value)}")],
    }
    ran = []

    def run(step):
        ran.append(step.name)
        monkeypatch.setattr("sys.argv", ["anytalk", *step.arguments, *more.get(step.name, [])])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, 1.0, 0.5

    monkeypatch.setattr(steps, "_run", run)
    return ran


@pytest.mark.slow
def test_the_whole_command_says_how_it_answers_what_it_never_heard(cheaply, tmp_path, capsys):
    assert household.run(tmp_path) == 0
    assert cheaply == ["build", "read aloud", "check", "train", "answer"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(household.TEXT_RIGHT) <= set(summary["unheard"])
    assert all(0 <= kind["text_right"] <= 1 for kind in summary["unheard"].values())
    assert all({"speech_wer", "codec_ceiling_wer", "questions"} <= kind.keys() for kind in summary["unheard"].values())
    assert set(summary["seconds"]) == {"build", "read aloud", "check", "train", "answer"}
    assert 0 <= summary["codec_ceiling_wer"] <= 1

    answers = json.loads((tmp_path / "answers/evaluation.json").read_text())["answers"]
    asked = {answer["question"] for answer in answers}
    assert len(asked) == len(answers) > 0
    printed = capsys.readouterr().out
    assert "MISSED unheard reminders: text right" in printed, "a model of one step knows nothing"
    assert summary["goals_missed"][0].startswith("unheard reminders: text right")

    cheaply.clear()
    os.utime(tmp_path / "answers/evaluation.json")
    assert household.run(tmp_path) == 0
    assert "answer" not in cheaply, "nothing is asked again"


UNHEARD = {
    kind: {"questions": 30, "text_right": 0.96, "speech_wer": 0.1, "codec_ceiling_wer": 0.04}
    for kind in household.TEXT_RIGHT
}


def missed(seconds=3600.0, **changes):
    summary = {"unheard": UNHEARD | changes, "seconds": {"build": seconds}}
    return [name for name, _, met in household.goals(summary) if not met]


def test_goals_are_told_by_kind():
    assert missed() == []
    assert missed(timers=UNHEARD["timers"] | {"text_right": 0.94}) == ["unheard timers: text right"]
    assert missed(sums=UNHEARD["sums"] | {"text_right": 0.6, "speech_wer": 0.9}) == []
    speech = ["unheard switches: WER of speech over the codec's"]
    assert missed(switches=UNHEARD["switches"] | {"speech_wer": 0.13}) == speech
    assert missed(seconds=4501.0) == ["minutes"]


def test_a_kind_of_which_nothing_was_asked_misses_its_goals():
    summary = {"unheard": {kind: UNHEARD[kind] for kind in ("reminders", "switches", "sums")}, "seconds": {}}
    assert [name for name, _, met in household.goals(summary) if not met] == [
        "unheard timers: text right",
        "unheard timers: WER of speech over the codec's",
    ]


def test_a_speech_that_says_nothing_is_all_wrong():
    answer = {"split_name": "sums", "text_right": True, "codec_wer": 0.0}
    [(kind, found)] = household.by_kind([answer | {"speech_wer": None}, answer | {"speech_wer": 0.0}]).items()
    assert (kind, found["speech_wer"], found["text_right"], found["questions"]) == ("sums", 0.5, 1.0, 2)

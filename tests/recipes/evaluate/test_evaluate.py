"""Evaluation and the quickstart: what was asked and answered is on disk, and goals are told as they are."""

import json
import os
from datetime import date

import pytest
import soundfile
import yaml

from anytalk.pipelines import build
from anytalk.pipelines.progress import Quiet
from anytalk.pipelines.recipe import VoiceChoice
from anytalk.recipes import quickstart
from anytalk.recipes.cli import main
from anytalk.recipes.evaluate.evaluation import EvaluatedAnswer, _normaliser, _wrong, figures, pick, unheard
from anytalk.recipes.evaluate.page import TERMS, answer_page, measured
from anytalk.recipes.steps import Step
from anytalk.recipes.train.recipe import load_training_recipe
from anytalk.recipes.train.run import train
from anytalk.synth.errors import SetupError

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {
    "name": "tiny",
    "data": {"validation": None},
    "model": {
        "shape": {
            "model_type": "qwen2",
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 256,
        },
        "vocabulary": 300,
        "adapter_hidden": 8,
        "stack": 5,
    },
    "stages": [
        {"name": "talking", "train": "all", "tasks": {"A1A2": 1, "A1T2": 1}, "steps": 2, "learning_rate": 1e-3},
    ],
    "loader": {"positions": 256, "max_positions": 256},
}


def told(kind="exact", **changes):
    values = {
        "split_name": "pairs",
        "voice": "as recorded",
        "question": "Who?",
        "reference": "Me.",
        "text": "Me.",
        "heard": "me",
        "text_right": True,
        "text_wer": 0.0,
        "speech_wer": 0.0,
        "codec_wer": 0.1,
        "seconds_to_first_audio": 0.5,
        "real_time_factor": 0.25,
        "steps": 9,
        "question_audio": "q.wav",
        "answer_audio": "a.wav",
    }
    return EvaluatedAnswer(kind=kind, **values | changes)


@pytest.fixture(scope="module")
def talker(tmp_path_factory, fake_sections):
    """A dataset of fake engines, and a model that saw it for two steps."""
    folder = tmp_path_factory.mktemp("chain")
    pairs = [{"question": f"What is {word}?", "answer": f"It is a {word}."} for word in ("tea", "rain", "snow", "sand")]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    recipe = folder / "fake.yaml"
    voices = fake_sections["voices"] | {"variants": 2}
    recipe.write_text(yaml.safe_dump(fake_sections | {"source": str(folder / "pairs.jsonl"), "voices": voices}))
    build(recipe, folder / "dataset", local=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    loaded = load_training_recipe(folder / "tiny.yaml", {"data.datasets": [str(folder / "dataset")]})
    train(loaded, folder / "run", progress=Quiet())
    return folder


@pytest.mark.slow
def test_every_question_and_answer_is_left_to_listen_to(talker, tmp_path, monkeypatch, capsys):
    out = tmp_path / "answers"
    arguments = [str(talker / "run"), str(talker / "dataset"), "--out", str(out), "--exact", "3", "--respoken", "2"]
    monkeypatch.setattr("sys.argv", ["anytalk", "eval", *arguments, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((out / "evaluation.json").read_text())
    assert [answer["kind"] for answer in result["answers"]] == ["exact"] * 3 + ["respoken"] * 2
    page = (out / "report.html").read_text()
    for answer in result["answers"]:
        assert soundfile.info(out / answer["question_audio"]).samplerate == 16_000
        assert answer["question_audio"] in page
        if answer["answer_audio"]:
            assert soundfile.info(out / answer["answer_audio"]).samplerate == 24_000
    assert {"text_right_exact", "speech_wer_respoken", "codec_ceiling_wer"} <= result["figures"].keys()
    assert result["figures"]["questions_exact"] == 3


@pytest.mark.slow
def test_a_row_that_cannot_be_asked_does_not_end_the_evaluation(talker, tmp_path, monkeypatch, capsys):
    def damaged(*arguments):
        first, *others = pick(*arguments)
        return [first | {"question_audio": {"bytes": first["question_audio"]["bytes"][:60]}}, *others]

    monkeypatch.setattr("anytalk.recipes.evaluate.evaluation.pick", damaged)
    out = tmp_path / "answers"
    command = ["anytalk", "eval", str(talker / "run"), str(talker / "dataset"), "--out", str(out), "--respoken", "0"]
    monkeypatch.setattr("sys.argv", [*command, "--exact", "3"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert (len(result["answers"]), result["figures"]["questions_failed"]) == (2, 1)
    [failed] = result["failed"]
    assert f"FAILED {failed['question']}" in capsys.readouterr().out
    assert failed["error"] in (out / "report.html").read_text()
    monkeypatch.setattr("sys.argv", [*command, "--exact", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "none of 1 question could be asked; the first: " in capsys.readouterr().err


def test_another_whisper_may_listen_to_the_answers(talker, tmp_path, monkeypatch):
    out = tmp_path / "answers"
    arguments = [str(talker / "run"), str(talker / "dataset"), "--out", str(out), "--exact", "1", "--respoken", "0"]

    def ended(recogniser):
        monkeypatch.setattr("sys.argv", ["anytalk", "eval", *arguments, "--recogniser", recogniser])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    assert ended("nowhere.pt") == 2
    assert ended("fake.en") == 0
    assert json.loads((out / "evaluation.json").read_text())["recogniser"] == "fake.en"


def test_a_recording_of_each_conversation_is_picked_before_a_second_one(talker):
    assert len({row["conversation"] for row in pick(str(talker / "dataset"), "train", 3)}) == 3
    assert len(pick(str(talker / "dataset"), "train", 99)) == 4, "two variants of each of four conversations"


def test_a_split_without_rows_is_refused(talker):
    with pytest.raises(SetupError, match="no rows in split 'test'"):
        pick(str(talker / "dataset"), "test", 4)


@pytest.mark.parametrize("faster", [True, False])
def test_respoken_questions_are_at_speeds_that_no_variant_has(faster):
    choice = VoiceChoice(voice="fake:ann", speed=(0.9, 1.15), pitch=(0.9, 1.0))
    slower = VoiceChoice(voice="fake:ann", speed=(0.7, 0.8))
    other = VoiceChoice(voice="fake:bob", speed=(0.5, 2.0))
    speed, pitch = unheard(choice, [choice, slower, other], faster)
    assert not 0.7 <= speed <= 1.15
    assert pitch == 0.95


def test_an_answer_without_words_is_compared_without_an_error():
    assert _wrong("", "") == 0.0
    assert _wrong("", "hello") == 1.0


def test_style_tags_are_no_words_to_an_evaluation():
    normalised = _normaliser("en-GB", ["*laughs*", "{sigh}"])
    assert normalised("Well *laughs*, 20 colours. {sigh}") == normalised("Well, twenty colors.") == "well 20 colors"


def test_an_answer_that_says_nothing_counts_as_wrong_speech():
    found = figures([told(), told(text="", text_right=False, text_wer=1.0, speech_wer=None)])
    assert found["text_right_exact"] == 0.5
    assert found["speech_wer_exact"] == 0.5
    assert found["codec_ceiling_wer"] == 0.1
    assert "text_right_respoken" not in found


def page_of(*answers):
    result = {"figures": figures(answers), "answers": [vars(answer) for answer in answers]}
    return answer_page("RUN", "DATASET", date(2026, 11, 25), result)


def test_the_page_names_model_dataset_and_date_and_explains_its_terms():
    page = page_of(told(), told(kind="respoken"))
    assert "<title>Evaluation of RUN on DATASET</title>" in page
    assert "2026-11-25" in page
    assert "training recordings: text right" in page
    assert "re-synthesised questions: text right" in page
    assert all(f"<dt>{term}</dt>" in page for term in TERMS)


def test_the_page_shows_failures_first_and_the_worst_of_them_at_the_top():
    page = page_of(
        told(text="fine"),
        told(text="mumbled", speech_wer=0.5),
        told(text="close", text_right=False, text_wer=0.2),
        told(text="nonsense", text_right=False, text_wer=1.0),
    )
    assert sorted(("fine", "mumbled", "close", "nonsense"), key=page.index) == ["nonsense", "close", "mumbled", "fine"]


def test_what_was_said_cannot_break_the_page():
    page = page_of(told(text="<script>", text_right=False, reference='"&'))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&quot;&amp;" in page


def test_rates_and_times_of_every_answer_are_shown_where_there_are_any():
    assert measured(vars(told())) == (
        "WER of the text 0%, of the speech 0%, codec ceiling 10%; time to first audio 0.50 s, RTF 0.25"
    )
    assert "of the speech -," in measured(vars(told(speech_wer=None)))


SUMMARY = {
    "rows_accepted": 64,
    "rows_rejected": 0,
    "speech_hours": 0.1,
    "training_steps": 10,
    "text_right_exact": 1.0,
    "text_right_respoken": 0.25,
    "speech_wer_exact": 0.3,
    "speech_wer_respoken": 0.3,
    "codec_ceiling_wer": 0.2,
    "seconds": {"build": 100.0, "train": 200.0},
    "peak_memory_gib": 2.0,
}


def test_a_missed_goal_is_called_missed(tmp_path):
    text = quickstart.closing(tmp_path, SUMMARY)
    missed = [line for line in text.splitlines() if "MISSED" in line]
    assert len(missed) == 1
    assert "25% (goal 50%)" in missed[0]


def test_the_quickstart_ends_with_the_line_that_opens_the_page(tmp_path):
    assert quickstart.closing(tmp_path, SUMMARY).splitlines()[-1].split() == [
        "anytalk", "serve", str(tmp_path / "talker"), "--open"
    ]  # fmt: skip


def test_a_step_that_fails_stops_with_a_line_and_keeps_its_seconds(tmp_path, monkeypatch, capfd):
    step = Step("check", ("check", str(tmp_path / "nothing")))
    monkeypatch.setattr(quickstart, "steps", lambda out: [step])
    assert quickstart.run(tmp_path / "out") == 1
    printed = capfd.readouterr()
    assert "stopped at anytalk check; make quickstart goes on from there" in printed.err
    assert str(tmp_path / "nothing") in printed.err
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["seconds"]["check"] > 0
    assert summary["peak_memory_gib"] > 0


@pytest.mark.parametrize("changed", [False, True], ids=["seen again", "made anew"])
def test_seconds_are_those_of_the_work_and_not_of_seeing_that_it_is_done(changed, tmp_path, monkeypatch):
    result = tmp_path / "out.txt"
    step = Step("convert", ("convert", "--help"), result)
    monkeypatch.setattr(quickstart, "steps", lambda out: [step])
    monkeypatch.setattr(quickstart, "summarise", lambda out, spent: SUMMARY | {"seconds": dict(spent.seconds)})
    seen = []
    for _ in range(2):
        assert quickstart.run(tmp_path) == 0
        seen.append(json.loads((tmp_path / "summary.json").read_text())["seconds"]["convert"])
        if not changed:
            result.write_text("made by the first run")
    assert seen[0] > 0
    assert (seen[1] > seen[0]) == changed


def test_a_result_younger_than_its_source_is_not_made_again(tmp_path):
    result, source = tmp_path / "result", tmp_path / "source"
    step = Step("answer", ("eval",), result, source)
    source.write_text("")
    assert not step.is_done
    result.write_text("")
    os.utime(source, ns=(1, 1))
    assert step.is_done
    os.utime(result, ns=(0, 0))
    assert not step.is_done

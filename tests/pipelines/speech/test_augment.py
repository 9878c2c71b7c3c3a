"""Builds with augmentation: questions are changed after they passed, and everything else stays what it was."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from datasets import Features

from anytalk.pipelines import build, check, rejudge
from anytalk.pipelines.dataset import schema
from anytalk.pipelines.speech import VoiceEngine
from anytalk.recipes.data.rows import Rows
from anytalk.synth.audio import read_audio
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import FakeWhisper, load_whisper

PAIRS = [{"question": f"Question number {n}, please?", "answer": f"Answer number {n}."} for n in range(6)]
COLUMNS = [name for name, _ in schema.AUGMENTED]
CHANGED = ("question_audio", "question_samples", "question_features")


@pytest.fixture
def noises(tmp_path):
    folder = tmp_path / "noises"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("fan", "rain"):
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(60_000), 12_000)
    return folder


@pytest.fixture
def pairs(write_jsonl):
    return str(write_jsonl(PAIRS))


def noise(folder, **changes):
    return {"kind": "noise", "folder": str(folder), "snr_db": [0, 10]} | changes


def rows_of(folder, part="shards"):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def contents(folder):
    return {path.name: path.read_bytes() for part in ("shards", "rejects") for path in (folder / part).glob("*")}


def same(row, other, but=()):
    return [name for name in other if name not in but and row[name] != other[name]] == []


def test_the_question_is_changed_after_it_was_judged_and_its_features_are_of_what_is_stored(
    fake_recipe, pairs, noises, tmp_path
):
    build(fake_recipe(source=pairs), tmp_path / "clean", local=True)
    build(fake_recipe(source=pairs, augment=[noise(noises)]), tmp_path / "noisy", local=True)
    assert check(tmp_path / "noisy").problems == []
    clean, noisy = rows_of(tmp_path / "clean"), rows_of(tmp_path / "noisy")
    assert clean.keys() == noisy.keys()
    for name, row in noisy.items():
        # The voice's transcript and measures, the answer, the seed: all as without augmentation.
        assert same(row, clean[name], but=CHANGED)
        assert row["question_audio"]["bytes"] != clean[name]["question_audio"]["bytes"]
        sound = read_audio(row["question_audio"]["bytes"], 16_000)
        [heard] = FakeWhisper().features([sound])
        assert np.array_equal(np.array(row["question_features"], np.float16), heard)
        [done] = json.loads(row["question_augmentation"])
        assert (done["step"], done["file"] in {"fan.wav", "rain.wav"}) == ("noise", True)
        assert (row["question_augmented_transcript"], row["question_augmented_wer"]) == ("", 1.0)
    assert len({row["question_augmentation"] for row in noisy.values()}) == len(PAIRS)


def test_a_row_for_which_nothing_is_drawn_is_the_row_of_the_same_recipe_without_augmentation(
    fake_recipe, pairs, noises, tmp_path
):
    build(fake_recipe(source=pairs), tmp_path / "clean", local=True)
    build(fake_recipe(source=pairs, augment=[noise(noises, probability=0.5)]), tmp_path / "mixed", local=True)
    clean, mixed = rows_of(tmp_path / "clean"), rows_of(tmp_path / "mixed")
    untouched = [name for name, row in mixed.items() if row["question_augmentation"] is None]
    assert 0 < len(untouched) < len(PAIRS)
    assert all(same(mixed[name], clean[name]) for name in untouched)
    assert all(mixed[name][column] is None for name in untouched for column in COLUMNS)


def test_columns_exist_where_the_recipe_augments_and_datasets_and_training_read_both(
    fake_recipe, pairs, noises, tmp_path
):
    build(fake_recipe(source=pairs), tmp_path / "clean", local=True)
    build(fake_recipe(source=pairs, augment=[noise(noises)]), tmp_path / "noisy", local=True)
    for name, columns in (("clean", []), ("noisy", COLUMNS)):
        [path, *_] = (tmp_path / name / "shards").glob("*.arrow")
        stored = pa.ipc.open_file(path).schema
        assert [column for column in stored.names if column in COLUMNS] == columns
        assert Features.from_arrow_schema(stored)["question_audio"].sampling_rate == 16_000
    both = [str(tmp_path / name) for name in ("clean", "noisy")]
    rows = Rows(both, "train", lambda texts: [[1] * len(text) for text in texts], 4096)
    assert len(rows) == 2 * len(PAIRS)


def test_variants_of_a_pair_draw_differently(fake_recipe, pairs, noises, tmp_path):
    recipe = fake_recipe(source=pairs, augment=[noise(noises)])
    build(recipe, tmp_path / "out", local=True, **{"voices.variants": 3})
    by_question = {}
    for row in rows_of(tmp_path / "out").values():
        by_question.setdefault(row["question"], set()).add(row["question_augmentation"])
    assert [len(drawn) for drawn in by_question.values()] == [3] * len(PAIRS)


def test_a_folder_that_changes_under_a_build_is_refused_and_a_finished_dataset_stays(
    fake_recipe, pairs, noises, tmp_path
):
    recipe = fake_recipe(source=pairs, augment=[noise(noises)])
    build(recipe, tmp_path / "out", local=True)
    before = contents(tmp_path / "out")
    soundfile.write(noises / "fan.wav", 0.1 * np.random.default_rng(1).standard_normal(60_000), 12_000)
    assert build(recipe, tmp_path / "out", local=True).complete
    assert contents(tmp_path / "out") == before
    next((tmp_path / "out" / "units").iterdir()).unlink()
    with pytest.raises(SetupError, match=r"units? (was|were) made with augment\."):
        build(recipe, tmp_path / "out", local=True)
    assert build(recipe, tmp_path / "out", local=True, mixed=True).complete
    assert check(tmp_path / "out").problems == []


def test_what_is_not_in_order_is_refused_by_name_before_the_first_row(fake_recipe, pairs, noises, tmp_path):
    (noises / "torn.flac").write_bytes(b"fLaC and no more")
    (tmp_path / "empty").mkdir()
    steps = [noise(noises), noise(tmp_path / "gone"), {"kind": "room", "folder": str(tmp_path / "empty")}]
    with pytest.raises(SetupError) as caught:
        build(fake_recipe(source=pairs, augment=steps), tmp_path / "out", local=True)
    lines = str(caught.value).splitlines()
    assert [name in line for name, line in zip(("torn.flac", "gone", "empty"), lines, strict=True)] == [True] * 3
    assert not (tmp_path / "out" / "units").exists()


def test_what_is_not_understood_any_more_is_drawn_again_and_then_left_as_it_was_spoken(
    fake_recipe, write_jsonl, noises, anything, tmp_path, monkeypatch
):
    # The fake recogniser hears nothing, so no noise leaves anything of the question.
    build(fake_recipe(source=str(write_jsonl(PAIRS[:2]))), tmp_path / "clean", local=True)
    never = fake_recipe(
        source=str(write_jsonl(PAIRS[:2])),
        augment={"max_wer": 0.5, "steps": [noise(noises)]},
        check={"question": anything, "answer": anything, "attempts": 3, "mos": "fake"},
    )
    summary = build(never, tmp_path / "never", local=True)
    assert (summary.rows_accepted, summary.reasons) == (2, {})
    clean = rows_of(tmp_path / "clean")
    for name, row in rows_of(tmp_path / "never").items():
        assert same(row, clean[name])
        assert row["question_augmentation"] is None
    assert check(tmp_path / "never").problems == []

    # Judging again changes nothing that was given up, and does not try.
    before = rows_of(tmp_path / "never")
    monkeypatch.delattr(VoiceEngine, "augment")
    assert rejudge(tmp_path / "never", {"check.question.max_seconds_per_word": 9.0}, local=True).rows_accepted == 2
    assert rows_of(tmp_path / "never") == before


def test_a_question_that_would_slow_down_over_the_limit_stays_as_it_is(fake_recipe, pairs, tmp_path):
    recipe = fake_recipe(
        source=pairs, augment=[{"kind": "speed", "factor": 0.5}], audio={"max_question_s": 2.5, "trim_silence": False}
    )
    summary = build(recipe, tmp_path / "out", local=True)
    assert (summary.rows_accepted, summary.reasons) == (len(PAIRS), {})
    assert all(row["question_augmentation"] is None for row in rows_of(tmp_path / "out").values())


def test_the_sound_that_was_judged_is_kept_and_judging_again_keeps_the_change(fake_recipe, pairs, noises, tmp_path):
    build(fake_recipe(source=pairs), tmp_path / "clean", local=True)
    out = tmp_path / "noisy"
    build(fake_recipe(source=pairs, augment=[noise(noises)]), out, local=True)
    clean, before = rows_of(tmp_path / "clean"), rows_of(out)
    kept = rows_of(out, "attempts")
    for name, row in clean.items():
        [attempt] = kept[name]["attempts"]
        assert (attempt["side"], attempt["reason"]) == ("question", None)
        assert attempt["audio"]["bytes"] == row["question_audio"]["bytes"]

    judged = rejudge(out, {"check.question.max_seconds_per_word": 9.0}, local=True)
    assert (judged.rows_accepted, judged.went_out) == (len(PAIRS), 0)
    assert rows_of(out) == before
    assert check(out).problems == []

    assert rejudge(out, {"check.question.min_mos": 5.0}, local=True).rows_accepted == 0
    assert rejudge(out, {"check.question.min_mos": 0.0}, local=True).came_back == len(PAIRS)
    assert rows_of(out) == before
    assert check(out).problems == []


def test_recordings_are_augmented_too(fake_recipe, noises, tmp_path):
    folder = tmp_path / "talks"
    folder.mkdir()
    soundfile.write(folder / "one.wav", 0.1 * np.sin(np.arange(22_050) / 9), 22_050)
    (folder / "one.txt").write_text("This is one.")
    build(fake_recipe(source=str(folder), augment=[noise(noises)]), tmp_path / "out", local=True)
    [row] = rows_of(tmp_path / "out").values()
    assert row["question_voice"] == "recording:one.wav"
    assert json.loads(row["question_augmentation"])[0]["step"] == "noise"


EVERYTHING = [
    {"kind": "speed", "factor": [0.95, 1.05]},
    {"kind": "simulated_room", "rt60_s": 0.2},
    {"kind": "telephone", "probability": 0.5},
    {"kind": "codec", "codecs": ["opus", "g711"]},
    {"kind": "gain", "gain_db": [-6, 0]},
]


@pytest.mark.usefixtures("on_ray")
@pytest.mark.slow
def test_ray_and_this_process_give_the_same_bytes(fake_recipe, pairs, noises, tmp_path):
    recipe = fake_recipe(source=pairs, augment=[noise(noises), *EVERYTHING])
    build(recipe, tmp_path / "local", local=True)
    build(recipe, tmp_path / "ray", **{"resources.voices": 2, "resources.units_in_flight": 4})
    assert contents(tmp_path / "local") == contents(tmp_path / "ray")


@pytest.mark.slow
def test_real_speech_is_changed_and_still_understood(fake_recipe, write_jsonl, noises, tmp_path):
    texts = ("What is the capital of France?", "How many legs does a spider have?", "Who painted the Mona Lisa?")
    recipe = fake_recipe(
        source=str(write_jsonl([{"question": text, "answer": "I know."} for text in texts])),
        voices={"question": ["hibari:heart"], "answer": "hibari:heart"},
        features={"model": "tiny.en", "context": "short"},
        augment={"max_wer": 0.5, "steps": [noise(noises, snr_db=[12, 20]), *EVERYTHING]},
    )
    summary = build(recipe, tmp_path / "out", local=True)
    assert (summary.rows_accepted, check(tmp_path / "out").problems) == (3, [])
    whisper = load_whisper("tiny.en", text_compute_type="int8", context="short")
    for row in rows_of(tmp_path / "out").values():
        steps = [done["step"] for done in json.loads(row["question_augmentation"])]
        assert steps[:3] == ["noise", "speed", "simulated_room"]
        assert row["question_augmented_wer"] <= 0.5
        assert row["question_wer"] <= 0.35
        assert soundfile.info(io.BytesIO(row["question_audio"]["bytes"])).frames == row["question_samples"]
        [features] = whisper.features([read_audio(row["question_audio"]["bytes"], 16_000)])
        assert np.array_equal(np.array(row["question_features"], np.float16), features)

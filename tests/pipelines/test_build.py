"""Builds: what goes in comes out once, with its reason if it failed, and with the same bytes however it is run."""

import asyncio
import contextlib
import json
import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from anytalk.pipelines import build, check, rejudge, units
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.plan import load_or_make
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.speech import Crew, LocalCrews
from anytalk.pipelines.speech.dispatch import Run
from anytalk.synth.codec.catalogue import ENGINES
from anytalk.synth.errors import SetupError

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(10)]


def contents(folder):
    """Bytes of all shards and rejects, by path."""
    files = [path for part in ("shards", "rejects") for path in (folder / part).glob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows_of(folder, part="shards"):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return [row for table in tables for row in table.to_pylist()]


def test_every_pair_becomes_a_checked_row(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    summary = build(recipe, tmp_path / "out", local=True)
    assert (summary.rows_accepted, summary.rows_rejected, summary.complete) == (10, 0, True)
    rows = rows_of(tmp_path / "out")
    assert {row["question_written"] for row in rows} == {pair["question"] for pair in PAIRS}
    assert not any(character.isdigit() for row in rows for character in row["question"])
    for row in rows:
        assert len(row["answer_codes"]) == math.ceil(row["answer_samples"] / 2048)
        assert len(row["question_features"]) == min(1500, row["question_samples"] // 320 + 1)
        assert row["question_voice"].startswith(("fake:ann", "fake:bob"))
    assert check(tmp_path / "out").problems == []


@pytest.mark.usefixtures("on_ray")
@pytest.mark.slow
def test_ray_and_this_process_give_the_same_bytes(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(
        source=str(write_jsonl(PAIRS)), voices={"question": ["fake:ann", "hibari:heart"], "answer": "fake:eve"}
    )
    build(recipe, tmp_path / "local", local=True)
    build(recipe, tmp_path / "ray", **{"resources.voices": 2, "resources.units_in_flight": 4})
    assert contents(tmp_path / "local") == contents(tmp_path / "ray")


def test_variants_of_a_pair_are_spoken_by_different_voices(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS[:3])))
    build(recipe, tmp_path / "out", local=True, **{"voices.variants": 2})
    by_question = {}
    for row in rows_of(tmp_path / "out"):
        by_question.setdefault(row["question"], set()).add(row["question_voice"].split()[0])
    assert list(by_question.values()) == [{"fake:ann", "fake:bob"}] * 3


def test_a_row_whose_answer_cannot_be_encoded_is_rejected_and_the_others_are_built(
    fake_recipe, write_jsonl, tmp_path, monkeypatch
):
    monkeypatch.setitem(ENGINES, "short", "support.short_codec")
    long = {"question": "And now?", "answer": "This is an answer which takes a good deal more than two seconds to say."}
    recipe = fake_recipe(source=str(write_jsonl([PAIRS[0], long, PAIRS[1]])), codec={"model": "short"})
    summary = build(recipe, tmp_path / "out", local=True)
    assert (summary.rows_accepted, summary.reasons, summary.complete) == (2, {"nan_audio": 1}, True)
    [reject] = rows_of(tmp_path / "out", "rejects")
    assert (reject["question"], reject["detail"]) == ("And now?", "over two seconds")
    question, answer = reject["attempts"]
    assert (question["reason"], answer["reason"], answer["side"]) == (None, "nan_audio", "answer")
    # It was measured and can be heard, and another policy does not make it good.
    assert answer["audio"]["bytes"]
    assert answer["mos"] is not None
    assert rejudge(tmp_path / "out", {"check.max_leading_silence_s": 60.0}, local=True).reasons == {"nan_audio": 1}
    assert check(tmp_path / "out").problems == []


def test_a_row_that_fails_is_tried_again_and_kept_with_all_its_attempts(fake_recipe, write_jsonl, anything, tmp_path):
    hears_nothing = {
        "question": anything | {"max_wer": 0.5},
        "answer": anything,
        "attempts": 3,
        "attempts_per_voice": 2,
    }
    recipe = fake_recipe(source=str(write_jsonl(PAIRS[:1])), check=hears_nothing)
    summary = build(recipe, tmp_path / "out", local=True)
    assert (summary.rows_accepted, summary.reasons) == (0, {"high_wer": 1})
    [reject] = rows_of(tmp_path / "out", "rejects")
    assert (reject["reason"], len(reject["attempts"])) == ("high_wer", 3)
    voices = [attempt["voice"].split()[0] for attempt in reject["attempts"]]
    assert voices[0] == voices[1] != voices[2]
    assert all(attempt["audio"]["bytes"] and attempt["wer"] == 1.0 for attempt in reject["attempts"])
    assert check(tmp_path / "out").problems == []


def test_bad_rows_are_kept_with_their_reasons_and_the_run_goes_on(fake_recipe, write_jsonl, tmp_path):
    tone = 0.1 * np.sin(np.arange(16_000) / 9)
    soundfile.write(tmp_path / "good.wav", tone, 16_000)
    soundfile.write(tmp_path / "nan.wav", np.where(tone > 0.09, np.nan, tone), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "long.flac", np.tile(tone, 600), 16_000)
    (tmp_path / "broken.mp3").write_bytes(b"this is no audio" * 100)
    rows = [
        {"question": "Fine?", "answer": "Yes."},
        {"question": "Fine?", "answer": "Yes."},
        {"question": "Empty?", "answer": " "},
        {"question": "...", "answer": "What?"},
        {"question": "Tone?", "answer": "Yes.", "question_audio": "good.wav"},
        {"question": "NaN?", "answer": "Yes.", "question_audio": "nan.wav"},
        {"question": "Long?", "answer": "Yes.", "question_audio": "long.flac"},
        {"question": "Broken?", "answer": "Yes.", "question_audio": "broken.mp3"},
        {"question": "Gone?", "answer": "Yes.", "question_audio": "gone.wav"},
        {"question": "[unspeakable]", "answer": "Yes."},
    ]
    recipe = fake_recipe(source=str(write_jsonl(rows)), clean={"refuse_unspeakable": False})
    summary = build(recipe, tmp_path / "out", local=True)
    assert {row["question"] for row in rows_of(tmp_path / "out")} == {"Fine?", "Tone?"}
    reasons = {row["question"]: row["reason"] for row in rows_of(tmp_path / "out", "rejects")}
    assert reasons == {
        "Fine?": "repeat",
        "Empty?": "empty_answer",
        "...": "unspeakable_text",
        "NaN?": "nan_audio",
        "Long?": "too_long",
        "Broken?": "not_audio",
        None: "missing_audio",
        "[unspeakable]": "unspeakable_text",
    }
    assert summary.rows_accepted + summary.rows_rejected == len(rows)
    assert check(tmp_path / "out").problems == []


def test_recordings_are_not_spoken_again_and_rows_without_answers_are_whole(fake_recipe, tmp_path):
    folder = tmp_path / "talks"
    folder.mkdir()
    for name in ("one", "two", "two.answer"):
        soundfile.write(folder / f"{name}.wav", 0.1 * np.sin(np.arange(22_050) / 9), 22_050)
        (folder / f"{name}.txt").write_text(f"This is {name}.")
    build(fake_recipe(source=str(folder)), tmp_path / "out", local=True, **{"voices.variants": 3})
    by_name = {row["conversation"]: row for row in rows_of(tmp_path / "out")}
    assert by_name["one"]["answer"] is None
    assert by_name["one"]["answer_codes"] is None
    assert by_name["two"]["question_voice"] == "recording:two.wav"
    assert by_name["two"]["answer_voice"] == "recording:two.answer.wav"
    assert len(rows_of(tmp_path / "out")) == 2
    assert check(tmp_path / "out").problems == []


def test_what_the_machinery_fails_is_deferred_and_finished_by_the_next_run(fake_recipe, write_jsonl, tmp_path):
    soundfile.write(tmp_path / "q.wav", 0.1 * np.sin(np.arange(16_000) / 9), 16_000)
    rows = [{"question": "Tone?", "answer": "Yes.", "question_audio": "q.wav"}, *PAIRS]
    recipe = load_recipe(fake_recipe(source=str(write_jsonl(rows))))
    load_or_make(recipe, Store(tmp_path / "out"))
    recording = (tmp_path / "q.wav").read_bytes()
    (tmp_path / "q.wav").unlink()
    first = build(recipe, tmp_path / "out", local=True)
    assert (first.rows_deferred, first.complete) == (4, False)
    assert "q.wav" in first.deferred[0]
    assert not (tmp_path / "out" / "dataset.json").exists()
    (tmp_path / "q.wav").write_bytes(recording)
    second = build(recipe, tmp_path / "out", local=True)
    assert (second.rows_deferred, second.rows_accepted) == (0, 11)
    assert check(tmp_path / "out").problems == []


def test_conversations_stay_whole_in_one_split_and_one_unit(fake_recipe, tmp_path):
    recipe = fake_recipe(split={"validation": 0.3}, source={"kind": "bundled", "limit": 300})
    plan = load_or_make(load_recipe(recipe), Store(tmp_path / "out"))
    places = {}
    for number, unit in enumerate(plan.units):
        for row in unit:
            places.setdefault(row.pair.conversation, set()).add((number, row.split))
        turns = [(row.pair.conversation, row.variant, row.pair.turn) for row in unit]
        assert turns == sorted(turns, key=lambda turn: [t[0] for t in turns].index(turn[0]))
    assert all(len(place) == 1 for place in places.values())
    assert {split for [(_, split)] in places.values()} == {"train", "validation"}


def test_a_finished_dataset_is_not_made_again(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    build(recipe, tmp_path / "out", local=True)
    before = contents(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "shards").iterdir()}
    again = build(recipe, tmp_path / "out", local=True)
    assert again.speech_hours_per_work_hour is None
    assert contents(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "shards").iterdir()} == times


def test_a_finished_dataset_loads_no_engine(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    build(recipe, tmp_path / "out", local=True)
    script = (
        "import sys\n"
        "from anytalk.recipes.cli.main import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "heavy = ('torch', 'transformers', 'ray', 'ctranslate2', 'onnxruntime', 'datasets', 'scipy', 'pandas')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script, "build", str(recipe), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "already complete" in done.stdout
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_folder_of_something_else_is_refused_untouched(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    build(recipe, tmp_path / "out", local=True)
    with pytest.raises(SetupError, match=r"another recipe.*voices\.variants"):
        build(recipe, tmp_path / "out", local=True, **{"voices.variants": 2})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(SetupError, match="is not empty"):
        build(recipe, tmp_path / "photos", local=True)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


def test_before_the_first_unit_another_recipe_plans_anew(fake_recipe, write_jsonl, tmp_path):
    wrong = fake_recipe(source=str(write_jsonl([*PAIRS, {"question": "", "answer": "No question."}])))
    with pytest.raises(SetupError, match="nowhere"):
        build(wrong, tmp_path / "out", local=True, **{"features.model": "nowhere/model"})
    assert list((tmp_path / "out" / "rejects").iterdir())
    right = fake_recipe(source=str(write_jsonl(PAIRS)))
    assert build(right, tmp_path / "out", local=True).rows_accepted == 10
    build(right, tmp_path / "at-once", local=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "at-once")
    assert check(tmp_path / "out").problems == []


def test_a_build_without_an_accepted_row_is_complete_and_not_well(fake_recipe, write_jsonl, tmp_path):
    summary = build(
        fake_recipe(source=str(write_jsonl(PAIRS[:2]))), tmp_path / "out", local=True, **{"check.min_mos": 5.0}
    )
    assert (summary.complete, summary.well, summary.rows_accepted) == (True, False, 0)


def test_a_unit_whose_shard_is_torn_or_gone_is_made_anew(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    build(recipe, tmp_path / "out", local=True)
    whole = contents(tmp_path / "out")
    torn, gone, *_ = sorted((tmp_path / "out" / "shards").iterdir())
    torn.write_bytes(torn.read_bytes()[:-100])
    gone.unlink()
    assert len(check(tmp_path / "out").problems) == 2
    assert build(recipe, tmp_path / "out", local=True).complete
    assert contents(tmp_path / "out") == whole
    assert check(tmp_path / "out").problems == []


def test_a_changed_source_is_refused(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)))
    build(recipe, tmp_path / "out", local=True)
    write_jsonl(PAIRS[:5])
    with pytest.raises(SetupError, match="has changed since"):
        build(recipe, tmp_path / "out", local=True)


class Shuffled(LocalCrews):
    """A crew whose units end in another order than they begin."""

    def __init__(self, crew):
        super().__init__(crew)
        self.slots = 8

    async def make(self, number, failed=None):
        sidecar = await super().make(number, failed)
        await asyncio.sleep(0.1 * ((7 - 3 * number) % 5))
        return sidecar


def test_the_manifest_does_not_depend_on_the_order_in_which_units_end(fake_recipe, write_jsonl, tmp_path, monkeypatch):
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)), shards={"unit_rows": 2})

    @contextlib.asynccontextmanager
    async def crews(assignment, progress, *, local):
        async with Crew(assignment) as crew:
            yield Shuffled(crew)

    monkeypatch.setattr(units, "open_crews", crews)
    finished = Run.finished
    order = []
    monkeypatch.setattr(Run, "finished", lambda run, number, told: (order.append(number), finished(run, number, told)))
    assert build(recipe, tmp_path / "out", local=True).complete
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert order != sorted(order)
    manifest = (tmp_path / "out" / "dataset.json").read_bytes()
    assert check(tmp_path / "out").problems == []
    (tmp_path / "out" / "SHA256SUMS").unlink()
    build(recipe, tmp_path / "out", local=True)
    assert (tmp_path / "out" / "dataset.json").read_bytes() == manifest


def test_an_object_store_holds_a_dataset_too(fake_recipe, write_jsonl, tmp_path):
    url = f"memory://{tmp_path.name}"
    summary = build(fake_recipe(source=str(write_jsonl(PAIRS[:4]))), url, local=True)
    assert summary.rows_accepted == 4
    assert check(url).problems == []


def test_the_manifest_says_what_the_rows_follow_from(fake_recipe, write_jsonl, tmp_path):
    build(fake_recipe(source=str(write_jsonl(PAIRS[:4]))), tmp_path / "out", local=True)
    manifest = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert manifest["fingerprints"]["codec"]["name"] == "fake"
    assert manifest["rows_accepted"] == 4
    assert manifest["recipe"]["seed"] == 1
    assert manifest["libraries"]["pyarrow"]

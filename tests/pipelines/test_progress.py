"""Progress: a build says what it does from the first second, and counts rows as they pass."""

import io

import numpy as np
import soundfile
from rich.console import Console

from anytalk.pipelines import build, progress
from anytalk.pipelines.progress import Bar, Lines, counted, measured
from anytalk.pipelines.recipe import Recordings
from anytalk.pipelines.source import read_pairs

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(3)]


def test_a_build_names_its_phases_in_order(fake_recipe, write_jsonl, tmp_path):
    out = io.StringIO()
    recipe = fake_recipe(source=str(write_jsonl(PAIRS)), dedup=True)
    build(recipe, tmp_path / "out", local=True, progress=Lines(out, every_s=0.0))
    lines = list(dict.fromkeys(line.partition(":")[0].removesuffix(" ...") for line in out.getvalue().splitlines()))
    assert lines == [
        "reading and cleaning rows",
        "comparing conversations",
        "planning conversations",
        "loading engines",
        "rows",
    ]
    assert "reading and cleaning rows: 3 ..." in out.getvalue()
    assert "rows: 3/3, 0 s left, 0 rejected" in out.getvalue().splitlines()


def test_a_phase_that_lasts_is_told_now_and_then():
    out = io.StringIO()
    lines = Lines(out, every_s=60.0)
    for count in range(1, 1000):
        lines.phase("reading", count)
    lines.phase("planning")
    assert out.getvalue().splitlines() == ["reading: 1 ...", "planning ..."]


def test_a_bar_follows_a_phase_and_a_phase_a_bar():
    out = io.StringIO()
    bar = Bar(Console(file=out, force_terminal=True, width=100))
    for what in ("asking", "rewriting"):
        bar.phase("reading", 7)
        bar.start(what, 2)
        bar.advance(2)
    bar.phase("planning")
    bar.stop()
    assert all(what in out.getvalue() for what in ("reading: 7", "asking", "rewriting", "planning"))


def test_a_bar_of_work_that_goes_on_takes_the_place_of_the_last_one():
    bar = Bar(Console(file=io.StringIO(), force_terminal=True, width=100))
    for what, done in (("asking", 0), ("rows", 0), ("rows", 4)):
        bar.start(what, 8, done)
        bar.stop()
    assert [(task.description, task.completed) for task in bar.progress.tasks] == [("asking", 0), ("rows", 4)]


def test_the_first_steps_are_told_at_once_and_others_now_and_then():
    out = io.StringIO()
    lines = Lines(out, every_s=60.0)
    lines.start("rows", 100)
    lines.advance(0, "16 utterances spoken")
    for _ in range(10):
        lines.advance(9, "1 rejected")
    lines.advance(10, "1 rejected")
    assert out.getvalue().splitlines() == ["rows: 0/100, 16 utterances spoken", "rows: 100/100, 0 s left, 1 rejected"]


def test_what_is_left_is_told_at_the_pace_of_late(monkeypatch):
    out, now_s = io.StringIO(), [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    lines = Lines(out)
    lines.start("training", 1000)
    for step_s in [1.0] * 500 + [10.0] * 400:
        now_s[0] += step_s
        lines.advance(1)
    assert out.getvalue().splitlines()[-1] == "training: 900/1000, 1000 s left"


def test_what_a_bar_says_may_hold_any_brackets():
    out = io.StringIO()
    bar = Bar(Console(file=out, force_terminal=True, width=100))
    bar.phase("converting [/runs]", 3, "[sigh]")
    bar.start("asr: [b]set[/b]", 1)
    bar.advance(1, "heard [/laugh]")
    bar.stop()
    assert all(what in out.getvalue() for what in ("[/runs]: 3, [sigh] ...", "[b]set[/b]", "[/laugh]"))


def test_items_that_pass_are_counted_with_and_without_their_number():
    out = io.StringIO()
    lines = Lines(out, every_s=0.0)
    assert list(counted(range(5), "texts read", lines, every=2)) == list(range(5))
    assert list(measured("abc", "letters", 6, lines, lambda _: 2)) == list("abc")
    told = [line.replace(", 0 s left", "") for line in out.getvalue().splitlines()]
    assert told == ["texts read ...", "texts read: 2 ...", "texts read: 4 ...", *(f"letters: {n}/6" for n in (2, 4, 6))]


def test_recordings_that_are_listened_to_are_counted_with_their_minutes(tmp_path):
    (tmp_path / "talks").mkdir()
    for name, seconds in (("short", 1), ("long", 95)):
        soundfile.write(tmp_path / "talks" / f"{name}.wav", np.zeros(8_000 * seconds, np.float32), 8_000)
    out = io.StringIO()
    source = Recordings(kind="recordings", path=str(tmp_path / "talks"), transcribe=True)
    list(read_pairs(source, progress=Lines(out, every_s=0.0)))
    assert list(dict.fromkeys(out.getvalue().splitlines())) == [
        "listening to recordings: 0 ...",
        "listening to recordings: 0, 1 minutes of long ones cut at pauses ...",
        "listening to recordings: 0, 2 minutes of long ones cut at pauses ...",
        "listening to recordings: 1, 2 minutes of long ones cut at pauses ...",
        "listening to recordings: 2, 2 minutes of long ones cut at pauses ...",
    ]

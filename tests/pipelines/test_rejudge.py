"""Judging again: the rows that another policy would have given, none spoken, none lost, however often it is killed."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest
import yaml
from support.command_line import anytalk
from typer.testing import CliRunner

from anytalk.pipelines import build, check, rejudge
from anytalk.pipelines.progress import Quiet
from anytalk.pipelines.recipe import load_recipe
from anytalk.recipes.cli.main import app
from anytalk.synth.errors import EngineError, SetupError

pytestmark = pytest.mark.slow

PAIRS = [{"question": f"Number {n}?", "answer": "Said" + " so" * (n % 5) + "."} for n in range(8)]
SPEEDS = [0.6, 1.6]
ANSWERS_UNDER = "check.answer.max_leading_silence_s"
QUESTIONS_UNDER = "check.question.max_leading_silence_s"
TIGHT, LOOSE = 0.5, 0.8
"""Tones are no speech, so all of one is silence: a gate for its length, which changes from attempt to attempt."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, fake_sections):
    """A recipe under which some answers pass at once, some later, and some never."""
    folder = tmp_path_factory.mktemp("judge")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    anything = fake_sections["check"]["answer"]
    sections = fake_sections | {
        "source": str(folder / "pairs.jsonl"),
        "voices": {
            "question": [{"voice": "fake:ann", "speed": SPEEDS}, {"voice": "fake:bob", "speed": SPEEDS}],
            "answer": {"voice": "fake:eve", "speed": SPEEDS},
        },
        "check": {"attempts": 3, "question": anything, "answer": anything | {"max_leading_silence_s": TIGHT}},
    }
    (folder / "judged.yaml").write_text(yaml.safe_dump(sections))
    return folder / "judged.yaml"


@pytest.fixture(scope="module")
def built(recipe):
    """A finished dataset; not to be changed."""
    build(recipe, recipe.parent / "built", local=True)
    return recipe.parent / "built"


@pytest.fixture
def dataset(built, tmp_path):
    """A copy of it."""
    shutil.copytree(built, tmp_path / "dataset")
    return tmp_path / "dataset"


def shards(folder):
    return {path.name: path.read_bytes() for path in (folder / "shards").glob("*")}


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(folder, part):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def rejects(folder):
    return {name: row["reason"] for name, row in rows_of(folder, "rejects").items()}


def attempts(folder):
    """Every attempt at every row: (id, side, number), and what was heard and measured of it."""
    found = {}
    for part in ("rejects", "attempts"):
        for name, row in rows_of(folder, part).items():
            for attempt in row["attempts"]:
                found[name, attempt["side"], attempt["attempt"]] = (attempt["audio"]["bytes"], attempt["mos"])
    for name, row in rows_of(folder, "shards").items():
        for side in ("question", "answer"):
            number = next(n for n in range(99) if (name, side, n) not in found)
            found[name, side, number] = (row[f"{side}_audio"]["bytes"], row[f"{side}_mos"])
    return found


@pytest.mark.slow
def test_judging_gives_the_rows_that_a_build_under_the_policy_gives_and_loses_no_attempt(recipe, built, dataset):
    before = set(rows_of(dataset, "shards")) | set(rows_of(dataset, "rejects"))
    looser = rejudge(dataset, {ANSWERS_UNDER: LOOSE})
    build(recipe, recipe.parent / "looser", local=True, **{ANSWERS_UNDER: LOOSE})
    assert (looser.came_back > 0, looser.went_out, looser.open) == (True, 0, [])
    assert shards(dataset) == shards(recipe.parent / "looser")
    assert rejects(dataset) == rejects(recipe.parent / "looser")
    assert attempts(dataset) == attempts(built)
    assert check(dataset).problems == []
    manifest = json.loads((dataset / "dataset.json").read_text())
    assert manifest["recipe"]["check"]["answer"]["max_leading_silence_s"] == LOOSE
    fresh = json.loads((recipe.parent / "looser" / "dataset.json").read_text())
    for key in ("rows_accepted", "rows_rejected", "rows_rerolled", "gates", "reasons", "speech_hours", "fingerprints"):
        assert manifest[key] == fresh[key], key

    once = rejudge(dataset, {"check.attempts": 1})
    build(recipe, recipe.parent / "once", local=True, **{ANSWERS_UNDER: LOOSE, "check.attempts": 1})
    assert once.went_out > 0
    assert shards(dataset) == shards(recipe.parent / "once")
    assert rejects(dataset) == rejects(recipe.parent / "once")
    assert set(rows_of(dataset, "shards")) | set(rows_of(dataset, "rejects")) == before

    rejudge(dataset, {ANSWERS_UNDER: TIGHT, "check.attempts": 3})
    assert {name: files(dataset)[name] for name in files(built) if name.startswith(("shards/", "rejects/"))} == {
        name: content for name, content in files(built).items() if name.startswith(("shards/", "rejects/"))
    }
    assert check(dataset).problems == []


def test_a_build_tells_the_yield_of_each_gate(built):
    gates = json.loads((built / "dataset.json").read_text())["gates"]
    question, answer = gates["question"], gates["answer"]
    assert question == {"rows": 8, "passed_first": 8, "passed_later": 0, "failed": 0, "by_gate": {}}
    assert answer["rows"] == answer["passed_first"] + answer["passed_later"] + answer["failed"] == 8
    assert min(answer["passed_first"], answer["passed_later"], answer["failed"]) > 0
    [(reason, stopped)] = answer["by_gate"].items()
    assert (reason, stopped) == ("leading_silence", {key: answer[key] for key in ("passed_later", "failed")})
    assert f"| answer | 8 | {answer['passed_first']} |" in (built / "README.md").read_text()


def test_a_dry_run_lists_what_needs_another_attempt_and_moves_nothing(built):
    before = files(built)
    tried = rejudge(built, {QUESTIONS_UNDER: TIGHT, "check.attempts": 4}, dry_run=True)
    assert files(built) == before
    assert (tried.applied, tried.rows_judged, tried.went_out > 0) == (False, 8, True)
    questions = [need for need in tried.open if need["side"] == "question"]
    assert questions
    for need in questions:
        assert (need["attempts"], need["reason"], need["bound"]) == (1, "leading_silence", TIGHT)
        assert need["value"] > TIGHT


def test_rerolling_goes_on_with_the_next_attempts_and_ends_as_a_build_would(recipe, dataset):
    stricter = {QUESTIONS_UNDER: 0.95}
    listed = rejudge(dataset, stricter)
    assert listed.went_out > 0
    assert {need["id"] for need in listed.open} <= set(rows_of(dataset, "rejects"))
    rerolled = rejudge(dataset, reroll=True, local=True)
    build(recipe, recipe.parent / "stricter", local=True, **stricter)
    assert rerolled.changed == {}
    assert (rerolled.came_back > 0, rerolled.open) == (True, [])
    assert shards(dataset) == shards(recipe.parent / "stricter")
    assert rejects(dataset) == rejects(recipe.parent / "stricter")
    numbers = {}
    for name, side, number in attempts(dataset):
        numbers.setdefault((name, side), []).append(number)
    assert all(sorted(found) == list(range(len(found))) for found in numbers.values())
    assert check(dataset).problems == []
    assert rejudge(dataset, reroll=True, local=True) == rerolled  # Nothing is left to do.


def states(folder, part):
    """Which file each one is, by name: one that was written again is another."""
    return {path.name: path.stat().st_ino for path in (folder / part).glob("*")}


def test_a_unit_in_which_no_verdict_changes_gets_a_sidecar_and_no_new_file(dataset):
    before = {part: states(dataset, part) for part in ("shards", "rejects", "attempts", "units")}
    judged = rejudge(dataset, {"check.answer.max_trailing_silence_s": 99.0})
    assert (judged.changed != {}, judged.came_back, judged.went_out) == (True, 0, 0)
    for part in ("shards", "rejects", "attempts"):
        assert states(dataset, part) == before[part]
    assert states(dataset, "units").keys().isdisjoint(before["units"])
    assert check(dataset).problems == []


def test_a_unit_of_which_no_row_moves_keeps_its_shard(recipe, dataset):
    before, bound = states(dataset, "shards"), TIGHT - 0.001
    judged = rejudge(dataset, {ANSWERS_UNDER: bound})  # The bound stands in what is told of each reject.
    assert (judged.came_back, judged.went_out) == (0, 0)
    assert states(dataset, "shards") == before
    assert all(f"over {bound}" in row["detail"] for row in rows_of(dataset, "rejects").values())
    assert check(dataset).problems == []
    build(recipe, recipe.parent / "bound", local=True, **{ANSWERS_UNDER: bound})
    for part in ("rejects", "attempts"):
        assert {path.name for path in (dataset / part).iterdir()} == {
            path.name for path in (recipe.parent / "bound" / part).iterdir()
        }


def test_only_what_verdicts_follow_from_is_read(built, dataset):
    """Every sound of the copy is damaged; what would come of a judgement is the same."""
    for path in [
        *(dataset / "shards").iterdir(),
        *(dataset / "rejects").glob("unit*"),
        *(dataset / "attempts").iterdir(),
    ]:
        content = path.read_bytes()
        path.write_bytes(content.replace(b"fLaC", b"none"))
        assert path.read_bytes() != content
    policy = {ANSWERS_UNDER: LOOSE, "check.attempts": 2}
    tried = rejudge(dataset, policy, dry_run=True)
    assert tried.came_back > 0
    assert dataclasses.replace(tried, dataset="") == dataclasses.replace(
        rejudge(built, policy, dry_run=True), dataset=""
    )
    with pytest.raises(EngineError, match="is damaged: its SHA-256 is not the one in its sidecar"):
        raise EngineError(rejudge(dataset, policy).deferred[0])  # What is written anew is read whole, and compared.


def test_a_question_that_passes_now_has_no_answer_yet_and_is_given_one(recipe, tmp_path):
    strict = {QUESTIONS_UNDER: 0.45, "check.attempts": 1, ANSWERS_UNDER: None}
    build(recipe, tmp_path / "strict", local=True, **strict)
    assert rejects(tmp_path / "strict")
    looser = rejudge(tmp_path / "strict", {QUESTIONS_UNDER: None})
    assert set(rejects(tmp_path / "strict").values()) == {"unspoken_answer"}
    assert {(need["side"], need["attempts"], need["reason"]) for need in looser.open} == {
        ("answer", 0, "unspoken_answer")
    }
    rejudge(tmp_path / "strict", reroll=True, local=True)
    assert rejects(tmp_path / "strict") == {}
    assert check(tmp_path / "strict").problems == []


class Impatient(Quiet):
    """Presses Ctrl-C after the first unit."""

    def advance(self, steps, note=""):
        raise KeyboardInterrupt


def test_an_interrupted_judgement_is_unfinished_and_the_same_command_goes_on(recipe, built, dataset):
    with pytest.raises(KeyboardInterrupt):
        rejudge(dataset, {ANSWERS_UNDER: LOOSE}, progress=Impatient())
    assert not (dataset / "dataset.json").exists()
    with pytest.raises(SetupError, match=r"unfinished dataset; run anytalk judge .* again"):
        check(dataset)
    with pytest.raises(SetupError, match="first run: anytalk judge"):
        build(recipe, dataset, local=True, **{ANSWERS_UNDER: LOOSE})
    rejudge(dataset)
    shutil.copytree(built, dataset.parent / "whole")
    rejudge(dataset.parent / "whole", {ANSWERS_UNDER: LOOSE})
    assert shards(dataset) == shards(dataset.parent / "whole")
    assert set(files(dataset)) == set(files(dataset.parent / "whole"))
    assert check(dataset).problems == []
    again = build(recipe, dataset, local=True, **{ANSWERS_UNDER: LOOSE})
    assert again.speech_hours_per_work_hour is None  # Nothing was left to build.


def test_an_interrupted_judgement_may_be_taken_back(built, dataset):
    with pytest.raises(KeyboardInterrupt):
        rejudge(dataset, {ANSWERS_UNDER: LOOSE}, progress=Impatient())
    rejudge(dataset, {ANSWERS_UNDER: TIGHT})
    assert shards(dataset) == shards(built)
    assert rejects(dataset) == rejects(built)
    assert attempts(dataset) == attempts(built)
    assert check(dataset).problems == []


def test_another_threshold_is_judged_and_not_built(recipe, built):
    with pytest.raises(SetupError, match=r"anytalk judge \S+built --set check.answer.min_mos=1.5"):
        build(recipe, built, local=True, **{"check.answer.min_mos": 1.5})
    words = {"voices.allow_unknown_terms": ["fake:ann"]}
    assert build(recipe, built, local=True, **words).complete


def test_what_stored_measures_do_not_tell_is_refused(built):
    before = files(built)
    for key, value in (("check.mos", "p835"), ("voices.variants", 2), ("check.attempts_per_voice", 1)):
        with pytest.raises(SetupError, match=rf"{key} cannot be judged from stored measures"):
            rejudge(built, {key: value})
    with pytest.raises(SetupError, match=r"unknown key check.max_wr"):
        rejudge(built, {"check.max_wr": 1})
    with pytest.raises(SetupError, match="no anytalk dataset"):
        rejudge(built / "shards")
    assert files(built) == before


def test_rows_of_another_codec_do_not_come_back_and_nothing_moves(dataset):
    announced = dataset / "plan" / "made-with-000000.json"
    version = json.loads(announced.read_text())
    version["made_with"]["fingerprints"]["codec"]["revision"] = "another"
    announced.write_text(json.dumps(version))
    before = files(dataset)
    with pytest.raises(
        SetupError, match=r"was made with codec.revision another, this is codec.revision 1: add --mixed"
    ):
        rejudge(dataset, {ANSWERS_UNDER: LOOSE})
    assert files(dataset) == before
    assert rejudge(dataset, {"check.attempts": 1}).went_out > 0  # Rows that only leave need no codec.


def test_a_bound_for_both_sides_is_one_setting(recipe):
    loaded = load_recipe(recipe, {"check.max_wer": 0.4, "check.answer.max_wer": 0.3})
    assert (loaded.check.question.max_wer, loaded.check.answer.max_wer) == (0.4, 0.3)


def test_the_command_answers_in_text_and_in_json(built):
    arguments = ["judge", str(built), "--set", "check.max_leading_silence_s=0.5", "--set", "check.attempts=9"]
    told = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert told.exit_code == 0
    assert "dry run, no files changed; thresholds: " in told.stdout
    assert "may pass with another attempt; --reroll speaks them again" in told.stdout
    assert "question: leading_silence" in told.stdout
    found = json.loads(CliRunner().invoke(app, [*arguments, "--dry-run", "--json"]).stdout)
    assert set(found["changed"]) == {"check.attempts", QUESTIONS_UNDER}
    assert len(found["open"]) == found["rows_rejected"]
    assert "--dry-run" in CliRunner().invoke(app, ["judge", "--help"]).stdout


@pytest.mark.slow
def test_rows_that_come_back_have_the_features_and_codes_that_a_build_gives_them(tmp_path, write_jsonl):
    pairs = [
        {"question": "Where is the tea?", "answer": "In the blue tin, behind the flour."},
        {"question": "Is it raining in town?", "answer": "Not yet, but take a coat with you."},
        {"question": "Who sings this?", "answer": "I do not know, it is an old song."},
    ]
    sections = {
        "name": "real",
        "source": str(write_jsonl(pairs)),
        "voices": {"question": [{"voice": "hibari:heart", "speed": [0.8, 1.3]}], "answer": "hibari:heart"},
        "check": {"attempts": 2, "question": {"min_mos": 3.9}, "answer": {"max_wer": 0.5}},
    }
    (tmp_path / "real.yaml").write_text(yaml.safe_dump(sections))
    strict = build(tmp_path / "real.yaml", tmp_path / "strict", local=True)
    assert strict.rows_rejected > 0
    looser = {"check.question.min_mos": 1.0, "check.question.max_wer": 0.5}
    rejudge(tmp_path / "strict", looser)
    judged = rejudge(tmp_path / "strict", reroll=True, local=True)  # Their answers were not spoken yet.
    build(tmp_path / "real.yaml", tmp_path / "loose", local=True, **looser)
    assert judged.rows_accepted == 3
    assert shards(tmp_path / "strict") == shards(tmp_path / "loose")
    assert check(tmp_path / "strict").problems == []


def _kill_after_a_unit(command, dataset) -> bool:
    """Kill a judgement once a unit of it is there; False if it ended first, as on a machine that is busy."""
    units = len(list((dataset / "units").glob("*.json")))
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while process.poll() is None and len(list((dataset / "units").glob("*.json"))) == units:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() != 0


@pytest.mark.slow
def test_a_killed_judgement_goes_on_to_the_same_rows(built, tmp_path):
    whole = shutil.copytree(built, tmp_path / "whole")
    rejudge(whole, {ANSWERS_UNDER: LOOSE})
    for attempt in range(5):
        dataset = shutil.copytree(built, tmp_path / f"killed-{attempt}")
        command = ["judge", str(dataset), "--set", f"{ANSWERS_UNDER}={LOOSE}"]
        if _kill_after_a_unit([sys.executable, "-m", "anytalk.recipes", *command], dataset):
            break
    else:
        pytest.fail("the judgement ended five times before it was killed")
    assert not (dataset / "dataset.json").exists()
    assert anytalk(*command).returncode == 0
    assert shards(dataset) == shards(whole)
    assert set(files(dataset)) == set(files(whole))
    assert check(dataset).problems == []

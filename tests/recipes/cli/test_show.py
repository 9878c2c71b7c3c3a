"""`anytalk show` and `explain`: what is told of rows is true, and the commands that are named do what is said."""

import io
import json
import shlex
import shutil

import pyarrow as pa
import pytest
import soundfile
from support.command_line import anytalk

from anytalk.pipelines import build
from anytalk.pipelines.dataset import parse_where
from anytalk.pipelines.report import FLAT


def told(*arguments):
    """What a command says in JSON."""
    done = anytalk(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stored(folder, part):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def rows(dataset, *arguments):
    return told("show", dataset, *arguments)["rows"]


@pytest.fixture
def dataset(mixed_dataset, tmp_path):
    """A copy that may be changed."""
    shutil.copytree(mixed_dataset, tmp_path / "a dataset")
    return tmp_path / "a dataset"


def test_every_row_is_shown_as_it_is_stored(mixed_dataset):
    shown = {row["id"]: row for row in rows(mixed_dataset, "--limit", "100")}
    accepted, rejected = stored(mixed_dataset, "shards"), stored(mixed_dataset, "rejects")
    assert len(accepted) > 2
    assert len(rejected) > 2
    assert shown.keys() == accepted.keys() | rejected.keys()
    for name, row in accepted.items():
        assert shown[name]["outcome"] == "accepted"
        assert {key: shown[name][key] for key in row.keys() & shown[name].keys()} == {
            key: row[key] for key in row.keys() & shown[name].keys()
        }
        assert name in pa.ipc.open_file(mixed_dataset / shown[name]["shard"]).read_all()["id"].to_pylist()
    for name, row in rejected.items():
        assert (shown[name]["outcome"], shown[name]["reason"]) == ("rejected", row["reason"])


def test_rows_are_chosen_by_outcome_reason_condition_and_order(mixed_dataset):
    every = rows(mixed_dataset, "--limit", "100")
    assert rows(mixed_dataset, "--accepted") == [row for row in every if row["outcome"] == "accepted"]
    assert rows(mixed_dataset, "--rejected") == [row for row in every if row["outcome"] == "rejected"]
    late = rows(mixed_dataset, "--reason", "leading_silence")
    assert late
    assert late == [row for row in every if row["reason"] == "leading_silence"]
    text = "answer_leading_silence_s > 0.4 and attempts >= 2"
    kept = parse_where(text, FLAT).kept(pa.Table.from_pylist(every, schema=FLAT)).to_pylist()
    assert rows(mixed_dataset, "--where", text) == kept
    measured = sorted(row["answer_leading_silence_s"] for row in every if row["answer_leading_silence_s"] is not None)
    by = ("--by", "answer_leading_silence_s")
    assert [row[by[1]] for row in rows(mixed_dataset, "--worst", "3", *by)] == measured[:-4:-1]
    assert [row[by[1]] for row in rows(mixed_dataset, "--best", "3", *by)] == measured[:3]
    scores = sorted(row["question_mos"] for row in every if row["question_mos"] is not None)
    assert rows(mixed_dataset, "--worst", "1", "--by", "question_mos")[0]["question_mos"] == scores[0]


def test_a_table_is_for_people_and_says_how_many_there_are(mixed_dataset):
    done = anytalk("show", mixed_dataset, "--rejected", "--limit", "1")
    first, head, row = done.stdout.splitlines()
    assert first.endswith("rows, 1 shown")
    assert head.split()[:3] == ["id", "outcome", "question_wer"]
    assert row.split()[1] == rows(mixed_dataset, "--rejected", "--limit", "1")[0]["reason"]
    assert anytalk("show", mixed_dataset, "--where", "attempts > 99").stdout.endswith("no such rows\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--where", "answer_wr > 1"], "did you mean answer_wer"),
        (["--worst", "3", "--by", "question"], "ordered by a number"),
        (["--by", "answer_mo"], "did you mean answer_mos"),
        (["--reason", "high_wr"], "no row was rejected as"),
        (["--save", "sounds"], "name its ID"),
        (["abc", "--rejected"], "an ID shows one row"),
        (["xyz"], "has no row 'xyz'"),
        ([""], "has no row ''"),
    ],
)
def test_what_cannot_be_shown_is_one_line(mixed_dataset, arguments, said):
    done = anytalk("show", mixed_dataset, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert said in line


def test_a_row_whole_has_every_attempt_with_what_it_failed(mixed_dataset):
    name, row = next((n, r) for n, r in stored(mixed_dataset, "rejects").items() if r["reason"] == "leading_silence")
    whole = told("show", mixed_dataset, name[:12])
    assert (whole["id"], whole["outcome"], whole["reason"]) == (name, "rejected", "leading_silence")
    assert (whole["unit"], whole["seed"]) == (whole["unit"], whole["seed"])
    assert [(one["side"], one["attempt"], one["voice"]) for one in whole["attempts"]] == [
        (one["side"], one["attempt"], one["voice"]) for one in row["attempts"]
    ]
    for attempt in whole["attempts"]:
        if attempt["side"] == "answer":
            [failed] = attempt["failed"]
            assert (failed["reason"], failed["bound"]) == ("leading_silence", 0.5)
            assert failed["value"] == attempt["measures"]["leading_silence_s"] > 0.5
    text = anytalk("show", mixed_dataset, name).stdout
    assert f"{name}: rejected: leading_silence" in text
    assert f"seed       {whole['seed']}" in text
    assert "leading_silence (leading_silence_s" in text
    assert "bound 0.5" in text


def test_a_row_s_sounds_are_written_as_they_are_stored(mixed_dataset, tmp_path):
    name, row = next(iter(stored(mixed_dataset, "shards").items()))
    whole = told("show", mixed_dataset, name, "--save", tmp_path / "sounds", "--play", tmp_path / "all.wav")
    for side in ("question", "answer"):
        wanted, rate_hz = soundfile.read(io.BytesIO(row[f"{side}_audio"]["bytes"]), dtype="int16")
        written, written_hz = soundfile.read(tmp_path / "sounds" / f"{name}-{side}.wav", dtype="int16")
        assert rate_hz == written_hz
        assert (wanted == written).all()
    frames = len(row["answer_codes"])
    assert soundfile.info(tmp_path / "sounds" / f"{name}-answer-codec.wav").frames == 2048 * frames
    together = soundfile.info(tmp_path / "all.wav")
    assert together.samplerate == 24_000
    assert together.duration > row["question_samples"] / 16_000 + row["answer_samples"] / 24_000
    assert len(whole["sounds"]) == len(list((tmp_path / "sounds").iterdir())) + 1


def test_a_row_without_sound_says_so(mixed_dataset, tmp_path):
    name = next(n for n, r in stored(mixed_dataset, "rejects").items() if not r["attempts"])
    done = anytalk("show", mixed_dataset, name, "--save", tmp_path / "sounds")
    assert done.returncode == 2
    assert done.stderr.startswith(f"anytalk: no sound is stored of row {name}")
    assert not (tmp_path / "sounds").exists()


def run_command(command):
    """Run a command as it was printed, in this process."""
    program, *words = shlex.split(command)
    assert program == "anytalk"
    return anytalk(*words, *(["--local"] if words[0] == "build" or "--reroll" in words else []))


def test_the_threshold_that_would_accept_a_row_does(dataset):
    name = next(n for n, r in stored(dataset, "rejects").items() if r["reason"] == "leading_silence")
    found = told("explain", dataset, name)
    assert (found["outcome"], found["reason"]) == ("rejected", "leading_silence")
    assert "leading_silence_s" in found["because"][0]
    command = found["changes"][0]["command"]
    assert "--set check.answer.max_leading_silence_s=" in command
    assert run_command(command).returncode == 0
    assert name in stored(dataset, "shards")


def test_the_command_that_speaks_a_row_again_does(dataset):
    name, row = next((n, r) for n, r in stored(dataset, "rejects").items() if r["reason"] == "leading_silence")
    command = told("explain", dataset, name)["changes"][-1]["command"]
    assert "--set check.attempts=5 --reroll" in command
    assert run_command(command).returncode == 0
    after = stored(dataset, "rejects").get(name)
    assert after is None or len(after["attempts"]) == len(row["attempts"]) + 2


def test_the_threshold_that_would_reject_a_row_does(dataset):
    taken = next(n for n, r in stored(dataset, "shards").items() if r["answer_leading_silence_s"] < 0.45)
    found = told("explain", dataset, taken)
    assert found["outcome"] == "accepted"
    [change] = found["changes"]
    assert run_command(change["command"]).returncode == 0
    assert (taken in stored(dataset, "rejects")) == change["effect"].startswith("rejects it")


def test_a_text_that_the_plan_rejected_says_what_is_wrong_with_it(mixed_dataset):
    name, row = next((n, r) for n, r in stored(mixed_dataset, "rejects").items() if not r["attempts"])
    found = told("explain", mixed_dataset, name)
    assert found["reason"] == row["reason"]
    assert row["detail"] in found["because"][0]
    assert found["changes"] == []
    assert row["source"] in found["otherwise"]


def test_a_row_that_nobody_made_is_deferred_and_its_command_makes_it(dataset):
    unit, *_ = sorted((dataset / "units").iterdir())
    names = [
        row["id"] for row in rows(dataset, "--limit", "100") if row["unit"] == json.loads(unit.read_text())["unit"]
    ]
    unit.unlink()
    (dataset / "SHA256SUMS").unlink()
    assert names[0] not in [row["id"] for row in rows(dataset, "--limit", "100")]
    found = told("explain", dataset, names[0])
    assert found["outcome"] == "deferred"
    done = run_command(found["changes"][0]["command"])
    assert done.returncode == 0, done.stderr
    assert names[0] in [row["id"] for row in rows(dataset, "--limit", "100")]


def test_a_question_that_no_answer_was_spoken_for_is_accepted_by_a_command(mixed_dataset, tmp_path):
    build(
        mixed_dataset.parent / "mixed.yaml",
        tmp_path / "out",
        local=True,
        **{"check.question.max_leading_silence_s": 0.3, "check.answer.max_leading_silence_s": None},
    )
    name = next(n for n, r in stored(tmp_path / "out", "rejects").items() if r["reason"] == "leading_silence")
    change = told("explain", tmp_path / "out", name)["changes"][0]
    assert change["command"].endswith("--reroll")
    assert run_command(change["command"]).returncode == 0
    assert name in stored(tmp_path / "out", "shards")


def test_a_message_that_is_left_out_is_told_as_no_loss(fake_recipe, write_jsonl, tmp_path):
    said = [("system", "Be kind."), ("user", "Who is there?"), ("assistant", "It is me.")]
    path = write_jsonl([{"messages": [{"role": role, "content": text} for role, text in said]}])
    build(fake_recipe(source={"kind": "messages", "path": str(path)}), tmp_path / "out", local=True)
    [row] = json.loads(anytalk("show", tmp_path / "out", "--rejected", "--json").stdout)["rows"]
    shown = anytalk("show", tmp_path / "out", row["id"]).stdout
    assert "None" not in shown
    assert "system_text" in shown
    explained = anytalk("explain", tmp_path / "out", row["id"]).stdout
    assert "no command changes that; nothing needs to: the rest of its chat is read without it" in explained

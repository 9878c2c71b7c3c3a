"""What fails however often it is spoken is said in other words, asked for once, and nothing of it is lost."""

import json
import re

import pyarrow as pa
import pytest
from support.misbehaving import Fault, is_probe, serve

from anytalk.pipelines import build, check, rejudge
from anytalk.pipelines.recipe import load_recipe
from anytalk.synth.errors import SetupError

LIMIT_S = 1.0
"""Tones are no speech, so all of one is silence: a gate for its length, which is its text's."""
LONG = "Would you be so kind as to tell me about thing {}?"
PAIRS = [{"question": "Tea?", "answer": "Yes."}] + [
    {"question": LONG.format(word), "answer": f"It is {word}."} for word in ("red", "tall", "old", "new", "loud")
]


def is_repair(body):
    return len(body["messages"]) > 2


def asked_about(body):
    return re.search(r"thing (\w+)", body["messages"][1]["content"])[1]


def shorter(body):
    """Fewer words, which follow from the text and the seed."""
    if is_probe(body):
        return '{"turns": []}'
    return json.dumps({"text": f"Thing {asked_about(body)} {('a', 'so', 'yes', 'then')[body['seed'] % 4]}?"})


def says(text):
    return lambda body: '{"turns": []}' if is_probe(body) else text


def requests(server):
    return [body for body in server.bodies if not is_probe(body)]


@pytest.fixture
def reworded(fake_recipe, anything, write_jsonl):
    """A recipe under which long questions fail in their own words, at one attempt of each voice."""

    def write(server, attempts=4, **more):
        bounds = {"question": anything | {"max_leading_silence_s": LIMIT_S}, "answer": anything}
        endpoint = {"base_url": server.url, "model": "tiny", "backoff_s": 0.001, "attempts": 1}
        return fake_recipe(
            source=str(write_jsonl(PAIRS)),
            check=bounds | {"attempts": attempts, "attempts_per_voice": 1},
            reword={"endpoint": endpoint, "after": 2} | more,
            shards={"unit_rows": 3, "batch_rows": 2},
        )

    return write


def rows_of(folder, part="shards"):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return {row["id"]: row for table in tables for row in table.to_pylist()}


def questions(folder):
    """Attempts at the questions of rejected rows, less their sound."""
    return {
        name: [one | {"audio": None} for one in row["attempts"] if one["side"] == "question"]
        for name, row in rows_of(folder, "rejects").items()
    }


def contents(folder):
    files = [path for part in ("shards", "rejects", "attempts") for path in (folder / part).glob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_row_that_its_own_words_fail_passes_in_others_and_keeps_what_was_written(reworded, tmp_path):
    with serve(shorter) as server:
        summary = build(reworded(server), tmp_path / "out", local=True)
    assert (summary.rows_accepted, summary.rows_rerolled) == (6, 5)
    rows, attempts = rows_of(tmp_path / "out"), rows_of(tmp_path / "out", "attempts")
    assert {row["question_written"] for row in rows.values()} == {pair["question"] for pair in PAIRS}
    for name, row in rows.items():
        if row["attempts"] == 1:
            assert (row["question"], name in attempts) == ("Tea?", False)
            continue
        assert re.fullmatch(r"Thing \w+ (a|so|yes|then)\?", row["question"])
        assert (row["attempts"], row["answer"]) == (3, row["answer_written"])
        made = attempts[name]["attempts"]
        assert [(one["attempt"], one["text"], one["reason"]) for one in made] == [
            (0, None, "leading_silence"),
            (1, None, "leading_silence"),
        ]
        assert made[0]["voice"].split()[0] != made[1]["voice"].split()[0]
        assert made[0]["audio"]["bytes"]
    [bill] = json.loads((tmp_path / "out" / "dataset.json").read_text())["asked"]
    assert (bill["endpoint"], bill["answers"], bill["prompt_tokens"]) == (f"{server.url} (tiny)", 5, 500)
    assert len(requests(server)) == 5
    assert check(tmp_path / "out").problems == []


@pytest.mark.slow
def test_two_runs_say_the_same_and_the_second_pays_nothing(reworded, tmp_path):
    with serve(shorter) as server:
        recipe = reworded(server)
        build(recipe, tmp_path / "one", local=True, **{"resources.units_in_flight": 1})
        build(recipe, tmp_path / "two", local=True)
        assert len(requests(server)) == 5
        build(recipe, tmp_path / "elsewhere" / "three", local=True)
        assert len(requests(server)) == 10
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "elsewhere" / "three")
    one, two = (json.loads((tmp_path / name / "dataset.json").read_text())["asked"] for name in ("one", "two"))
    assert one == two


@pytest.mark.slow
def test_an_endpoint_that_is_down_defers_the_unit_and_the_next_run_finishes_it(reworded, tmp_path):
    fails = lambda number, body: Fault(500, "broken") if not is_probe(body) and "old" in json.dumps(body) else None  # noqa: E731
    with serve(shorter, fails) as server:
        recipe = reworded(server)
        first = build(recipe, tmp_path / "out", local=True)
        assert (first.complete, first.rows_deferred, first.rows_accepted) == (False, 3, 3)
        assert "status 500" in first.deferred[0]
        assert not (tmp_path / "out" / "dataset.json").exists()
        server.fault = lambda number, body: None
        second = build(recipe, tmp_path / "out", local=True)
        again = [asked_about(body) for body in requests(server)]
        build(recipe, tmp_path / "elsewhere" / "whole", local=True)
    assert (second.complete, second.rows_accepted) == (True, 6)
    # A server that breaks on a JSON schema is asked without one, and then for plain text; the second run asks once.
    assert sorted(again) == ["loud", "new", *["old"] * 4, "red", "tall"]
    assert contents(tmp_path / "out") == contents(tmp_path / "elsewhere" / "whole")
    assert check(tmp_path / "out").problems == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('{"text": "**Loud** [laughs]"}', "markdown"),
        ('{"text": "..."}', "unspeakable_text"),
        ('{"text": "' + "on and " * 40 + 'on"}', "too_long"),
        ("Sure! Thing.", "malformed_answer"),
        ('{"turns": []}', "malformed_answer"),
    ],
)
def test_words_that_cannot_be_said_are_a_failed_attempt_and_another_is_made(reworded, tmp_path, said, reason):
    with serve(says(said)) as server:
        summary = build(reworded(server), tmp_path / "out", local=True)
    assert (summary.rows_accepted, summary.reasons) == (1, {"leading_silence": 5})
    assert len(requests(server)) == 5 * 2 * 2  # Two wordings of each, and each is repaired once.
    assert sum(map(is_repair, requests(server))) == 10
    for row in rows_of(tmp_path / "out", "rejects").values():
        made = row["attempts"]
        assert [(one["reason"], one["text"]) for one in made[2:]] == [(reason, "")] * 2
        assert all(one["audio"] is None and one["mos"] is None and one["detail"] for one in made[2:])
        assert re.match(r"attempt \d of 0 to 3 was the best", row["detail"])
    assert check(tmp_path / "out").problems == []


def test_words_that_are_the_same_or_are_refused_are_no_other_words(reworded, tmp_path):
    def echo(body):
        return '{"turns": []}' if is_probe(body) else json.dumps({"text": LONG.format(asked_about(body))})

    refuses = lambda number, body: Fault(400, "no") if "thing tall" in json.dumps(body) else None  # noqa: E731
    with serve(echo, refuses) as server:
        build(reworded(server, attempts=3), tmp_path / "out", local=True)
    last = [row["attempts"][2] for row in rows_of(tmp_path / "out", "rejects").values()]
    same = ("malformed_answer", "the question must be said in other words; these are the same")
    assert sorted((one["reason"], one["detail"]) for one in last)[:4] == [same] * 4
    assert max(one["reason"] for one in last) == "refused_request"


def test_only_the_sides_that_are_named_get_other_words(reworded, tmp_path):
    with serve(shorter) as server:
        summary = build(reworded(server, sides="answer"), tmp_path / "out", local=True)
    assert (summary.rows_accepted, requests(server)) == (1, [])
    assert all(len(row["attempts"]) == 4 for row in rows_of(tmp_path / "out", "rejects").values())


@pytest.mark.slow
def test_judging_keeps_the_words_and_rerolling_ends_as_a_build_would(reworded, tmp_path):
    bound, strict_s = "check.question.max_leading_silence_s", 0.8
    with serve(shorter) as server:
        recipe = reworded(server)
        build(recipe, tmp_path / "out", local=True)
        built = contents(tmp_path / "out")
        went_out = rejudge(tmp_path / "out", {bound: strict_s}).went_out
        assert 0 < went_out < 5
        for name, made in questions(tmp_path / "out").items():
            assert [bool(one["text"]) for one in made] == [False, False, True]
            row = rows_of(tmp_path / "out", "rejects")[name]
            assert row["question"] == row["question_written"]
        rejudge(tmp_path / "out", {bound: LIMIT_S})
        assert contents(tmp_path / "out") == built
        rejudge(tmp_path / "out", {bound: strict_s})
        came_back = rejudge(tmp_path / "out", reroll=True, local=True).came_back
        assert came_back > 0
        build(recipe, tmp_path / "strict", local=True, **{bound: strict_s})
    shards, strict = ({n: c for n, c in contents(tmp_path / f).items() if "shards/" in n} for f in ("out", "strict"))
    assert shards == strict
    assert questions(tmp_path / "out") == questions(tmp_path / "strict")
    asked = [json.loads((tmp_path / name / "dataset.json").read_text())["asked"] for name in ("out", "strict")]
    assert asked[0] == asked[1]
    assert asked[0][0]["answers"] == 5 + went_out
    assert check(tmp_path / "out").problems == []


def test_an_endpoint_may_move_but_not_become_another_model(reworded, tmp_path):
    with serve(shorter) as server:
        build(reworded(server), tmp_path / "out", local=True)
        wrong = {"reword.endpoint.model": "other"}
        with pytest.raises(SetupError, match=r"reword\.endpoint\.model cannot be judged"):
            rejudge(tmp_path / "out", wrong)
        with pytest.raises(SetupError, match=r"differs in reword\.endpoint\.model"):
            build(reworded(server), tmp_path / "out", local=True, **wrong)
    with serve(shorter) as moved:
        here = {"reword.endpoint.base_url": moved.url, "check.question.max_leading_silence_s": 0.5}
        assert rejudge(tmp_path / "out", here, reroll=True, local=True).complete
        assert len(requests(moved)) == 5


def test_what_is_wrong_with_a_rewording_stops_before_the_first_row(reworded, tmp_path, monkeypatch):
    monkeypatch.delenv("TINY_API_KEY", raising=False)
    with serve(shorter) as server:
        recipe = reworded(server)
        with pytest.raises(SetupError, match="TINY_API_KEY is not set"):
            build(recipe, tmp_path / "out", local=True, **{"reword.endpoint.api_key_env": "TINY_API_KEY"})
        with pytest.raises(SetupError, match=r"reword\.templates: .* does not exist"):
            build(recipe, tmp_path / "out", local=True, **{"reword.templates": str(tmp_path / "none")})
        with pytest.raises(SetupError, match=r"reword\.endpoint is missing"):
            load_recipe(recipe, {"reword": {"after": 1}})
    assert not (tmp_path / "out").exists()

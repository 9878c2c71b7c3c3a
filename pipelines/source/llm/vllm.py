"""Conversations from vLLM inside the cluster: no endpoint to run, and every GPU of the cluster at work.

Rows go through `ray.data.llm` in two rounds, the second for answers that need mending, and end as they do with an
endpoint: see `anytalk.synth.llm.job`. Answers are kept in the same cache as an endpoint's, under a name of their own.

Written against ray 2.60 (`ray.data.llm.vLLMEngineProcessorConfig`, `build_processor`), whose extra brings vLLM 0.29.
Run with vLLM 0.32's build for CPUs (tests/pipelines/source/test_vllm.py); on a GPU it has not been run yet.
"""

import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from anytalk.pipelines.recipe import ClusterModel
from anytalk.synth.errors import EngineError, SampleError
from anytalk.synth.extra import import_extra
from anytalk.synth.llm.cache import AnswerCache, answer_key
from anytalk.synth.llm.client import Messages
from anytalk.synth.llm.completion import Answer
from anytalk.synth.llm.endpoint import Usage, repair_temperature
from anytalk.synth.llm.job import SCHEMA, Job, Outcome, repair_seed, repairing


class Engine(Protocol):
    """Answers many requests at once."""

    def answer(
        self, requests: Sequence[tuple[Messages, int]], config: ClusterModel
    ) -> Iterator[tuple[int, Answer | EngineError]]:
        """Answer requests of messages and seed, each with its place, as they are done; with the sampling of `config`.

        Raises:
            EngineError: the engine itself failed; what was not answered by then will not be.
        """


class VllmEngine:
    """vLLM through Ray Data, on the cluster that Ray is connected to.

    Raises:
        MissingExtra: vLLM is not installed.
    """

    def __init__(self) -> None:
        import_extra("vllm", "generation with vLLM inside the cluster", "vllm")

    def answer(
        self, requests: Sequence[tuple[Messages, int]], config: ClusterModel
    ) -> Iterator[tuple[int, Answer | EngineError]]:
        """See `Engine.answer`."""
        import ray
        from ray.data.llm import build_processor

        rows = [
            {"number": number, "messages_json": json.dumps([dict(message) for message in messages]), "seed": seed}
            for number, (messages, seed) in enumerate(requests)
        ]
        chat = {"chat_template_kwargs": dict(config.chat_template)} if config.chat_template else None
        try:
            processor = build_processor(
                processor_config(config),
                preprocess=lambda row: request_row(row, config),
                postprocess=answer_row,
                builder_kwargs=chat,
            )
            for row in processor(ray.data.from_items(rows)).iter_rows():
                yield row["number"], read_row(row, config)
        except ray.exceptions.RayError as error:
            told = str(error).strip().splitlines() or [type(error).__name__]
            raise EngineError(f"{config}: {told[-1][:300]}") from error


def processor_config(config: ClusterModel) -> Any:
    """The configuration of `ray.data.llm` for a model."""
    from ray.data.llm import vLLMEngineProcessorConfig

    return vLLMEngineProcessorConfig(
        model_source=config.model,
        engine_kwargs={"tensor_parallel_size": config.tensor_parallel_size, **config.engine},
        concurrency=config.replicas,
        batch_size=config.batch_rows,
        # One bad prompt must not end the run: its row comes back with `__inference_error__`.
        should_continue_on_error=True,
        # Ray exports them only where its start was told a port, and they would take Ray Serve along.
        log_engine_metrics=False,
    )


def request_row(row: Mapping[str, Any], config: ClusterModel) -> dict[str, Any]:
    """What the engine reads of a row: messages, and sampling with the answer's schema."""
    sampling = {key: value for key, value in config.sampling().items() if key != "chat_template_kwargs"}
    # The schema travels as text: as a struct, Arrow would fill in every key that another row has.
    sampling |= {"seed": row["seed"], "structured_outputs": {"json": json.dumps(SCHEMA)}}
    return {"messages": json.loads(row["messages_json"]), "sampling_params": sampling}


def answer_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an answered row."""
    return {
        "number": row["number"],
        "text": row["generated_text"],
        "prompt_tokens": row["num_input_tokens"],
        "completion_tokens": row["num_generated_tokens"],
    }


def read_row(row: Mapping[str, Any], config: ClusterModel) -> Answer | EngineError:
    """Read a row that came back: `answer_row`'s, or a failed one as the engine left it."""
    if row.get("__inference_error__"):
        return EngineError(f"{config}: {' '.join(str(row['__inference_error__']).split())[:300]}")
    completed = row["completion_tokens"]
    # Ray Data does not hand on vLLM's finish_reason.
    reason = "length" if completed >= config.max_tokens else "stop"
    return Answer(row["text"], reason, config.model, row["prompt_tokens"], completed)


def run_on_cluster(
    jobs: Iterable[Job],
    config: ClusterModel,
    cache: AnswerCache | None = None,
    engine: Engine | None = None,
    usage: Usage | None = None,
) -> Iterator[Outcome]:
    """Do jobs with a model inside the cluster.

    Args:
        jobs: such as `generation_jobs` and `rewriting_jobs` give; all are held in memory.
        config: model and resources.
        cache: answers that are there already, and where new ones go as they come.
        engine: what answers; vLLM on Ray's cluster by default.
        usage: counts answers and tokens.

    Yields:
        One outcome for each job, in their order.

    Raises:
        MissingExtra: vLLM is not installed.
        EngineError: vLLM itself failed; what it had answered is in the cache.
    """
    waiting = list(jobs)
    engine = engine or VllmEngine()
    round_of = functools.partial(_ask, cache=cache, engine=engine, usage=usage or Usage())
    firsts = round_of([(job.messages, job.seed) for job in waiting], config)
    outcomes: list[Outcome | None] = [None] * len(waiting)
    broken: list[tuple[int, Messages]] = []
    for place, (job, first) in enumerate(zip(waiting, firsts, strict=True)):
        if isinstance(first, EngineError):
            outcomes[place] = job.deferred(first)
            continue
        try:
            outcomes[place] = job.generated(first, job.read(first), repaired=False)
        except SampleError as problem:
            broken.append((place, repairing(job.messages, first, problem)))
    mending = dataclasses.replace(config, temperature=repair_temperature(config.temperature))
    seconds = round_of([(messages, repair_seed(waiting[place].seed)) for place, messages in broken], mending)
    for (place, _), second in zip(broken, seconds, strict=True):
        outcomes[place] = _last(waiting[place], second)
    for outcome in outcomes:
        assert outcome is not None
        yield outcome


def _last(job: Job, answer: Answer | EngineError) -> Outcome:
    if isinstance(answer, EngineError):
        return job.deferred(answer)
    try:
        return job.generated(answer, job.read(answer), repaired=True)
    except SampleError as error:
        return job.rejected(error, answer)


def _ask(
    requests: Sequence[tuple[Messages, int]],
    config: ClusterModel,
    cache: AnswerCache | None,
    engine: Engine,
    usage: Usage,
) -> list[Answer | EngineError]:
    """Answer requests from the cache, and the others with the engine."""
    keys = [answer_key("vllm", config.model, messages, config.sampling(), seed, SCHEMA) for messages, seed in requests]
    known = [cache.get(key) if cache is not None else None for key in keys]
    missing = [place for place, answer in enumerate(known) if answer is None]
    usage.cached += len(requests) - len(missing)
    fresh: dict[int, Answer | EngineError] = {}
    for number, answer in engine.answer([requests[place] for place in missing], config) if missing else ():
        fresh[missing[number]] = answer
        if isinstance(answer, Answer):
            usage.count(answer.prompt_tokens, answer.completion_tokens)
            if cache is not None:
                cache.put(keys[missing[number]], dataclasses.asdict(answer))
    lost = EngineError(f"{config} returned nothing for this row")
    return [Answer(**answer) if answer is not None else fresh.get(place, lost) for place, answer in enumerate(known)]

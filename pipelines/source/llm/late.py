"""Conversations whose answer does not come: each is asked for once more, and then costs itself alone."""

from collections.abc import Sequence

from anytalk.pipelines.recipe import ClusterModel
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.llm.endpoint import ChatEndpoint
from anytalk.synth.llm.job import Deferred, Job, Outcome

from .ask import LlmClient, probe

NO_ANSWER = "no_answer"
"""Why a conversation is rejected that had no answer, while others had."""


def answered(jobs: Sequence[Job], backend: ChatEndpoint | ClusterModel, llm_client: LlmClient) -> list[Outcome]:
    """Have jobs done, and those without an answer once more, after all others.

    What has none then either is rejected as `no_answer` if the model is there, and deferred if it is not.

    Raises:
        SetupError: see `LlmClient.ask`.
    """
    outcomes = list(llm_client.ask(jobs, backend))
    if not (late := _late(outcomes)):
        return outcomes
    llm_client.begin("asking again", len(late))
    for place, outcome in zip(late, llm_client.ask([jobs[place] for place in late], backend), strict=True):
        outcomes[place] = outcome
    late = _late(outcomes)
    if late and _is_there(outcomes, late, backend):
        for place, outcome in late.items():
            outcomes[place] = jobs[place].rejected(SampleError(NO_ANSWER, outcome.detail), None)
    return outcomes


def _late(outcomes: Sequence[Outcome]) -> dict[int, Deferred]:
    return {place: outcome for place, outcome in enumerate(outcomes) if isinstance(outcome, Deferred)}


def _is_there(outcomes: Sequence[Outcome], late: dict[int, Deferred], backend: ChatEndpoint | ClusterModel) -> bool:
    """Whether a model answers, so that single conversations are to blame for having no answer."""
    if any(outcome.is_down for outcome in late.values()) or 2 * len(late) > len(outcomes):
        return False
    try:
        probe([backend])
    except SetupError:
        return False
    return True

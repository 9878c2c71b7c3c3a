"""Pairs from a language model: conversations that it is asked for, and written pairs that it makes speakable.

How a model is asked, and what becomes of its answers, is in `anytalk.synth.llm`. Where a pair comes from says all of
it: template with version and hash, what was drawn, seed, and the model's name as the server gave it.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from anytalk.pipelines.recipe import Llm, Reword, Rewrite
from anytalk.pipelines.source.pair import BadPair, DeferredPair, Pair, SourceRow
from anytalk.synth.llm.generate import generation_jobs
from anytalk.synth.llm.job import Deferred, Outcome, Rejected, Turn
from anytalk.synth.llm.rewrite import Written, rewriting_jobs
from anytalk.synth.llm.template import REWRITE_FIELDS, load_template
from anytalk.synth.seed import digest

from .ask import LlmClient, probe
from .late import answered


def examine(models: Sequence[Llm | Rewrite | Reword]) -> None:
    """Find out whether language models can be asked, before any is.

    Raises:
        SetupError: a template or topics are missing, a key is not in the environment, an endpoint does not answer, or
            vLLM is not installed.
    """
    for model in models:
        if isinstance(model, Llm):
            next(generation_jobs(model.ask, seed=0))
        elif isinstance(model, Reword):
            model.template()
        else:
            load_template("rewrite", model.templates, REWRITE_FIELDS)
    probe([model.backend for model in models])


def llm_conversations(source: Llm, llm_client: LlmClient, own: range) -> list[list[SourceRow]]:
    """Ask for conversations, and once more for those that have no answer then (see `late`).

    Args:
        source: what to ask for.
        llm_client: asks.
        own: numbers of the conversations.

    Returns:
        The rows of each.

    Raises:
        SetupError: a kind has no template or no topics, the key is missing, or the cache cannot be written.
    """
    asked = dataclasses.replace(source.ask, conversations=source.conversations)
    jobs = generation_jobs(asked, llm_client.seed, llm_client.style_tags)
    own_jobs = list(itertools.islice(jobs, own.start, own.stop))
    return [_rows_of(outcome, source) for outcome in answered(own_jobs, source.backend, llm_client)]


def _rows_of(outcome: Outcome, source: Llm) -> list[SourceRow]:
    if isinstance(outcome, Deferred):
        return [DeferredPair(outcome.detail, outcome.source)]
    if isinstance(outcome, Rejected):
        return [BadPair(outcome.reason, outcome.detail, outcome.source, _what_was_said(outcome))]
    # Two models that were asked the same do not answer the same.
    conversation = digest(outcome.conversation, source.backend.model)[:16]
    return [
        Pair(
            split_name=source.split_name or outcome.split_name,
            conversation=conversation,
            turn=number,
            question=turn.question,
            answer=turn.answer,
            language=outcome.language,
            source=_place(outcome.source, outcome.provenance),
        )
        for number, turn in enumerate(outcome.turns)
    ]


def rewritten(source_rows: Iterable[SourceRow], rules: Rewrite, llm_client: LlmClient) -> Iterator[SourceRow]:
    """Have written conversations made speakable.

    Args:
        source_rows: what a source holds; all of it is read before anything is asked.
        rules: which model, which sides, and how long.
        llm_client: asks.

    Yields:
        As many rows, in their order; `question_written` and `answer_written` hold what the source had. A turn with a
        recorded answer or without one stays as it is, and so do the questions of a conversation if one is recorded.

    Raises:
        SetupError: the template is malformed, the key is missing, or the cache cannot be written.
    """
    rows = list(source_rows)
    if not any(isinstance(row, DeferredPair) for row in rows):  # Else there will be no plan this time.
        _rewrite(rows, rules, llm_client)
    yield from rows


def _rewrite(rows: list[SourceRow], rules: Rewrite, llm_client: LlmClient) -> None:
    """Rewrite rows in their places."""
    conversations: dict[tuple[str, str], dict[int, Pair]] = {}
    for place, row in enumerate(rows):
        if isinstance(row, Pair) and row.question and row.answer and row.answer_recording is None:
            conversations.setdefault((row.split_name, row.conversation), {})[place] = row
    groups = [dict(sorted(group.items(), key=lambda item: item[1].turn)) for group in conversations.values()]
    recorded = [any(pair.question_recording for pair in group.values()) for group in groups]
    free = list(itertools.compress(groups, (not one for one in recorded)))
    bound = list(itertools.compress(groups, recorded))
    both, answers = rules.rewriting(), dataclasses.replace(rules.rewriting(), sides="answer")
    jobs = itertools.chain(
        rewriting_jobs(map(_written, free), both, llm_client.seed, llm_client.style_tags),
        rewriting_jobs(map(_written, bound), answers, llm_client.seed, llm_client.style_tags),
    )
    llm_client.begin("rewriting", len(groups))
    for group, outcome in zip(free + bound, answered(list(jobs), rules.backend, llm_client), strict=True):
        if isinstance(outcome, Deferred):
            rows[min(group)] = DeferredPair(outcome.detail, outcome.source)
        elif isinstance(outcome, Rejected):
            for place, pair in group.items():
                rows[place] = BadPair(outcome.reason, _with_words(outcome), pair.source, pair)
        else:
            for (place, pair), turn in zip(group.items(), outcome.turns, strict=True):
                rows[place] = dataclasses.replace(
                    pair,
                    question=turn.question,
                    answer=turn.answer,
                    question_written=pair.question,
                    answer_written=pair.answer,
                    source=_place(pair.source, outcome.provenance),
                )


def _what_was_said(outcome: Rejected) -> Pair:
    """A reject's language and the model's own words, where an answer's written form stands."""
    return Pair(
        split_name=outcome.split_name,
        conversation=outcome.conversation,
        turn=0,
        question=None,
        answer=None,
        language=outcome.language,
        answer_written=outcome.said or None,
        source=outcome.source,
    )


def _with_words(outcome: Rejected) -> str:
    """Why a rewriting failed, and what the model said; the texts of its row are the source's."""
    return f"{outcome.detail}; the model said {outcome.said!r}" if outcome.said else outcome.detail


def _written(group: Mapping[int, Pair]) -> Written:
    first = next(iter(group.values()))
    turns = tuple(Turn(question=pair.question or "", answer=pair.answer or "") for pair in group.values())
    return Written(first.split_name, first.conversation, first.language, turns, first.source)


def _place(source: str, provenance: Mapping[str, str | int | float]) -> str:
    """Where a pair comes from, and how it came about, as JSON."""
    return f"{source} {json.dumps(dict(provenance), ensure_ascii=False)}"

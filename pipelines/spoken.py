"""Pairs in their spoken form, and the reasons why some have none. The written form stays beside it."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

from anytalk.synth.errors import SampleError
from anytalk.synth.text import Langid, load_verbaliser, unspeakable
from anytalk.synth.text.verbalise import Engine

from .recipe import Clean
from .source import Pair


def in_spoken_form(pair: Pair, rules: Clean) -> Pair:
    """Write both sides out as they are said.

    Args:
        pair: as the source has it.
        rules: which engine writes, and what is refused.

    Returns:
        The pair; `question_written` and `answer_written` hold what the source had, if they did not already. A recorded
        side is a transcript: it is written out, so that it compares with what is heard, but never refused.

    Raises:
        SampleError: a side that is to be spoken cannot be; the reason is one of `unspeakable`.
        SetupError: the engine is not installed or has no such language.
    """
    spoken: dict[str, str] = {}
    limits_s = {"question": rules.max_question_s, "answer": rules.max_answer_s}
    for side, limit_s in limits_s.items():
        written = getattr(pair, side)
        if written is None:
            continue
        spoken[side] = _verbaliser(rules.verbalise, pair.language)(written)
        if not rules.refuse_unspeakable or getattr(pair, f"{side}_recording") is not None:
            continue
        identifier = _identifier() if rules.identify_language else None
        problems = unspeakable(written, pair.language, limit_s, spoken=spoken[side], identifier=identifier)
        if problems:
            raise SampleError(problems[0].reason, "; ".join(f"the {side}: {p.reason} {p.piece!r}" for p in problems))
    # What a rewriting replaced is kept already.
    written_forms = {f"{side}_written": getattr(pair, f"{side}_written") or getattr(pair, side) for side in spoken}
    forms: dict[str, Any] = spoken | written_forms
    return dataclasses.replace(pair, **forms)


@cache
def _verbaliser(engine: Engine, language: str) -> Callable[[str], str]:
    return load_verbaliser(engine, language)


@cache
def _identifier() -> Langid:
    return Langid()

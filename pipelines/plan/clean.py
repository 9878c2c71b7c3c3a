"""Pairs in their spoken form, and the reasons why some have none. The written form stays beside it."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from anytalk.pipelines.recipe import Clean
from anytalk.pipelines.source import (
    BadPair,
    Pair,
)
from anytalk.synth.errors import SampleError
from anytalk.synth.seed import digest
from anytalk.synth.text import Langid, load_normaliser, unspeakable
from anytalk.synth.text.normalise import Engine


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
        spoken[side] = _normaliser(rules.normalise, pair.language)(written)
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
def _normaliser(engine: Engine, language: str) -> Callable[[str], str]:
    return load_normaliser(engine, language)


@cache
def _identifier() -> Langid:
    return Langid()


def clean(pairs: Iterable[Pair | BadPair], rules: Clean) -> tuple[list[list[Pair]], list[dict[str, Any]]]:
    """Gather pairs into conversations and take out what cannot be spoken or was there before.

    Returns:
        Conversations in source order, turns in order, and reject rows.
    """
    conversations: dict[tuple[str, str], list[Pair]] = {}
    rejects = []
    for pair in pairs:
        if isinstance(pair, BadPair):
            rejects.append(reject(pair.pair, pair.reason, pair.detail, pair.source))
        elif problem := text_problem(pair, rules):
            rejects.append(reject(pair, *problem, pair.source))
        else:
            try:
                spoken = in_spoken_form(pair, rules)
            except SampleError as error:
                rejects.append(reject(pair, error.reason, error.detail, pair.source))
            else:
                conversations.setdefault((pair.split_name, pair.conversation), []).append(spoken)
    kept: list[list[Pair]] = []
    seen: dict[str, str] = {}
    for turns in conversations.values():
        numbers: dict[int, Pair] = {}
        for pair in turns:
            if pair.turn in numbers:
                known = numbers[pair.turn].source
                rejects.append(reject(pair, "repeat", f"turn {pair.turn} is at {known} already", pair.source))
            else:
                numbers[pair.turn] = pair
        ordered = [numbers[turn] for turn in sorted(numbers)]
        content = digest(*(part for pair in ordered for part in _content_of(pair)))
        if rules.drop_repeats and content in seen:
            detail = f"the same as {seen[content]}"
            rejects += [reject(pair, "repeat", detail, pair.source) for pair in ordered]
        else:
            seen[content] = ordered[0].source
            kept.append(ordered)
    return kept, rejects


def text_problem(pair: Pair, rules: Clean) -> tuple[str, str] | None:
    """Why a pair's texts cannot be spoken at all, if they cannot: reason and detail."""
    limits = {"question": rules.max_question_characters, "answer": rules.max_answer_characters}
    for side, limit in limits.items():
        text = getattr(pair, side)
        if text is None:
            continue
        if not text:
            return f"empty_{side}", f"the {side} has no text"
        if not any(character.isalnum() for character in text):
            return "unspeakable_text", f"the {side} has no word in it: {text[:60]!r}"
        if len(text) > limit:
            return "too_long_text", f"the {side} has {len(text)} characters; at most {limit} are allowed"
    return None


def _content_of(pair: Pair) -> Iterator[str | None]:
    """What makes two pairs repeats of each other: their words, but for case and spacing, and their recordings."""
    yield pair.question and pair.question.casefold()
    yield pair.answer and pair.answer.casefold()
    yield from pair.recording_hashes()


def reject(pair: Pair | None, reason: str, detail: str, source: str) -> dict[str, Any]:
    """Row of the rejects for a pair that was never spoken."""
    texts = {name: getattr(pair, name, None) for name in ("question", "answer", "language")}
    keys = {name: getattr(pair, name, None) for name in ("split_name", "conversation", "turn")}
    written = {
        f"{side}_written": getattr(pair, f"{side}_written", None) or texts[side] for side in ("question", "answer")
    }
    name = digest(source, reason, *keys.values(), *texts.values())[:32]
    end = {"reason": reason, "detail": detail, "source": source, "attempts": []}
    return {"id": name, "variant": None, **keys, **texts, **written, **end}

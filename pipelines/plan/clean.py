"""Pairs in their spoken form, and the reasons why some have none. The written form stays beside it."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from anytalk.pipelines.dataset import schema
from anytalk.pipelines.recipe import Clean
from anytalk.pipelines.source import (
    BadPair,
    Pair,
)
from anytalk.synth.errors import SampleError
from anytalk.synth.seed import digest
from anytalk.synth.text import Langid, around_tags, load_normaliser, unspeakable, without_tags
from anytalk.synth.text.normalise import Engine

from .plan import PAIR_SCHEMA, pair_values


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
        spoken[side] = around_tags(written, rules.style_tags, _normaliser(rules.normalise, pair.language))
        if not rules.refuse_unspeakable or getattr(pair, f"{side}_recording") is not None:
            continue
        identifier = _identifier() if rules.identify_language else None
        plain, said = (without_tags(text, rules.style_tags) for text in (written, spoken[side]))
        problems = unspeakable(plain, pair.language, limit_s, spoken=said, identifier=identifier)
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


class Kind(NamedTuple):
    """What decides whether a pair can be spoken and heard at all."""

    language: str
    is_asked: bool
    """By a voice."""
    is_answered: bool
    """By a voice."""
    names_speaker: bool
    """Whether the source says who speaks in a recording."""


class Cleaned(NamedTuple):
    """What became of some rows of a source."""

    pairs: pa.RecordBatch
    """In spoken form, as `PAIR_SCHEMA`."""
    facts: np.ndarray
    """Of each pair, as `FACTS`."""
    kinds: list[Kind]
    """Of each pair."""
    rejects: list[dict[str, Any]]
    """Reject rows."""


FACTS = np.dtype([("conversation", "u8", 2), ("content", "u8", 2), ("share", "f8"), ("turn", "i2")])
"""What is known of a pair without its texts: hashes of the conversation's name and of what is said, the place of the
conversation among the splits, and the turn."""


def clean(rows: Sequence[Pair | BadPair], rules: Clean) -> Cleaned:
    """Write some rows of a source out as they are said, and take out what cannot be spoken."""
    pairs, facts, kinds, rejects = [], [], [], []
    for row in rows:
        if isinstance(row, BadPair):
            rejects.append(reject(row.pair, row.reason, row.detail, row.source))
        elif problem := text_problem(row, rules):
            rejects.append(reject(row, *problem, row.source))
        else:
            try:
                pair = in_spoken_form(row, rules)
            except SampleError as error:
                rejects.append(reject(row, error.reason, error.detail, row.source))
            else:
                pairs.append(pair_values(pair))
                share = split_share(pair)
                facts.append((name_hash(pair), content_hash(pair), share, pair.turn))
                is_answered = pair.answer is not None and pair.answer_recording is None
                is_named = pair.question_speaker is not None or pair.answer_speaker is not None
                kinds.append(Kind(pair.language, pair.question_recording is None, is_answered, is_named))
    batch = schema.table(pairs, PAIR_SCHEMA).combine_chunks().to_batches()
    return Cleaned(
        batch[0] if pairs else pa.record_batch([], schema=pa.schema([])), np.array(facts, FACTS), kinds, rejects
    )


def name_hash(pair: Pair) -> tuple[int, int]:
    """Hash of the name of a pair's conversation."""
    return _half(digest(pair.split_name, pair.conversation))


def content_hash(pair: Pair) -> tuple[int, int]:
    """Hash of what makes two pairs repeats of each other."""
    return _half(digest(*_content_of(pair)))


def _half(digest: str) -> tuple[int, int]:
    """The first half of a SHA-256 as two integers: still not met twice among all texts there are."""
    return int(digest[:16], 16), int(digest[16:32], 16)


def split_share(pair: Pair) -> float:
    """Place of a pair's conversation, from 0 to 1, by which its split is chosen; see `split_of`."""
    return share_of(pair.group or pair.conversation)


def share_of(group: str) -> float:
    """Place of what stays in one split together, from 0 to 1."""
    return int(digest("split", group)[:12], 16) / 16**12


def text_problem(pair: Pair, rules: Clean) -> tuple[str, str] | None:
    """Why a pair's texts cannot be spoken at all, if they cannot: reason and detail."""
    limits = {"question": rules.max_question_characters, "answer": rules.max_answer_characters}
    for side, limit in limits.items():
        text = getattr(pair, side)
        if text is None:
            continue
        if not text:
            return f"empty_{side}", f"the {side} has no text"
        if not any(character.isalnum() for character in without_tags(text, rules.style_tags)):
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

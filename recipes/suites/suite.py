"""Run a suite: ask every set in batches, have answers judged, sum up, and leave the result in a folder.

OUT/evaluation.json    figures, every answer with its scores, rows that could not be asked
OUT/*.wav              sounds of the rows that a page shows, the worst ones
OUT/judge/             what the judging language model was told and what it said
"""

import itertools
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import soundfile

from anytalk.pipelines.progress import Reporter
from anytalk.recipes.talk import pcm16
from anytalk.synth.audio import read_audio
from anytalk.synth.batch import raise_first
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.wording import quantity

from .ask import IN_TEXT, RATE_HZ, Engines, Row, SuiteName, ask, ceiling_of
from .figure import CONTAINS, JUDGE, JUDGE_SCORE, WER, Figure, as_json, figures
from .item import BadItem, Item
from .judge import Judge, Judged
from .sets import EvaluationSet

RESULT, JUDGE_FOLDER = "evaluation.json", "judge"
ANSWERS_QUESTIONS: tuple[SuiteName, ...] = ("text", "speech")
"""Suites whose answers are right or wrong."""


@dataclass(frozen=True)
class Failed:
    """A row that could not be asked or measured; it counts in no figure."""

    set: str
    id: str
    error: str


@dataclass(frozen=True)
class Settings:
    """How a suite is run.

    Attributes:
        batch: items that are asked together.
        limit: most items of each set; None for all.
        shown: rows of each set whose sounds are kept, the worst.
    """

    batch: int = 8
    limit: int | None = None
    shown: int = 40


def run_suite(
    suite: SuiteName,
    engines: Engines,
    sets: Sequence[EvaluationSet],
    out: Path,
    *,
    settings: Settings,
    progress: Reporter,
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Measure a model.

    Args:
        suite: what is measured; see `ask`.
        engines: the model, and whoever listens and rates.
        sets: what it is asked.
        out: folder of the result; made where there is none.
        settings: how much, and how much at once.
        progress: who is told how far it is.
        judge: judges answers to questions.

    Returns:
        What evaluation.json holds.

    Raises:
        SetupError: a set cannot be read, no row could be asked, or there is nothing to compare answers with.
        EngineError: the judge or the hub failed on the way.
    """
    started_s = time.perf_counter()
    ceiling = ceiling_of(suite, engines)
    out.mkdir(parents=True, exist_ok=True)
    answers: list[dict[str, Any]] = []
    failed: list[Failed] = []
    found: list[Figure] = []
    everything: list[tuple[EvaluationSet, list[Row]]] = []
    for one in sets:
        rows, bad = _ask_set(suite, engines, one, settings, progress, judge)
        failed += bad
        everything.append((one, rows))
    if judge is not None and suite in ANSWERS_QUESTIONS:
        failed += _judge(judge, everything, progress)
    for one, rows in everything:
        found += figures(one.name, rows, ceiling, one.beside)
        shown = set(map(id, _worst_first(rows)[: settings.shown]))
        for number, row in enumerate(rows):
            sounds = _write_sounds(engines, row, out, f"{_slug(one.name)}-{number:05d}") if id(row) in shown else {}
            answers.append(_facts(one.name, row, sounds))
    result = {
        "suite": suite,
        "recogniser": engines.recogniser.name if suite in ("tts", "speech") else None,
        "mos": engines.mos_name or None,
        "codec": engines.talker.codec.name,
        "backbone": engines.backbone.name if engines.backbone else None,
        "judge": judge.name if judge else None,
        "ceiling": ceiling,
        "sets": [{"name": one.name, "source": one.source, "config": one.config, "split": one.split} for one in sets],
        "figures": as_json(found),
        "answers": answers,
        "failed": [asdict(each) for each in failed],
        "seconds": round(time.perf_counter() - started_s, 1),
    }
    partial = out / f".{RESULT}.partial"
    partial.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(out / RESULT)
    return result


# One set


def _ask_set(
    suite: SuiteName,
    engines: Engines,
    one: EvaluationSet,
    settings: Settings,
    progress: Reporter,
    judge: Judge | None,
) -> tuple[list[Row], list[Failed]]:
    rows: list[Row] = []
    failed: list[Failed] = []
    what = f"{suite}: {one.name}"
    items = itertools.islice(_once(suite, one.read()), settings.limit)
    total = None if one.rows is None else min(one.rows, settings.limit or one.rows)
    progress.phase(what) if total is None else progress.start(what, total)
    try:
        while batch := list(itertools.islice(items, settings.batch)):
            failed += [Failed(one.name, each.id, each.error) for each in batch if isinstance(each, BadItem)]
            good = [each for each in batch if isinstance(each, Item)]
            _require(suite, engines, one, good, judge)
            for item, answer in zip(good, ask(suite, engines, good), strict=True):
                if isinstance(answer, SampleError):
                    failed.append(Failed(one.name, item.id, str(answer)))
                else:
                    rows.append(answer)
            _forget_sounds(rows, settings.shown)
            if total is None:
                progress.phase(what, len(rows) + len(failed))
            else:
                progress.advance(len(batch), f"{len(failed)} failed" if failed else "")
    finally:
        progress.stop()
    if not rows:
        first = f"; the first: {failed[0].id}: {failed[0].error}" if failed else ": it is empty"
        raise SetupError(f"none of {quantity(len(failed), 'row')} of {one.name} could be asked{first}")
    return rows, failed


def _once(suite: SuiteName, items: "Iterable[Item | BadItem]") -> "Iterator[Item | BadItem]":
    """Leave out what is asked already: in writing, variants of a recording are the same question."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for item in items:
        if suite == "text" and isinstance(item, Item):
            asked = (item.question, item.references)
            if asked in seen:
                continue
            seen.add(asked)
        yield item


def _require(
    suite: SuiteName, engines: Engines, one: EvaluationSet, items: Sequence[Item], judge: Judge | None
) -> None:
    """See that answers can be heard and compared, before the model is asked."""
    if suite in ("tts", "speech"):
        engines.recogniser.require({item.language for item in items})
    if suite in ANSWERS_QUESTIONS and judge is None and items and not any(item.references for item in items):
        raise SetupError(
            f"{one.name} holds no answers to compare with: its questions are open, or its column of answers has "
            "another name (--column answer=NAME); open questions take a judge: --judge-url and --judge-model"
        )


def _forget_sounds(rows: list[Row], shown: int) -> None:
    """Let go of the recordings of rows that will not be shown: a large set does not fit into memory."""
    if len(rows) > 2 * shown:
        for row in _worst_first(rows)[shown:]:
            if isinstance(row.item.audio, bytes):
                row.item = _without_audio(row.item)


def _without_audio(item: Item) -> Item:
    return replace(item, audio=None, codes=None)


# Judging


def _judge(judge: Judge, everything: Sequence[tuple[EvaluationSet, list[Row]]], progress: Reporter) -> list[Failed]:
    """Add the judge's scores to all answers; gives the answers that it would not judge."""
    asked = [
        (one, row, label, Judged(one.name, row.item.id, label, row.item.question, row.item.references, said.text))
        for one, rows in everything
        for row in rows
        if row.item.question
        for label, said in row.said.items()
    ]
    progress.start(f"judged by {judge.name}", len(asked))
    try:
        verdicts = judge.judge([judged for *_, judged in asked], lambda: progress.advance(1))
    finally:
        progress.stop()
    failed = []
    for (one, row, label, judged), verdict in zip(asked, verdicts, strict=True):
        if isinstance(verdict, SampleError):
            failed.append(Failed(one.name, judged.id, f"{label}: not judged: {verdict}"))
        else:
            row.said[label].scores[JUDGE if judged.references else JUDGE_SCORE] = (verdict, 1.0)
    return failed


# What is kept


def badness(said: "dict[str, dict[str, Sequence[float]]]") -> float:
    """How bad the worst of a row's answers is, ceilings apart: words wrong, or what is missing to a right answer."""
    worst = 0.0
    for label, scores in said.items():
        if label in ("codec", "backbone", IN_TEXT) and len(said) > 1:
            continue
        for measure, (above, below) in scores.items():
            share = above / below if below else float(above > 0)
            if measure == WER:
                worst = max(worst, min(share, 1.0) / (1 if len(said) < 3 else 2))
            elif measure in (CONTAINS, JUDGE):
                worst = max(worst, 1.0 - share)
            elif measure == JUDGE_SCORE:
                worst = max(worst, (5.0 - share) / 4)
    return worst


def _worst_first(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -badness({label: dict(said.scores) for label, said in row.said.items()}))


def _facts(name: str, row: Row, sounds: dict[str, str]) -> dict[str, Any]:
    return {
        "set": name,
        "id": row.item.id,
        "question": row.item.question,
        "references": list(row.item.references),
        "language": row.item.language,
        "said": {
            label: {"text": said.text, "scores": {measure: list(pair) for measure, pair in said.scores.items()}}
            for label, said in row.said.items()
        },
        "sounds": sounds,
    }


def _slug(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name).strip("-").lower()


def _write_sounds(engines: Engines, row: Row, out: Path, name: str) -> dict[str, str]:
    """Write a row's recordings as wav files; gives their names by what they are."""
    found: dict[str, str] = {}
    if row.item.audio is not None:
        found["question"] = f"{name}-question.wav"
        sound = read_audio(row.item.audio, RATE_HZ, max_s=30.0)
        soundfile.write(out / found["question"], pcm16(sound), RATE_HZ, subtype="PCM_16")
    codec = engines.talker.codec
    for label, said in row.said.items():
        if said.codes is not None and len(said.codes):
            found[label] = f"{name}-{_slug(label)}.wav"
            [pcm] = raise_first(codec.decode([said.codes]))
            soundfile.write(out / found[label], pcm16(pcm), codec.sample_rate_hz, subtype="PCM_16")
    return found

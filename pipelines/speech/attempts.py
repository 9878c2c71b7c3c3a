"""Attempts at the two sides of a row: what is known of each, which one counts, how they are stored and read back.

A verdict follows from what is stored of an attempt, so another policy can judge it again without a sound being made.
"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import soundfile

from anytalk.pipelines.dataset import FRAME_SAMPLES, MEASURES, RATES_HZ, SIDES, Outcome
from anytalk.pipelines.plan import PlannedRow
from anytalk.pipelines.recipe import Check, Side
from anytalk.synth.audio import Waveform, flac_bytes
from anytalk.synth.hearing import Heard
from anytalk.synth.judge.error_rate import DECIMALS
from anytalk.synth.judge.measure import Measures, rounded
from anytalk.synth.judge.policy import REASONS, Policy, first_failure

from .augment import Change

ENGINE_ERROR = "engine_error"
"""Reason of an utterance on which an engine itself fails, each time."""

FINAL = {ENGINE_ERROR, "unspeakable_text", "too_long", "undecodable_audio", "empty_audio", "nan_audio"}
"""Reasons that another attempt cannot mend."""

NO_WORDS = "empty_transcript"
"""Reason of a recording without a text in which no words are heard."""

UNSPOKEN = "unspoken_answer"
"""Reason of a row whose question passes a policy that it failed when it was spoken: no answer was spoken for it."""


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One attempt at one side of a row. `reason` is None when it passed."""

    number: int
    voice: str
    waveform: Waveform | None = None
    heard: Heard | None = None
    measures: Measures | None = None
    reason: str | None = None
    detail: str = ""
    codes: np.ndarray | None = None
    """Of an answer that came as codes, or that was encoded before."""
    is_transcribed: bool = False
    """Whether the text is what was heard, because the source has none."""
    text: str | None = None
    """The other words that were to be said; empty where none could be had, None for the row's own."""
    flac: bytes | None = None
    """The sound as it is stored, of an attempt that was read back."""
    change: Change | None = None
    """Its augmentation, of a question that was accepted before."""
    is_held: bool = False
    """Whether an accepted row holds it, and not the file of further attempts."""

    @property
    def samples(self) -> int | None:
        """Length at the side's rate."""
        if self.waveform is not None:
            return len(self.waveform)
        if self.flac is not None:
            return int(soundfile.info(io.BytesIO(self.flac)).frames)
        return None if self.codes is None else len(self.codes) * FRAME_SAMPLES

    @property
    def is_stored(self) -> bool:
        """Whether there is audio, or codes of it, to store."""
        return not (self.waveform is None and self.flac is None and self.codes is None)

    @property
    def speaker(self) -> str:
        """Name of the voice, without speed, pitch and seed; `recording` or `codes` for what the source brought."""
        kind, _, _ = self.voice.partition(":")
        return kind if kind in ("recording", "codes") else self.voice.rpartition(" speed=")[0]

    def sound(self) -> Waveform | None:
        """The samples, exactly as they were judged: they were rounded to 16 bits before."""
        if self.waveform is None and self.flac is not None:
            samples: Waveform = soundfile.read(io.BytesIO(self.flac), dtype="float32")[0]
            return samples
        return self.waveform

    def judged(self, policy: Policy) -> "Attempt":
        """The attempt with a policy's verdict; what failed for something else, or was never measured, stays failed."""
        if self.measures is None or self.reason not in (None, NO_WORDS, *REASONS):
            return self
        words = self.heard.text if self.heard else ""
        if self.is_transcribed and not any(map(str.isalnum, words)):
            return dataclasses.replace(self, reason=NO_WORDS, detail=f"heard {words!r}")
        failure = first_failure(self.measures, policy)
        if failure is None:
            return dataclasses.replace(self, reason=None, detail="")
        heard = f"; heard {words!r}" if failure.reason == "high_wer" else ""
        return dataclasses.replace(self, reason=failure.reason, detail=f"{failure}{heard}")


Attempts = Mapping[Side, list[Attempt]]
"""Attempts at each side of a row, in order."""


@dataclasses.dataclass(frozen=True)
class RowAttempts:
    """What the attempts at a row came to."""

    row: PlannedRow
    attempts: Attempts
    check: Check

    def within(self, side: Side) -> list[Attempt]:
        """The attempts that the budget allows. More were made where it was larger before."""
        return self.attempts[side][: self.check.attempts]

    def chosen(self, side: Side) -> Attempt | None:
        """The attempt that counts: the first that passed."""
        return next((attempt for attempt in self.within(side) if attempt.reason is None), None)

    @property
    def attempt_count(self) -> int:
        """How often a side was spoken before it passed; 0 where none did."""
        return max(1 + attempt.number if (attempt := self.chosen(side)) else 0 for side in SIDES)

    @property
    def failed_side(self) -> Side | None:
        """The side that the row is rejected for."""
        if self.chosen("question") is None:
            return "question"
        return "answer" if self.row.pair.is_answered and self.chosen("answer") is None else None

    @property
    def reason(self) -> str | None:
        """Why the row is rejected: what its best attempt failed."""
        if self.failed_side is None:
            return None
        made = self.within(self.failed_side)
        return best(made).reason if made else UNSPOKEN

    @property
    def detail(self) -> str:
        """More of the reason, for a person."""
        made = self.within(self.failed_side) if self.failed_side else []
        if not made:
            return "" if self.failed_side is None else "the question passes now; its answer was never spoken"
        found = best(made)
        rank = f"attempt {found.number} of 0 to {len(made) - 1} was the best: " if len(made) > 1 else ""
        return rank + found.detail

    @property
    def is_retryable(self) -> bool:
        """Whether the budget holds another attempt that may help."""
        side = self.failed_side
        return (
            side is not None
            and len(self.within(side)) < self.check.attempts
            and may_help(self.row, side, self.within(side))
        )

    def outcomes(self) -> dict[Side, Outcome]:
        """What became of each side that was attempted."""
        found: dict[Side, Outcome] = {}
        for side in SIDES:
            made = self.within(side)
            # An answer that was spoken for a question which another policy refuses is not asked for.
            if made and not (side == "answer" and self.failed_side == "question"):
                found[side] = Outcome(made[0].reason, self.chosen(side) is not None)
        return found

    def retry_facts(self) -> dict[str, Any]:
        """Why another attempt is needed: side, attempts so far, reason, and the measure that failed."""
        assert self.failed_side is not None
        made = self.within(self.failed_side)
        measures = best(made).measures if made else None
        failure = first_failure(measures, getattr(self.check, self.failed_side)) if measures else None
        return {
            "id": self.row.id,
            "side": self.failed_side,
            "attempts": len(made),
            "reason": self.reason,
            "measure": failure and failure.measure,
            "value": failure and failure.value,
            "bound": failure and failure.bound,
        }


def may_help(row: PlannedRow, side: Side, attempts: Sequence[Attempt]) -> bool:
    """Whether another attempt may help: one that passed needs none, and a recording stays what it is."""
    if not attempts:
        return True
    recorded = getattr(row.pair, f"{side}_recording") is not None
    # What other words fail for, others may not.
    is_final = attempts[-1].reason in FINAL and attempts[-1].text is None
    return all(attempt.reason is not None for attempt in attempts) and not is_final and not recorded


def best(attempts: Sequence[Attempt]) -> Attempt:
    """The attempt that came nearest: fewest wrong words, then the best sound; what was never measured comes last."""

    def rank(attempt: Attempt) -> tuple[bool, float, float, int]:
        measures = attempt.measures
        return (
            measures is None,
            measures.wer if measures else 0.0,
            -measures.mos if measures else 0.0,
            -attempt.number,
        )

    return min(attempts, key=rank)


def measured(attempt: Attempt | None) -> dict[str, float | None]:
    """Measures of an attempt as they are stored."""
    if attempt is None or attempt.measures is None:
        return dict.fromkeys(MEASURES)
    # A text that was heard has no errors against itself, and that says nothing.
    unknown = {"wer", "cer", "missing_end_words"} if attempt.is_transcribed else set()
    return {name: None if name in unknown else getattr(attempt.measures, name) for name in MEASURES}


def audio_of(attempt: Attempt | None, side: Side, name: str) -> dict[str, Any] | None:
    """Sound of an attempt as it is stored."""
    if attempt is None or (attempt.waveform is None and attempt.flac is None):
        return None
    content = attempt.flac if attempt.waveform is None else flac_bytes(attempt.waveform, RATES_HZ[side])
    return {"bytes": content, "path": f"{name}.flac"}


def stored(attempt: Attempt, side: Side, row_id: str) -> dict[str, Any]:
    """An attempt among those of a reject, or beside an accepted row."""
    came_as_codes = attempt.codes is not None and attempt.voice.startswith("codes:")
    return {
        "side": side,
        "attempt": attempt.number,
        "reason": attempt.reason,
        "detail": attempt.detail,
        "voice": attempt.voice,
        "text": attempt.text,
        "transcript": attempt.heard.text if attempt.heard else None,
        **measured(attempt),
        "audio": audio_of(attempt, side, f"{row_id}-{side}-{attempt.number}"),
        "codes": attempt.codes.tolist() if came_as_codes and attempt.codes is not None else None,
    }


def read_back(attempt: Mapping[str, Any], row: PlannedRow) -> Attempt:
    """An attempt as `stored` wrote it, at a row that was planned."""
    codes = attempt["codes"]
    return Attempt(
        number=attempt["attempt"],
        voice=attempt["voice"],
        heard=None if attempt["transcript"] is None else Heard(attempt["transcript"], None),
        measures=_measures({name: attempt.get(name) for name in MEASURES}),
        reason=attempt["reason"],
        detail=attempt["detail"],
        codes=None if codes is None else np.asarray(codes, np.uint16),
        is_transcribed=getattr(row.pair, attempt["side"]) is None,
        text=attempt["text"],
        flac=attempt["audio"] and attempt["audio"]["bytes"],
    )


def read_chosen(accepted: Mapping[str, Any], side: Side, row: PlannedRow, others: Sequence[Attempt]) -> Attempt | None:
    """The attempt that an accepted row holds, which is the one that its others leave out.

    None for no answer, and for a question that was changed, whose attempts are all among the others.
    """
    if accepted[f"{side}_voice"] is None or (side == "question" and read_change(accepted)):
        return None
    made = {attempt.number for attempt in others}
    transcript, audio = accepted[f"{side}_transcript"], accepted[f"{side}_audio"]
    features = accepted.get("question_features") if side == "question" else None
    own = getattr(row.pair, side)
    return Attempt(
        number=next(number for number in range(len(made) + 1) if number not in made),
        voice=accepted[f"{side}_voice"],
        heard=None if transcript is None else Heard(transcript, features),
        measures=_measures({name: accepted.get(f"{side}_{name}") for name in MEASURES}),
        codes=accepted["answer_codes"] if side == "answer" else None,
        is_transcribed=own is None,
        text=None if own in (None, accepted[side]) else accepted[side],
        flac=audio and audio["bytes"],
        is_held=True,
    )


def read_change(accepted: Mapping[str, Any]) -> Change | None:
    """The augmentation of an accepted row's question."""
    if accepted.get("question_augmentation") is None:
        return None
    return Change(
        description=accepted["question_augmentation"],
        heard=Heard(accepted["question_augmented_transcript"], accepted.get("question_features")),
        wer=round(accepted["question_augmented_wer"], DECIMALS),
        flac=accepted["question_audio"]["bytes"],
    )


def _measures(values: dict[str, float | None]) -> Measures | None:
    """Measures as they were before they were stored as float32, whose nearest number may lie beyond a bound."""
    if values["mos"] is None:
        return None
    # A text that was heard has no errors against itself.
    known: dict[str, Any] = {**values} | {name: values[name] or 0.0 for name in ("wer", "cer")}
    return rounded(Measures(**known))

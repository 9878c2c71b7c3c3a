"""Augmentation of one unit's questions: change -> listen -> draw another change where one is not understood.

The voice is judged before, on the clean take; what is stored is the changed sound with its features. That takes two
encoder passes: a short one for the clean transcript, as answers are heard, and the one that makes features.
"""

import dataclasses
from collections.abc import Sequence

from anytalk.synth.audio import Waveform
from anytalk.synth.augment import drawn
from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import Heard
from anytalk.synth.judge.measure import word_error_rate
from anytalk.synth.seed import derive_seed

from .plan import PlannedRow
from .pool import Studio
from .recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Change:
    """One attempt at changing a question. `reason` is None when it stands."""

    waveform: Waveform | None = None
    description: str | None = None
    """What was done, as JSON; None if another draw did nothing."""
    heard: Heard | None = None
    wer: float | None = None
    """Of what is heard, against what is said."""
    reason: str | None = None
    detail: str = ""


def change_seed(row: PlannedRow, attempt: int, recipe: Recipe) -> int:
    """The seed of an attempt: it differs between variants of a pair, and not between voices of a row."""
    return derive_seed(row.seed(recipe.seed), "augment", attempt)


def is_changed(row: PlannedRow, recipe: Recipe) -> bool:
    """Whether a row's first draw does anything; if not, the row is made as if there were no augmentation."""
    if recipe.augment is None:
        return False
    return bool(drawn(recipe.augment.probabilities(), change_seed(row, 0, recipe)))


async def change(
    rows: Sequence[PlannedRow], clean: Sequence[tuple[Waveform, str]], studio: Studio, recipe: Recipe
) -> list[list[Change]]:
    """Change the questions of some rows.

    Args:
        rows: whose questions passed.
        clean: of each, the sound at 16 kHz and what is said in it.
        studio: the engines.
        recipe: with an augmentation.

    Returns:
        All attempts at each row; the last one is the one that counts.

    Raises:
        EngineError: the machinery failed.
    """
    tried: list[list[Change]] = [[] for _ in rows]
    for attempt in range(recipe.check.attempts):
        places = [place for place, changes in enumerate(tried) if not changes or changes[-1].reason]
        if not places:
            break
        seeds = [change_seed(rows[place], attempt, recipe) for place in places]
        made = await studio.call("voices", "augment", [clean[place][0] for place in places], seeds)
        sounds = [result[0] for result in made if not isinstance(result, SampleError)]
        heard = iter(await studio.call("hearing", "listen", sounds) if sounds else [])
        for place, result in zip(places, made, strict=True):
            if isinstance(result, SampleError):
                tried[place].append(Change(reason=result.reason, detail=result.detail))
            else:
                sound, description = result
                tried[place].append(_judged(rows[place], clean[place][1], sound, description, next(heard), recipe))
    return tried


def _judged(
    row: PlannedRow, text: str, waveform: Waveform, description: str | None, heard: Heard, recipe: Recipe
) -> Change:
    if description is None:
        return Change(waveform, None, heard)
    assert recipe.augment is not None
    limit, wer = recipe.augment.max_wer, word_error_rate(text, heard.text, row.pair.language)
    lost = limit is not None and wer > limit
    return Change(
        waveform,
        description,
        heard,
        wer,
        reason="high_augmented_wer" if lost else None,
        detail=f"heard {heard.text!r} after {description}" if lost else "",
    )

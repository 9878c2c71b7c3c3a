"""Augmentation of one unit's questions: change -> listen -> draw another change where one is not understood.

The voice is judged before, on the clean sound; what is stored is the changed sound with its features. That takes two
encoder passes: a short one for the clean transcript, as answers are heard, and the one that makes features.
A change cannot fail a row: where none can be had that is understood, the question stays as it was spoken.
"""

import dataclasses
from collections.abc import Sequence

from anytalk.pipelines.plan import PlannedRow
from anytalk.pipelines.recipe import Recipe
from anytalk.synth.audio import Waveform
from anytalk.synth.augment import drawn
from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import Heard
from anytalk.synth.judge.error_rate import word_error_rate
from anytalk.synth.seed import derive_seed

from .pool import Engines


@dataclasses.dataclass(frozen=True)
class Change:
    """A question's sound after its augmentation, at 16 kHz."""

    description: str
    """What was done, as JSON."""
    heard: Heard
    """What is understood since, and the features."""
    wer: float
    """Of what is understood, against what is said."""
    waveform: Waveform | None = None
    flac: bytes | None = None
    """The sound as it is stored, of a change that was read back."""


def change_seed(row: PlannedRow, number: int, recipe: Recipe) -> int:
    """The seed of an attempt: it differs between variants of a pair, and not between voices of a row."""
    return derive_seed(row.seed(recipe.seed), "augment", number)


def is_changed(row: PlannedRow, recipe: Recipe) -> bool:
    """Whether a row's first draw does anything; if not, the row is made as if there were no augmentation."""
    if recipe.augment is None:
        return False
    return bool(drawn(recipe.augment.probabilities(), change_seed(row, 0, recipe)))


async def change(
    rows: Sequence[PlannedRow], clean: Sequence[tuple[Waveform, str]], engines: Engines, recipe: Recipe
) -> list[Change | None]:
    """Change the questions of some rows.

    Args:
        rows: whose questions passed.
        clean: of each, the sound at 16 kHz and what is said in it.
        engines: the engines.
        recipe: with an augmentation.

    Returns:
        The change of each. None where another draw does nothing, or none of those that the budget allows would do; then
        the question stays as it was spoken.

    Raises:
        EngineError: the machinery failed.
    """
    changes: list[Change | None] = [None for _ in rows]
    due = list(range(len(rows)))
    for number in range(recipe.check.attempts):
        if not due:
            break
        seeds = [change_seed(rows[place], number, recipe) for place in due]
        changes_drawn = await engines.each("voices", "augment", [clean[place][0] for place in due], seeds)
        sounds = {
            place: result
            for place, result in zip(due, changes_drawn, strict=True)
            if not isinstance(result, SampleError)
        }
        changed = {place: sound for place, (sound, description) in sounds.items() if description is not None}
        languages = [rows[place].pair.language for place in changed]
        heard = await engines.each("hearing", "listen", list(changed.values()), languages) if changed else []
        settled = sounds.keys() - changed.keys()
        for place, words in zip(changed, heard, strict=True):
            if isinstance(words, SampleError):
                continue
            wer = word_error_rate(clean[place][1], words.text, rows[place].pair.language)
            if is_understood(wer, recipe):
                changes[place] = Change(str(sounds[place][1]), words, wer, changed[place])
                settled.add(place)
        due = [place for place in due if place not in settled]
    return changes


def is_understood(wer: float, recipe: Recipe) -> bool:
    """Whether a change leaves a question understood well enough."""
    limit = recipe.augment.max_wer if recipe.augment else None
    return limit is None or wer <= limit

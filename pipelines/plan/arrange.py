"""Which split a conversation is in, and which work unit holds which rows."""

from collections.abc import Iterator, Sequence

from anytalk.pipelines.recipe import Recipe, Split
from anytalk.pipelines.source import Pair
from anytalk.synth.seed import digest

from .plan import PlannedRow, name_of

SPLITS = ("train", "validation", "test")


def split_of(turns: Sequence[Pair], split: Split) -> str:
    """Split of a conversation: that of a speaker who is held out, or else by a hash.

    The hash is of its name alone, of the recording that several were cut from, or of its first speaker where splits are
    by speaker.
    """
    held_out = split.held_out_speakers()
    speakers = [name for pair in turns for name in (pair.question_speaker, pair.answer_speaker) if name is not None]
    if reserved := {held_out[name] for name in speakers if name in held_out}:
        return max(reserved, key=SPLITS.index)
    group = turns[0].group or turns[0].conversation
    if split.by == "speaker" and speakers:
        group = f"speaker {speakers[0]}"
    share = int(digest("split", group)[:12], 16) / 16**12
    if share < split.test:
        return "test"
    return "validation" if share < split.test + split.validation else "train"


def arrange(conversations: list[list[Pair]], recipe: Recipe) -> Iterator[PlannedRow]:
    """Order rows by split and source, each conversation whole, and deal them to work units of one split."""
    unit, filled = -1, 0
    for split in SPLITS:
        filled = 0
        for turns in conversations:
            if split_of(turns, recipe.split) != split:
                continue
            if filled == 0 or filled >= recipe.shards.unit_rows:
                unit, filled = unit + 1, 0
            for variant in range(_variants(turns, recipe)):
                for pair in turns:
                    yield PlannedRow(name_of(pair, variant), name_of(pair, 0), split, unit, pair, variant)
                    filled += 1


def _variants(turns: list[Pair], recipe: Recipe) -> int:
    """A conversation that brings all its own question recordings is not spoken again."""
    return 1 if all(pair.question_recording for pair in turns) else recipe.voices.variants

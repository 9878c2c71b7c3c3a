"""Which split a conversation is in, and which work unit holds which rows."""

from collections.abc import Iterator, Sequence

from anytalk.pipelines.recipe import Recipe, Split
from anytalk.pipelines.source import Pair

from .clean import share_of, split_share
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
    share = share_of(f"speaker {speakers[0]}") if split.by == "speaker" and speakers else split_share(turns[0])
    return split_at(share, split)


def split_at(share: float, split: Split) -> str:
    """Split of a conversation by its place among them; see `split_share`."""
    if share < split.test:
        return "test"
    return "validation" if share < split.test + split.validation else "train"


def arrange(
    conversations: Sequence[Sequence[Pair]], recipe: Recipe, splits: Sequence[str] | None = None, first_unit: int = 0
) -> Iterator[PlannedRow]:
    """Order rows by split and source, each conversation whole, and deal them to work units of one split.

    Args:
        conversations: in source order; gone through once for each split that some are in.
        recipe: how large a unit is, and how often a pair is spoken.
        splits: of the conversations, where they are known.
        first_unit: number of the first unit.
    """
    if splits is None:
        splits = [split_of(turns, recipe.split) for turns in conversations]
    unit = first_unit - 1
    for split in SPLITS:
        if split not in splits:
            continue
        filled = 0
        for turns, its_split in zip(conversations, splits, strict=True):
            if its_split != split:
                continue
            if filled == 0 or filled >= recipe.shards.unit_rows:
                unit, filled = unit + 1, 0
            names = [name_of(pair, 0) for pair in turns]
            for variant in range(_variants(turns, recipe)):
                for pair, first in zip(turns, names, strict=True):
                    name = name_of(pair, variant) if variant else first
                    yield PlannedRow(name, first, split, unit, pair, variant)
                    filled += 1


def _variants(turns: Sequence[Pair], recipe: Recipe) -> int:
    """A conversation that brings all its own question recordings is not spoken again."""
    return 1 if all(pair.question_recording for pair in turns) else recipe.voices.variants

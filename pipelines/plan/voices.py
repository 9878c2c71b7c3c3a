"""Who speaks a row, and who can hear it: voices that know its language and are free for its split, and a recogniser."""

import itertools
from collections.abc import Sequence

import numpy as np

from anytalk.pipelines.recipe import QuestionVoice, Recipe, VoiceChoice
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import only_english_by_name
from anytalk.synth.seed import derive_seed
from anytalk.synth.voice import is_accent, speaks
from anytalk.synth.wording import quantity

from .clean import Kind
from .plan import PlannedRow


def split_voices(split: str, recipe: Recipe) -> list[QuestionVoice]:
    """The voices that may ask in a split: those held out for it, or else all that are held out for none."""
    if names := recipe.split.voices_of(split):
        return [choice for choice in recipe.voices.question if choice.voice in names]
    elsewhere = {name for names in recipe.split.held_out_voices.values() for name in names}
    return [choice for choice in recipe.voices.question if choice.voice not in elsewhere]


def question_voices(language: str, split: str, recipe: Recipe) -> list[QuestionVoice]:
    """The voices of a split that may ask in a language: those with its very accent, or else all that speak it."""
    able = [choice for choice in split_voices(split, recipe) if speaks(recipe.voices.language_of(choice), language)]
    return [choice for choice in able if is_accent(recipe.voices.language_of(choice), language)] or able


def answer_voice(language: str, recipe: Recipe) -> VoiceChoice:
    """The one voice that answers in a language."""
    others = recipe.voices.answer_by_language
    # A tag that begins the row's: en-GB or en for en-GB.
    if fitting := [tag for tag in others if is_accent(language, tag)]:
        return others[max(fitting, key=len)]
    if speaks(recipe.voices.language_of(recipe.voices.answer), language):
        return recipe.voices.answer
    return next((choice for tag, choice in others.items() if speaks(tag, language)), recipe.voices.answer)


Kinds = Sequence[tuple[str, Kind, int, str]]
"""Kinds of pairs: split, kind, how many there are, and where the first one stands; in the order of the first ones."""


def refuse_unspoken(kinds: Kinds, recipe: Recipe) -> None:
    """Raise for rows that no voice can say.

    Args:
        kinds: of all pairs.
        recipe: the voices, and which are held out.

    Raises:
        SetupError: there are some; one line for each side and language, and for each split that has voices of its own.
    """
    rows: dict[tuple[str, str, str], tuple[int, str]] = {}
    for split, kind, count, source in kinds:
        own = split if recipe.split.voices_of(split) else ""
        spoken = {("question", kind.language, own): kind.is_asked, ("answer", kind.language, ""): kind.is_answered}
        for key in (key for key, is_spoken in spoken.items() if is_spoken):
            before, first = rows.get(key, (0, source))
            rows[key] = before + count, first
    problems = [
        f"no {side} voice{f' of the {split} split' if split else ''} speaks {language!r}, the language of "
        f"{quantity(count, 'row')} (the first is {first}); " + CURES[side]
        for (side, language, split), (count, first) in rows.items()
        if not _is_spoken(side, language, split, recipe)
    ]
    if problems:
        raise SetupError("\n".join(problems))


def refuse_unheard(kinds: Kinds, recipe: Recipe) -> None:
    """Raise for rows that the recogniser cannot hear, as far as its name tells; the rest is seen when it is loaded.

    Nothing is refused where nothing is listened to.

    Raises:
        SetupError: there are some; one line for each language.
    """
    name = recipe.check.recogniser or recipe.features.model
    if not recipe.check.listen or not only_english_by_name(name):
        return
    rows: dict[str, tuple[int, str]] = {}
    for _, kind, count, source in kinds:
        if not speaks("en", kind.language):
            before, first = rows.get(kind.language, (0, source))
            rows[kind.language] = before + count, first
    key = "check.recogniser" if recipe.check.recogniser else "features.model"
    problems = [
        f"the Whisper {name} knows only English, but the source has "
        f"{quantity(count, 'row')} in {language!r} (the first is {first}); name a multilingual one, "
        f"such as --set {key}=small, or a folder of one"
        for language, (count, first) in rows.items()
    ]
    if problems:
        raise SetupError("\n".join(problems))


CURES = {
    "question": "add one to voices.question (held-out ones ask in their split alone), "
    "or say with language: mul that one of them speaks it",
    "answer": "name one under voices.answer_by_language, or say with language: mul that voices.answer speaks it",
}


def _is_spoken(side: str, language: str, split: str, recipe: Recipe) -> bool:
    if side == "question":
        return bool(question_voices(language, split, recipe))
    return speaks(recipe.voices.language_of(answer_voice(language, recipe)), language)


def voice_order(row: PlannedRow, recipe: Recipe) -> list[QuestionVoice]:
    """The question voices of a row's language and split in a random order that all variants of a pair share.

    Heavier ones tend to come first. The next one is another speaker where there is one: what one mouth cannot say well,
    it seldom says better at another pitch.
    """
    choices = question_voices(row.pair.language, row.split, recipe)
    rng = np.random.default_rng(derive_seed(recipe.seed, row.first_id, "voices"))
    weights = np.array([choice.weight for choice in choices])
    # Exponential clocks: ordering by them draws without replacement, by weight.
    drawn = [choices[index] for index in np.argsort(rng.exponential(size=len(weights)) / weights, kind="stable")]
    speakers: dict[str, list[QuestionVoice]] = {}
    for choice in drawn:
        speakers.setdefault(choice.voice, []).append(choice)
    # One of each speaker in turn.
    rounds = itertools.zip_longest(*speakers.values())
    return [choice for turn in rounds for choice in turn if choice is not None]

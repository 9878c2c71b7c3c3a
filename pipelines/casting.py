"""Who speaks a row, and who can hear it: voices and a recogniser that know its language."""

from collections.abc import Iterable

from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import only_english_by_name
from anytalk.synth.voice import is_accent, speaks

from .recipe import Recipe, VoiceChoice
from .source import Pair


def question_voices(language: str, recipe: Recipe) -> list[VoiceChoice]:
    """The voices that may ask in a language: those with its very accent, or else all that speak it."""
    able = [choice for choice in recipe.voices.question if speaks(recipe.voices.language_of(choice), language)]
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


def refuse_unspoken(pairs: Iterable[Pair], recipe: Recipe) -> None:
    """Raise for rows that no voice can say.

    Raises:
        SetupError: there are some; one line for each side and language.
    """
    rows: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        if pair.question_recording is None:
            rows.setdefault(("question", pair.language), []).append(pair.source)
        if pair.answer is not None and pair.answer_recording is None:
            rows.setdefault(("answer", pair.language), []).append(pair.source)
    problems = [
        f"no {side} voice speaks {language!r}, the language of {len(sources):,} rows (the first is {sources[0]}); "
        + CURES[side]
        for (side, language), sources in rows.items()
        if not _is_spoken(side, language, recipe)
    ]
    if problems:
        raise SetupError("\n".join(problems))


def refuse_unheard(pairs: Iterable[Pair], recipe: Recipe) -> None:
    """Raise for rows that the recogniser cannot hear, as far as its name tells; the rest is seen when it is loaded.

    Raises:
        SetupError: there are some; one line for each language.
    """
    if not only_english_by_name(recipe.features.model):
        return
    rows: dict[str, list[str]] = {}
    for pair in pairs:
        if not speaks("en", pair.language):
            rows.setdefault(pair.language, []).append(pair.source)
    problems = [
        f"the Whisper {recipe.features.model} knows only English, and {len(sources):,} rows are in {language!r} "
        f"(the first is {sources[0]}); name a multilingual one, such as --set features.model=small, or a folder of one"
        for language, sources in rows.items()
    ]
    if problems:
        raise SetupError("\n".join(problems))


CURES = {
    "question": "add one to voices.question, or say with language: mul that one of them speaks it",
    "answer": "name one under voices.answer_by_language, or say with language: mul that voices.answer speaks it",
}


def _is_spoken(side: str, language: str, recipe: Recipe) -> bool:
    if side == "question":
        return bool(question_voices(language, recipe))
    return speaks(recipe.voices.language_of(answer_voice(language, recipe)), language)

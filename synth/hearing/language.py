"""Which languages a recogniser knows, and the errors for those that it does not."""

from collections.abc import Callable, Iterable

from anytalk.synth.errors import SetupError
from anytalk.synth.language import whisper_code


def only_english_by_name(model: str) -> bool:
    """Whether a model's name says that it knows only English, without loading it.

    >>> [only_english_by_name(model) for model in ("openai:tiny.en", "models/small.en.pt", "small")]
    [True, True, False]
    """
    return model.removesuffix(".pt").rstrip("/").endswith(".en")


def knows_only_english(model: object, language: str) -> SetupError:
    """Say that an English model was asked for another language."""
    return SetupError(
        f"the Whisper {model} knows only English; it was asked for {language!r}: "
        "give a multilingual one, such as small, large-v3, or a folder of one"
    )


def refuse_unknown(languages: Iterable[str], check: Callable[[str], object]) -> None:
    """Have languages checked, each once.

    Args:
        languages: BCP-47 tags.
        check: takes a Whisper code, and raises SetupError for one that a model does not know.

    Raises:
        SetupError: some are not known; one line for each.
    """
    problems = []
    for language in sorted({*map(whisper_code, languages)}):
        try:
            check(language)
        except SetupError as error:
            problems.append(str(error))
    if problems:
        raise SetupError("\n".join(problems))

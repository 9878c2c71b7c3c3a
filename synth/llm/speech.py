"""How much text fills a time, for a prompt; and whether what came back can be said in it, in the right language."""

from collections.abc import Sequence
from functools import cache

from anytalk.synth.errors import SampleError
from anytalk.synth.language import primary
from anytalk.synth.text import Langid, normalise, unspeakable, without_tags

from .echo import echo_of

WORDS_PER_S = 2.5
"""Of read English: 150 words a minute. Other languages that part their words are taken to be alike."""

CHARACTERS_PER_S = {"zh": 5.0, "yue": 5.0, "ja": 5.0}
"""Of languages that do not part their words; `anytalk.synth.text.duration` has the source."""


def length(seconds: float, language: str) -> str:
    """Say how much text fills a time.

    >>> length(8, "en"), length(8, "zh-CN")
    ('20 words', '40 characters')
    """
    rate = CHARACTERS_PER_S.get(primary(language))
    return f"{seconds * WORDS_PER_S:.0f} words" if rate is None else f"{seconds * rate:.0f} characters"


def check_spoken(side: str, text: str, language: str, limit_s: float, style_tags: Sequence[str] = ()) -> None:
    """Raise for a text that is written for the eye, takes too long to say, or is in another language.

    Args:
        side: what to call it in the error, such as "the answer".
        text: as the model wrote it; numbers and signs that are written out before they are said may be in it.
        language: BCP-47 tag.
        limit_s: longest that it may take to say, as estimated.
        style_tags: what the text may hold beside words; see `synth.text.style_tag`.

    Raises:
        SampleError: with the first reason of `unspeakable`, and all of them in its detail.
    """
    plain = without_tags(text, style_tags)
    problems = unspeakable(plain, language, limit_s, spoken=normalise(plain, language), identifier=_identifier())
    if problems:
        raise SampleError(problems[0].reason, "; ".join(f"{side}: {p.reason} {p.piece!r}" for p in problems))


def allowing_tags(messages: list[dict[str, str]], style_tags: Sequence[str]) -> list[dict[str, str]]:
    """Tell a model which tags it may write, as an exception to the rules of its prompt."""
    if not style_tags:
        return messages
    system, *others = messages
    told = (
        "One exception: where a person would make that sound, a text may hold one of these marks, written exactly so, "
        f"though seldom: {' '.join(style_tags)}"
    )
    return [system | {"content": f"{system['content']}\n\n{told}"}, *others]


def check_own(side: str, text: str, prompt: str) -> None:
    """Raise for a text that repeats the prompt, or talks about it.

    Args:
        side: what to call it in the error, such as "the answer".
        text: as the model wrote it.
        prompt: what it may not repeat; see `echo_of`.

    Raises:
        SampleError: `echoes_prompt`.
    """
    piece = echo_of(text, prompt)
    if piece is not None:
        raise SampleError("echoes_prompt", f"{side}: {piece[:80]!r} is of the instructions")


@cache
def _identifier() -> Langid:
    return Langid()

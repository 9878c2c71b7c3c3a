"""How much text fills a time, for a prompt; and whether what came back can be said in it."""

from anytalk.synth.errors import SampleError
from anytalk.synth.language import primary
from anytalk.synth.text import normalise, unspeakable

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


def check_spoken(side: str, text: str, language: str, limit_s: float) -> None:
    """Raise for a text that is written for the eye, or takes too long to say.

    Args:
        side: what to call it in the error, such as "the answer".
        text: as the model wrote it; numbers and signs that are written out before they are said may be in it.
        language: BCP-47 tag.
        limit_s: longest that it may take to say, as estimated.

    Raises:
        SampleError: with the first reason of `unspeakable`, and all of them in its detail.
    """
    problems = unspeakable(text, language, limit_s, spoken=normalise(text, language))
    if problems:
        raise SampleError(problems[0].reason, "; ".join(f"{side}: {p.reason} {p.piece!r}" for p in problems))

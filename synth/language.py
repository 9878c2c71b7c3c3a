"""Language tags (BCP 47): which language a tag names, and what the engines call it.

One language has many tags: `zh-CN`, `zh_TW` and `cmn`; `nb`, `nn` and `no`; `iw` and `he`; `en-US` and `EN-us`.
`langcodes` knows case, deprecated codes and macrolanguages (https://github.com/georgkrause/langcodes, 3.5.1, MIT; its
data is the Unicode CLDR's). Tags are stored as the user wrote them; only comparisons and engines use other forms.
"""

import re
from functools import lru_cache
from typing import NamedTuple

MANY = "mul"
"""Tag of a voice that speaks many languages (ISO 639-2)."""

NORWEGIAN = {"nb": "no", "nn": "no"}
"""Two written standards of one language. The CLDR prefers `nb` to the macrolanguage; most engines say `no`."""

WHISPER_CODES = {"fil": "tl", "jv": "jw", "nb": "no"}
"""Codes of Whisper that are not the language's own (https://github.com/openai/whisper, `tokenizer.py`)."""

NAMES = {
    "arabic": "ar", "chinese": "zh", "mandarin": "zh", "cantonese": "yue", "czech": "cs", "danish": "da", "dutch": "nl",
    "english": "en", "finnish": "fi", "french": "fr", "german": "de", "deutsch": "de", "greek": "el", "hebrew": "he",
    "hindi": "hi", "hungarian": "hu", "indonesian": "id", "italian": "it", "japanese": "ja", "korean": "ko",
    "norwegian": "no", "persian": "fa", "polish": "pl", "portuguese": "pt", "romanian": "ro", "russian": "ru",
    "spanish": "es", "swedish": "sv", "thai": "th", "turkish": "tr", "ukrainian": "uk", "vietnamese": "vi",
}  # fmt: skip
"""Names that people write for tags. `langcodes` knows more of them, with a package of 100 MB."""


def is_tag(text: str) -> bool:
    """Whether a text has the form of a tag.

    >>> [is_tag(text) for text in ("en", "zh_TW", "cmn-Latn-pinyin", "x-ours", "english", "en US", "")]
    [True, True, True, True, False, False, False]
    """
    return re.fullmatch(r"([a-z]{2,3}|[xi])([-_][a-z0-9]{1,8})*", text, re.IGNORECASE | re.ASCII) is not None


def tag_of_name(name: str) -> str | None:
    """Tag that a language's name stands for; None for a name that is not known.

    >>> tag_of_name("English"), tag_of_name("Elvish")
    ('en', None)
    """
    return NAMES.get(name.strip().lower())


class _Parts(NamedTuple):
    """What a tag says; empty where it says nothing."""

    language: str
    script: str
    region: str
    tag: str


@lru_cache(maxsize=4096)
def _parse(tag: str) -> _Parts:
    """Read a tag; of a malformed one, the longest part from its start that is well-formed."""
    # Imported here: its tables take a quarter of a second to read.
    from langcodes import Language
    from langcodes.tag_parser import LanguageTagError

    subtags = tag.replace("_", "-").split("-")
    for end in range(len(subtags), 0, -1):
        try:
            found = Language.get("-".join(subtags[:end])).prefer_macrolanguage()
        except LanguageTagError:
            continue
        whole = "-".join([found.to_tag(), *subtags[end:]])
        return _Parts(found.language or "und", found.script or "", found.territory or "", whole)
    return _Parts(subtags[0].lower(), "", "", "-".join(subtags))


def canonical(tag: str) -> str:
    """Write a tag in the one way that the CLDR prefers.

    >>> [canonical(tag) for tag in ("cmn", "zh_TW", "EN-us", "iw", "nb-NO", "en-GB-x-rp")]
    ['zh', 'zh-TW', 'en-US', 'he', 'nb-NO', 'en-GB-x-rp']
    """
    return _parse(tag).tag


def primary(tag: str) -> str:
    """Code of a tag's language, without script, region and the rest; macrolanguages stand for their languages.

    NeMo, num2words (for the languages that are normalised here) and the tables of this package use these codes.

    >>> [primary(tag) for tag in ("zh-Hans-CN", "cmn", "yue", "nb-NO", "nn", "tl", "jw", "x-ours")]
    ['zh', 'zh', 'yue', 'no', 'no', 'fil', 'jv', 'x-ours']
    """
    language = _parse(tag).language
    return NORWEGIAN.get(language, language)


def script(tag: str) -> str:
    """Script that a tag names (ISO 15924), such as Latn; empty where it names none.

    >>> script("cmn-latn-pinyin"), script("zh")
    ('Latn', '')
    """
    return _parse(tag).script


def region(tag: str) -> str:
    """Region that a tag names (ISO 3166-1, or three digits), in capitals; empty where it names none.

    >>> region("en-gb-scotland"), region("en")
    ('GB', '')
    """
    return _parse(tag).region


def whisper_code(tag: str) -> str:
    """Whisper's code of a tag's language, whether a model knows it or not.

    >>> whisper_code("de-AT"), whisper_code("cmn-Latn-pinyin"), whisper_code("nb"), whisper_code("nn")
    ('de', 'zh', 'no', 'nn')
    """
    language = _parse(tag).language
    return WHISPER_CODES.get(language, language)


def same_language(one: str, other: str) -> bool:
    """Whether two tags name the same language, whatever the region, script or variant.

    >>> same_language("cmn", "zh-TW"), same_language("nb-NO", "no"), same_language("yue", "zh")
    (True, True, False)
    """
    return primary(one) == primary(other)


def is_accent(tag: str, wanted: str) -> bool:
    """Whether a tag names at least what another does: its language, and its region and variant where it has them.

    >>> is_accent("en-GB-scotland", "en-GB"), is_accent("en-US", "en-GB"), is_accent("mul", "en")
    (True, False, False)
    """
    return f"{canonical(tag)}-".lower().startswith(f"{canonical(wanted)}-".lower())


def format_case(tag: str) -> str:
    """Write the subtags of a tag with the usual capitals and hyphens, and change nothing else.

    Source: https://www.rfc-editor.org/rfc/rfc5646#section-2.1.1

    >>> format_case("en_us"), format_case("cmn-latn-pinyin"), format_case("en-gb-x-rp"), format_case("es-419")
    ('en-US', 'cmn-Latn-pinyin', 'en-GB-x-rp', 'es-419')
    """
    first, *rest = tag.replace("_", "-").split("-")
    cased = [first.lower()]
    for position, part in enumerate(rest):
        private = "x" in rest[:position]
        if len(part) == 2 and not private:
            cased.append(part.upper())
        elif len(part) == 4 and not private:
            cased.append(part.title())
        else:
            cased.append(part)
    return "-".join(cased)

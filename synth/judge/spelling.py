"""One spelling for words that are said alike: what is compared of a text and its transcript.

What a recogniser cannot hear is no error: OK or okay, 7:30 or half past seven, a or one hundred, ß or ss, two or too.
"""

# ruff: noqa: RUF001  typographic dashes and quotes are what is looked for

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

from num2words import num2words

from anytalk.synth.text.word import SPACELESS, words

_HOURS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_STUNDEN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"]
_HOUR = rf"(?P<hour>{'|'.join(_HOURS)})\b"
_STUNDE = rf"(?P<hour>{'|'.join(_STUNDEN)}|ein)\b"
_HALF_OF = {"million": "five hundred thousand", "billion": "five hundred million", "thousand": "five hundred"}

_ALIKE = (
    "0 o oh owe", "1 won", "2 to too", "4 for fore", "8 ate", "a eh", "b be bee", "c see sea", "d dee", "f ef", "g gee",
    "h aitch", "i eye aye", "j jay", "k kay", "l el ell", "m em", "n en", "p pea pee", "q cue queue", "r are", "s es",
    "t tea tee", "u you ewe", "v vee", "x ex", "y why", "z zee zed", "air heir", "aisle isle", "allowed aloud",
    "bare bear", "berry bury", "blew blue", "board bored", "brake break", "buy by bye", "cell sell", "cent scent sent",
    "dear deer", "die dye", "fair fare", "flour flower", "grate great", "hair hare", "heal heel", "hear here",
    "hello hallo hullo", "hi high", "hole whole", "hour our", "in inn", "knew new", "knight night", "know no",
    "knows nose", "lead led",
    "made maid", "mail male", "meat meet", "pair pear", "peace piece", "plain plane", "rain reign", "read red",
    "right write", "road rode", "role roll", "sail sale", "scene seen", "sight site cite", "son sun", "steal steel",
    "suite sweet", "sum some", "tail tale", "their there", "threw through", "waist waste", "wait weight", "way weigh",
    "weak week", "wear where", "weather whether", "which witch", "wood would", "your youre",
)  # fmt: skip
"""English words that sound the same, as Whisper's normaliser spells them; names of letters among them."""
HOMOPHONES = {word: group.split()[0] for group in _ALIKE for word in group.split()}


def _quarter_to(match: re.Match[str]) -> str:
    return f"{_HOURS[_HOURS.index(match['hour']) - 1]} forty five"


def _stunde(match: re.Match[str], before: int, minutes: str) -> str:
    hour = "eins" if match["hour"] == "ein" else match["hour"]
    said = _STUNDEN[_STUNDEN.index(hour) - before]
    return f"{'ein' if said == 'eins' else said} uhr {minutes}"


Rewriting = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
_ENGLISH: list[Rewriting] = [
    (re.compile(r"\bok\b|\bo\.\s?k\."), "okay"),
    (re.compile(r"\s?\bo['’]clock\b"), ""),
    (re.compile(rf"\bhalf past {_HOUR}"), r"\g<hour> thirty"),
    (re.compile(rf"\b(?:a )?quarter past {_HOUR}"), r"\g<hour> fifteen"),
    (re.compile(rf"\b(?:a )?quarter to {_HOUR}"), _quarter_to),
    (re.compile(rf"\b(?P<past>five|ten|twenty(?:[ -]five)?) (?:minutes )?past {_HOUR}"), r"\g<hour> \g<past>"),
    (re.compile(r"\bhalf an? (million|billion|thousand)\b"), lambda match: _HALF_OF[match[1]]),
    (re.compile(r"\ba (?=(?:hundred|thousand|million|billion|trillion|dozen)\b)"), "one "),
    (re.compile(r"\b(\w+) and a half\b"), r"\1 point five"),
    (re.compile(r"\bfourths\b"), "quarters"),
    (re.compile(r"\b(?:one )?half an? (?=\w)|\bone half\b ?"), "half "),
    (re.compile(r"\b(\w+) (?:feet|foot) (\w+)(?: inch(?:es)?)?\b(?= tall|[.,!?]|$)"), r"\1 foot \2"),
    (re.compile(r"\b(gim|lem)me\b"), lambda match: "give me" if match[1] == "gim" else "let me"),
    (re.compile(r"\bdunno\b"), "do not know"),
]
_GERMAN: list[Rewriting] = [
    (re.compile(r"\bok\b|\bo\.\s?k\."), "okay"),
    (re.compile(rf"\b(?<!ein )(?<!eine )halb {_STUNDE}"), lambda match: _stunde(match, 1, "dreißig")),
    (re.compile(rf"\bviertel nach {_STUNDE}"), lambda match: _stunde(match, 0, "fünfzehn")),
    (re.compile(rf"\b(?:viertel vor|drei ?viertel) {_STUNDE}"), lambda match: _stunde(match, 1, "fünfundvierzig")),
    (re.compile(r"\banderthalb"), "eineinhalb"),
    (re.compile(r"\b(\w+)einhalb\b"), lambda match: f"{'eins' if match[1] == 'ein' else match[1]} komma fünf"),
    (re.compile(r"\bein(?=hundert|tausend)|(?<=tausend)ein(?=hundert)|(?<=tausendund)ein(?=hundert)"), ""),
    (re.compile(r"\bzwo\b"), "zwei"),
    (re.compile(r"\beine?[mnrs]? halbe?[mnrs]?\b"), "ein halb"),
    (re.compile(r"\b(euro|franken|dollar) und (\w+) (?:cent|rappen)\b"), r"\1 \2"),
    (re.compile("ß"), "ss"),
]
_REWRITINGS = {"en": _ENGLISH, "de": _GERMAN}


def respelled(text: str, language: str) -> str:
    """Spell what is said alike in one way, before a normaliser takes a text apart.

    Args:
        text: a text or a transcript.
        language: primary code.

    >>> respelled("OK, half past seven.", "en"), respelled("Die Straße um halb acht", "de")
    ('okay, seven thirty.', 'die strasse um sieben uhr dreissig')
    """
    for pattern, said in _REWRITINGS.get(language, ()):
        text = pattern.sub(said, text.lower())
    return text


def is_spaceless(text: str) -> bool:
    """Whether most letters of a text are of scripts without spaces between words.

    >>> is_spaceless("我喜欢 YouTube 。"), is_spaceless("The word 你好 is Chinese.")
    (False, False)
    """
    letters = sum(map(str.isalpha, text))
    return 2 * len(re.findall(f"[{SPACELESS}]", text)) > letters


_HAN_DIGITS = "零一二三四五六七八九"
_HAN_VARIANTS = str.maketrans({"〇": "零", "○": "零", "两": "二", "兩": "二", "萬": "万", "億": "亿", "點": "点"})
_NUMERAL = re.compile(r"\d+(?:[,，]\d{3})*")


def characters(text: str, language: str, *, one_by_one: bool = False) -> list[str]:
    """Split a text of a script without spaces into its characters, numbers in words.

    Args:
        text: a text or a transcript.
        language: primary code.
        one_by_one: read digits one after the other, as in years.

    >>> "".join(characters("我有30个", "zh")), "".join(characters("2024年", "zh", one_by_one=True))
    ('我有三十个', '二零二四年')
    """
    folded = unicodedata.normalize("NFKC", text)
    spelled = _NUMERAL.sub(lambda match: _numeral(re.sub(r"\D", "", match[0]), language, one_by_one), folded)
    joined = (spelled if language == "ja" else _simplified(spelled)).translate(_HAN_VARIANTS)
    if language == "ja":
        joined = re.sub("一(?=[十百千])", "", joined)
    joined = re.sub("(?<![一二三四五六七八九十百千万亿])一(?=十)", "", joined)
    return [word for word in words(joined) if any(map(str.isalnum, word))]


def _simplified(text: str) -> str:
    """Write Chinese in simplified characters: a recogniser writes either, whatever the text has."""
    return str(_converter().convert(text))


@cache
def _converter() -> Any:
    # Imported here: only those who compare Chinese need its dictionaries.
    from opencc import OpenCC

    return OpenCC("t2s")


def _numeral(digits: str, language: str, one_by_one: bool) -> str:
    value = int(digits[-30:])
    if language in ("zh", "yue", "wuu", "ja"):
        if one_by_one or len(digits) > 16:
            return "".join(_HAN_DIGITS[int(digit)] for digit in digits)
        return _han(value, is_chinese=language != "ja")
    if language == "th":
        parts = digits if one_by_one else [str(value)]
        return "".join(str(num2words(int(part), lang="th")) for part in parts)
    return str(value)


def _han(value: int, is_chinese: bool) -> str:
    """Write a number as Chinese and Japanese do: 1024 is 一千零二十四, in Japanese 一千二十四."""
    if value == 0:
        return _HAN_DIGITS[0]
    said, gap = "", False
    for power, group in ((12, "兆"), (8, "亿"), (4, "万"), (0, "")):
        part = value // 10**power % 10_000
        if part:
            said += (
                ("零" if said and (gap or part < 1000) and is_chinese else "") + _thousands(part, is_chinese) + group
            )
        gap = bool(said) and part == 0
    return said


def _thousands(value: int, is_chinese: bool) -> str:
    said, gap = "", False
    for power, unit in ((3, "千"), (2, "百"), (1, "十"), (0, "")):
        digit = value // 10**power % 10
        if digit:
            said += ("零" if gap and said and is_chinese else "") + _HAN_DIGITS[digit] + unit
        gap = digit == 0
    return said


def sound_key(text: str) -> str:
    """Spell a word as it sounds, so that the names of short answers may be spelled in several ways.

    >>> sound_key("Robbyn"), sound_key("Kathryn"), sound_key("Phillip")
    ('robin', 'katrin', 'filip')
    """
    for pattern, spelled in _sounds():
        text = pattern.sub(spelled, text)
    return text


@cache
def _sounds() -> list[tuple[re.Pattern[str], str]]:
    rules = (
        ("ph", "f"),
        ("th", "t"),
        ("ck", "k"),
        ("c(?=[eiy])", "s"),
        ("[cq]", "k"),
        ("y", "i"),
        ("z", "s"),
        ("dt", "t"),
    )
    return [(re.compile(pattern), said) for pattern, said in (("(.)\\1+", r"\1"), *rules, ("(?<=\\w\\w)e\\b", ""))]

"""Text is said as it is written, nothing that can be said is changed, and what cannot be said has a reason."""

# ruff: noqa: RUF001  signs of many scripts are what is tested

import csv
import json
import re
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from anytalk.synth.errors import MissingExtra, SetupError
from anytalk.synth.text import (
    REASONS,
    Langid,
    NemoNormaliser,
    load_normaliser,
    spoken_seconds,
    unspeakable,
)
from anytalk.synth.text import (
    normalise as normalise,
)

with (Path(__file__).parent / "spoken.tsv").open(encoding="utf-8", newline="") as file:
    SPOKEN = [tuple(row) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)][1:]

PIECES = [*sorted({word for _, written, _ in SPOKEN for word in written.split()}), *" -/.(\n", "\u0663", "\u2460"]
ANY_TEXT = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=30)
LANGUAGES = st.sampled_from(["en", "en-GB", "de", "fr", "es", "it", "nl", "sv", "zh"])
ONE_CORE = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def corpus() -> list[str]:
    lines = (resources.files("anytalk.synth") / "corpus" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[side] for line in lines for side in ("question", "answer")]


@pytest.mark.parametrize(("language", "written", "spoken"), SPOKEN)
def test_a_written_form_is_said_so(language, written, spoken):
    assert normalise(written, language) == spoken


@ONE_CORE
@given(ANY_TEXT, LANGUAGES)
def test_a_spoken_form_has_nothing_left_to_say_otherwise(text, language):
    spoken = normalise(text, language)
    assert normalise(spoken, language) == spoken


@ONE_CORE
@given(ANY_TEXT)
def test_english_leaves_no_digit(text):
    assert not any(character.isdigit() for character in normalise(text, "en"))


@ONE_CORE
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz  ,?!'\n\téß“”…—"), LANGUAGES)
def test_text_without_anything_to_expand_keeps_its_bytes(text, language):
    assume(not {"aka", "vs"} & set(re.findall(r"\w+", text)))
    assert normalise(text, language) == text


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_a_number_of_any_length_is_said(language):
    for pattern in ("{}th", "${}.50", "{}/{}", "{} €", "{}:{}", "{},5 km", "{}.", "{}-{}-{}"):
        normalise(pattern.replace("{}", "9" * 4400), language)


def test_the_bundled_corpus_is_speakable_as_it_is():
    texts = corpus()
    assert [text for text in texts if normalise(text, "en") != text] == []
    assert [(text, found) for text in texts if (found := unspeakable(text, "en", max_seconds=20))] == []


def test_a_language_without_rules_keeps_its_digits_and_is_reported():
    assert normalise("我有3只猫。", "zh") == "我有3只猫。"
    assert [problem.reason for problem in unspeakable("我有3只猫。", "zh")] == ["digits"]


def test_an_engine_of_none_leaves_text_alone():
    assert load_normaliser("none", "en")("5 km") == "5 km"
    assert load_normaliser("rules", "en")("5 km") == "Five kilometers"


def test_nemo_says_what_it_lacks():
    with pytest.raises(SetupError, match=r"no grammars to write out 'xx'; it has: ar, de, en"):
        NemoNormaliser("xx")
    try:
        import nemo_text_processing  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(MissingExtra, match=r'pip install "anytalk\[nemo\]"'):
            load_normaliser("nemo", "en")


UNSPEAKABLE = [
    ("empty", "..."),
    ("empty", ""),
    ("code", "Run `ls` now."),
    ("code", "Use ```\nprint(1)\n``` here"),
    ("code", "Call main() first."),
    ("code", "Press <br> twice."),
    ("code", "the variable max_value is wrong"),
    ("code", "if a == b then"),
    ("code", r"The value \frac{1}{2} is right"),
    ("markdown", "That is **very** good."),
    ("markdown", "That is *very* good."),
    ("markdown", "# Title"),
    ("markdown", "Here is it. ## Steps first"),
    ("markdown", "See [this page](page) now."),
    ("table", "a | b | c"),
    ("table", "name\tage\tcity"),
    ("list", "Buy:\n- milk\n- eggs"),
    ("list", "Buy: - milk - eggs"),
    ("list", "1. Wash it. 2. Dry it."),
    ("list", "• milk • eggs"),
    ("url", "Go to https://example.org/a today."),
    ("url", "Go to www.example.org today."),
    ("url", "Go to example.com today."),
    ("email", "Write to me@example.org today."),
    ("emoji", "Well done \U0001f600"),
    ("emoji", "Well done :-)"),
    ("emoji", "I like it ❤️"),
    ("brackets", "He left (at last)."),
    ("brackets", "他走了（终于）。"),
    ("digits", "I have 3 cats."),
    ("symbols", "This → that"),
    ("symbols", "a private \ue123 sign"),
    ("wrong_language", "She said привет to me."),
]


@pytest.mark.parametrize(("reason", "text"), UNSPEAKABLE)
def test_what_cannot_be_said_has_its_reason(reason, text):
    language = "zh" if "他" in text else "en"
    assert reason in [problem.reason for problem in unspeakable(text, language)]


SPEAKABLE = [
    ("en", "It's fine - really; isn't it? “Yes,” she said, “well-known.”"),
    ("en", "Well… the naïve café—you know."),
    ("en", "He moved to the U.S. in May. Then he left."),
    ("en", "She flew first class, he did not."),
    ("de", "Größere Übungen? „Ja“, sagte er."),
    ("zh", "我喜欢 YouTube，你呢？"),
    ("ja", "「こんにちは」と言いました。"),
    ("ru", "Привет, как дела?"),
    ("fa", "می\u200cخواهم بروم."),
]


@pytest.mark.parametrize(("language", "text"), SPEAKABLE)
def test_plain_prose_is_speakable(language, text):
    assert unspeakable(text, language) == []


def test_sentences_that_end_in_numbers_are_no_list():
    text = "He was 12. She was 15. They left."
    assert unspeakable(text, "en", spoken=normalise(text, "en")) == []


def test_signs_that_the_verbaliser_says_are_no_problem():
    text = "It cost $3.50, i.e. 5% more @ 20°C & 3/4 cup."
    assert unspeakable(text, "en", spoken=normalise(text, "en")) == []
    assert {problem.reason for problem in unspeakable(text, "en")} == {"digits", "symbols"}


def test_problems_come_in_the_order_of_the_reasons_with_their_pieces():
    problems = unspeakable("**Go** to https://a.org (now) \U0001f600", "en")
    reasons = [problem.reason for problem in problems]
    assert reasons == sorted(reasons, key=REASONS.index)
    assert dict(problems) | {"symbols": ""} == {
        "markdown": "**Go**",
        "url": "https://a.org",
        "emoji": "\U0001f600",
        "brackets": "(now)",
        "symbols": "",
    }


def test_seconds_grow_with_words_pauses_and_sentences():
    assert spoken_seconds("...", "en") == 0
    assert spoken_seconds("one two", "en") < spoken_seconds("one, two", "en") < spoken_seconds("one. Two", "en")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [  # Spoken by hibari:heart at its own speed.
        ("Lower the brightness of the screen, and close any apps you aren't using.", 3.62),
    ],
)
def test_seconds_are_near_those_of_a_voice(text, seconds):
    assert spoken_seconds(text, "en") == pytest.approx(seconds, rel=0.2)


def test_a_text_too_long_for_its_seconds_says_how_long():
    (problem,) = unspeakable("This is a long story. " * 10, "en", max_seconds=5)
    assert problem.reason == "too_long"
    assert "at most 5 s" in problem.piece


class AlwaysGerman:
    """An identifier that is sure."""

    def probability(self, text, language):
        return float(language == "de")


def test_an_identifier_is_asked_about_texts_long_enough_to_tell():
    text = "Das ist ein ganz normaler Satz."
    assert [problem.reason for problem in unspeakable(text, "en", identifier=AlwaysGerman())] == ["wrong_language"]
    assert unspeakable(text, "de", identifier=AlwaysGerman()) == []
    assert unspeakable("Das ist gut.", "en", identifier=AlwaysGerman()) == []


def test_langid_tells_german_from_english():
    pytest.importorskip("py3langid")
    langid = Langid()
    german = "Das ist ein ganz normaler deutscher Satz über das Wetter."
    assert [problem.reason for problem in unspeakable(german, "en", identifier=langid)] == ["wrong_language"]
    assert langid.probability(german, "xx") is None
    assert [text for text in corpus() if unspeakable(text, "en", identifier=langid)] == []

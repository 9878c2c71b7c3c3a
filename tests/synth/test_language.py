"""Language tags: every spelling of a language is that language, for every engine."""

import pytest

from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import FakeWhisper
from anytalk.synth.language import (
    canonical,
    format_case,
    is_accent,
    primary,
    region,
    same_language,
    script,
    whisper_code,
)
from anytalk.synth.llm.speech import length
from anytalk.synth.text import normalise, unspeakable
from anytalk.synth.text.language import SCRIPTS, foreign_script
from anytalk.synth.text.nemo import LANGUAGES as NEMO
from anytalk.synth.text.other import TONGUES
from anytalk.synth.voice import speaks

CHINESE = "水在零度结冰。"


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        # canonical tag, primary code, script, region, Whisper's code
        ("cmn", ("zh", "zh", "", "", "zh")),
        ("zh-CN", ("zh-CN", "zh", "", "CN", "zh")),
        ("zh-Hans-CN", ("zh-Hans-CN", "zh", "Hans", "CN", "zh")),
        ("zh_TW", ("zh-TW", "zh", "", "TW", "zh")),
        ("ZH-hant", ("zh-Hant", "zh", "Hant", "", "zh")),
        ("cmn-latn-pinyin", ("zh-Latn-pinyin", "zh", "Latn", "", "zh")),
        ("yue", ("yue", "yue", "", "", "yue")),
        ("zh-yue", ("yue", "yue", "", "", "yue")),
        ("nb-NO", ("nb-NO", "no", "", "NO", "no")),
        ("nn", ("nn", "no", "", "", "nn")),
        ("no", ("no", "no", "", "", "no")),
        ("pt-BR", ("pt-BR", "pt", "", "BR", "pt")),
        ("EN-us", ("en-US", "en", "", "US", "en")),
        ("es-419", ("es-419", "es", "", "419", "es")),
        ("en-gb-scotland", ("en-GB-scotland", "en", "", "GB", "en")),
        ("en-GB-x-rp", ("en-GB-x-rp", "en", "", "GB", "en")),
        ("en-us-nyc", ("en-US-nyc", "en", "", "US", "en")),
        ("fil", ("fil", "fil", "", "", "tl")),
        ("tl", ("fil", "fil", "", "", "tl")),
        ("jw", ("jv", "jv", "", "", "jw")),
        ("jv", ("jv", "jv", "", "", "jw")),
        ("iw", ("he", "he", "", "", "he")),
        ("in", ("id", "id", "", "", "id")),
        ("eng", ("en", "en", "", "", "en")),
        ("mul", ("mul", "mul", "", "", "mul")),
        ("x-ours", ("x-ours", "x-ours", "", "", "x-ours")),
        ("qaa-x-ours", ("qaa-x-ours", "qaa", "", "", "qaa")),
        ("xx-XX", ("xx-XX", "xx", "", "XX", "xx")),
        ("Gibberish!", ("Gibberish!", "gibberish!", "", "", "gibberish!")),
        ("", ("", "", "", "", "")),
    ],
)
def test_a_tag_has_one_meaning_for_every_engine(tag, expected):
    assert (canonical(tag), primary(tag), script(tag), region(tag), whisper_code(tag)) == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("cmn", "zh-CN", True),
        ("zh_TW", "zh-Hans-CN", True),
        ("nb-NO", "no", True),
        ("nn", "nb", True),
        ("EN-us", "en", True),
        ("pt-BR", "pt-PT", True),
        ("fil-PH", "tl", True),
        ("yue", "zh", False),
        ("de", "en", False),
        ("x-ours", "x-theirs", False),
    ],
)
def test_two_tags_are_the_same_language_whatever_their_spelling(one, other, same):
    assert same_language(one, other) is same_language(other, one) is same
    assert speaks(one, other) is same
    assert speaks("mul", other)


@pytest.mark.parametrize(
    ("tag", "wanted", "accent"),
    [
        ("en_us", "EN-US", True),
        ("en-GB-scotland", "en-GB", True),
        ("en-GB", "en", True),
        ("cmn", "zh", True),
        ("en", "en-GB", False),
        ("en-US", "en-GB", False),
        ("mul", "en", False),
        ("ends", "en", False),
    ],
)
def test_an_accent_is_what_a_tag_names_beyond_another(tag, wanted, accent):
    assert is_accent(tag, wanted) is accent


def test_the_codes_of_every_table_are_primary_codes():
    for table in (SCRIPTS, TONGUES, NEMO):
        assert {code: primary(code) for code in table} == {code: code for code in table}


def test_whisper_s_own_codes_stay_as_they_are():
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    assert {code: whisper_code(code) for code in _LANGUAGE_CODES} == {code: code for code in _LANGUAGE_CODES}


@pytest.mark.parametrize("tag", ["cmn", "zh", "zh-CN", "zh_TW", "zh-Hans-CN", "ZH", "yue"])
def test_a_chinese_text_is_not_refused_for_its_script(tag):
    assert unspeakable(CHINESE, tag) == []
    assert foreign_script("She said hello to me.", tag) == "She"
    assert length(8, tag) == "40 characters"


def test_a_romanised_text_is_written_in_latin_letters():
    assert foreign_script("Shui zai ling du jie bing.", "cmn-Latn-pinyin") is None
    assert foreign_script(CHINESE, "cmn-Latn-pinyin") == "水在零度结冰"


@pytest.mark.parametrize("tag", ["no", "nb", "nb-NO", "nn", "NO"])
def test_norwegian_numbers_are_written_out_under_every_tag(tag):
    assert normalise("21 katter", tag) == "Tjueen katter"


@pytest.mark.parametrize(
    ("tag", "spoken"), [("en", "March fourth"), ("EN-us", "March fourth"), ("en-GB-scotland", "third of April")]
)
def test_the_region_of_a_tag_decides_how_a_date_is_read(tag, spoken):
    assert spoken in normalise("On 3/4/2024.", tag)


def test_a_recogniser_is_asked_by_its_own_codes():
    FakeWhisper(only_english=True).require(["en", "EN-us", "en_GB", "eng"])
    with pytest.raises(SetupError, match="'zh'"):
        FakeWhisper(only_english=True).require(["cmn"])


def test_format_case_changes_capitals_and_hyphens_alone():
    assert [format_case(tag) for tag in ("CMN", "de_DE", "chr-us-qaaa-x-west")] == [
        "cmn",
        "de-DE",
        "chr-US-Qaaa-x-west",
    ]

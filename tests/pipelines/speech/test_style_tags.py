"""Style tags: kept in the text, told to the voices that know them, and no words to whoever listens."""

import json

import pyarrow as pa
import pytest
from support.misbehaving import serve

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.plan import load_or_make
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.speech import utterance_of
from anytalk.synth.errors import SetupError
from anytalk.synth.text import around_tags, normalise, without_tags

TAGS = ["<laugh>", "[sigh]"]
WRITTEN = "Well <laugh>, at 5 o'clock. [sigh]"
SPOKEN = "Well <laugh>, at five o'clock. [sigh]"
PLAIN = "Well, at five o'clock."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WRITTEN, "Well, at 5 o'clock."),
        ("<laugh>Yes<laugh>!", "Yes!"),
        ("No <laugh>ter here", "No ter here"),
        ("Nothing <sigh> known.", "Nothing <sigh> known."),
        ("<laugh> [sigh]", ""),
    ],
)
def test_tags_are_left_out_with_their_spaces(text, said):
    assert without_tags(text, TAGS) == said
    assert without_tags(text, []) == text


def test_text_between_tags_is_written_out_and_tags_stay():
    assert around_tags(WRITTEN, TAGS, lambda text: normalise(text, "en")) == SPOKEN
    assert around_tags("At 5.", TAGS, lambda text: normalise(text, "en")) == "At five."


@pytest.fixture
def pairs(write_jsonl):
    rows = [{"question": WRITTEN, "answer": WRITTEN}, {"question": "<laugh>", "answer": "Yes."}]
    return str(write_jsonl([*rows, {"question": "Hello <cough> there.", "answer": "Yes."}]))


def test_voices_are_told_the_tags_that_they_know(fake_recipe, pairs, tmp_path):
    answer = {"voice": "fake:eve", "style_tags": ["<laugh>"]}
    voices = {"question": ["fake:ann"], "answer": answer}
    recipe = load_recipe(fake_recipe(source=pairs, clean={"style_tags": TAGS}, voices=voices))
    plan = load_or_make(recipe, Store(tmp_path / "out"))
    # What is no tag of the recipe is no text, and a tag alone says nothing.
    assert plan.reasons == {"code": 1, "unspeakable_text": 1}
    [[row]] = plan.units
    assert (row.pair.question, row.pair.answer) == (SPOKEN, SPOKEN)
    assert utterance_of(row, "question", 0, recipe).text == PLAIN
    assert utterance_of(row, "answer", 0, recipe).text == "Well <laugh>, at five o'clock."


def test_tags_stay_in_the_dataset_and_are_no_errors(fake_recipe, pairs, tmp_path):
    voices = {"question": ["hibari:heart"], "answer": "fake:eve"}
    features = {"model": "tiny.en", "store": False}
    recipe = fake_recipe(source=pairs, clean={"style_tags": TAGS}, voices=voices, features=features)
    build(recipe, tmp_path / "out", local=True)
    assert check(tmp_path / "out").well
    [shard] = (tmp_path / "out/shards").glob("*.arrow")
    [row] = pa.ipc.open_file(pa.memory_map(str(shard))).read_all().to_pylist()
    assert (row["question"], row["question_written"]) == (SPOKEN, WRITTEN)
    assert row["question_transcript"].startswith("Well")
    assert row["question_wer"] == 0.0


def test_a_language_model_may_write_the_tags_that_a_recipe_allows(fake_recipe, tmp_path):
    def answer(body):
        if len(body["messages"]) == 1:
            return "{}"  # the probe
        return json.dumps({"turns": [{"question": "Who is there? [sigh]", "answer": "It is me <laugh>."}]})

    ask = {"conversations": 1, "kinds": ["everyday"]}
    with serve(answer) as server:
        source = {"kind": "llm", "endpoint": {"base_url": server.url, "model": "tiny"}, "ask": ask}
        recipe = load_recipe(fake_recipe(source=source, clean={"style_tags": TAGS}))
        [[row]] = load_or_make(recipe, Store(tmp_path / "out")).units
    assert (row.pair.question, row.pair.answer) == ("Who is there? [sigh]", "It is me <laugh>.")


def test_the_text_of_units_follows_from_the_tags(fake_recipe, pairs):
    plain = load_recipe(fake_recipe(source=pairs))
    assert load_recipe(fake_recipe(source=pairs, clean={"style_tags": TAGS})).unit_identity() != plain.unit_identity()


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"clean": {"style_tags": ["laugh"]}},
            "clean.style_tags.0: must be a name between brackets or asterisks, such as <laugh>",
        ),
        (
            {"voices": {"question": ["fake:a"], "answer": {"voice": "fake:b", "style_tags": ["<laugh>"]}}},
            "clean.style_tags: does not allow <laugh>, which voices have among their style_tags",
        ),
    ],
)
def test_a_tag_is_named_between_brackets_and_allowed_first(fake_recipe, sections, said):
    with pytest.raises(SetupError) as caught:
        load_recipe(fake_recipe(**sections))
    assert said in str(caught.value)

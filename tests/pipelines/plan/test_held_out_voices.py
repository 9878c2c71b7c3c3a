"""Held-out voices: heard in their split alone, through every re-roll, and in whatever else the set becomes."""

import json

import pyarrow as pa
import pytest

from anytalk.pipelines import build, check
from anytalk.pipelines.close import CHECKSUMS, MANIFEST
from anytalk.pipelines.plan import split_voices
from anytalk.pipelines.plan.arrange import arrange
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.source import Pair
from anytalk.pipelines.speech import utterance_of
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import sha256

PAIRS = [{"question": f"Question number {n}?", "answer": f"Answer number {n}."} for n in range(16)]
QUESTION_VOICES = ["fake:ann", {"voice": "fake:ann", "pitch": 1.2}, "fake:bob", "fake:cat", "fake:dan"]


@pytest.fixture
def recipe(fake_recipe):
    def load(question_voices=QUESTION_VOICES, variants=2, **split):
        voices = {"question": list(question_voices), "answer": "fake:eve", "variants": variants}
        return load_recipe(fake_recipe(split={"test": 0.3, "validation": 0.2} | split, voices=voices))

    return load


def conversations(count=60):
    return [[Pair("talk", f"c{n}", turn, f"{n} {turn}?", "Yes.", "en") for turn in range(2)] for n in range(count)]


def question_voices(recipe, attempts=8, talks=None):
    """Who may ask in each split, over all rows and attempts."""
    found = {"train": set(), "validation": set(), "test": set()}
    for row in arrange(talks or conversations(), recipe):
        found[row.split] |= {utterance_of(row, "question", attempt, recipe).voice for attempt in range(attempts)}
    return found


def test_held_out_voices_ask_all_of_the_test_split_and_nothing_else_in_any_attempt(recipe):
    found = question_voices(recipe(held_out_voices=["fake:ann", "fake:dan"]))
    assert found == {
        "train": {"fake:bob", "fake:cat"},
        "validation": {"fake:bob", "fake:cat"},
        "test": {"fake:ann", "fake:dan"},
    }


def test_each_split_may_have_voices_of_its_own(recipe):
    found = question_voices(recipe(held_out_voices={"validation": ["fake:dan"], "test": ["fake:ann"]}))
    assert found == {"train": {"fake:bob", "fake:cat"}, "validation": {"fake:dan"}, "test": {"fake:ann"}}


def test_without_held_out_voices_everybody_asks_everywhere(recipe):
    assert list(question_voices(recipe()).values()) == [{"fake:ann", "fake:bob", "fake:cat", "fake:dan"}] * 3


def test_no_conversation_is_in_two_splits_whatever_voices_ask(recipe):
    splits = {}
    for row in arrange(conversations(), recipe(held_out_voices=["fake:ann"], variants=5)):
        splits.setdefault(row.pair.conversation, set()).add(row.split)
    assert all(len(found) == 1 for found in splits.values())


def splits_of(recipe, talks):
    return {row.id: row.split for row in arrange(talks, recipe)}


def test_rows_and_voices_that_are_added_move_no_row_to_another_split(recipe):
    before = splits_of(recipe(held_out_voices=["fake:ann"]), conversations(60))
    more_rows = splits_of(recipe(held_out_voices=["fake:ann"]), conversations(90))
    more_voices = splits_of(
        recipe(["fake:new", *QUESTION_VOICES], held_out_voices=["fake:new", "fake:ann"]), conversations(60)
    )
    assert before.items() <= more_rows.items()
    assert before == more_voices == splits_of(recipe(), conversations(60))


def test_a_voice_that_is_added_for_training_changes_nothing_in_the_test_split(recipe):
    def cast(loaded):
        rows = [row for row in arrange(conversations(), loaded) if row.split == "test"]
        return [utterance_of(row, "question", attempt, loaded) for row in rows for attempt in range(4)]

    held_out = {"held_out_voices": ["fake:ann", "fake:dan"]}
    assert cast(recipe(**held_out)) == cast(recipe(["fake:new", *QUESTION_VOICES], **held_out))


def test_pitches_of_a_held_out_voice_are_held_out_with_it(recipe):
    loaded = recipe(held_out_voices=["fake:ann"])
    assert [choice.pitch for choice in split_voices("test", loaded)] == [(1.0, 1.0), (1.2, 1.2)]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"held_out_voices": ["fake:zoe"]}, r"split.held_out_voices: fake:zoe not among voices.question: fake:ann"),
        ({"held_out_voices": ["fake:ann"], "test": 0.0}, r"the test split, whose share is 0; set split.test"),
        ({"held_out_voices": {"train": ["fake:ann"]}}, r"split.held_out_voices.train"),
        (
            {"held_out_voices": {"test": ["fake:ann"], "validation": ["fake:ann"]}},
            r"fake:ann can be held out for one split only",
        ),
        ({"held_out_voices": ["fake:ann", "fake:bob", "fake:cat", "fake:dan"]}, r"no voice is left to ask in training"),
    ],
)
def test_voices_that_cannot_be_held_out_are_refused_by_name(recipe, split, message):
    with pytest.raises(SetupError, match=message):
        recipe(**split)


def test_a_voice_that_answers_cannot_be_held_out(recipe):
    with pytest.raises(SetupError, match=r"fake:eve would be heard in training, as it answers"):
        recipe([*QUESTION_VOICES, "fake:eve"], held_out_voices=["fake:eve"])


def test_a_language_that_no_held_out_voice_speaks_is_refused_before_the_first_row(fake_recipe, write_jsonl, tmp_path):
    rows = [{"question": f"Frage {n}?", "answer": "Ja.", "language": "de"} for n in range(16)]
    asking = [{"voice": "fake:hans", "language": "de"}, {"voice": "fake:ann", "language": "en"}]
    recipe = fake_recipe(
        source=str(write_jsonl(rows)),
        voices={"question": asking, "answer": {"voice": "fake:eve", "language": "de"}},
        split={"test": 0.4, "held_out_voices": ["fake:ann"]},
    )
    with pytest.raises(SetupError, match=r"^no question voice of the test split speaks 'de', the language of \d+ rows"):
        build(recipe, tmp_path / "out", local=True)
    assert not (tmp_path / "out" / "plan").exists()


@pytest.mark.slow
def test_a_build_holds_voices_out_and_check_watches_over_it(fake_recipe, write_jsonl, anything, tmp_path):
    recipe = fake_recipe(
        source=str(write_jsonl(PAIRS)),
        voices={"question": ["fake:ann", "fake:bob"], "answer": "fake:eve", "variants": 2},
        split={"test": 0.4, "held_out_voices": ["fake:bob"]},
    )
    build(recipe, tmp_path / "out", local=True)
    heard = {}
    for shard in (tmp_path / "out" / "shards").iterdir():
        voices = pa.ipc.open_file(shard).read_all()["question_voice"].to_pylist()
        heard.setdefault(shard.name.partition("-")[0], set()).update(voice.split()[0] for voice in voices)
    assert heard == {"train": {"fake:ann"}, "test": {"fake:bob"}}
    assert check(tmp_path / "out").problems == []
    # The same rows under a manifest that holds the other voice out.
    manifest, sums = tmp_path / "out" / MANIFEST, tmp_path / "out" / CHECKSUMS
    before, told = manifest.read_bytes(), json.loads(manifest.read_bytes())
    told["recipe"]["split"]["held_out_voices"] = {"test": ["fake:ann"]}
    manifest.write_text(json.dumps(told))
    sums.write_text(sums.read_text().replace(sha256(before), sha256(manifest.read_bytes())))
    problems = check(tmp_path / "out").problems
    assert len(problems) == 32
    assert all("split, against split.held_out_voices" in problem for problem in problems)

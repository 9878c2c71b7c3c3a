"""Pairs drawn from a grammar: the same each time, combinations kept together, mistakes of the file told in a line."""

import collections
import functools
import re

import pytest
import yaml

from anytalk.pipelines.plan import split_of
from anytalk.pipelines.recipe import GrammarSource, Split, load_recipe
from anytalk.pipelines.source import read_pairs
from anytalk.pipelines.source.grammar import grammar_path
from anytalk.recipes.shipped import find
from anytalk.synth.errors import SetupError

SMALL = {
    "kinds": {
        "switches": {
            "combinations": 6,
            "wordings": 2,
            "questions": ["Turn {state} the {device}.", "{device} {state}, please.", "Put the {device} {state}."],
            "answer": "{device} and {device2} are {state}.",
        },
        "sums": {
            "combinations": 4,
            "questions": ["{number} plus {number2}?"],
            "answer": "{number} and {number2} make {number + number2}.",
        },
    },
    "words": {"state": ["on", "off"], "device": ["lamp", "{colour} light"], "colour": ["red"], "number": [1, 2]},
}


def drawn(tmp_path=None, grammar=None, **keys):
    if grammar is not None:
        keys["path"] = str(tmp_path / "mine.yaml")
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(grammar))
    return list(read_pairs(GrammarSource(kind="grammar", **keys)))


@pytest.fixture(scope="module")
def household():
    return drawn()


def test_slots_hold_the_same_word_in_question_and_answer(tmp_path):
    pairs = drawn(tmp_path, SMALL | {"kinds": {"sums": SMALL["kinds"]["sums"]}})
    assert {(pair.question, pair.answer) for pair in pairs} == {
        (f"{a} plus {b}?", f"{a} and {b} make {a + b}.") for a in (1, 2) for b in (1, 2)
    }


def test_each_combination_is_asked_in_different_wordings_and_two_draws_of_a_word_differ(tmp_path):
    grammar = SMALL | {"kinds": {"switches": SMALL["kinds"]["switches"] | {"combinations": 4}}}
    answers = collections.defaultdict(set)
    for pair in drawn(tmp_path, grammar):
        answers[pair.answer].add(pair.question)
    assert {len(questions) for questions in answers.values()} == {2}
    assert set(answers) == {
        f"{pair} are {state}." for pair in ("Lamp and red light", "Red light and lamp") for state in ("on", "off")
    }


def test_the_same_seed_draws_the_same_pairs_and_a_limit_the_first_of_them(household):
    assert drawn() == household
    assert drawn(limit=40) == household[:40]
    assert {pair.split_name for pair in household[:40]} == {pair.split_name for pair in household}
    assert drawn(seed=2) != household


def test_nothing_that_the_household_is_tested_on_is_in_its_training_split(household):
    recipe = load_recipe(find("household", "build"))
    splits = collections.defaultdict(set)
    for pair in household:
        splits[split_of([pair], recipe.split)].add(pair.answer)
    assert not splits["train"] & splits["test"]
    asked = collections.Counter(p.split_name for p in household if split_of([p], recipe.split) == "test")
    assert all(asked[kind] >= 20 for kind in ("reminders", "switches", "timers", "sums"))


def test_no_phrase_of_the_household_holds_all_words_of_a_combination(household):
    words = yaml.safe_load(grammar_path(GrammarSource(kind="grammar")).read_text())["words"]

    def has(text, slot):
        return any(re.search(rf"\b{re.escape(str(word))}\b", text, re.IGNORECASE) for word in words[slot])

    phrases = [pair.answer for pair in household if pair.split_name == "repeats"]
    # "On Monday" is no state.
    without_when = {
        text: functools.reduce(lambda said, when: said.replace(when, ""), words["when"], text) for text in phrases
    }
    for combination in (("task", "when"), ("device", "room", "state"), ("food", "count", "unit")):
        whole = [
            text
            for text in phrases
            if all(has(without_when[text] if slot == "state" else text, slot) for slot in combination)
        ]
        assert whole == []


def test_kinds_of_a_grammar_are_drawn_as_they_are_among_others(household):
    assert "readings" not in {pair.split_name for pair in household}
    assert {(pair.split_name, pair.question) for pair in drawn(kinds=["readings"])} == {("readings", "Say anything.")}
    some = drawn(kinds=["sums", "timers"])
    assert sorted(some, key=str) == sorted((p for p in household if p.split_name in ("sums", "timers")), key=str)
    with pytest.raises(SetupError, match=r"source.kinds: household has no kind sum; it has reminders, switches"):
        drawn(kinds=["sum"])


def test_nothing_that_the_household_is_tested_on_is_read_aloud_in_its_readings(household):
    asked, read = (load_recipe(find(name, "build")) for name in ("household", "household-readings"))
    tested = {pair.answer for pair in household if split_of([pair], asked.split) == "test"}
    aloud = list(read_pairs(read.source))
    assert tested & {pair.answer for pair in aloud}
    assert not tested & {pair.answer for pair in aloud if split_of([pair], read.split) == "train"}


def test_every_word_that_is_tested_is_heard_in_training(household):
    recipe = load_recipe(find("household", "build"))
    words = collections.defaultdict(set)
    for pair in household:
        words[split_of([pair], recipe.split)] |= set(re.findall(r"[\w']+", pair.answer.lower()))
    assert words["test"] <= words["train"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": {}}, "no words for the slots device, device2, number, number2, state"),
        ({"wordz": {}}, "unknown key wordz; did you mean words?"),
        ({"kinds": {"sums": SMALL["kinds"]["sums"] | {"combinations": 5}}}, "combinations is 5; only 4 were found"),
        ({"kinds": {"sums": SMALL["kinds"]["sums"] | {"wordings": 2}}}, "wordings 2 needs as many questions"),
        ({"words": SMALL["words"] | {"number": ["one", "two"]}}, "words.number: a sum adds numbers; got"),
        ({"words": SMALL["words"] | {"device": ["lamp"]}}, "words.device has too few words"),
    ],
)
def test_what_is_wrong_with_a_grammar_is_said_in_one_line(change, message, tmp_path):
    with pytest.raises(SetupError, match=re.escape(message)) as caught:
        drawn(tmp_path, SMALL | change)
    assert len(str(caught.value).splitlines()) == 1


def test_a_grammar_that_is_missing_is_named():
    with pytest.raises(SetupError, match=r"source.path: nowhere.yaml does not exist"):
        drawn(path="nowhere.yaml")


def test_a_split_by_combination_is_the_same_for_every_wording(household):
    split = Split(test=0.5)
    splits = collections.defaultdict(set)
    for pair in household:
        splits[pair.answer].add(split_of([pair], split))
    assert {len(found) for found in splits.values()} == {1}

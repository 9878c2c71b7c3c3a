"""Near-duplicates: what is alike is found, what is not stays, and neither memory nor order changes the outcome."""

import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytalk.pipelines import build, check
from anytalk.pipelines.likeness import (
    Bands,
    Document,
    HashedTexts,
    Known,
    bands_for,
    jaccard,
    near_duplicates,
    shingle_set,
    spooled,
)
from anytalk.pipelines.likeness.candidate import HEADS, candidate_pairs
from anytalk.pipelines.likeness.minhash import buckets
from anytalk.pipelines.plan import reject_similar
from anytalk.pipelines.recipe import load_recipe
from anytalk.pipelines.source import Pair, Recording
from anytalk.synth.errors import SetupError

VOCABULARY = [f"{first}{second}" for first in ("ba", "do", "ki", "lu", "me", "no") for second in "bdfgklmnprst"]


def sentences(count, seed, length=20):
    rng = random.Random(seed)
    return [" ".join(rng.choices(VOCABULARY, k=length)) for _ in range(count)]


def with_words_changed(text, changes, rng):
    said = text.split()
    for place in rng.sample(range(len(said)), changes):
        said[place] = rng.choice(VOCABULARY)
    return " ".join(said)


def with_copies(count, seed):
    """Sentences, and after all of them copies with 0 to 6 words changed."""
    rng = random.Random(seed)
    originals = sentences(count, seed)
    copies = [with_words_changed(text, changes, rng) for text in originals for changes in (0, 1, 2, 4, 6)]
    rng.shuffle(copies)
    return originals + copies


def removed(texts, threshold=0.7, width=2, earlier=()):
    own, before = ([Document(str(n), (text,)) for n, text in enumerate(part)] for part in (texts, earlier))
    with spooled(own, before) as spool:
        return list(near_duplicates(spool, threshold, width))


def test_documents_that_are_known_are_compared_as_if_they_had_been_read_before():
    texts, others = with_copies(20, 1), with_copies(20, 2)
    kept = [texts[place] for place in range(len(texts)) if place not in {one.place for one in removed(texts)}]
    own = [*others, *texts[::2], *others[:7]]
    known = Known(0.7, 2)
    for part in (kept[:15], kept[15:]):
        documents = [Document("", (text,)) for text in part]
        known.add(iter(documents), documents.__getitem__)
    with spooled(Document("", (text,)) for text in own) as spool:
        found = list(near_duplicates(spool, 0.7, 2, known))
    assert [known[place].texts for place in range(len(known))] == [(text,) for text in kept]
    assert found == removed(own, earlier=kept)
    assert len(found) > 40


def by_brute_force(texts, threshold, width):
    """The rule itself: in order, what is like an earlier one that stayed goes."""
    sets = [shingle_set([text], width) for text in texts]
    kept, gone = [], []
    for place, shingles in enumerate(sets):
        if any(jaccard(shingles, sets[other]) >= threshold for other in kept):
            gone.append(place)
        else:
            kept.append(place)
    return gone


@pytest.mark.parametrize(("threshold", "width"), [(0.5, 1), (0.7, 2), (0.8, 3), (1.0, 2)])
def test_what_is_found_is_what_comparing_everything_finds(threshold, width):
    texts = with_copies(120, seed=3)
    found = [one.place for one in removed(texts, threshold, width)]
    true = by_brute_force(texts, threshold, width)
    # Exact similarities decide, so nothing unlike goes; what MinHash misses may be counted on one hand.
    assert set(found) <= set(true)
    assert len(found) >= 0.99 * len(true) > 100


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 8))
def test_a_copy_with_some_words_changed_goes_exactly_if_it_is_similar_enough(seed, changes):
    [text] = sentences(1, seed)
    copy = with_words_changed(text, changes, random.Random(seed))
    similarity = jaccard(shingle_set([text], 2), shingle_set([copy], 2))
    found = removed([text, *sentences(30, seed + 1), copy])
    assert [(one.place, one.like, one.similarity) for one in found] == (
        [(31, 0, similarity)] if similarity >= 0.7 else []
    )


def test_case_punctuation_and_ways_of_writing_a_character_make_no_difference():
    assert len(removed(["Where's the Café?", "wheres the cafe\u0301", "WHERE'S, THE CAFÉ!", "Where's the cave?"])) == 2


def test_scripts_without_spaces_are_compared_by_character():
    texts = ["请问你知道北京今天的天气怎么样吗", "请问你知道北京明天的天气怎么样吗", "请给我讲一个关于月亮的故事"]
    assert [(one.place, one.like) for one in removed(texts, 0.7, 2)] == [(1, 0)]
    thai = ["วันนี้อากาศที่กรุงเทพเป็นอย่างไรบ้าง", "วันนี้อากาศที่กรุงเทพเป็นอย่างไร"]
    assert [one.place for one in removed(thai)] == [1]


def test_what_is_like_only_what_went_stays():
    a, b, c = "a b c d e f g h", "a b c d e f g x", "a b c d e y g x"
    near = [jaccard(shingle_set([one], 1), shingle_set([other], 1)) for one, other in ((a, b), (b, c), (a, c))]
    assert near[0] >= 0.7 <= near[1]
    assert near[2] < 0.7
    assert [one.place for one in removed([a, b, c], 0.7, 1)] == [1]
    assert [one.place for one in removed([b, a, c], 0.7, 1)] == [1, 2]


def test_earlier_sets_stay_and_what_is_like_them_goes():
    texts = sentences(40, seed=1)
    # Earlier sets are what they are, even where they repeat themselves.
    found = removed(texts[20:] + texts[:5], earlier=[*texts[:20], texts[3]])
    assert [(one.place, one.like) for one in found] == [(41 + n, n) for n in range(5)]


def test_a_set_that_grows_keeps_what_it_kept():
    texts = with_copies(60, seed=9)
    small = removed(texts[:200])
    assert removed(texts)[: len(small)] == small


def test_a_bucket_of_copies_costs_no_square_of_its_size():
    texts = ["the very same words in every one of them"] * 500
    with spooled(Document("", (text,)) for text in texts) as spool:
        assert len(list(candidate_pairs(spool, 2, bands_for(0.7)))) <= HEADS * len(texts)
    assert len(removed(texts)) == len(texts) - 1


def test_what_says_nothing_is_like_nothing():
    assert removed(["", "...", "", "?!"]) == []
    assert removed([]) == []


def test_buckets_are_the_same_on_every_machine():
    _, found = buckets([["What's the capital of France?", "Paris."]], 2, Bands(2, 2))
    assert [f"{bucket:016x}" for bucket in found[0]] == ["5fa5a6631ab332d6", "0294024c85612c3b"]


def test_a_pair_at_the_threshold_is_found_99_times_in_100():
    assert all(bands_for(n / 100).recall(n / 100) >= 0.99 for n in range(4, 101))
    assert bands_for(0.01).rows == 1


def test_grams_stay_within_their_texts():
    texts = HashedTexts(["one two three", "four", "five six"])
    assert [(int(text), int(first)) for text, first, _ in zip(*texts.grams(2), strict=True)] == [(0, 0), (0, 1), (2, 0)]
    shingle_texts, shingles = texts.shingles(3)
    assert shingle_texts.tolist() == [0, 1, 2]
    assert len(set(shingles.tolist())) == 3


def pair(question, answer="It is so.", **more):
    return Pair("s", question, 0, question, answer, "en", source=f"at {question}", **more)


@pytest.fixture
def recipe(fake_recipe):
    return lambda **sections: load_recipe(fake_recipe(**sections))


def test_sides_say_what_is_compared(recipe):
    conversations = [[pair("How late is it now", "Nine.")], [pair("How late is it now?", "Ten o'clock, I think.")]]
    assert reject_similar(conversations, recipe(dedup=True)) == {}
    found = reject_similar(conversations, recipe(dedup={"sides": ["question"]}))
    assert found == {1: ("near_duplicate", "1.00 like at How late is it now")}


def test_what_is_still_to_be_heard_is_not_compared(recipe):
    def unheard(name):
        return Pair("s", name, 0, None, "Yes.", "en", question_recording=Recording(name, name, name), source=name)

    assert reject_similar([[unheard("a")], [unheard("b")]], recipe(dedup=True)) == {}


def test_dedup_can_be_switched_on_and_off_and_is_off_by_default(recipe):
    assert recipe().dedup is recipe(dedup=False).dedup is None
    assert recipe(dedup=True).dedup.threshold == 0.7
    with pytest.raises(SetupError, match=r"dedup.threshold.*got 1.5"):
        recipe(dedup={"threshold": 1.5})


TALK = "Could you please tell me when the museum by the river opens on a Sunday morning?"
ROWS = [
    {"question": TALK, "answer": "It opens at ten."},
    {"question": TALK.replace("please ", ""), "answer": "It opens at ten!"},
    {"question": "And how much is it to get in?", "answer": "It is free."},
]


def rows_of(folder, part):
    import pyarrow as pa

    files = sorted((folder / part).glob("*.arrow"))
    return [row for file in files for row in pa.ipc.open_file(file).read_all().to_pylist()]


def test_a_build_keeps_near_duplicates_among_its_rejects(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(ROWS)), dedup={"threshold": 0.6})
    summary = build(recipe, tmp_path / "out", local=True)
    assert (summary.rows_accepted, summary.reasons) == (2, {"near_duplicate": 1})
    [reject] = rows_of(tmp_path / "out", "rejects")
    assert reject["question"] == ROWS[1]["question"]
    assert reject["detail"].endswith(" like pairs.jsonl:1")
    assert check(tmp_path / "out").problems == []


def test_a_conversation_goes_whole_and_against_an_earlier_dataset_too(fake_recipe, write_jsonl, tmp_path):
    build(fake_recipe(source=str(write_jsonl(ROWS[:1])), voices=VOICES), tmp_path / "first", local=True)
    turns = [row | {"conversation": "c", "turn": turn} for turn, row in enumerate([ROWS[0], ROWS[2]])]
    other = {"question": "Who painted the picture in the hall?", "answer": "Nobody knows."}
    source = str(write_jsonl([*turns, ROWS[0], other], "more.jsonl"))
    recipe = fake_recipe(source=source, dedup={"against": [str(tmp_path / "first")], "sides": ["question"]})
    summary = build(recipe, tmp_path / "second", local=True)
    # Two turns of which one was there before are another conversation.
    assert summary.reasons == {"near_duplicate": 1}
    [reject] = rows_of(tmp_path / "second", "rejects")
    assert reject["source"] == "more.jsonl:3"
    assert reject["detail"].startswith("1.00 like first:pairs/")


VOICES = {"question": ["fake:ann", "fake:bob"], "answer": "fake:eve", "variants": 2}


def test_an_earlier_dataset_that_is_none_is_refused_before_anything_is_written(fake_recipe, write_jsonl, tmp_path):
    recipe = fake_recipe(source=str(write_jsonl(ROWS)), dedup={"against": [str(tmp_path)]})
    with pytest.raises(SetupError, match=r"dedup.against: .* is no finished anytalk dataset"):
        build(recipe, tmp_path / "out", local=True)
    assert not (tmp_path / "out").exists()


def test_resources_change_no_key(recipe):
    one, other = recipe(dedup=True), recipe(dedup=True, resources={"hearing": 7, "units_in_flight": 9})
    assert one.unit_identity() == other.unit_identity()


def test_copies_of_whole_conversations_are_counted_once_each(recipe):
    questions = [f"{one} {two}" for one, two in itertools.product(sentences(6, 2, 8), ["", "then"])]
    found = reject_similar(
        [[pair(question.strip(), json.dumps(n // 2))] for n, question in enumerate(questions)], recipe(dedup=True)
    )
    assert sorted(found) == [1, 3, 5, 7, 9, 11]

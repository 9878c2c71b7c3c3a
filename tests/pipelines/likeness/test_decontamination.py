"""Decontamination: evaluation texts are found in whatever form they stand, and what found them is named."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anytalk.pipelines import build, check
from anytalk.pipelines.likeness import EvaluationIndex, EvaluationText, contaminations, evaluation_texts
from anytalk.pipelines.plan import reject_similar
from anytalk.pipelines.recipe import EvaluationSet, load_recipe
from anytalk.pipelines.source import Pair
from anytalk.synth.errors import SetupError
from anytalk.synth.text.word import words

LONG = "Which river flows through the old town before it reaches the northern sea near the harbour?"


def found(texts, evaluations, ngram=8, share=0.5):
    """Matches as (place, evaluation number, similarity)."""
    index = EvaluationIndex([EvaluationText(str(n), text) for n, text in enumerate(evaluations)], ngram, share)
    matches = contaminations([[text] for text in texts], index)
    return [(one.place, int(one.evaluation), round(one.similarity, 2)) for one in matches]


def test_an_evaluation_text_is_found_inside_a_longer_one_and_the_ngram_is_named():
    index = EvaluationIndex([EvaluationText("exam:1", LONG)], 8, 0.5)
    texts = ["Nothing to see here.", f"Hello! So, {LONG.upper()} Thank you."]
    [one] = contaminations([["No.", text] for text in texts], index)
    assert (one.place, one.text, one.evaluation, one.similarity) == (1, 1, "exam:1", 1.0)
    assert one.ngram == "which river flows through the old town before"


def test_half_of_a_long_text_is_enough_and_less_is_not():
    said = words(LONG)
    assert len(said) == 16
    texts = [" ".join(["well", *said[:count], "indeed"]) for count in (7, 8, 12, 16)]
    assert found(texts, [LONG]) == [(1, 0, 0.5), (2, 0, 0.75), (3, 0, 1.0)]
    assert found(texts, [LONG], share=0.75) == [(2, 0, 0.75), (3, 0, 1.0)]
    assert found(texts, [LONG], ngram=13) == [(3, 0, 1.0)]


def test_a_phrase_that_everybody_uses_contaminates_nothing():
    evaluation = "Can you tell me what is the name of the last king who lived in the castle on the hill?"
    assert found(["Can you tell me what is the name of your dog?"], [evaluation]) == []


def test_a_text_shorter_than_n_must_stand_whole_and_make_up_half():
    evaluation = "Who wrote Hamlet?"
    texts = ["Tell me: who wrote Hamlet?", "Who wrote it?", "I wonder who wrote Hamlet and where he lived and died."]
    assert found([*texts, "who wrote hamlet"], [evaluation]) == [(0, 0, 0.6), (3, 0, 1.0)]
    assert found(["Yes, of course.", "Yes."], ["Yes"]) == [(1, 0, 1.0)]


def test_of_several_evaluation_texts_the_most_similar_is_named():
    assert found([LONG], [f"{LONG} And why does nobody go there any more now?", LONG]) == [(0, 1, 1.0)]


def test_scripts_without_spaces_count_characters():
    evaluation = "北京今天的天气怎么样"
    assert found(["请问北京今天的天气怎么样吗", "请问上海今天的天气好吗"], [evaluation]) == [(0, 0, 1.0)]


def test_words_with_marks_stay_whole():
    assert words("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
    assert words("\uff46\uff55ll \ufb01x STRASSE straße") == ["full", "fix", "strasse", "strasse"]
    assert words("snake_case, e\u0301t\u0301 123") == ["snake", "case", "\u00e9t\u0301", "123"]


def by_brute_force(text, evaluation, ngram):
    """Share of an evaluation text's words that stand in common n-grams, one by one."""
    ours, theirs = words(text), words(evaluation)
    if len(theirs) < ngram:
        places = range(len(ours) - len(theirs) + 1)
        return len(theirs) / len(ours) if any(ours[n : n + len(theirs)] == theirs for n in places) and theirs else 0.0
    have = {tuple(ours[n : n + ngram]) for n in range(len(ours) - ngram + 1)}
    starts = [n for n in range(len(theirs) - ngram + 1) if tuple(theirs[n : n + ngram]) in have]
    return len({place for start in starts for place in range(start, start + ngram)}) / len(theirs)


LETTERS = st.lists(st.sampled_from("abc"), max_size=12).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(LETTERS, max_size=4), st.lists(LETTERS, max_size=3), st.integers(1, 5), st.sampled_from([0.01, 0.5, 1.0])
)
def test_what_is_found_is_what_the_rule_says(texts, evaluations, ngram, share):
    expected = []
    for place, text in enumerate(texts):
        shares = [by_brute_force(text, evaluation, ngram) for evaluation in evaluations]
        if shares and max(shares) >= share:
            expected.append((place, round(max(shares), 2)))
    assert [(place, similarity) for place, _, similarity in found(texts, evaluations, ngram, share)] == expected


def texts_of(**keys):
    return [(one.name, one.text) for one in evaluation_texts(EvaluationSet(**keys))]


def test_evaluation_sets_are_read_from_files_of_any_kind(tmp_path, write_jsonl):
    (tmp_path / "exam.txt").write_text("How late is it?\n\nWhere are we?\n")
    assert texts_of(path=str(tmp_path / "exam.txt")) == [
        ("exam.txt:1", "How late is it?"),
        ("exam.txt:3", "Where are we?"),
    ]
    rows = [{"prompt": "One?", "answer": "Two."}, {"prompt": "Three?", "answer": ""}]
    exam = str(write_jsonl(rows, "exam.jsonl"))
    assert texts_of(path=exam) == [("exam.jsonl:1", "One?"), ("exam.jsonl:2", "Three?")]
    assert len(texts_of(path=exam, columns=["prompt", "answer"])) == 3
    (tmp_path / "exam.csv").write_text("id,text\n1,One?\n")
    assert texts_of(path=str(tmp_path / "exam.csv")) == [("exam.csv:2", "One?")]
    chat = [[{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."}]]
    pq.write_table(pa.table({"messages": chat}), tmp_path / "exam.parquet")
    assert [text for _, text in texts_of(path=str(tmp_path / "exam.parquet"))] == ["One?", "Two."]


def test_a_copy_of_a_hub_dataset_is_read_by_its_split(tmp_path, write_jsonl):
    import datasets

    datasets.Dataset.from_list([{"instruction": "One?"}]).save_to_disk(tmp_path / "saved")
    assert texts_of(path=str(tmp_path / "saved")) == [("saved/test:1", "One?")]


def test_sets_that_cannot_be_read_are_named(tmp_path, write_jsonl):
    with pytest.raises(SetupError, match=r"^decontaminate.against: gone.jsonl does not exist$"):
        texts_of(path="gone.jsonl")
    exam = str(write_jsonl([{"id": 1, "words": "One?"}], "exam.jsonl"))
    with pytest.raises(SetupError, match=r"none of the usual columns of questions; it has: id, words; name them"):
        texts_of(path=exam)
    with pytest.raises(SetupError, match=r"no column 'prompt'; it has: id, words"):
        texts_of(path=exam, columns=["prompt"])
    (tmp_path / "bad.jsonl").write_text('{"question": "One?"}\n{"question":\n')
    with pytest.raises(SetupError, match=r"decontaminate.against: bad.jsonl:2: not JSON"):
        texts_of(path=str(tmp_path / "bad.jsonl"))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(SetupError, match="holds no rows"):
        texts_of(path=str(tmp_path / "empty.txt"))
    with pytest.raises(SetupError, match=r"decontaminate.against: ./nowhere does not exist, and is no hub id"):
        texts_of(path="./nowhere")


def pair(question, answer="It is so.", **more):
    return Pair("s", question, 0, question, answer, "en", source=f"at {question}", **more)


def test_written_and_spoken_forms_meet(tmp_path, fake_recipe, write_jsonl):
    exam = write_jsonl([{"question": "Who won in 1969?"}, {"question": "Who lost on the 2nd of May?"}], "exam.jsonl")
    recipe = load_recipe(fake_recipe(decontaminate={"against": [str(exam)]}))
    spoken = pair("Who won in nineteen sixty-nine?")
    written = pair("Who lost that day?", question_written="Who lost on the 2nd of May?")
    assert reject_similar([[spoken], [written]], recipe) == {
        0: ("contaminated", "the question has 1.00 of exam.jsonl:1: 'who won in nineteen sixty nine'"),
        1: ("contaminated", "the question_written has 1.00 of exam.jsonl:2: 'who lost on the 2nd of may'"),
    }


def test_sides_say_where_they_are_looked_for(tmp_path, fake_recipe, write_jsonl):
    exam = str(write_jsonl([{"question": LONG}], "exam.jsonl"))
    conversations = [[pair("What did he ask?", LONG)]]
    rules = {"against": [exam]}
    assert list(reject_similar(conversations, load_recipe(fake_recipe(decontaminate=rules)))) == [0]
    rules["sides"] = ["question"]
    assert reject_similar(conversations, load_recipe(fake_recipe(decontaminate=rules))) == {}


def test_what_is_contaminated_makes_nothing_a_duplicate(fake_recipe, write_jsonl):
    exam = str(write_jsonl([{"question": LONG}], "exam.jsonl"))
    conversations = [
        [pair(LONG, "The same answer to both of them.")],
        [pair("Well?", "The same answer to both of them.")],
    ]
    recipe = load_recipe(fake_recipe(dedup={"sides": ["answer"]}, decontaminate={"against": [exam]}))
    assert {place: reason for place, (reason, _) in reject_similar(conversations, recipe).items()} == {
        0: "contaminated"
    }


def test_a_build_keeps_what_was_contaminated_among_its_rejects_whole(fake_recipe, write_jsonl, tmp_path):
    exam = write_jsonl([{"question": LONG}], "exam.jsonl")
    turns = [
        {"question": "Shall we begin?", "answer": "Yes.", "conversation": "c", "turn": 0},
        {"question": f"Then: {LONG}", "answer": "The Elbe.", "conversation": "c", "turn": 1},
        {"question": "Shall we end?", "answer": "No."},
    ]
    recipe = fake_recipe(source=str(write_jsonl(turns)), decontaminate={"against": [str(exam)]})
    summary = build(recipe, tmp_path / "out", local=True)
    assert (summary.rows_accepted, summary.reasons) == (1, {"contaminated": 2})
    assert check(tmp_path / "out").problems == []
    exam.write_text('{"question": "Something else?"}\n')
    with pytest.raises(SetupError, match="the source, or what it is compared with, has changed"):
        build(recipe, tmp_path / "out", local=True)


@pytest.mark.slow
def test_the_test_split_of_an_earlier_dataset_is_an_evaluation_set(fake_recipe, write_jsonl, tmp_path):
    rows = [{"question": f"Number {n} of my questions is which?", "answer": "That one."} for n in range(12)]
    source = str(write_jsonl(rows))
    build(fake_recipe(source=source, split={"test": 0.4}), tmp_path / "first", local=True)
    held = len(texts_of(path=str(tmp_path / "first")))
    assert 0 < held < 12
    recipe = fake_recipe(source=source, decontaminate={"against": [str(tmp_path / "first")]})
    assert build(recipe, tmp_path / "second", local=True).reasons == {"contaminated": held}
    with pytest.raises(SetupError, match="holds no rows"):
        texts_of(path=str(tmp_path / "first"), split="validation")

"""`anytalk dedup` and `anytalk decontaminate`: what is in a built dataset, in text and in what was heard, is told."""

import json
import shutil

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from anytalk.pipelines import build
from anytalk.pipelines.close import MANIFEST
from anytalk.pipelines.dataset import Store, arrow_bytes, rows_of
from anytalk.pipelines.likeness import find_contamination, find_duplicates
from anytalk.pipelines.recipe import Decontaminate, Dedup
from anytalk.recipes.cli.main import app
from anytalk.synth.errors import SetupError

LATE = "Could you tell me how late the last ferry to the island leaves on a Sunday?"
ROWS = [
    {"question": LATE, "answer": "It leaves at nine.", "conversation": "first"},
    {"question": "What is on the menu today?", "answer": "Soup, and then fish.", "conversation": "menu"},
    {"question": "And who cooks it?", "answer": "My uncle does.", "conversation": "menu", "turn": 1},
    {"question": f"Please, {LATE.lower()}", "answer": "It leaves at nine!", "conversation": "again"},
    {"question": "Is this a recording?", "answer": "So they say.", "conversation": "heard"},
]


@pytest.fixture(scope="module")
def built(fake_sections, tmp_path_factory):
    """Two datasets, built once."""
    folder = tmp_path_factory.mktemp("built")
    voices = {"question": ["fake:ann", "fake:bob"], "answer": "fake:eve", "variants": 2}
    for name, rows in (("set", ROWS), ("old", [{"question": "Is this a recording?", "answer": "So they say."}])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        recipe = fake_sections | {"source": str(folder / f"{name}.jsonl"), "voices": voices}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        build(folder / f"{name}.yaml", folder / name, local=True)
    return folder


@pytest.fixture
def dataset(built, tmp_path):
    """A copy of one that may be changed."""
    return str(shutil.copytree(built / "set", tmp_path / "set"))


def heard_instead(dataset, conversation, variant, text):
    """Let the recogniser have heard something else in a question, as it does where speech and transcript part."""
    store = Store(dataset)
    for path in store.files("shards"):
        table = pa.ipc.open_file(store.read(path)).read_all()
        rows = zip(table["conversation"].to_pylist(), table["variant"].to_pylist(), strict=True)
        heard = [
            text if row == (conversation, variant) else old
            for row, old in zip(rows, table["question_transcript"].to_pylist(), strict=True)
        ]
        place = table.schema.get_field_index("question_transcript")
        table = table.set_column(place, table.schema.field(place), pa.array(heard, pa.string()))
        store.write(path, arrow_bytes(table, 2))


def ids(dataset, conversation):
    return [row["id"] for one in rows_of(Store(dataset), []) if one.conversation == conversation for row in one.rows]


def test_near_duplicates_are_found_by_text_and_by_what_was_heard(dataset):
    [found] = find_duplicates(dataset, Dedup())
    assert (found.conversation, found.reason, found.column) == ("again", "near_duplicate", "text")
    assert found.matched == "set:set/first"
    assert found.rows == ids(dataset, "again")
    assert len(found.rows) == 2
    heard_instead(dataset, "first", 0, "one two three four")
    heard_instead(dataset, "heard", 0, "one two three four")
    again, heard = find_duplicates(dataset, Dedup(sides=("question",)))
    assert again.conversation == "again"
    assert (heard.conversation, heard.column, heard.similarity) == ("heard", "transcript", 1.0)
    # What is heard otherwise in another voice is the same conversation still.
    heard_instead(dataset, "menu", 1, "one two three four")
    assert len(find_duplicates(dataset, Dedup(sides=("question",)))) == 2


def test_an_earlier_dataset_comes_first(built):
    found = find_duplicates(str(built / "set"), Dedup(against=(str(built / "old"),)))
    assert [one.conversation for one in found] == ["again", "heard"]
    assert found[1].matched.startswith("old:old/")


def test_evaluation_texts_are_found_in_what_was_heard_in_any_voice(dataset, write_jsonl):
    exam = str(write_jsonl([{"question": "Where does the old road to the castle begin?"}], "exam.jsonl"))
    rules = Decontaminate(against=({"path": exam},))
    assert find_contamination(dataset, rules) == []
    heard_instead(dataset, "menu", 1, "where does the old road to the castle begin")
    [found] = find_contamination(dataset, rules)
    assert (found.conversation, found.column, found.matched) == ("menu", "question_transcript", "exam.jsonl:1")
    assert (found.similarity, found.ngram) == (1.0, "where does the old road to the castle")
    # A conversation is meant whole: both turns in both voices.
    assert found.rows == ids(dataset, "menu")
    assert len(found.rows) == 4


def run(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def test_the_commands_tell_people_and_programs_and_write_ids(dataset, write_jsonl, tmp_path):
    done = run("dedup", dataset, "--out", tmp_path / "ids.txt")
    assert done.exit_code == 1
    assert "1 conversation found, 2 rows" in done.stdout
    assert "train set/again (text) " in done.stdout
    assert (tmp_path / "ids.txt").read_text().split() == ids(dataset, "again")
    assert run("dedup", dataset, "--threshold", 1).exit_code == 0
    exam = write_jsonl([{"prompt": "How late is the ferry?"}, {"prompt": LATE}], "exam.jsonl")
    done = run("decontaminate", dataset, "--against", exam, "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["conversations"], told["rows"]) == (1, 2, 4)
    assert {one["conversation"] for one in told["found"]} == {"first", "again"}
    assert told["found"][0]["ngram"] == "could you tell me how late the last"


def test_what_takes_long_is_told_meanwhile(dataset, built, write_jsonl):
    done = run("dedup", dataset, "--against", built / "old")
    told = [line.partition(":")[0].removesuffix(" ...") for line in done.stderr.splitlines()]
    assert list(dict.fromkeys(told)) == [
        "reading texts of earlier datasets",
        "rows' texts read",
        "comparing texts",
        "reading transcripts of earlier datasets",
        "rows' transcripts read",
        "comparing transcripts",
    ]
    exam = write_jsonl([{"prompt": LATE}], "exam.jsonl")
    done = run("decontaminate", dataset, "--against", exam)
    assert done.stderr.splitlines()[0] == "reading evaluation texts ..."
    assert "rows compared: 10/10, 0 s left" in done.stderr


def test_a_folder_that_holds_no_dataset_is_refused(tmp_path, dataset):
    with pytest.raises(SetupError, match="is no finished anytalk dataset"):
        find_duplicates(str(tmp_path), Dedup())
    Store(dataset).delete(MANIFEST)
    with pytest.raises(SetupError, match="is no finished anytalk dataset"):
        find_duplicates(dataset, Dedup())

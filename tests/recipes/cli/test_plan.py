"""`anytalk init` and `anytalk plan`, as a person meets them."""

import json

import pytest
from support.command_line import anytalk

from anytalk.pipelines.recipe import load_recipe

PAIR = {"question": "Where do penguins live?", "answer": "In the south."}
CHAT = {"conversations": [{"from": "human", "value": PAIR["question"]}, {"from": "gpt", "value": PAIR["answer"]}]}
VOICES = ("--question", "fake:ann, fake:bob", "--answer", "fake:eve")


@pytest.mark.parametrize(
    ("name", "row", "kind"),
    [
        ("pairs.jsonl", PAIR, "jsonl"),
        ("sharegpt.json", CHAT, "sharegpt"),
        ("alpaca.json", {"instruction": "Say hello.", "input": "", "output": "Hello."}, "alpaca"),
        ("faq.jsonl", {"prompt": "Q?", "reply": "A."}, "jsonl"),
        ("sheet.jsonl", {"Question": "Q?", "Answer": "A."}, "jsonl"),
    ],
)
def test_init_writes_a_recipe_of_the_right_kind_that_plans(tmp_path, name, row, kind):
    (tmp_path / name).write_text(json.dumps(row))
    done = anytalk("init", "mine.yaml", "--name", "mine", "--source", name, *VOICES, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"recipe": "mine.yaml", "name": "mine", "source": kind}
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert [voice.voice for voice in recipe.voices.question] == ["fake:ann", "fake:bob"]
    fakes = ("--set", "features.model=fake", "--set", "codec.model=fake", "--set", "check.mos=fake")
    done = anytalk("plan", "mine.yaml", *fakes, "--rows", "1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["rows"], told["planned"]) == (1, True)


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ({"wavs/a.wav": "", "metadata.csv": "a|Hello.|Hello."}, {"kind": "ljspeech", "path": "set"}),
        ({"wavs/a.wav": "", "train.txt": "a|Hello."}, {"kind": "ljspeech", "path": "set", "metadata": "train.txt"}),
        ({"a.wav": "", "pairs.csv": "question,answer\n"}, {"kind": "csv", "path": "set/pairs.csv"}),
        ({"a.wav": "", "a.txt": "Hello.", "pairs.csv": "question,answer\n"}, {"kind": "recordings", "path": "set"}),
        ({"state.json": "{}"}, {"kind": "hub", "dataset": "set"}),
    ],
)
def test_init_sees_how_a_folder_is_read(tmp_path, files, source):
    for name, content in files.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_text(content)
    done = anytalk("init", "mine.yaml", "--name", "mine", "--source", "set", *VOICES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert source.items() <= load_recipe(tmp_path / "mine.yaml").source.model_dump().items()


def test_init_asks_what_no_option_says_and_refuses_to_overwrite(tmp_path, monkeypatch):
    answers = iter(["first\n", "bundled\n", "\n", "\n"])
    monkeypatch.setattr("sys.stdin.readline", lambda: next(answers), raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt="": next(answers).strip())
    done = anytalk("init", "first.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    recipe = load_recipe(tmp_path / "first.yaml")
    assert (recipe.name, recipe.source.kind, recipe.voices.answer.voice) == ("first", "bundled", "hibari:heart")
    again = anytalk("init", "first.yaml", "--name", "x", "--source", "bundled", *VOICES, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (2, "anytalk: first.yaml is there already; name another file\n")


def test_init_refuses_a_wrong_answer_and_writes_nothing(tmp_path):
    done = anytalk("init", "a.yaml", "--name", "no spaces", "--source", "bundled", *VOICES, cwd=tmp_path)
    assert done.returncode == 2
    assert "name:" in done.stderr
    done = anytalk("init", "a.yaml", "--name", "a", "--source", "nowhere.jsonl", *VOICES, cwd=tmp_path)
    assert "nowhere.jsonl does not exist" in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = anytalk("init", "a.txt", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "anytalk: a.txt must end with .yaml\n"), "refused before it asks"
    done = anytalk(
        "init",
        "a.yaml",
        "--name",
        "a",
        "--source",
        "bundled",
        "--question",
        "fake:ann",
        "--answer",
        "no:v",
        cwd=tmp_path,
    )
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "no:v" in done.stderr


def test_plan_says_everything_and_preview_makes_rows_beside(fake_recipe, tmp_path):
    recipe = fake_recipe(source={"kind": "bundled", "limit": 12})
    done = anytalk("plan", recipe, "--rows", "6", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for word in (
        "rows ",
        "speech ",
        "core-hours",
        "disk ",
        "cost ",
        "bottleneck ",
        "as they will be said",
        "fake:eve: ",
    ):
        assert word in done.stdout
    done = anytalk("build", recipe, "--preview", "3", "--local", "--out", tmp_path / "out", "--json")
    assert json.loads(done.stdout)["rows_accepted"] == 3
    assert (tmp_path / "out-preview" / "dataset.json").is_file()
    assert (tmp_path / "out-preview" / "report.html").is_file()
    done = anytalk("build", recipe, "--preview", "3", "--local", "--out", tmp_path / "out")
    assert f"report     {tmp_path / 'out-preview/report.html'}: to look at and listen to" in done.stdout
    assert not (tmp_path / "out" / "dataset.json").exists()
    done = anytalk("build", recipe, "--preview", "3", "--part", "1/2")
    assert (done.returncode, done.stderr) == (2, "anytalk: --preview and --part exclude each other\n")

"""What README and docs ask a reader to type works: snippets run, commands parse and validate, cheap ones run too.

A command is run in a folder of its own, in which every dataset, run and recording that it names is there: small, but
made by the real engines. Words in capitals (DATASET, RUN) are names like others. CHEAP says how a command is kept
short, and NOT_RUN which ones are only parsed and validated, and why.
"""

import ast
import re
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import soundfile
import typer
import yaml
from support.command_line import anytalk
from support.convertible import write_convertible
from support.documentation import PAGES, ROOT, Command, blocks, spans, typed
from support.tokenizer import write_tokenizer

from anytalk.pipelines import build
from anytalk.pipelines.recipe.dataset import Recipe, load_recipe
from anytalk.pipelines.recipe.file import read_recipe
from anytalk.recipes.cli.console import overrides
from anytalk.recipes.cli.main import app
from anytalk.recipes.codec.train import CodecRecipe
from anytalk.recipes.shipped import find
from anytalk.recipes.train.recipe import TrainingRecipe
from anytalk.recipes.train.run import train
from anytalk.synth.voice import SpeakRequest, load_voice

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

PAIRS = [
    {"question": "Where do penguins live?", "answer": "In the south."},
    {"question": "Is it cold?", "answer": "Yes, it is."},
]
SMALL = {
    "model": {
        "shape": {
            "model_type": "qwen2",
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 256,
        },
        "vocabulary": 300,
        "adapter_hidden": 8,
        "stack": 5,
    },
    "stages": [{"name": "all", "train": "all", "tasks": {"A1A2": 1}, "steps": 1, "learning_rate": 1e-3}],
    "loader": {"positions": 256, "max_positions": 256},
}
"""What makes the shipped talker a matter of a second."""

CHEAP: dict[str, list[str]] = {
    "build": ["--local", "--set", "voices.variants=1"],
    "judge": ["--local"],
    "talk": ["--max-frames", "4"],
    "eval": ["--exact", "1", "--respoken", "0", "--split", "train"],
    "train": [word for key, value in SMALL.items() for word in ("--set", f"{key}={value!r}")],
}
"""Words that are added to a command that is run."""

NOT_RUN = {
    r"build (own-voice|recordings-asr|multi\S+|voiceassistant-\S+)": "recipes/test_shipped_recipes.py builds it",
    r"build household": "its rows take many minutes; recipes/test_household.py builds some",
    r"(build|plan) \S+\.yaml": "a recipe of the reader's own, whose text stands on the page",
    r"build quickstart( --set (features|shards)\S+)*( --out \S+)?$": "its whole corpus takes minutes",
    r"train household": "takes two datasets that take many minutes; recipes/test_household.py trains on some",
    r"train (mini-omni|frozen)": "takes a language model from the hub",
    r"talk .*hubertsiuzdak": "takes SNAC and Whisper small from the hub",
    r"(talk|serve) OWNER|train .*OWNER/": "takes a model from the hub; recipes/talk/test_push.py does",
    r"train .*--log": "takes extras; recipes/train/test_logs.py runs them where they are installed",
    r"codec train": "recipes/codec/test_train.py trains one; this one takes an hour",
    r"codec eval": "recipes/codec/test_train.py measures one; a hundred sentences take minutes",
    r"bench": "recipes/bench measures each, on less",
    r"eval .*--suite": "recipes/suites/test_suites.py runs each suite; most take data from the hub",
    r".* --device cuda": "takes a GPU; recipes/cli/test_devices.py looks at the option",
    r"push": "sends to the hub",
    r"check s3://": "takes a bucket; pipelines/dataset/test_bucket.py has one",
    r"export orpheus": "takes a tokenizer from the hub; pipelines/export/test_orpheus.py writes one",
    r"serve": "does not end",
    r"(show|explain) \S+ ID": "the id of one of the reader's rows; recipes/cli/test_show.py asks for real ones",
}
"""Commands that are parsed and validated, but not run, and why."""

OTHERS = {
    "make": "its target must exist",
    "pip": "the extra of this package that it names must exist",
    "source": "of the virtual environment that make makes",
    "aplay": "plays sound",
    "ffplay": "plays sound",
}
"""Programs that are not ours."""

EXPORTS = {
    "out/orpheus": ["orpheus", "--any-codec"],
    "out/tts": ["tts-parquet"],
    "out/hf": ["hf"],
    "out/wds": ["webdataset"],
    "out/lhotse/train": ["lhotse"],
}
"""Exports that snippets read, with the format and its options."""

FAILS_TOO = ("dedup", "decontaminate", "doctor")
"""Commands whose exit code 1 is an answer."""


def once(commands: list[Command]) -> list[Command]:
    """Each command where it stands first."""
    return list({one.words: one for one in reversed(commands)}.values())[::-1]


def alike(commands: list[Command]) -> list[Command]:
    """One command of those that differ only by the names of files and folders."""
    shapes = {tuple(Path(word).suffix if "/" in word else word for word in one.words): one for one in commands}
    return list(shapes.values())


PYTHON = [block for page in PAGES for block in blocks(page) if block.language in ("python", "py")]
# Those of CONTRIBUTING.md are files that its walk adds to the package: test_contributing.py runs them there.
SNIPPETS = [block for block in PYTHON if not block.where.startswith("CONTRIBUTING.md")]
RECIPES = [block for page in PAGES for block in blocks(page) if block.language in ("yaml", "yml")]
TYPED = [command for page in PAGES for block in blocks(page) if block.is_shell for command in typed(block)]
OURS = once([command for command in TYPED if command.words[0] == "anytalk"])
FOREIGN = once([command for command in TYPED if command.words[0] != "anytalk"])
MENTIONED = once([command for page in PAGES for command in spans(page)])
RUN = alike([one for one in OURS if not any(re.match(reason, " ".join(one.words[1:])) for reason in NOT_RUN)])


# What commands are run on


@pytest.fixture(scope="module")
def made(tmp_path_factory, one_thread):
    """A dataset of real engines, and a talker that was trained on it for a step."""
    folder = tmp_path_factory.mktemp("made")
    _write_pairs(folder / "pairs.jsonl")
    settings = {"source": str(folder / "pairs.jsonl"), "voices.variants": 1, "voices.question": ["hibari:heart"]}
    build(load_recipe(find("quickstart", "build"), settings), folder / "dataset", local=True)
    recipe = read_recipe(find("talker", "train"), TrainingRecipe, SMALL | {"data.datasets": [str(folder / "dataset")]})
    train(recipe, folder / "talker")
    voice = load_voice("hibari:heart")
    [waveform] = voice.speak([SpeakRequest(PAIRS[0]["question"], seed=1)])
    soundfile.write(folder / "question.wav", waveform, voice.sample_rate_hz)
    return folder


@pytest.fixture
def place(made, fake_sections, tmp_path, monkeypatch):
    """Put what a name stands for into the current folder, unless it is there."""
    monkeypatch.chdir(tmp_path)

    def put(name: str, kind: str) -> None:
        target = tmp_path / name
        assert target.is_relative_to(tmp_path), f"{name}: name a path below the current folder"
        if kind == "checkpoint" and target.name in ("best", "last"):
            name, target = str(Path(name).parent), target.parent
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "recording" and target.suffix:
            soundfile.write(target, *soundfile.read(made / "question.wav"))
        elif kind == "recording":
            target.mkdir()
            for number, pair in enumerate(PAIRS):
                shutil.copy(made / "question.wav", target / f"{number}.wav")
                (target / f"{number}.txt").write_text(pair["question"])
        elif kind == "recipe":
            target.write_text(yaml.safe_dump(fake_sections | {"source": str(made / "pairs.jsonl")}))
        elif kind == "pairs":
            _write_pairs(target)
        elif kind == "export":
            form, *options = EXPORTS[name]
            if form == "orpheus":
                options += ["--tokenizer", str(write_tokenizer(tmp_path / "tokenizer"))]
            done = anytalk("export", form, made / "dataset", name.removesuffix("/train"), *options)
            assert done.returncode == 0, done.stderr
        elif kind == "original":
            write_convertible(tmp_path / "convertible")
            assert anytalk("convert", "--to", "mini-omni", "convertible", name).returncode == 0
        elif kind == "convertible":
            write_convertible(target)
        else:
            shutil.copytree(made / {"dataset": "dataset"}.get(kind, "talker"), target)

    return put


def _write_pairs(path: Path) -> None:
    rows = [f'{{"question": "{pair["question"]}", "answer": "{pair["answer"]}"}}\n' for pair in PAIRS]
    comma = ["question,answer\n", *(f'"{pair["question"]}","{pair["answer"]}"\n' for pair in PAIRS)]
    path.write_text("".join(comma if path.suffix == ".csv" else rows))


# Python


# Readers of Lhotse and WebDataset leave their files to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("block", SNIPPETS, ids=lambda block: block.where)
def test_a_snippet_runs_and_gives_what_its_comments_say(block, place):
    tree = ast.parse(block.text)
    nodes = list(ast.walk(tree))
    written = {ast.unparse(node.value) for node in nodes if isinstance(node, ast.keyword) and node.arg == "out"}
    strings = {ast.unparse(node): node.value for node in nodes if isinstance(node, ast.Constant)}
    for text, name in strings.items():
        if isinstance(name, str) and text not in written and (kind := _kind(name)):
            place(name, kind)
    scope: dict[str, object] = {"__name__": "__main__"}
    lines = block.text.splitlines()
    for statement in tree.body:
        exec(compile(ast.Module([statement], []), block.where, "exec"), scope)
        told = lines[statement.end_lineno] if statement.end_lineno < len(lines) else ""
        # A line of its own below a statement says what the statement gives.
        if re.match(r"# ['\"\[({\d]", told):
            given = statement.targets[0] if isinstance(statement, ast.Assign) else statement.value
            value = eval(ast.unparse(given), scope)
            assert repr(value) == told.removeprefix("# ")


def _kind(name: str) -> str | None:
    """What a string of a snippet names, if it names a file or folder."""
    path = Path(name)
    if path.suffix in (".wav", ".flac", ".mp3", ".ogg"):
        return "recording"
    if path.suffix in (".jsonl", ".csv"):
        return "pairs"
    if path.suffix == ".yaml":
        return "recipe"
    if path.name in ("best", "last"):
        return "checkpoint"
    if path.name in ("talker", "RUN"):
        return "run"
    if name in EXPORTS:
        return "export"
    return "dataset" if path.name in ("dataset", "DATASET") or name.startswith("out/") else None


# Commands


def parsed(words: tuple[str, ...]) -> tuple[str, dict[str, object]]:
    """Parse a command by the real command line, and do nothing: its name, with its group's, and what it was given."""
    command, name, rest = typer.main.get_command(app), [], list(words[1:])
    while rest and rest[0] in getattr(command, "commands", {}):
        name.append(rest.pop(0))
        command = command.commands[name[-1]]
    with command.make_context(" ".join(name), rest) as context:
        return " ".join(name), context.params


@pytest.mark.parametrize("command", OURS, ids=str)
def test_a_command_parses_and_its_recipe_takes_its_settings(command):
    validate(command)


@pytest.mark.parametrize("command", MENTIONED, ids=str)
def test_a_command_in_the_text_is_one(command):
    words = [word for word in command.words if word not in ("...", "…")]
    known = typer.main.get_command(app)
    for word in words[1:]:
        known = getattr(known, "commands", {}).get(word)
        if known is None:
            validate(Command(command.where, tuple(words)))
            return
    # The bare name of a command or of a group of them is only mentioned.


def validate(command: Command) -> None:
    """Parse a command, and read its recipe with its settings."""
    name, given = parsed(command.words)
    # What a reader is to fill in.
    told = [re.sub(r": \.\.\.", ": http://localhost:1/v1", setting) for setting in given.get("settings") or []]
    settings, recipe = overrides(told), given.get("recipe", "quickstart")
    if recipe in ("NAME", "RECIPE") or Path(recipe).suffix == ".yaml":
        recipe = "quickstart"  # stands in for the reader's own
    if name == "codec train":
        read_recipe(find(recipe, "codec"), CodecRecipe, settings)
    elif name == "train":
        read_recipe(find(recipe, "train"), TrainingRecipe, settings | {"data.datasets": ["DATASET"]})
    else:
        load_recipe(find(recipe, "build"), settings)


@pytest.mark.filterwarnings("ignore:.*tiktoken:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("command", RUN, ids=str)
def test_a_command_runs(command, place):
    name, given = parsed(command.words)
    for read, kind in inputs(name, given):
        place(read, kind)
    done = anytalk(*command.words[1:], *CHEAP.get(name, []))
    assert done.returncode in ((0, 1) if name in FAILS_TOO else (0,)), done.stderr
    assert "Traceback" not in done.stderr


def inputs(name: str, given: Mapping[str, object]) -> list[tuple[str, str]]:
    """What a command reads, and what kind of thing it is."""
    if name == "init":
        return [(str(given["source"]), "pairs")]
    found: list[tuple[str, str]] = []
    for key, value in given.items():
        kind = {"dataset": "dataset", "data": "dataset", "run": "checkpoint", "question": "recording"}.get(key)
        if key == "datasets":
            found += [(one, "dataset") for one in value]
        elif key == "against":
            found += [(one, "pairs" if Path(one).suffix else "dataset") for one in value or ()]
        elif kind and value is not None:
            found += [(str(one), kind) for one in (value if isinstance(value, list | tuple) else [value])]
    if name == "convert":
        source = given["arguments"][-2]
        found.append((source, "original" if given["to"] is None else "convertible"))
    for key, value in overrides(given.get("settings")).items():
        if key in ("source", "source.path") and value != "bundled":
            found.append((value, "pairs" if Path(value).suffix else "recording"))
    return found


@pytest.mark.parametrize("command", FOREIGN, ids=str)
def test_a_program_that_is_not_ours_is_known_here(command):
    program, *rest = command.words
    assert program in OTHERS, f"{command}: say in OTHERS what it is"
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert [word for word in rest if "=" not in word and word not in targets] == []
    if program == "pip":
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = re.findall(r"\[([\w,-]+)\]", " ".join(rest))
        assert [extra for names in named for extra in names.split(",") if extra not in known] == []


# Recipes


@pytest.mark.parametrize("block", RECIPES, ids=lambda block: block.where)
def test_sections_of_a_recipe_are_taken(block, tmp_path):
    sections = yaml.safe_load(block.text)
    kinds = {"quickstart": Recipe, "mini-omni": TrainingRecipe, "codec": CodecRecipe}
    [(shipped, model)] = [(name, one) for name, one in kinds.items() if sections.keys() <= one.model_fields.keys()][:1]
    kind = {"quickstart": "build", "mini-omni": "train", "codec": "codec"}[shipped]
    tree = yaml.safe_load(find(shipped, kind).read_text())
    for name, section in sections.items():
        both = isinstance(section, dict) and isinstance(tree.get(name), dict) and name != "source"
        tree[name] = tree[name] | section if both else section
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tree))
    read_recipe(tmp_path / "recipe.yaml", model, {})


# Files


WRITTEN_BY_THE_READER = {
    "synth/voice/hum.py",
    "synth/hearing/loudness.py",
    "synth/judge/peak.py",
    "synth/codec/decibel.py",
}
"""Files that the walk of CONTRIBUTING.md adds."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_files_that_are_named_are_there(page):
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:", link)]
    assert [link for link in links if link and not (page.parent / link).exists()] == []
    named = re.findall(r"`((?:synth|pipelines|model|recipes|tests|docs|requirements)/[\w./-]+)(?:::\w+)?`", text)
    # Words in capitals, as in templates/KIND.md, are the reader's.
    named = [name for name in named if not re.search(r"\b[A-Z]{2,}\.", name) or name.endswith("README.md")]
    missing = {name for name in named if not (ROOT / name).exists()}
    assert missing == (WRITTEN_BY_THE_READER if page.name == "CONTRIBUTING.md" else set())


def test_every_block_is_run_validated_or_shown():
    others = [block for page in PAGES for block in blocks(page) if block not in PYTHON and block not in RECIPES]
    assert [one.where for one in others if not (one.is_shell or one.language in ("", "text", "json", "mermaid"))] == []
    # What is only shown holds nothing to type.
    shown = [one for one in others if not one.is_shell]
    assert [one.where for one in shown if re.search(r"^(\$ )?anytalk \w", one.text, re.MULTILINE)] == []

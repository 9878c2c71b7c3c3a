"""Conversations: turns keep their order, stay in one split and one unit, and training reads the earlier ones."""

import collections
import itertools
import json

import pyarrow as pa
import pytest
import torch
from support.misbehaving import serve
from support.training import a_recipe, a_stage, metrics
from support.turns_asked import answer

from anytalk.model.checkpoint import read_config
from anytalk.model.layout import Layout, Task
from anytalk.pipelines import build
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.plan import load_or_make
from anytalk.pipelines.recipe import load_recipe
from anytalk.recipes.data.loader import Loader
from anytalk.recipes.data.rows import Rows
from anytalk.recipes.data.sample import turn
from anytalk.recipes.train.run import train

TURNS = {f"talk {n}": 1 + n % 4 for n in range(40)}
"""How many turns each conversation has."""
SPLIT = {"validation": 0.2, "test": 0.2}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def dialogues(turns):
    """Rows of conversations, all first turns first and then the later ones, last turn before the one before it."""
    rows = [
        {"conversation": name, "turn": n, "question": f"{name}, part {n}?", "answer": f"Part {n} of {name}."}
        for name, count in turns.items()
        for n in range(count)
    ]
    return sorted(rows, key=lambda row: (row["turn"] > 0, -row["turn"], row["conversation"]))


def planned(recipe, folder):
    return load_or_make(load_recipe(recipe), Store(folder)).units


def rows_of(folder, split="*"):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / "shards").glob(f"{split}-*.arrow"))]
    return [row for table in tables for row in table.to_pylist()]


def assert_whole_and_in_order(units, turns):
    """Each variant of each conversation stands in one piece in one unit of one split, first turn first."""
    seen = collections.Counter()
    splits = collections.defaultdict(set)
    for unit in units:
        assert len({row.split for row in unit}) == 1
        talks = [(row.pair.conversation, row.variant, row.pair.turn) for row in unit]
        for name, of_one in itertools.groupby(talks, key=lambda talk: talk[:2]):
            assert [number for *_, number in of_one] == list(range(turns[name[0]]))
            seen[name] += 1
        for row in unit:
            splits[row.pair.conversation].add(row.split)
    assert set(seen.values()) == {1}
    assert {name for name, _ in seen} == set(turns)
    assert {len(of_one) for of_one in splits.values()} == {1}


def test_turns_of_a_table_stay_together_and_in_order(fake_recipe, write_jsonl, tmp_path):
    sections = {"source": str(write_jsonl(dialogues(TURNS))), "split": SPLIT}
    recipe = fake_recipe(
        **sections,
        shards={"unit_rows": 3},
        voices={"question": ["fake:a", "fake:b"], "answer": "fake:c", "variants": 2},
    )
    units = planned(recipe, tmp_path / "out")
    assert_whole_and_in_order(units, TURNS)
    assert {unit[0].split for unit in units} == {"train", "validation", "test"}
    # A conversation of four turns in two variants makes a unit of eight rows rather than two of three.
    assert max(map(len, units)) > 3


def test_turns_of_a_language_model_stay_together_and_in_order(fake_recipe, tmp_path):
    with serve(answer) as server:
        endpoint = {"base_url": server.url, "model": "tiny"}
        ask = {"conversations": 12, "kinds": ["conversation"], "turns": [2, 3, 5]}
        recipe = fake_recipe(
            source={"kind": "llm", "endpoint": endpoint, "ask": ask}, split=SPLIT, shards={"unit_rows": 3}
        )
        units = planned(recipe, tmp_path / "out")
    turns = collections.Counter(row.pair.conversation for unit in units for row in unit)
    assert set(turns.values()) == {2, 3, 5}
    assert_whole_and_in_order(units, turns)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, fake_sections):
    """A dataset of conversations of one to four turns, each in two variants."""
    folder = tmp_path_factory.mktemp("talks")
    turns = dict(itertools.islice(TURNS.items(), 4))
    (folder / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dialogues(turns)))
    recipe = folder / "fake.yaml"
    recipe.write_text(json.dumps(fake_sections | {"source": str(folder / "talks.jsonl")}))
    build(recipe, folder / "dataset", local=True, **{"voices.variants": 2})
    return folder / "dataset"


def test_training_reads_the_earlier_turns_of_a_conversation(dataset):
    rows = Rows([str(dataset)], "train", lambda texts: [list(text.encode()) for text in texts], codebook_size=4096)
    layout = Layout(text_size=300, codebook_size=4096, layers=7)
    tasks = {Task.A1A2: 1.0, Task.A1T1: 1.0}
    loader = Loader(rows, tasks, layout, seed=1, positions=8000, max_positions=8000, context_turns=2, prefetch=0)
    stored = {row["id"]: row for row in rows_of(dataset)}
    for (name, _), talk in itertools.groupby(stored.values(), key=lambda row: (row["conversation"], row["variant"])):
        assert [row["turn"] for row in talk] == list(range(TURNS[name]))
    keys = {
        (row["conversation"], row["variant"], row["turn"]): number
        for number, row in enumerate(stored[rows.id(number)] for number in range(len(rows)))
    }
    contexts = collections.Counter()
    for sample in itertools.chain(*loader.plan(0)):
        row = stored[rows.id(sample.row)]
        earlier = [] if sample.task is Task.A1T1 else range(max(0, row["turn"] - 2), row["turn"])
        numbers = [keys[row["conversation"], row["variant"], number] for number in (*earlier, row["turn"])]
        batch = loader.batch([sample])
        example = layout.example([turn(sample.task, rows[number], 1) for number in numbers])
        assert batch.streams[0].tolist() == example.streams
        assert batch.labels[0].tolist() == example.labels
        for (_, frames), number in zip(batch.features[0], numbers, strict=True):
            assert frames.shape == rows[number].features.shape
        contexts[len(numbers) - 1] += 1
    assert set(contexts) == {0, 1, 2}
    loader.close()


def test_the_recipe_says_how_many_earlier_turns_training_reads(dataset, tmp_path):
    positions = {}
    for context_turns in (0, 2):
        data = {"datasets": [str(dataset)], "validation": None, "context_turns": context_turns}
        loader = {"positions": 8000, "max_positions": 8000, "padding": 1.0}
        recipe = a_recipe(dataset, stages=[a_stage(steps=1, tasks={"A1A2": 1})], data=data, loader=loader)
        train(recipe, tmp_path / str(context_turns))
        assert read_config(tmp_path / str(context_turns) / "best")["context_turns"] == context_turns
        positions[context_turns] = metrics(tmp_path / str(context_turns))[0]["positions"]
    assert positions[2] > 1.3 * positions[0]

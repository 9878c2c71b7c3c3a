"""Before a build: what it will take, and a few of its rows as a dataset beside it."""

import json

import pyarrow as pa
import pytest

from anytalk.pipelines import build, check, estimate, preview
from anytalk.pipelines.dataset import PLAN, Store
from anytalk.pipelines.plan import load_or_make, said_s, spread
from anytalk.pipelines.recipe import load_recipe
from anytalk.synth.errors import SetupError


def rows_of(folder):
    return {
        row["id"]: row
        for path in sorted((folder / "shards").glob("*.arrow"))
        for row in pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist()
    }


def test_the_figures_are_those_of_the_build_that_goes_on_from_the_plan(fake_recipe, tmp_path):
    recipe = load_recipe(fake_recipe(source={"kind": "bundled", "limit": 48}, split={"validation": 0.2}))
    found = estimate(recipe, str(tmp_path / "out"), rows=16)
    planned = (tmp_path / "out" / PLAN).stat().st_mtime_ns
    made = build(recipe, tmp_path / "out", local=True)
    assert (tmp_path / "out" / PLAN).stat().st_mtime_ns == planned
    assert (found.rows, found.rows_accepted) == (48, made.rows_accepted)
    assert found.splits == made.splits
    assert found.speech_hours == pytest.approx(made.speech_hours, rel=0.1)
    written = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.arrow"))
    assert found.disk_gib * 2**30 == pytest.approx(written, rel=0.25, abs=2**20)
    assert json.loads(json.dumps(found.examples)) == found.examples
    assert len(found.examples) == 10
    spoken = rows_of(tmp_path / "out")
    for example in found.examples:
        row = spoken[example["id"]]
        assert (row["question"], row["answer"]) == (example["question"], example["answer"])
        assert (row["question_voice"], row["answer_voice"]) == (example["question_voice"], example["answer_voice"])


def test_a_sample_has_short_and_long_rows_in_their_proportion(fake_recipe, tmp_path):
    plan = load_or_make(load_recipe(fake_recipe()), Store(tmp_path / "out"))
    lengths_s = said_s(plan)
    chosen = spread(plan, lengths_s, 30)
    by_name = dict(zip([row.id for unit in plan.units for row in unit], lengths_s, strict=True))
    assert len({row.id for row in chosen}) == 30
    mean = sum(by_name[row.id] for row in chosen) / 30
    assert mean == pytest.approx(lengths_s.mean(), rel=0.03)
    assert spread(plan, lengths_s, 10**6) == [row for unit in plan.units for row in unit]


def test_prices_of_the_recipe_make_a_cost_and_what_has_none_is_named(fake_recipe, tmp_path):
    source = {"kind": "bundled", "limit": 8}
    found = estimate(load_recipe(fake_recipe(source=source)), str(tmp_path / "out"), rows=4)
    assert (found.cost, found.without_price) == (None, ["resources.price_per_core_hour"])
    priced = load_recipe(fake_recipe(source=source, resources={"price_per_core_hour": 3600.0}))
    found = estimate(priced, str(tmp_path / "out"), rows=4)
    assert found.cost == pytest.approx(3600 * found.core_hours, abs=2.0)
    assert found.without_price == []


def test_a_source_without_a_row_to_speak_says_why(fake_recipe, write_jsonl, tmp_path):
    path = write_jsonl([{"question": "Q?", "answer": ""}])
    with pytest.raises(SetupError, match="no row of the source can be spoken: empty_answer 1"):
        estimate(load_recipe(fake_recipe(source=str(path))), str(tmp_path / "out"))


def test_rows_of_a_preview_are_those_of_the_dataset_byte_for_byte(fake_recipe, tmp_path):
    recipe = load_recipe(fake_recipe(source={"kind": "bundled", "limit": 30}))
    made = preview(recipe, str(tmp_path / "out"), 8, local=True)
    assert (made.rows_accepted, made.complete) == (8, True)
    assert not (tmp_path / "out").exists()
    assert check(tmp_path / "out-preview").well
    build(recipe, tmp_path / "out", local=True)
    whole = rows_of(tmp_path / "out")
    few = rows_of(tmp_path / "out-preview")
    assert {name: whole[name] for name in few} == few
    # The build of the recipe does not go on with a preview.
    with pytest.raises(SetupError, match="of another recipe"):
        build(recipe, tmp_path / "out-preview", local=True)
    again = preview(recipe, str(tmp_path / "out"), 8, local=True)
    assert again.speech_hours_per_work_hour is None
    assert preview(recipe, str(tmp_path / "out"), 3, local=True).rows_accepted == 3


def test_a_preview_replaces_a_preview_and_nothing_else(fake_recipe, tmp_path):
    source = {"kind": "bundled", "limit": 30}
    preview(load_recipe(fake_recipe(source=source)), str(tmp_path / "out"), 4, local=True)
    before = rows_of(tmp_path / "out-preview")
    preview(load_recipe(fake_recipe(source=source, seed=2)), str(tmp_path / "out"), 4, local=True)
    assert rows_of(tmp_path / "out-preview") != before
    (tmp_path / "mine-preview").mkdir()
    (tmp_path / "mine-preview" / "letter.txt").write_text("mine")
    with pytest.raises(SetupError, match="holds no preview"):
        preview(load_recipe(fake_recipe()), str(tmp_path / "mine"), 4, local=True)
    assert (tmp_path / "mine-preview" / "letter.txt").read_text() == "mine"


def test_recordings_inside_a_table_travel_to_the_preview(fake_recipe, tmp_path):
    import io

    import numpy as np
    import pyarrow.parquet as pq
    import soundfile

    sound = io.BytesIO()
    soundfile.write(sound, 0.1 * np.sin(np.arange(16_000) * 0.3), 16_000, format="WAV")
    rows = [{"question": f"What is {n}?", "question_audio": sound.getvalue()} for n in ("one", "two", "three")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "talks.parquet")
    recipe = load_recipe(fake_recipe(source=str(tmp_path / "talks.parquet")))
    assert preview(recipe, str(tmp_path / "out"), 2, local=True).rows_accepted == 2

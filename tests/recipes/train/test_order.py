"""What a run would do, before it does it: datasets by weight, epochs in steps, and the dry run."""

import json

import pytest
from support.training import MODEL, a_recipe, a_stage, metrics
from typer.testing import CliRunner

from anytalk.recipes.cli.main import app
from anytalk.recipes.train import dry_run, train
from anytalk.recipes.train.recipe import TrainingRecipe
from anytalk.synth.errors import SetupError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_dataset_is_written_as_a_path_or_with_weight_and_tasks(write_dataset):
    folder = str(write_dataset())
    plain, spelt = (
        a_recipe(data={"datasets": datasets}).identity() for datasets in (folder, [{"dataset": folder, "weight": 1.0}])
    )
    assert plain == spelt
    drawn = a_recipe(data={"datasets": [folder, {"dataset": folder, "weight": 2, "tasks": {"A1T1": 1}}]})
    assert drawn.identity() != plain
    assert TrainingRecipe.model_validate(drawn.model_dump(mode="json")) == drawn
    with pytest.raises(ValueError, match="at least one task"):
        a_recipe(data={"datasets": [{"dataset": folder, "tasks": {}}]})


def test_a_run_of_datasets_with_tasks_of_their_own_goes_on(write_dataset, tmp_path):
    folder = str(write_dataset())
    datasets = [{"dataset": folder, "tasks": {"A1T1": 1}}, {"dataset": folder, "tasks": {"T1T2": 1}, "weight": 2}]
    recipe = a_recipe(data={"datasets": datasets}, stages=[a_stage(tasks={"T1T2": 1, "A1T1": 1}, steps=4)])
    assert train(recipe, tmp_path / "run")["step"] == 4
    longer = a_recipe(data={"datasets": datasets}, stages=[a_stage(tasks={"T1T2": 1, "A1T1": 1}, steps=6)])
    assert train(longer, tmp_path / "run", allow_change=True)["step"] == 6
    other = a_recipe(data={"datasets": [folder]}, stages=[a_stage(tasks={"T1T2": 1, "A1T1": 1}, steps=6)])
    with pytest.raises(SetupError, match=r"data\.datasets"):
        train(other, tmp_path / "run", allow_change=True)


def test_a_run_trains_on_text_alone_beside_its_datasets(write_dataset, tmp_path):
    table = tmp_path / "pairs.jsonl"
    table.write_text("".join(json.dumps({"question": f"Q {n}?", "answer": f"A {n}."}) + "\n" for n in range(30)))
    data = {"datasets": [str(write_dataset())], "texts": [str(table)]}
    stages = [a_stage(tasks={"T1T2": 1, "A1T1": 1}, steps=0, epochs=1.0)]
    expected = dry_run(a_recipe(data=data, stages=stages))
    assert expected.stages[0].samples["T1T2"]["samples"] == expected.stages[0].samples["A1T1"]["samples"] + 30
    summary = train(a_recipe(data=data, stages=stages), tmp_path / "run")
    assert summary["step"] == expected.stages[0].steps == metrics(tmp_path / "run")[-1]["step"]


def test_a_stage_has_steps_or_epochs(write_dataset):
    for wrong in ({"steps": 0}, {"steps": 3, "epochs": 1.0}):
        with pytest.raises(ValueError, match="either steps"):
            a_stage_of(wrong)
    with pytest.raises(SetupError, match=r"stage all, 1 epochs: warmup_steps 5000 leaves nothing of \d+ steps"):
        dry_run(a_recipe(write_dataset(), stages=[a_stage(steps=0, epochs=1.0, warmup_steps=5000)]))


def a_stage_of(changes):
    return a_recipe("nowhere", stages=[a_stage(**changes)])


def test_a_recipe_refuses_the_features_of_another_whisper(write_dataset):
    named = a_recipe(write_dataset(), model=MODEL | {"features": "openai/whisper-small"})
    with pytest.raises(SetupError, match=r"features are those of Whisper \S+; this recipe wants openai/whisper-small"):
        dry_run(named)


def test_a_dry_run_says_what_a_run_would_be_and_writes_nothing(write_dataset, tmp_path, monkeypatch):
    folder = write_dataset()
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(a_recipe().model_dump_json())
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    command = ["train", str(recipe), "--data", str(folder), "--dry-run"]
    told, as_json = (CliRunner().invoke(app, [*command, *more]) for more in ((), ("--json",)))
    assert (told.exit_code, as_json.exit_code) == (0, 0), told.output
    assert sorted(tmp_path.rglob("*")) == before
    found = json.loads(as_json.stdout)
    [stage] = found["stages"]
    assert (stage["name"], stage["steps"], stage["trainable"]) == ("all", 4, found["parameters"])
    assert 0 < stage["memory_gib"] < 1
    assert found["sample"][1].startswith("text     <input_t> ")
    assert found["sample"][3].endswith(" <eot>")
    assert "stage all: 4 steps of" in told.stdout

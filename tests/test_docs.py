"""The docs say what the code does."""

import json
import re
from pathlib import Path

import pytest

from anytalk.pipelines.recipe import Recipe, load_recipe
from anytalk.recipes.train.recipe import (
    Checkpoints,
    Data,
    Dataset,
    Loading,
    Model,
    Optim,
    Stage,
    Texts,
    TrainingRecipe,
)

ROOT = Path(__file__).resolve().parents[1]


def keys(schema, part, prefix=""):
    """Dotted keys of a JSON schema, lists as []."""
    part = schema["$defs"][part["$ref"].rsplit("/")[-1]] if "$ref" in part else part
    if part.get("type") == "array" and "$ref" in part.get("items", {}):
        yield from keys(schema, part["items"], f"{prefix}[]")
    elif "properties" not in part:
        yield prefix
    else:
        for name, inner in part["properties"].items():
            yield from keys(schema, inner, f"{prefix}.{name}" if prefix else name)


def test_every_key_of_a_recipe_is_documented():
    schema = Recipe.model_json_schema()
    page = (ROOT / "docs" / "recipes.md").read_text()
    assert [key for key in keys(schema, schema) if f"| `{key}` |" not in page] == []


@pytest.mark.parametrize(("name", "recipe"), [("recipe", Recipe), ("training", TrainingRecipe)])
def test_the_schemas_for_editors_are_those_of_this_version(name, recipe):
    assert json.loads((ROOT / "docs" / f"{name}.schema.json").read_text()) == recipe.model_json_schema()


def test_the_quickstart_recipe_speaks_every_pair_in_several_voices():
    recipe = load_recipe(ROOT / "recipes" / "configs" / "build" / "quickstart.yaml")
    assert recipe.voices.variants >= 2
    assert len({choice.voice for choice in recipe.voices.question}) >= 2


def test_every_path_on_the_architecture_page_exists():
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"\b(?:synth|pipelines|model|recipes|tests)/[\w./-]*\w/?", page))
    assert len(named) > 40
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_every_key_of_a_training_recipe_is_documented_with_its_default():
    schema = TrainingRecipe.model_json_schema()
    lines = (ROOT / "docs" / "training.md").read_text().splitlines()
    table = {
        line.split("`")[1]: line.split("`")[3] for line in lines if line.count("`") >= 4 and line.startswith("| `")
    }
    sections = {"": TrainingRecipe, "data": Data, "model": Model, "stages[]": Stage}
    sections |= {"data.datasets[]": Dataset, "data.texts[]": Texts}
    sections |= {"optim": Optim, "loader": Loading, "checkpoint": Checkpoints}
    for key in keys(schema, schema):
        section, _, name = key.rpartition(".")
        field = sections[section].model_fields[name]
        default = "required" if field.is_required() else json.dumps(field.default)
        assert table.get(key) == default, key

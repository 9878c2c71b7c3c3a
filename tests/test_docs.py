"""The docs say what the code does."""

import json
from pathlib import Path

from anytalk.pipelines.recipe.dataset import Recipe, load_recipe

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


def test_the_schema_for_editors_is_the_one_of_this_version():
    assert json.loads((ROOT / "docs" / "recipe.schema.json").read_text()) == Recipe.model_json_schema()


def test_the_quickstart_recipe_speaks_every_pair_in_several_voices():
    recipe = load_recipe(ROOT / "recipes" / "configs" / "build" / "quickstart.yaml")
    assert recipe.voices.variants >= 2
    assert len({choice.voice for choice in recipe.voices.question}) >= 2

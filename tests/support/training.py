"""Small training recipes and what their runs wrote."""

import json

from anytalk.recipes.train.recipe import TrainingRecipe

SHAPE = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}

MODEL = {
    "shape": SHAPE | {"tie_word_embeddings": True},
    "vocabulary": 320,
    "adapter_hidden": 16,
    "tts_adapter_layers": 1,
}


def a_stage(**changes):
    return {"name": "all", "train": "all", "tasks": {"A1A2": 1, "T1T2": 1}, "steps": 4, "learning_rate": 2e-3} | changes


def a_recipe(*datasets, stages=None, model=None, **sections):
    tree = {
        "name": "tiny",
        "data": {"datasets": [str(folder) for folder in datasets]},
        "model": model or MODEL,
        "stages": stages or [a_stage()],
        "loader": {"positions": 300, "max_positions": 200, "batches_per_step": 2},
        "checkpoint": {"every": 2, "keep": 2},
    }
    return TrainingRecipe.model_validate(tree | sections)


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]

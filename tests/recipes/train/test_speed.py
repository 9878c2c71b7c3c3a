"""Which precision a run takes where its recipe leaves that to the device."""

import platform
from pathlib import Path

import pytest
import torch

from anytalk.recipes.train import load_training_recipe
from anytalk.recipes.train.speed import residual_dtype, with_precision


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc/cpuinfo")
def test_auto_is_bfloat16_where_the_processor_multiplies_in_it():
    flags = Path("/proc/cpuinfo").read_text().split()
    recipe = load_training_recipe("talker", {"optim.precision": "auto"})
    expected = "bfloat16" if {"avx512_bf16", "amx_bf16"} & {*flags} else "float32"
    assert with_precision(recipe, torch.device("cpu")).optim.precision == expected


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_the_recipe_names_is_taken(precision):
    recipe = load_training_recipe("talker", {"optim.precision": precision})
    assert with_precision(recipe, torch.device("cpu")) is recipe


@pytest.mark.parametrize(
    ("precision", "residual", "device", "expected"),
    [
        ("float32", None, "cuda", None),
        ("bfloat16", None, "cuda", torch.bfloat16),
        ("bfloat16", None, "cpu", None),
        ("bfloat16", "float32", "cuda", None),
        ("bfloat16", "bfloat16", "cpu", torch.bfloat16),
    ],
)
def test_the_residual_stream_is_in_bfloat16_on_a_gpu_or_where_the_recipe_says_so(precision, residual, device, expected):
    recipe = load_training_recipe("talker", {"optim.precision": precision, "optim.residual": residual})
    assert residual_dtype(recipe.optim, torch.device(device)) is expected

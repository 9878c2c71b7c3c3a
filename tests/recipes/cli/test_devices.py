"""`--device` and `--dtype`: on every command that loads a model, told by --help, and refused in one line."""

import pytest
import torch
import typer
from support.command_line import anytalk

from anytalk.recipes.cli.bench import _command
from anytalk.recipes.cli.main import app

ON_A_DEVICE = [
    "talk",
    "eval",
    "codec eval",
    *(f"bench {name}" for name in ("build", "codec", "hear", "load", "talk", "train")),
]
WITHOUT_DTYPE = ("bench build", "bench load")


def options(words):
    """Of a command, by name."""
    if words.startswith("bench "):
        command = _command(words.split()[1])
    else:
        command = typer.main.get_command(app)
        for word in words.split():
            command = command.commands[word]
    return command, {name: option for option in command.params for name in option.opts}


@pytest.mark.parametrize("words", ON_A_DEVICE)
def test_what_loads_a_model_has_the_switch_and_shows_how_it_is_used(words):
    command, found = options(words)
    assert found["--device"].default == "auto"
    assert ("--dtype" in found) == (words not in WITHOUT_DTYPE)
    assert "--device c" in command.epilog


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
@pytest.mark.parametrize(
    "words", ["bench codec", "bench hear --questions 1", "bench talk", "codec eval bundled", "bench train DATA"]
)
def test_a_gpu_that_is_not_there_is_refused_in_one_line(words):
    for device, line in (
        ("cuda:1", "device cuda:1: there is no GPU in this process"),
        ("gpu", "there is no device 'gpu'"),
    ):
        done = anytalk(*words.split(), "--device", device)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert done.stderr.startswith(f"anytalk: {line}")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("bench codec --device cpu --dtype float16", "SNAC in float16 is for a GPU, and the device is cpu"),
        ("bench talk --device cpu --dtype float16", "float16 is for a GPU, and the device is cpu"),
        (
            "codec eval bundled --dtype bfloat16",
            "codec bundled computes in float32 only; bfloat16 is for SNAC on a GPU",
        ),
    ],
)
def test_a_precision_that_does_not_go_with_the_device_is_refused_in_one_line(words, line):
    done = anytalk(*words.split())
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"anytalk: {line}")

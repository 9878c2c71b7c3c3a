"""`anytalk convert`: there and back, and a folder that is whole or not there."""

import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.convertible import write_convertible

from anytalk.model.network import MiniOmni
from anytalk.recipes.cli import main


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A small checkpoint that the original can represent."""
    return write_convertible(tmp_path_factory.mktemp("checkpoint") / "ours")


@pytest.fixture
def convert(monkeypatch, capfd, tmp_path):
    """Run `anytalk convert` in an empty folder; give its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["anytalk", "convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        said = "".join(line for line in err.splitlines(True) if not line.endswith(" ...\n"))  # progress
        return caught.value.code or 0, out, said

    return run


def refused(done):
    """The one line of a command that was refused."""
    code, out, err = done
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err.removeprefix("anytalk: ").strip()


@pytest.fixture
def original(convert, ours, tmp_path):
    assert convert("--to", "mini-omni", ours, "original")[0] == 0
    return tmp_path / "original"


def test_there_and_back_gives_the_same_checkpoint(convert, ours, original, tmp_path):
    assert {path.name for path in original.iterdir()} == {"lit_model.pth", "model_config.yaml", "tokenizer.json"}
    (tmp_path / "back").mkdir()
    assert convert("mini-omni", original, "back") == (0, "back: written\n", "")
    before, after = load_file(ours / "model.safetensors"), load_file(tmp_path / "back" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    MiniOmni.from_pretrained(tmp_path / "back")
    assert {path.name for path in tmp_path.iterdir()} == {"original", "back"}


def test_a_checkpoint_without_a_tokenizer_is_converted_and_says_so(convert, original, tmp_path):
    (original / "tokenizer.json").unlink()
    assert "no tokenizer.json, without which it cannot talk" in convert("mini-omni", original, "mine")[1]
    code, out, _ = convert("mini-omni", original, tmp_path / "deep" / "mine", "--json")
    assert (code, json.loads(out)) == (0, {"checkpoint": str(tmp_path / "deep" / "mine"), "tokenizer": False})


def test_wrong_use_is_one_line(convert, ours):
    usage = "give FORMAT SRC DST, such as mini-omni original/ mine/; or --to FORMAT SRC DST"
    assert refused(convert(ours, "new")) == usage
    assert refused(convert("--to", "mini-omni", ours)) == usage
    assert refused(convert("gguf", ours, "new")) == "no checkpoint format is called 'gguf'; there is: mini-omni"
    assert refused(convert("--to", "gguf", ours, "new")) == "no checkpoint format is called 'gguf'; there is: mini-omni"


def test_nothing_is_overwritten(convert, ours, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("all of it")
    (tmp_path / "file").write_text("one")
    for name in ("full", "file"):
        assert refused(convert("--to", "mini-omni", ours, name)) == f"{name} is not empty; name a new folder"
    assert refused(convert("--to", "mini-omni", ours, ours)) == f"{ours} is not empty; name a new folder"


def edit(change):
    def damage(folder):
        state = torch.load(folder / "lit_model.pth", weights_only=True)
        change(state)
        torch.save(state, folder / "lit_model.pth")

    return damage


def edit_config(old, new):
    def damage(folder):
        text = (folder / "model_config.yaml").read_text()
        assert old in text
        (folder / "model_config.yaml").write_text(text.replace(old, new))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "lit_model.pth").unlink(), "it needs lit_model.pth and model_config.yaml"),
        (lambda folder: (folder / "lit_model.pth").write_bytes(b""), "cannot be converted: "),
        (lambda folder: (folder / "lit_model.pth").write_bytes(b"garbage" * 99), "cannot be converted: "),
        (lambda folder: torch.save([1, 2], folder / "lit_model.pth"), "cannot be converted: "),
        (edit(lambda state: state.pop("transformer.ln_f.weight")), "lacks the tensor transformer.ln_f.weight"),
        (edit(lambda state: state.update(extra=torch.zeros(1))), "holds unknown tensors: extra"),
        (edit_config("n_embd: 16", "n_embd: [16"), "model_config.yaml is not YAML: "),
        (edit_config("n_embd: 16", "n_embd: 32"), "does not fit its config: "),
        (edit_config("n_layer: 2", "n_layer: two"), "n_layer 'two' (not a size)"),
        (edit_config("text_vocab_size: 104", "text_vocab_size: 4"), "cannot be converted: "),
    ],
)
def test_an_original_that_is_not_in_order_is_one_line_and_leaves_nothing(convert, original, tmp_path, damage, message):
    damage(original)
    line = refused(convert("mini-omni", original, "mine"))
    assert line.startswith(f"{original} cannot be converted: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["original"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("final_norm.weight"), "missing final_norm.weight"),
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda state: state.update({"final_norm.weight": torch.ones(3)}), "has shape (3,), not (16,)"),
    ],
)
def test_a_checkpoint_of_ours_that_is_not_in_order_is_one_line_too(convert, ours, tmp_path, change, message):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text((ours / "config.json").read_text())
    state = load_file(ours / "model.safetensors")
    change(state)
    save_file(state, broken / "model.safetensors")
    assert message in refused(convert("--to", "mini-omni", broken, "new"))
    (broken / "config.json").unlink()
    assert "is not a checkpoint: it has no config.json" in refused(convert("--to", "mini-omni", broken, "new"))
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]

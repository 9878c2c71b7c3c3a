"""LoRA through peft: what learns, what a checkpoint holds, going on from it, and the merge, which is peft's own."""

import importlib.util
import json
import shutil
import sys

import pytest
import torch
from huggingface_hub import HfApi
from safetensors.torch import load_file
from support.hub_server import TOKEN, reading_hub
from support.training import SHAPE, a_recipe, a_stage, metrics, two_processes
from transformers import Qwen2Config, Qwen2ForCausalLM

from anytalk.model.checkpoint import read_weights
from anytalk.model.hub import push_checkpoint
from anytalk.model.network import MiniOmni
from anytalk.recipes.train.checkpoint import checkpoints
from anytalk.recipes.train.dry_run import dry_run
from anytalk.recipes.train.lora import add_lora, is_lora
from anytalk.recipes.train.recipe import Lora
from anytalk.recipes.train.run import train
from anytalk.synth.errors import MissingExtra, SetupError

pytestmark = pytest.mark.usefixtures("one_thread")

with_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")

MODEL = {
    "shape": SHAPE | {"tie_word_embeddings": True},
    "vocabulary": 320,
    "adapter_hidden": 16,
    "tts_adapter_layers": 1,
}
LORA = {"rank": 3, "alpha": 12.0}
LEARNS = ["whisper_adapter", "tts_adapter", "audio_head", "audio_embedding", "new_text_rows", "lora"]


def recipe_of(folder, lora=LORA, **more):
    stages = [
        a_stage(name="first", train=LEARNS, tasks={"A1T1": 1, "T1A1": 1}, steps=2, learning_rate=1e-2),
        a_stage(name="then", train=LEARNS, steps=4, learning_rate=1e-2),
    ]
    return a_recipe(folder, model=MODEL, lora=lora, **{"stages": stages, "checkpoint": {"every": 2, "keep": 9}} | more)


@pytest.fixture(scope="module")
def run(tmp_path_factory, write_dataset_at):
    folder = tmp_path_factory.mktemp("lora")
    train(recipe_of(write_dataset_at(folder / "dataset")), folder / "run")
    return folder / "run"


@pytest.fixture
def latest(run):
    return checkpoints(run)[-1]


def streams_of(model):
    layout = model.layout
    return torch.tensor(
        [[[layout.shift(7, i), layout.shift(9, i), layout.shift(1, i)] for i in range(7)] + [[5, 6, 7]]]
    )


def logits(model):
    with torch.no_grad():
        return model.eval()(streams_of(model)).text_logits


@with_peft
@pytest.mark.slow
def test_only_thin_matrices_of_the_backbone_learn(run):
    first, last = (load_file(folder / "model.safetensors") for folder in (checkpoints(run)[0], checkpoints(run)[-1]))
    assert first.keys() == last.keys()
    assert not any("lora" in name or "base_layer" in name for name in last)
    for name, value in last.items():
        if name.startswith(("backbone.model.layers.", "final_norm")):
            assert value.equal(first[name]), name
    thin = [load_file(folder / "lora" / "adapter_model.safetensors") for folder in checkpoints(run)]
    assert thin[0].keys() == thin[-1].keys()
    assert len(thin[0]) == 2 * 7 * SHAPE["num_hidden_layers"]
    assert all(not thin[0][name].equal(thin[-1][name]) for name in thin[0])
    assert {x.shape[0] if "lora_A" in name else x.shape[1] for name, x in thin[0].items()} == {3}


@with_peft
@pytest.mark.slow
def test_the_merge_is_pefts_own(latest):
    from peft.tuners.lora import LoraLayer

    merged = MiniOmni.from_pretrained(latest)
    apart = MiniOmni.from_pretrained(latest, merged=False)
    assert not torch.allclose(logits(merged), logits(apart), atol=1e-3)
    add_lora(apart, Lora(**LORA), 0, latest)
    torch.testing.assert_close(logits(apart), logits(merged), atol=1e-5, rtol=1e-5)
    merging = [(name, module) for name, module in apart.named_modules() if isinstance(module, LoraLayer)]
    assert len(merging) == 7 * SHAPE["num_hidden_layers"]
    for name, module in merging:
        module.merge()
        torch.testing.assert_close(module.base_layer.weight, merged.get_submodule(name).weight, atol=0, rtol=1e-6)


@with_peft
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_peft_reads_it(latest):
    from peft import PeftModel

    merged = MiniOmni.from_pretrained(latest)
    state = load_file(latest / "model.safetensors")
    own = Qwen2ForCausalLM(Qwen2Config(**SHAPE, vocab_size=merged.layout.text_vocabulary, tie_word_embeddings=True))
    names = {name: name.removeprefix("backbone.") for name in state if name.startswith("backbone.")}
    own.load_state_dict({short: state[name] for name, short in names.items()}, strict=False)
    model = PeftModel.from_pretrained(own, str(latest / "lora")).merge_and_unload()
    for name, x in model.named_parameters():
        if name.startswith("model.layers."):
            torch.testing.assert_close(x, merged.backbone.get_parameter(name), atol=0, rtol=1e-6)


@with_peft
@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bits(run, tmp_path):
    again = tmp_path / "run"
    shutil.copytree(run, again, symlinks=True)
    whole = checkpoints(run)[-1]
    for folder in checkpoints(again)[1:]:
        shutil.rmtree(folder)
    assert len(checkpoints(again)) == 1
    identity = json.loads((run / "recipe.json").read_text())["data"]["datasets"][0]["dataset"]
    train(recipe_of(identity), again)
    assert checkpoints(again)[-1].name == whole.name
    for name in ("model.safetensors", "lora/adapter_model.safetensors", "optimiser.safetensors"):
        ours, theirs = load_file(checkpoints(again)[-1] / name), load_file(whole / name)
        assert ours.keys() == theirs.keys()
        assert all(ours[key].equal(theirs[key]) for key in ours), name


@with_peft
@pytest.mark.slow
def test_two_processes_equal_one(run, tmp_path):
    identity = json.loads((run / "recipe.json").read_text())["data"]["datasets"][0]["dataset"]
    ways = {"copies": "none", "shards": "fsdp"}
    recipes = {tmp_path / name: recipe_of(identity, optim={"sharding": way}) for name, way in ways.items()}
    two_processes(tmp_path, recipes)
    expected = [line["loss"] for line in metrics(run) if "loss" in line]
    wanted = MiniOmni.from_pretrained(checkpoints(run)[-1])
    for folder in recipes:
        assert [line["loss"] for line in metrics(folder) if "loss" in line] == pytest.approx(expected, rel=1e-4)
        model = MiniOmni.from_pretrained(checkpoints(folder)[-1])
        torch.testing.assert_close(logits(model), logits(wanted), atol=2e-2, rtol=1e-2)


@with_peft
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")
def test_what_is_exported_is_merged_and_needs_no_peft(latest, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    merged = MiniOmni.from_pretrained(latest)
    merged.save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy" / "lora").exists()
    assert torch.equal(logits(MiniOmni.from_pretrained(tmp_path / "copy")), logits(merged))
    with reading_hub(monkeypatch, tmp_path / "cache") as hub:
        push_checkpoint(latest, "me/talker", api=HfApi(endpoint=hub.url, token=TOKEN))
        assert not any("lora" in name for name in hub.repos["me/talker"])
        assert torch.equal(logits(MiniOmni.from_pretrained("me/talker")), logits(merged))


@with_peft
@pytest.mark.slow
def test_another_run_starts_from_what_is_merged(run, latest, tmp_path):
    identity = json.loads((run / "recipe.json").read_text())["data"]["datasets"][0]["dataset"]
    stage = a_stage(train=["lora"], tasks={"T1T2": 1}, steps=1, learning_rate=1e-9)
    train(a_recipe(identity, model={"checkpoint": str(latest)}, lora=LORA, stages=[stage]), tmp_path / "more")
    start, more = MiniOmni.from_pretrained(latest), MiniOmni.from_pretrained(tmp_path / "more" / "best")
    torch.testing.assert_close(logits(more), logits(start), atol=1e-5, rtol=1e-5)


@with_peft
@pytest.mark.slow
def test_a_dry_run_counts_what_learns(run):
    identity = json.loads((run / "recipe.json").read_text())["data"]["datasets"][0]["dataset"]
    only = a_stage(train=["lora"], tasks={"T1T2": 1})
    [stage] = dry_run(recipe_of(identity, {"rank": 2, "modules": ["q_proj", "v_proj"]}, stages=[only])).stages
    assert stage.trainable == SHAPE["num_hidden_layers"] * 2 * (32 + 32 + 32 + 16)
    with pytest.raises(SetupError, match=r"lora\.modules \('nothing',\) do not suit the backbone: Target modules"):
        dry_run(recipe_of(identity, {"modules": ["nothing"]}, stages=[only]))


@with_peft
@pytest.mark.slow
def test_damaged_matrices_are_one_clear_error(latest, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(latest, folder)
    config = json.loads((folder / "lora" / "adapter_config.json").read_text())
    (folder / "lora" / "adapter_config.json").write_text(json.dumps({"r": config["r"]}))
    with pytest.raises(ValueError, match="lora does not fit the weights beside it: 'lora_alpha'"):
        read_weights(folder)
    (folder / "lora" / "adapter_config.json").unlink()
    with pytest.raises(ValueError, match=r"lora lacks adapter_config\.json"):
        read_weights(folder)
    apart = MiniOmni.from_pretrained(latest, merged=False)
    with pytest.raises(SetupError, match="holds other matrices than lora names"):
        add_lora(apart, Lora(rank=3, modules=("q_proj",)), 0, latest)
    assert any(is_lora(name) for name in apart.state_dict())


def test_without_peft_the_extra_is_named_before_anything_is_written(write_dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r'pip install "anytalk\[lora\]"'):
        train(recipe_of(write_dataset()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"lora": None}, "stage first trains lora; say which in lora"),
        ({"stages": [a_stage(train=["backbone"])]}, "lora is trained by no stage"),
        ({"stages": [a_stage(train=["lora", "backbone"])]}, "trains the backbone and lora beside it"),
        ({"stages": [a_stage(train=["lora"]), a_stage(name="b")]}, "stage b trains the backbone and lora beside it"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path, sections, line):
    with pytest.raises(ValueError, match=line):
        recipe_of(tmp_path, **sections)

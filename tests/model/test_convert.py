"""Parity with the original Mini-Omni; tests/data/model/README.md says how its numbers were made."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from anytalk.model.batch import Request
from anytalk.model.convert import from_mini_omni, fuse_qkv, split_qkv, to_mini_omni
from anytalk.model.decoding import decode
from anytalk.model.layout import Task, Turn
from anytalk.model.network import MiniOmni

DATA = Path(__file__).parent / "data"
SHAPES = json.loads((DATA / "parity.json").read_text())
GOLDEN = load_file(DATA / "parity.safetensors")
VARIANTS = ["released", "paper"]


def original_weights(variant):
    """Make the original's state dict out of its names and a seed."""
    state = {}
    for name, shape in SHAPES["variants"][variant]["tensors"].items():
        seed = [SHAPES["variants"][variant]["seed"], zlib.crc32(name.encode())]
        x = np.random.Generator(np.random.PCG64(seed)).random(shape) * 2 - 1
        if name.endswith(("norm_1.weight", "norm_2.weight")) or "ln" in name.split(".")[-2]:
            x = 1 + 0.3 * x
        elif "wte" not in name:
            x = x * (3 / shape[-1]) ** 0.5 if len(shape) > 1 else 0.3 * x
        state[name] = torch.from_numpy(x.astype(np.float32))
    return state


def write_original(folder, state, variant="released", **changes):
    folder.mkdir()
    torch.save(state, folder / "lit_model.pth")
    values = {**SHAPES["variants"][variant]["config"], **changes}
    (folder / "model_config.yaml").write_text(yaml.dump(values))
    return folder


@pytest.fixture(scope="module", params=VARIANTS)
def converted(request, tmp_path_factory):
    """A variant's name, the original's folder, ours, and our model."""
    root = tmp_path_factory.mktemp("parity")
    source = write_original(root / "original", original_weights(request.param), request.param)
    (source / "tokenizer.json").write_text("{}")
    from_mini_omni(source, root / "ours")
    return request.param, source, root / "ours", MiniOmni.from_pretrained(root / "ours")


@torch.no_grad()
def test_one_pass_gives_the_originals_logits(converted):
    variant, _, _, model = converted
    out = model(GOLDEN[f"{variant}.streams"][None].long(), [GOLDEN[f"{variant}.features"]])
    torch.testing.assert_close(out.text_logits[0], GOLDEN[f"{variant}.text_logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(out.audio_logits[0], GOLDEN[f"{variant}.audio_logits"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_cached_steps_give_the_originals_logits(converted):
    variant, _, _, model = converted
    streams = GOLDEN[f"{variant}.streams"][None].long()
    prompt = SHAPES["feature_frames"] + 3
    cache = model.new_cache(streams.shape[2])
    parts = [model.hidden(streams[..., :prompt], [GOLDEN[f"{variant}.features"]], cache=cache)]
    parts += [model.hidden(streams[..., t : t + 1], cache=cache) for t in range(prompt, streams.shape[2])]
    text = torch.cat([model.text_head(part.text) for part in parts], dim=1)[0]
    audio = torch.cat([model.audio_heads(part.audio) for part in parts], dim=1)[0].transpose(0, 1)
    torch.testing.assert_close(text, GOLDEN[f"{variant}.text_logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(audio, GOLDEN[f"{variant}.audio_logits"], atol=1e-4, rtol=0)


def test_batch_parallel_decoding_says_the_originals_tokens(converted):
    variant, _, _, model = converted
    frames, steps = SHAPES["decoding_frames"], SHAPES["decoding_steps"]
    request = Request([Turn(Task.A1A2, positions=frames)], [GOLDEN[f"{variant}.decoding_features"]])
    steps = list(decode(model, [request], parallel=True, max_positions=frames + 3 + steps))
    assert [list(x) for x in zip(*[step.column for step in steps], strict=True)] == GOLDEN[
        f"{variant}.decoded"
    ].tolist()
    assert steps[-1].end == "limit"


def test_the_way_back_gives_the_originals_files(converted, tmp_path):
    variant, source, ours, _ = converted
    to_mini_omni(ours, tmp_path)
    before = torch.load(source / "lit_model.pth", weights_only=True)
    after = torch.load(tmp_path / "lit_model.pth", weights_only=True)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    config = SHAPES["variants"][variant]["config"]
    written = yaml.safe_load((tmp_path / "model_config.yaml").read_text())
    assert written.pop("name") == "mini-omni"
    assert written.pop("post_adapter_layers") == (2 if variant == "paper" else 6)
    assert written == {key: config[key] for key in written}
    assert (tmp_path / "tokenizer.json").read_text() == "{}"


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_fusing_undoes_splitting(groups, shared, head_width, bias):
    rows = groups * (shared + 2) * head_width
    fused = torch.arange(rows * 5.0).view(rows, 5)
    fused = fused[:, 0] if bias else fused
    query, key, value = split_qkv(fused, groups * shared, groups)
    assert len(query) == groups * shared * head_width
    assert len(key) == len(value) == groups * head_width
    assert torch.equal(fuse_qkv(query, key, value, groups), fused)


def test_queries_keys_and_values_lie_in_groups():
    fused = torch.arange(8)  # two groups of two queries, a key and a value, one wide
    assert [x.tolist() for x in split_qkv(fused, 4, 2)] == [[0, 1, 4, 5], [2, 6], [3, 7]]


def test_other_sizes_of_the_original_go_both_ways(tmp_path):
    state = original_weights("released")
    for name in [x for x in state if x.startswith("whisper_adapter.") or x.endswith("attn.attn.bias")]:
        del state[name]
    state["whisper_adapter.weight"], state["whisper_adapter.bias"] = torch.rand(16, 6), torch.rand(16)
    state["lm_head.weight"] = state["transformer.wte.weight"]
    options = {"asr_adapter": "mlp", "add_qkv_bias": False, "tie_word_embeddings": True}
    write_original(tmp_path / "original", {"model": state}, **options)
    config = from_mini_omni(tmp_path / "original", tmp_path / "ours")
    assert (config.adapter, config.backbone["model_type"], config.tie_audio_head) == ("linear", "llama", True)
    to_mini_omni(tmp_path / "ours", tmp_path / "back")
    after = torch.load(tmp_path / "back" / "lit_model.pth", weights_only=True)
    assert after.keys() == state.keys()
    assert all(torch.equal(state[name], after[name]) for name in state)


def test_a_model_trained_here_may_lack_the_rows_that_nobody_reads(tmp_path):
    write_original(tmp_path / "original", original_weights("paper"), "paper")
    from_mini_omni(tmp_path / "original", tmp_path / "ours")
    model = MiniOmni.from_pretrained(tmp_path / "ours")
    values = {**model.config.to_dict(), "unread_audio_head": False}
    trained = MiniOmni(type(model.config).from_dict(values))
    trained.save_pretrained(tmp_path / "trained")
    to_mini_omni(tmp_path / "trained", tmp_path / "back")
    head = torch.load(tmp_path / "back" / "lit_model.pth", weights_only=True)["lm_head.weight"]
    assert head.shape == (656, 16)
    assert not head[96:].any()


@pytest.mark.parametrize(
    ("damage", "changes", "message"),
    [
        (lambda s: s.pop("transformer.ln_f.weight"), {}, r"lacks the tensor transformer\.ln_f\.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), {}, "unknown tensors: extra"),
        (lambda s: s.update({"transformer.ln_f.weight": torch.zeros(3)}), {}, r"shape \(3,\), not \(16,\)"),
        (lambda s: None, {"n_layer": 1}, r"unknown tensors: transformer\.h\.1"),
        (lambda s: None, {"n_head": 3, "head_size": 4}, "rows are not 3 query"),
        (lambda s: None, {"norm_class_name": "LayerNorm"}, r"norm_class_name 'LayerNorm' \(not 'RMSNorm'\)"),
        (lambda s: None, {"asr_adapter": "conv"}, "asr_adapter 'conv'"),
        (lambda s: None, {"text_vocab_size": 200}, "has 656 rows; its config needs 760"),
        (lambda s: None, {"tie_word_embeddings": True}, "holds two different ones"),
    ],
)
def test_other_checkpoints_are_one_clear_error(tmp_path, damage, changes, message):
    state = original_weights("released")
    damage(state)
    write_original(tmp_path / "original", state, **changes)
    with pytest.raises(ValueError, match=message):
        from_mini_omni(tmp_path / "original", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_folder_without_weights_is_one_clear_error(tmp_path):
    with pytest.raises(ValueError, match=r"it needs lit_model\.pth and model_config\.yaml"):
        from_mini_omni(tmp_path, tmp_path / "ours")


def test_what_the_original_cannot_represent_is_named(tmp_path):
    write_original(tmp_path / "original", original_weights("released"))
    config = from_mini_omni(tmp_path / "original", tmp_path / "ours")
    values = config.to_dict() | {"stack": 5, "adapter_hidden": 7}
    (tmp_path / "ours" / "config.json").write_text(json.dumps(values))
    with pytest.raises(
        ValueError,
        match=r"cannot represent model\.stack=5 \(only 1\), model\.adapter_hidden=7 \(only the backbone's 24\)",
    ):
        to_mini_omni(tmp_path / "ours", tmp_path / "back")

"""The network over three families of backbones, at sizes that run in a moment."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import small_model
from support.small_model import FEATURE_WIDTH, LAYOUT
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config

import anytalk.model
from anytalk.model.config import MiniOmniConfig, backbone_fields
from anytalk.model.layout import IGNORE, Task, Turn
from anytalk.model.network import MiniOmni, mini_omni_0_5b

SIZES = {
    **small_model.SIZES,
    "num_hidden_layers": 3,
    "initializer_range": 0.02,
    "max_position_embeddings": 128,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


def backbone_config(family, tied):
    if family == "qwen2":
        return Qwen2Config(**SIZES, tie_word_embeddings=tied)
    if family == "llama":
        return LlamaConfig(**SIZES, tie_word_embeddings=tied)
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    window = {"sliding_window": 6, "layer_types": kinds, "query_pre_attn_scalar": 8, "head_dim": 8}
    return Gemma3TextConfig(**SIZES, **window, tie_word_embeddings=tied, final_logit_softcapping=5.0)


def config(family="qwen2", tied=False, **options):
    fields = backbone_fields(backbone_config(family, tied), LAYOUT)
    return MiniOmniConfig(LAYOUT, fields, FEATURE_WIDTH, **{"adapter_hidden": 20, **options})


def build(*args, seed=0, **options):
    torch.manual_seed(seed)
    model = MiniOmni(config(*args, **options)).eval()
    with torch.no_grad():  # norms away from one, so that a forgotten norm shows
        for name, x in model.named_parameters():
            if "norm" in name:
                x.copy_(torch.rand_like(x) + 0.5)
    return model


def spoken(positions=5, frames=3):
    codes = [tuple((3 * n + i) % 12 for i in range(7)) for n in range(frames)]
    return Turn(Task.A1A2, positions=positions, answer=[1, 2, 3], codes=codes)


def columns(*turns):
    return torch.tensor([LAYOUT.example(turns).streams])


def some_features(frames, seed=1):
    return torch.randn(frames, FEATURE_WIDTH, generator=torch.Generator().manual_seed(seed))


every_shape = pytest.mark.parametrize(
    ("family", "tied", "adapter_layers"),
    [
        ("qwen2", False, 0),
        ("qwen2", True, 2),
        ("llama", False, 2),
        ("llama", True, 0),
        ("gemma3", True, 2),
        ("gemma3", False, 0),
    ],
)


@pytest.mark.parametrize(("post_adapter", "parameters"), [(False, 694_294_400), (True, 809_861_120)])
def test_sizes_are_mini_omnis(post_adapter, parameters):
    with torch.device("meta"):
        model = mini_omni_0_5b(post_adapter=post_adapter)
    assert sum(x.numel() for x in model.parameters()) == parameters
    assert sum(x.numel() for x in model.whisper_adapter.parameters()) == 11_829_248
    if post_adapter:
        own = sum(x.numel() for x in model.tts_adapter.parameters()) + model.audio_head.weight.numel()
        assert own == parameters - 694_294_400 == 115_566_720


@every_shape
def test_logits_have_the_shape_of_their_stream(family, tied, adapter_layers):
    model = build(family, tied, tts_adapter_layers=adapter_layers)
    streams = columns(spoken())
    out = model(streams, features=[some_features(5)])
    T = streams.shape[2]
    assert out.text_logits.shape == (1, T, 48)
    assert out.audio_logits.shape == (1, 7, T, 18)
    assert (model.backbone.lm_head.weight is model.backbone.model.embed_tokens.weight) == tied


@pytest.mark.parametrize("family", ["qwen2", "llama", "gemma3"])
def test_eight_equal_streams_are_the_language_models_own_text(family):
    torch.manual_seed(0)
    language_model = AutoModelForCausalLM.from_config(backbone_config(family, tied=True)).eval()
    ids = torch.randint(0, 12, (2, 9))
    expected = language_model(input_ids=ids).logits
    model = MiniOmni.from_backbone(language_model, config(family, tied=True)).eval()
    with torch.no_grad():
        for layer in range(7):  # audio id x means text id x
            rows = model.audio_embedding.weight[18 * layer :]
            rows[:12] = model.backbone.get_input_embeddings().weight[:12]
    streams = torch.stack([*[ids + LAYOUT.shift(0, i) for i in range(7)], ids], dim=1)
    torch.testing.assert_close(model(streams).text_logits[..., :40], expected, atol=1e-5, rtol=1e-5)


def test_gemma_scales_every_stream_alike():
    model = build("gemma3", True)
    streams, features = columns(spoken(positions=2)), some_features(2)
    table = torch.cat([model.backbone.model.embed_tokens.weight, model.audio_embedding.weight])
    embedded = table[streams]
    adapted = model.whisper_adapter(model.whisper_adapter.stacked(features))
    embedded[0, :7, 1:3] = adapted
    torch.testing.assert_close(model.embed(streams, [features]), embedded.mean(1) * 32**0.5)


def test_features_take_the_place_of_the_seven_audio_streams():
    model = build()
    streams, features = columns(spoken(positions=2)), some_features(2)
    got = model.embed(streams, [features])
    adapted = model.whisper_adapter(model.whisper_adapter.stacked(features))
    pad_t = model.backbone.model.embed_tokens.weight[LAYOUT.pad_t]
    torch.testing.assert_close(got[0, 1:3], (7 * adapted + pad_t) / 8)
    plain = model.embed(streams)
    assert torch.equal(got[0, 3:], plain[0, 3:])
    assert torch.equal(got[0, 0], plain[0, 0])


def test_several_turns_bring_features_each_to_its_place():
    model = build()
    turns = [spoken(positions=2), spoken(positions=3)]
    prompt = LAYOUT.request(turns)
    streams = torch.tensor([prompt.streams])
    first, second = some_features(2), some_features(3, seed=2)
    pairs = list(zip(prompt.feature_starts, [first, second], strict=True))
    got = model.embed(streams, [pairs])
    alone = model.embed(torch.tensor([LAYOUT.request(turns[1:]).streams]), [second])
    torch.testing.assert_close(got[:, -alone.shape[1] :], alone)
    torch.testing.assert_close(got[:, :3], model.embed(streams[..., :3], [first]))


def test_linear_adapter_and_stacked_frames():
    model = build(adapter="linear", stack=3)
    features = some_features(7)  # three positions, the last with one frame and zeros
    weight, bias = model.whisper_adapter.down.weight, model.whisper_adapter.down.bias
    padded = torch.cat([features, torch.zeros(2, FEATURE_WIDTH)]).reshape(3, 3 * FEATURE_WIDTH)
    got = model.embed(columns(spoken(positions=3)), [features])
    pad_t = model.backbone.model.embed_tokens.weight[LAYOUT.pad_t]
    torch.testing.assert_close(got[0, 1:4], (7 * (padded @ weight.T + bias) + pad_t) / 8)


@every_shape
def test_left_padding_changes_nothing(family, tied, adapter_layers):
    model = build(family, tied, tts_adapter_layers=adapter_layers)
    short, long = columns(spoken(positions=2)), columns(spoken(positions=9))
    pad = long.shape[2] - short.shape[2]
    filled = torch.cat([torch.tensor(LAYOUT.padding)[None, :, None].expand(1, 8, pad), short], dim=2)
    mask = torch.ones(2, long.shape[2], dtype=torch.int64)
    mask[0, :pad] = 0
    features = [some_features(2), some_features(9)]
    together = model(torch.cat([filled, long]), features, attention_mask_BT=mask)
    for row, streams, start in ((0, short, pad), (1, long, 0)):
        alone = model(streams, [features[row]])
        torch.testing.assert_close(together.text_logits[row, start:], alone.text_logits[0])
        torch.testing.assert_close(together.audio_logits[row, :, start:], alone.audio_logits[0])


@every_shape
def test_cached_steps_equal_one_pass_and_a_reset_forgets_everything(family, tied, adapter_layers):
    model = build(family, tied, tts_adapter_layers=adapter_layers)
    streams, features = columns(spoken(positions=4, frames=8)), [some_features(4)]
    T = streams.shape[2]
    whole = model.hidden(streams, features)
    cache = model.new_cache(T)
    for _ in range(2):
        parts = [model.hidden(streams[..., :7], features, cache=cache)]
        parts += [model.hidden(streams[..., t : t + 1], cache=cache) for t in range(7, T)]
        assert cache.length == T
        for name in ("text", "audio"):
            stepped = torch.cat([getattr(part, name) for part in parts], dim=1)
            torch.testing.assert_close(stepped, getattr(whole, name), atol=1e-5, rtol=1e-5)
        cache.reset()
        assert cache.length == cache.tts_adapter.get_seq_length() == 0
    with pytest.raises(ValueError, match="holds 4 positions; 7 are needed"):
        model.hidden(streams[..., :7], cache=model.new_cache(4))


@pytest.mark.parametrize("family", ["qwen2", "gemma3"])
def test_a_backbone_that_reads_text_alone_is_the_language_model_and_hears(family):
    model = build(family, tts_adapter_layers=1, backbone_reads="text")
    streams, features = columns(spoken(positions=4, frames=8)), [some_features(4)]
    own = model.final_norm(model.backbone.base_model(input_ids=streams[:, -1]).last_hidden_state)
    torch.testing.assert_close(model.hidden(streams).text, own)
    louder = streams.clone()
    louder[:, :-1, -4:] = torch.tensor([LAYOUT.shift(3, i) for i in range(7)])[None, :, None]
    assert torch.equal(model.hidden(louder, features).text, model.hidden(streams, features).text)
    assert not torch.allclose(model.hidden(louder, features).audio, model.hidden(streams, features).audio)
    other = streams.clone()
    other[:, -1, 1:5] = 7  # where features stand, no text is read
    assert torch.equal(model.hidden(other, features).text, model.hidden(streams, features).text)
    T, cache = streams.shape[2], model.new_cache(streams.shape[2])
    parts = [model.hidden(streams[..., :7], features, cache=cache)]
    parts += [model.hidden(streams[..., t : t + 1], cache=cache) for t in range(7, T)]
    for name in ("text", "audio"):
        stepped = torch.cat([getattr(part, name) for part in parts], dim=1)
        torch.testing.assert_close(stepped, getattr(model.hidden(streams, features), name), atol=1e-4, rtol=1e-4)


def test_tts_adapter_reads_the_state_before_the_norm():
    model = build(tts_adapter_layers=2)
    streams = columns(spoken())
    before = model.hidden(streams)
    with torch.no_grad():
        model.final_norm.weight.mul_(3)
    after = model.hidden(streams)
    assert torch.equal(before.audio, after.audio)
    torch.testing.assert_close(3 * before.text, after.text)


def test_blocks_add_in_the_precision_of_the_residual_stream():
    model, read = build(tts_adapter_layers=1), []
    for block in (*model.backbone.base_model.layers, *model.tts_adapter.layers):
        block.register_forward_pre_hook(
            lambda _, given, named: read.append((*given, *named.values())[0]), with_kwargs=True
        )
    for chosen, expected in ((None, torch.float32), (torch.bfloat16, torch.bfloat16)):
        model.residual_dtype = chosen
        read.clear()
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.hidden(columns(spoken()))
        assert {x.dtype for x in read} == {expected}
        assert hidden.text.dtype == hidden.audio.dtype == torch.float32  # norms stay as they are


def test_tts_adapter_goes_on_with_the_backbones_last_kinds_of_blocks():
    model = build("gemma3", tts_adapter_layers=2)
    assert model.tts_adapter.config.layer_types == ["full_attention", "sliding_attention"]
    assert type(model.tts_adapter.layers[0]) is type(model.backbone.model.layers[0])


@pytest.mark.parametrize("adapter_layers", [0, 2])
def test_logits_at_chosen_positions_are_those_of_the_whole(adapter_layers):
    model = build(tts_adapter_layers=adapter_layers)
    example = LAYOUT.example([spoken()])
    streams, labels = torch.tensor([example.streams]), torch.tensor([example.labels])
    features = [some_features(5)]
    text_at = labels[:, -1] != IGNORE
    audio_at = (labels[:, :-1] != IGNORE).any(1)
    whole = model(streams, features)
    part = model(streams, features, text_at_BT=text_at, audio_at_BT=audio_at)
    torch.testing.assert_close(part.text_logits, whole.text_logits[text_at])
    torch.testing.assert_close(part.audio_logits, whole.audio_logits.transpose(1, 2)[audio_at])
    assert part.text_logits.shape[0] == 4
    assert part.audio_logits.shape[:2] == (11, 7)
    assert model(streams, features, heads="text").audio_logits is None
    assert model(streams, features, heads="audio").text_logits is None


@every_shape
def test_every_parameter_learns(family, tied, adapter_layers):
    model = build(family, tied, tts_adapter_layers=adapter_layers)
    out = model(columns(spoken()), [some_features(5)])
    (out.text_logits.logsumexp(-1).sum() + out.audio_logits.logsumexp(-1).sum()).backward()
    assert [name for name, x in model.named_parameters() if x.grad is None] == []


@pytest.mark.parametrize("family", ["qwen2", "gemma3"])
def test_checkpointed_half_precision_training_agrees(family):
    model = build(family, True, tts_adapter_layers=2).train()
    streams, features = columns(spoken()), [some_features(5).half()]

    def gradient():
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            out = model(streams, features)
            loss = out.text_logits.float().logsumexp(-1).mean() + out.audio_logits.float().logsumexp(-1).mean()
        loss.backward()
        return model.whisper_adapter.down.weight.grad.clone()

    plain = gradient()
    for part in (model.backbone, model.tts_adapter):
        part.activation_checkpointing_enable()
    torch.testing.assert_close(gradient(), plain)
    assert plain.abs().max() > 0


@every_shape
def test_a_saved_model_loads_as_it_was(tmp_path, family, tied, adapter_layers):
    tie_audio = tied and not adapter_layers
    model = build(family, tied, tts_adapter_layers=adapter_layers, tie_audio_head=tie_audio, codec={"sha": "1"})
    vocabulary = tmp_path / "tokenizer.json"
    vocabulary.write_text("{}")
    model.save_pretrained(tmp_path / "saved", tokenizer_files=[vocabulary])
    loaded = MiniOmni.from_pretrained(tmp_path / "saved")
    assert not loaded.training
    assert loaded.config == model.config
    assert (tmp_path / "saved" / "tokenizer.json").read_text() == "{}"
    streams, features = columns(spoken()), [some_features(5)]
    for got, expected in zip(loaded(streams, features), model(streams, features), strict=True):
        assert torch.equal(got, expected)
    assert (loaded.audio_head.weight is loaded.audio_embedding.weight) == tie_audio
    assert {p.stem for p in (tmp_path / "saved").iterdir()} == {"config", "model", "tokenizer"}


def test_bfloat16_keeps_rotary_frequencies_exact(tmp_path):
    build(tts_adapter_layers=2).save_pretrained(tmp_path)
    whole, half = MiniOmni.from_pretrained(tmp_path), MiniOmni.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {x.dtype for x in half.parameters()} == {torch.bfloat16}
    assert {x.dtype for x in half.buffers()} == {torch.float32}
    for a, b in zip(whole.buffers(), half.buffers(), strict=True):
        assert torch.equal(a, b)
    streams, features = columns(spoken()), [some_features(5).half()]
    assert half(streams, features).audio_logits.dtype == torch.bfloat16


def test_pretrained_backbone_keeps_its_rows_and_gets_new_ones_like_them():
    torch.manual_seed(0)
    backbone = AutoModelForCausalLM.from_config(backbone_config("qwen2", tied=False))
    before = backbone.get_input_embeddings().weight.detach().clone() * 3
    with torch.no_grad():
        backbone.get_input_embeddings().weight.mul_(3)
    model = MiniOmni.from_backbone(backbone, config())
    table = model.backbone.get_input_embeddings().weight
    assert torch.equal(table[:40], before)
    assert table.shape == (48, 32)
    assert table[40:].std().item() == pytest.approx(before.std().item(), rel=0.2)
    assert model.audio_embedding.weight.std().item() == pytest.approx(before.std().item(), rel=0.1)


def test_another_backbone_is_one_clear_error():
    other = AutoModelForCausalLM.from_config(Qwen2Config(**{**SIZES, "hidden_size": 16}, tie_word_embeddings=False))
    with pytest.raises(ValueError, match=r"differs from config\.backbone in hidden_size"):
        MiniOmni.from_backbone(other, config())
    larger = AutoModelForCausalLM.from_config(Qwen2Config(**{**SIZES, "vocab_size": 44}, tie_word_embeddings=False))
    with pytest.raises(ValueError, match="44 text rows; the layout's text_size is 40"):
        MiniOmni.from_backbone(larger, config())


def test_a_half_precision_backbone_makes_a_half_precision_model():
    backbone = AutoModelForCausalLM.from_config(backbone_config("gemma3", tied=True), dtype=torch.bfloat16)
    model = MiniOmni.from_backbone(backbone, config("gemma3", tied=True, tts_adapter_layers=2)).eval()
    assert {x.dtype for x in model.parameters()} == {torch.bfloat16}
    assert model(columns(spoken()), [some_features(5)]).audio_logits.isfinite().all()


def damaged(tmp_path, change):
    build().save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    change(state)
    save_file(state, tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("final_norm.weight"), "missing final_norm.weight$"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected extra$"),
        (
            lambda s: s.update({"final_norm.weight": torch.zeros(3)}),
            r"final_norm.weight has shape \(3,\), not \(32,\)$",
        ),
    ],
)
def test_wrong_tensors_are_one_clear_error(tmp_path, change, message):
    damaged(tmp_path, change)
    with pytest.raises(ValueError, match=message):
        MiniOmni.from_pretrained(tmp_path)


def test_wrong_checkpoints_are_one_clear_error(tmp_path):
    with pytest.raises(ValueError, match=r"not a checkpoint: it has no config\.json"):
        MiniOmni.from_pretrained(tmp_path)
    build().save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "stck": 2}))
    with pytest.raises(ValueError, match="unknown or missing: stck"):
        MiniOmni.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**values, "format": "other"}))
    with pytest.raises(ValueError, match="format is 'other'"):
        MiniOmni.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        MiniOmni.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"it has no model\.safetensors"):
        MiniOmni.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: config(adapter="conv"), "'swiglu' or 'linear'"),
        (lambda: config(stack=0), "stack 0"),
        (lambda: config(tts_adapter_layers=1, tie_audio_head=True), "tie_audio_head"),
        (lambda: config(unread_audio_head=True), "unread_audio_head"),
        (lambda: config(backbone_reads="text"), "needs a TTS adapter, which reads what is said aloud"),
        (lambda: config(backbone_reads="speech", tts_adapter_layers=1), "it may be 'streams' or 'text'"),
        (lambda: config(context_turns=-1), "context_turns is -1; it is 0 or more"),
        (
            lambda: MiniOmniConfig(LAYOUT, {"model_type": "qwen2", "vocab_size": 40}, 10),
            "the layout needs 48",
        ),
        (lambda: MiniOmniConfig(LAYOUT, {"vocab_size": 48}, 10), "needs a model_type"),
        (lambda: build()(torch.zeros(1, 7, 4, dtype=torch.int64)), "7 streams; this model has 8"),
        (lambda: build()(columns(spoken()), [some_features(99)]), r"features at 1..99 of \d+ positions"),
        (
            lambda: build()(columns(spoken()), [torch.zeros(5, 4)]),
            r"shape \(5, 4\); they need \(frames, 10\)",
        ),
        (lambda: build()(columns(spoken()), []), "features for 0 rows; the batch has 1"),
    ],
)
def test_wrong_shapes_are_one_clear_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_public_name_is_there():
    assert all(getattr(anytalk.model, name) is not None for name in anytalk.model.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = anytalk.model.nothing

"""The benchmarks of loading, training and talking, and what makes those fast: the same values as the slow way."""

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2Config

from anytalk.model.config import MiniOmniConfig, backbone_fields
from anytalk.model.decoding import decode
from anytalk.model.int8 import QuantisedBlock, quantise
from anytalk.model.layout import IGNORE, MINI_OMNI, Layout, Task, Turn
from anytalk.model.loss import StreamLoss, label_counts, weighted_mean
from anytalk.model.network import MiniOmni
from anytalk.pipelines.progress import Quiet
from anytalk.recipes.bench import load as bench_load
from anytalk.recipes.bench import scale as bench_scale
from anytalk.recipes.bench import talk as bench_talk
from anytalk.recipes.bench import train as bench_train
from anytalk.recipes.data.sample import Row, collate, turn
from anytalk.synth.errors import SetupError

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LAYOUT = Layout(text_size=320, codebook_size=4096, layers=7)
KEYS = {"name", "value", "unit", "naive", "ratio", "bound", "share_of_bound", "machine", "commit", "spread"}


def tiny_model(tts_adapter_layers=0, **shape):
    torch.manual_seed(0)
    config = MiniOmniConfig(
        LAYOUT,
        backbone_fields(Qwen2Config(**TINY, initializer_range=0.2, **shape), LAYOUT),
        feature_width=6,
        adapter_hidden=16,
        tts_adapter_layers=tts_adapter_layers,
    )
    return MiniOmni(config).eval()


def has_all_keys(figures, name):
    assert figures.keys() >= KEYS
    assert figures["name"] == name
    assert json.loads(json.dumps(figures)) == figures
    assert all(figures[key] > 0 for key in ("value", "naive", "ratio", "bound", "share_of_bound"))
    assert figures["spread"].keys() == {"value", "naive", "ratio"}


# Loading


@st.composite
def rows_of(draw, layout, count):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames = draw(st.lists(st.integers(1, 12), min_size=count, max_size=count))
    codes = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    words = draw(st.lists(st.integers(1, 20), min_size=2 * count, max_size=2 * count))
    return [
        Row(
            f"row-{n}",
            rng.integers(0, layout.text_size, words[2 * n]).astype(np.int32),
            rng.integers(0, layout.text_size, words[2 * n + 1]).astype(np.int32),
            rng.standard_normal((frames[n], 3)).astype(np.float16),
            rng.integers(0, layout.codebook_size, (codes[n], layout.layers)).astype(np.uint16),
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("task", list(Task))
@settings(max_examples=40, deadline=None)
@given(data=st.data(), layers=st.sampled_from([1, 3, 7]), stack=st.sampled_from([1, 4]), turns=st.integers(1, 3))
def test_arrays_hold_the_sequences_of_the_layout(task, data, layers, stack, turns):
    layout = Layout(text_size=30, codebook_size=16, layers=layers, text_specials=6, audio_specials=5)
    conversations = [data.draw(rows_of(layout, turns)) for _ in range(2)]
    batch = collate([(task, rows) for rows in conversations], layout, stack)
    assert batch.streams.shape == (2, layout.streams, max(batch.lengths))
    for b, rows in enumerate(conversations):
        example = layout.example([turn(task, row, stack) for row in rows])
        length = batch.lengths[b]
        assert length == len(example.streams[0])
        assert batch.streams[b, :, :length].tolist() == example.streams
        assert batch.labels[b, :, :length].tolist() == example.labels
        assert (batch.streams[b, :, length:] == torch.tensor(layout.padding)[:, None]).all()
        assert (batch.labels[b, :, length:] == IGNORE).all()
        assert [start for start, _ in batch.features[b]] == example.feature_starts
        heard = rows if task.hears else []
        assert all(
            np.array_equal(x.numpy(), row.features) for (_, x), row in zip(batch.features[b], heard, strict=True)
        )


def test_the_naive_collate_makes_the_same_tensors():
    rng = np.random.default_rng(0)
    rows = [
        Row(str(n), np.zeros(0, np.int32), rng.integers(0, 320, words).astype(np.int32), features, codes)
        for n, (words, features, codes) in enumerate(
            (words, rng.standard_normal((frames, 6)).astype(np.float16), rng.integers(0, 4096, (n, 7), np.uint16))
            for words, frames, n in ((3, 9, 12), (30, 4, 2), (1, 1, 1))
        )
    ]
    ours = collate([(Task.A1A2, [row]) for row in rows], LAYOUT, 1)
    read = [
        {
            "question_features": torch.from_numpy(row.features).float(),
            "answer_codes": torch.from_numpy(row.codes.astype(np.int64)),
            "tokens": torch.from_numpy(row.answer.astype(np.int64)),
        }
        for row in rows
    ]
    streams, labels, features, lengths = bench_load.PaddingCollate(LAYOUT)(read)
    assert streams.equal(ours.streams)
    assert labels.equal(ours.labels)
    assert lengths == ours.lengths
    for theirs, own in zip(features, ours.features, strict=True):
        assert [(start, x.tolist()) for start, x in theirs] == [(start, x.tolist()) for start, x in own]


@pytest.mark.filterwarnings("default")  # of third parties: deprecations in datasets and what it imports
def test_bench_load_gives_every_figure(write_dataset):
    figures = bench_load.bench(str(write_dataset()), 0.05, 300, 1, progress=Quiet(), shape=TINY, layout=LAYOUT)
    has_all_keys(figures, "load")
    assert figures["training"] > 0
    assert figures["rows"] == 20


def test_a_tokenizer_that_is_too_large_for_the_model_is_refused(write_dataset):
    small = Layout(text_size=20, codebook_size=4096, layers=7)
    _, rows = bench_train.open_rows(str(write_dataset()), LAYOUT)
    with pytest.raises(SetupError, match=r"the tokenizer gave token \d+; the model's text vocabulary has 20"):
        bench_load.Loader(rows, {Task.A1A2: 1.0}, small, seed=1, positions=300, max_positions=300)


# Training


def test_bench_train_gives_every_figure(write_dataset):
    figures = bench_train.bench(str(write_dataset()), 300, 1, progress=Quiet(), shape=TINY, layout=LAYOUT)
    has_all_keys(figures, "train")
    assert figures["parameters"] > 0
    assert figures["tflops_per_s"] > 0
    assert figures["memory_gib"] > 0.05


def test_bench_train_begins_no_repeat_when_its_time_is_up(write_dataset):
    folder = str(write_dataset())
    figures = bench_train.bench(folder, 300, 1, seconds=0.0, progress=Quiet(), shape=TINY, layout=LAYOUT)
    assert figures["spread"] is None


def test_bench_train_knows_the_shape_of_mini_omni(write_dataset):
    _, rows = bench_train.open_rows(str(write_dataset()), LAYOUT)
    with torch.device("meta"):
        model = bench_train.random_model(bench_train.MINI_OMNI_SHAPE, MINI_OMNI, rows)
    assert sum(x.numel() for x in model.backbone.parameters()) == pytest.approx(630e6, rel=0.01)


def test_the_plain_loop_minimises_what_the_trainer_minimises(write_dataset):
    _, rows = bench_train.open_rows(str(write_dataset()), LAYOUT)
    model = tiny_model()
    [batch, *_] = bench_train.plain_batches(rows, LAYOUT, 300)
    plain = bench_train.PlainLoop(copy.deepcopy(model), [batch], torch.device("cpu"))
    sums_K = StreamLoss(model)(batch.streams, batch.labels, batch.features)
    torch.testing.assert_close(plain.loss(batch), weighted_mean(sums_K, label_counts(batch.labels)))


# Talking


def test_bench_talk_gives_every_figure():
    figures = bench_talk.bench(None, 6, 1, progress=Quiet(), model=tiny_model())
    has_all_keys(figures, "talk")
    assert figures["agreement"]["steps"] == 7
    assert all(
        0 <= figures["agreement"][f"{how}_{what}"] <= 1 for how in ("forced", "free") for what in ("text", "audio")
    )


@pytest.mark.parametrize("tts_adapter_layers", [0, 1])
def test_the_plain_loop_and_decoding_say_the_same(tts_adapter_layers):
    model = tiny_model(tts_adapter_layers)
    request = bench_talk.question(model, 9)
    with torch.inference_mode():
        plain = bench_talk.PlainLoop(model, request)
        said = [plain.column, *(plain.step() for _ in range(12))]
    ours = [step.column for step in decode(model, [request], parallel=True, max_positions=12 + 13)]
    assert ours == said


def test_quantised_logits_are_near(tmp_path):
    model = tiny_model(1)
    fast = quantise(copy.deepcopy(model))
    streams = torch.tensor([LAYOUT.prompt(Turn(Task.A1A2, positions=9))])
    features = [torch.randn(9, 6)]
    with torch.inference_mode():
        for slow, quick in zip(model(streams, features), fast(streams, features), strict=True):
            assert (slow - quick).std() < 0.03 * slow.std()
    with pytest.raises(TypeError, match="a quantised model cannot be saved"):
        fast.save_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("turns", [[5, 5], [5, 8]], ids=["alike", "padded"])
def test_a_quantised_block_computes_what_its_quantised_layers_do(turns, monkeypatch):
    model = tiny_model(1)
    requests = [bench_talk.question(model, frames) for frames in turns]
    whole = quantise(copy.deepcopy(model))
    monkeypatch.setattr("anytalk.model.int8.LLAMA_SHAPED", ())
    by_layer = quantise(copy.deepcopy(model))
    blocks = model.backbone.config.num_hidden_layers + model.config.tts_adapter_layers
    assert sum(isinstance(part, QuantisedBlock) for part in whole.modules()) == blocks
    assert not any(isinstance(part, QuantisedBlock) for part in by_layer.modules())

    def states(fast):
        seen = []
        fast.final_norm.register_forward_hook(lambda *call: seen.append(call[-1]))
        steps = list(decode(fast, requests, parallel=True, max_positions=40))
        return steps, seen

    (steps, seen), (same_steps, same) = states(whole), states(by_layer)
    assert steps == same_steps
    assert len(seen) > 10
    for state, other in zip(seen, same, strict=True):
        torch.testing.assert_close(state, other, rtol=1e-3, atol=1e-3)


def test_a_quantised_layer_is_as_exact_as_its_weights_and_does_not_mix_rows():
    linear = torch.nn.Linear(64, 40)
    fast = quantise(torch.nn.Sequential(copy.deepcopy(linear)))
    x = torch.randn(5, 3, 64) * torch.tensor([1e-3, 1.0, 1e3])[:, None]
    x[0, 0] = 0.0
    scales = linear.weight.abs().amax(1, keepdim=True) / 127
    linear.weight.data = (linear.weight / scales).round() * scales
    with torch.inference_mode():
        exact, out = linear(x), fast(x)
        assert ((out - exact).abs() <= 1e-3 * exact.abs().amax(-1, keepdim=True)).all()
        for row in range(5):
            assert fast(x[row]).equal(out[row])


def test_only_float32_is_quantised():
    with pytest.raises(ValueError, match=r"int8 takes float32 weights on the CPU, not torch.bfloat16"):
        quantise(torch.nn.Sequential(torch.nn.Linear(4, 4, dtype=torch.bfloat16)))


# Scaling


@pytest.mark.slow
@pytest.mark.usefixtures("on_ray")
def test_the_scaling_bench_gives_the_driver_s_cost_and_how_far_crews_are_from_linear():
    figures = bench_scale.bench(crews=2, nodes=2, units=1, unit_s=1.0, progress=Quiet())
    assert figures.keys() >= KEYS
    assert figures["name"] == "scale"
    assert figures["driver_ms_per_row"] * figures["value"] == pytest.approx(1000, rel=0.01)
    assert figures["efficiency"].keys() == {"1", "2"}
    assert figures["crews_per_node"] == [1, 1]
    assert "crews on each node: 1, 1" in bench_scale.text(figures)

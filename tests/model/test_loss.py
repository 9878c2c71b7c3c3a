"""The loss equals the naive one, and costs only what is labelled."""

import math

import pytest
import torch
from torch.nn import functional
from transformers import Gemma2Config, Qwen2Config

from anytalk.model import loss
from anytalk.model.config import MiniOmniConfig, backbone_fields
from anytalk.model.layout import IGNORE, Layout, Task, Turn
from anytalk.model.loss import StreamLoss, label_counts, linear_cross_entropy, weighted_mean
from anytalk.model.network import MiniOmni

LAYOUT = Layout(text_size=40, codebook_size=12, layers=7, text_specials=8, audio_specials=6)
HEADS, ROWS, WIDTH, POSITIONS = 3, 50, 16, 21
ALL = {Task.A1A2: 5, Task.T1T2: 0, Task.T1A1: 0, Task.A1T1: 7}


def model(tts_adapter_layers=0):
    torch.manual_seed(0)
    shape = Qwen2Config(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    fields = backbone_fields(shape, LAYOUT)
    return MiniOmni(MiniOmniConfig(LAYOUT, fields, 6, adapter_hidden=20, tts_adapter_layers=tts_adapter_layers))


def batch(tasks):
    """Streams, labels and features of one sample a task, padded on the right."""
    rng = torch.Generator().manual_seed(1)
    examples, features = [], []
    for number, (task, positions) in enumerate(tasks.items()):
        question = () if task.hears else [1, 2, 3 + number]
        codes = torch.randint(0, 12, (4 + number, 7), generator=rng).tolist() if task.speaks else ()
        examples.append(LAYOUT.example([Turn(task, positions, question, [7, 8, 9, 10 + number], codes)]))
        features.append([(1, torch.randn(positions, 6, generator=rng).half())] if task.hears else [])
    length = max(len(example.streams[0]) for example in examples)
    streams = torch.tensor(LAYOUT.padding)[:, None].repeat(len(examples), 1, length)
    labels = torch.full_like(streams, IGNORE)
    for b, example in enumerate(examples):
        streams[b, :, : len(example.streams[0])] = torch.tensor(example.streams)
        labels[b, :, : len(example.labels[0])] = torch.tensor(example.labels)
    return streams, labels, features


def naive_means(network, streams, labels, features):
    """Cross-entropy of each stream over full logits."""
    out = network(streams, features)
    logits = [*out.audio_logits.unbind(1), out.text_logits]
    return [functional.cross_entropy(x.transpose(1, 2), labels[:, k]) for k, x in enumerate(logits)]


@pytest.mark.parametrize("chunk", [0, 5])
@pytest.mark.parametrize("tts_adapter_layers", [0, 2])
def test_it_equals_the_loss_over_full_logits(tts_adapter_layers, chunk):
    network = model(tts_adapter_layers)
    streams, labels, features = batch(ALL)
    naive = torch.stack(naive_means(network, streams, labels, features)).mean()
    naive.backward()
    expected = {name: x.grad.clone() for name, x in network.named_parameters() if x.grad is not None}
    network.zero_grad()
    sums = StreamLoss(network, chunk)(streams, labels, features)
    fused = weighted_mean(sums, label_counts(labels))
    fused.backward()
    assert fused.item() == pytest.approx(naive.item(), abs=1e-5)
    for name, grad in expected.items():
        torch.testing.assert_close(dict(network.named_parameters())[name].grad, grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("chunk", [0, 5])
def test_a_text_head_with_a_cap_on_its_logits_equals_it_too(chunk):
    torch.manual_seed(0)
    shape = Gemma2Config(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        final_logit_softcapping=0.5,
    )
    network = MiniOmni(MiniOmniConfig(LAYOUT, backbone_fields(shape, LAYOUT), 6, adapter_hidden=20))
    assert network.linear_text_head is None
    streams, labels, features = batch(ALL)
    naive = torch.stack(naive_means(network, streams, labels, features)).mean()
    expected = torch.autograd.grad(naive, network.final_norm.weight)[0]
    fused = weighted_mean(StreamLoss(network, chunk)(streams, labels, features), label_counts(labels))
    assert fused.item() == pytest.approx(naive.item(), abs=1e-5)
    torch.testing.assert_close(torch.autograd.grad(fused, network.final_norm.weight)[0], expected, atol=1e-5, rtol=1e-4)


def test_streams_are_weighed_as_asked():
    network = model()
    streams, labels, features = batch(ALL)
    weights = torch.tensor([1.0, 0, 0, 0, 0, 0, 0.5, 3.0])
    means = naive_means(network, streams, labels, features)
    expected = (means[0] + 0.5 * means[6] + 3.0 * means[7]) / 4.5
    sums = StreamLoss(network)(streams, labels, features)
    assert weighted_mean(sums, label_counts(labels), weights).item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_stream_without_labels_counts_on_neither_side():
    network = model()
    streams, labels, features = batch({Task.T1T2: 0})
    sums = StreamLoss(network)(streams, labels, features, audio=False)
    assert label_counts(labels).tolist() == [0] * 7 + [5]
    text = naive_means(network, streams, labels, features)[-1]
    assert weighted_mean(sums, label_counts(labels)).item() == pytest.approx(text.item(), abs=1e-5)


def test_heads_see_labelled_positions_only(monkeypatch):
    network = model()
    streams, labels, features = batch(ALL)
    seen = []

    def counted(states_ND, weight_RD, labels_NH, chunk):
        seen.append((labels_NH.shape[1], len(states_ND)))
        return linear_cross_entropy(states_ND, weight_RD, labels_NH, chunk)

    monkeypatch.setattr(loss, "linear_cross_entropy", counted)
    StreamLoss(network)(streams, labels, features)
    counts = label_counts(labels)
    assert seen == [(1, int(counts[7])), (7, int(counts[0]))]
    assert seen[0][1] < streams[:, 0].numel() / 2


def test_every_part_has_a_gradient_whatever_a_batch_holds():
    network = model(tts_adapter_layers=1)
    streams, labels, _ = batch({Task.T1T2: 0})
    StreamLoss(network)(streams, labels).sum().backward()
    missing = [name for name, x in network.named_parameters() if x.grad is None]
    assert missing == []
    assert network.whisper_adapter.down.weight.grad.abs().max() == 0
    assert network.audio_head.weight.grad.abs().max() == 0


def test_nothing_labelled_is_no_loss():
    assert weighted_mean(torch.zeros(8), torch.zeros(8)).item() == 0.0
    assert math.isnan(weighted_mean(torch.full((8,), math.nan), torch.ones(8)).item())


def given(seed=0):
    rng = torch.Generator().manual_seed(seed)
    states_ND = torch.randn(POSITIONS, WIDTH, generator=rng, requires_grad=True)
    weight_HVD = torch.randn(HEADS, ROWS, WIDTH, generator=rng, requires_grad=True)
    labels_NH = torch.randint(0, ROWS, (POSITIONS, HEADS), generator=rng)
    labels_NH[::4, 0] = IGNORE
    labels_NH[:, 2] = IGNORE
    return states_ND, weight_HVD, labels_NH


def product(states_ND, weight_HVD, labels_NH):
    """The sums of each head, the plain way."""
    sums = [
        functional.cross_entropy((states_ND @ rows.T).float(), labels, ignore_index=IGNORE, reduction="sum")
        for rows, labels in zip(weight_HVD, labels_NH.T, strict=True)
    ]
    return torch.stack(sums)


@pytest.mark.parametrize("chunk", [0, 1, 8, POSITIONS, 1000])
def test_sums_and_gradients_equal_those_of_a_product(chunk):
    weights_H = torch.tensor([0.5, 2.0, 1.0])
    states_ND, weight_HVD, labels_NH = given()
    expected = product(states_ND, weight_HVD, labels_NH)
    by_hand = torch.autograd.grad((expected * weights_H).sum(), (states_ND, weight_HVD))
    sums = linear_cross_entropy(states_ND, weight_HVD.flatten(0, 1), labels_NH, chunk)
    torch.testing.assert_close(sums, expected)
    assert sums[2] == 0
    found = torch.autograd.grad((sums * weights_H).sum(), (states_ND, weight_HVD))
    torch.testing.assert_close(found, by_hand)


@pytest.mark.parametrize("chunk", [0, 8])
def test_bfloat16_is_that_of_autocast(chunk):
    states_ND, weight_HVD, labels_NH = given()
    with torch.autocast("cpu", torch.bfloat16):
        expected, sums = product(*given()), linear_cross_entropy(states_ND, weight_HVD.flatten(0, 1), labels_NH, chunk)
    assert sums.dtype == torch.float32
    torch.testing.assert_close(sums, expected, rtol=2e-3, atol=0.0)
    sums.sum().backward()
    assert states_ND.grad.dtype == weight_HVD.grad.dtype == torch.float32
    exact_states, exact_weight, _ = given()
    product(exact_states, exact_weight, labels_NH).sum().backward()
    for grad, exact in ((states_ND.grad, exact_states.grad), (weight_HVD.grad, exact_weight.grad)):
        assert functional.cosine_similarity(grad.flatten(), exact.flatten(), dim=0) > 0.999


def test_what_is_frozen_gets_no_gradient():
    states_ND, weight_HVD, labels_NH = given()
    linear_cross_entropy(states_ND, weight_HVD.detach().flatten(0, 1), labels_NH).sum().backward()
    assert states_ND.grad is not None
    states_ND.grad = None
    linear_cross_entropy(states_ND.detach(), weight_HVD.flatten(0, 1), labels_NH).sum().backward()
    assert weight_HVD.grad is not None
    assert states_ND.grad is None
    with torch.no_grad():
        assert not linear_cross_entropy(states_ND, weight_HVD.flatten(0, 1), labels_NH).requires_grad


def test_large_logits_do_not_overflow():
    states_ND, weight_HVD, labels_NH = given()
    sums = linear_cross_entropy(states_ND * 1e4, weight_HVD.flatten(0, 1), labels_NH)
    torch.testing.assert_close(sums, product(states_ND * 1e4, weight_HVD, labels_NH))

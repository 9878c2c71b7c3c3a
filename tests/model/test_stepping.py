"""Steps of fixed shapes, as a CUDA graph takes them: masked rows and positions change no answer."""

import pytest
import torch
from support.small_model import FEATURE_WIDTH, LAYOUT, SIZES
from transformers import Gemma3TextConfig, Qwen2Config

from anytalk.model.batch import Request
from anytalk.model.config import MiniOmniConfig, backbone_fields
from anytalk.model.decoding import ContinuousDecoding, decode
from anytalk.model.layout import Task, Turn
from anytalk.model.network import MiniOmni
from anytalk.model.sampling import GREEDY, Sampling

POSITIONS = 300
WINDOW = {"head_dim": 8, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
SAMPLED = Sampling(temperature=1.0, top_k=8, top_p=0.9, repetition_penalty=1.2, repetition_window=5)

pytestmark = pytest.mark.usefixtures("one_thread")


def build(adapter_layers=0, shape=None):
    torch.manual_seed(0)
    fields = backbone_fields(shape or Qwen2Config(**SIZES), LAYOUT)
    config = MiniOmniConfig(LAYOUT, fields, FEATURE_WIDTH, adapter_hidden=20, tts_adapter_layers=adapter_layers)
    return MiniOmni(config).eval()


def a_request(task, seed, max_frames=None, device="cpu"):
    length = 3 + seed % 7
    if task.hears:
        heard = torch.randn(length, FEATURE_WIDTH, generator=torch.Generator().manual_seed(seed)).to(device)
        return Request([Turn(task, positions=length)], [heard], seed, max_frames)
    return Request([Turn(task, question=[(seed + n) % 40 for n in range(length)])], (), seed, max_frames)


def requests_of(tasks, device="cpu"):
    return [a_request(task, n, 5 + 3 * n, device) for n, task in enumerate(tasks)]


def said(steps):
    return [(step.request, step.column, step.text, step.frame, step.end) for step in steps]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
@pytest.mark.parametrize(("adapter_layers", "shape"), [(0, None), (1, None), (1, Gemma3TextConfig(**SIZES, **WINDOW))])
def test_fixed_shapes_say_the_same(adapter_layers, shape, sampling):
    model, requests = build(adapter_layers, shape), requests_of([Task.A1A2, Task.T1T2, Task.T1A2, Task.T1A1, Task.A1T1])
    options = {"text": sampling, "audio": sampling, "parallel": True, "max_positions": POSITIONS}
    assert said(decode(model, requests, fixed=True, **options)) == said(decode(model, requests, **options))


def test_an_answer_goes_on_over_a_bucket_of_positions():
    model, request = build(), a_request(Task.A1A2, 1, 150)
    with torch.no_grad():  # it says no special id, so it speaks on
        model.audio_head.weight.view(7, LAYOUT.audio_vocabulary, -1)[:, LAYOUT.codebook_size :] = 0
    fixed, exact = (list(decode(model, [request], fixed=each, max_positions=POSITIONS)) for each in (True, False))
    assert len(exact) > 128
    assert said(fixed) == said(exact)


def test_what_a_seed_draws_does_not_depend_on_the_batch():
    model, requests = build(1), requests_of([Task.A1A2, Task.T1A2, Task.A1A2, Task.T1T2])
    options = {"text": SAMPLED, "audio": SAMPLED, "parallel": True, "max_positions": POSITIONS}
    together = said(decode(model, requests, **options))
    for n, request in enumerate(requests):
        alone = [(n, *rest) for _, *rest in said(decode(model, [request], **options))]
        assert [each for each in together if each[0] == n] == alone


def test_a_backbone_of_unknown_blocks_is_refused():
    model = build()
    model.backbone.config.layer_types = ["chunked_attention", "full_attention"]
    with pytest.raises(ValueError, match="knows full and sliding attention; this backbone has chunked_attention"):
        ContinuousDecoding(model)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
@pytest.mark.parametrize("adapter_layers", [0, 1])
def test_graphs_say_what_single_kernels_say(adapter_layers, sampling):
    model = build(adapter_layers).cuda()
    requests = requests_of([Task.A1A2, Task.T1T2, Task.T1A2, Task.A1T1], "cuda")
    options = {"text": sampling, "audio": sampling, "parallel": True, "max_positions": POSITIONS}
    graphs, kernels = (said(decode(model, requests, fixed=fixed, **options)) for fixed in (True, False))
    assert graphs == kernels


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_serve_again_until_the_memory_grows():
    model = build().cuda()
    decoding = ContinuousDecoding(model, max_positions=POSITIONS)
    few, many = requests_of([Task.A1A2], "cuda"), requests_of([Task.A1A2] * 3, "cuda")
    first = decoding.answer_all(few, parallel=True)
    captured = {**decoding._step._graphs}
    assert captured
    again = decoding.answer_all(few, parallel=True)
    assert decoding._step._graphs == captured
    decoding.answer_all(many, parallel=True)
    grown = decoding.answer_all(few, parallel=True)
    assert first[0].text == again[0].text == grown[0].text
    assert first[0].codes.tolist() == again[0].codes.tolist() == grown[0].codes.tolist()

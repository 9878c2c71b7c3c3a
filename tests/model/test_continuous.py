"""Requests that join and leave a running batch: each gets the answer that it gets alone."""

import random

import pytest
import torch
from support.small_model import FEATURE_WIDTH, LAYOUT, SIZES
from transformers import Gemma3TextConfig, Qwen2Config

from anytalk.model.batch import Request
from anytalk.model.config import MiniOmniConfig, backbone_fields
from anytalk.model.decoding import ContinuousDecoding, decode
from anytalk.model.int8 import quantise
from anytalk.model.layout import Task, Turn
from anytalk.model.network import MiniOmni

POSITIONS = 90

pytestmark = pytest.mark.usefixtures("one_thread")


def build(adapter_layers=0, shape=None, **options):
    torch.manual_seed(0)
    shape = shape or Qwen2Config(**SIZES)
    fields = backbone_fields(shape, LAYOUT)
    return MiniOmni(
        MiniOmniConfig(LAYOUT, fields, FEATURE_WIDTH, adapter_hidden=20, tts_adapter_layers=adapter_layers, **options)
    ).eval()


def a_request(task, seed, max_frames=None):
    rng = torch.Generator().manual_seed(seed)
    length = 3 + seed % 7
    if task.hears:
        return Request(
            [Turn(task, positions=length)], [torch.randn(length, FEATURE_WIDTH, generator=rng)], 0, max_frames
        )
    return Request([Turn(task, question=torch.randint(0, 40, (length,), generator=rng).tolist())], (), 0, max_frames)


def said(steps):
    return [(step.column, step.text, step.frame, step.end) for step in steps]


def alone(model, request, parallel=True):
    return said(decode(model, [request], parallel=parallel, max_positions=POSITIONS))


def run(decoding, arrivals, *, leaves=()):
    """Let requests join at their steps; give what each said. `leaves` are (step, name) of some that go early."""
    names, steps = {}, {name: [] for _, name, _ in arrivals}
    pending = sorted(arrivals, key=lambda arrival: arrival[0])
    for at in range(10_000):
        while pending and pending[0][0] <= at:
            _, name, request = pending.pop(0)
            names[decoding.join(request, parallel=True)] = name
        for number, name in list(names.items()):
            if (at, name) in leaves:
                decoding.leave(number)
                del names[number]
        if not names and not pending:
            return {name: said(each) for name, each in steps.items()}
        for step in decoding.step() if names else ():
            steps[names[step.request]].append(step)
            if step.end is not None:
                decoding.leave(step.request)
                del names[step.request]


@pytest.mark.parametrize("adapter_layers", [0, 1])
def test_each_gets_the_tokens_it_would_get_alone_on_every_task(adapter_layers):
    model = build(adapter_layers)
    rng = random.Random(0)
    arrivals = [(rng.randrange(60), n, a_request(task, n, 5 + n)) for n, task in enumerate([*Task] * 3)]
    together = run(ContinuousDecoding(model, max_positions=POSITIONS), arrivals)
    for _, name, request in arrivals:
        assert together[name] == alone(model, request)


def test_a_backbone_that_reads_text_alone_takes_one_row_and_is_answered_alike():
    model = build(1, backbone_reads="text")
    requests = [a_request(task, n, 6) for n, task in enumerate([Task.A1A2, Task.T1A2, Task.A1T2])]
    decoding = ContinuousDecoding(model, max_positions=POSITIONS)
    found = run(decoding, [(n, n, request) for n, request in enumerate(requests)])
    assert found == {n: alone(model, request, parallel=False) for n, request in enumerate(requests)}
    kept, read = a_conversation(model, ContinuousDecoding(model, max_positions=200), 3, keep=True)
    again, all_read = a_conversation(model, ContinuousDecoding(model, max_positions=200), 3, keep=False)
    assert kept == again
    assert sum(read) < sum(all_read)
    spoken = [text for _, text, _, _ in found[0] if text is not None]
    silent = Request([Turn(Task.A1T2, positions=requests[0].turns[0].positions)], requests[0].features, 0, 6)
    written = [text for _, text, _, _ in alone(model, silent) if text is not None]
    assert spoken[: len(written)] == written[: len(spoken)]


def test_one_that_leaves_early_disturbs_nobody():
    model = build()
    arrivals = [(n, n, a_request(task, n, 12)) for n, task in enumerate([Task.A1A2, Task.T1A2, Task.A1A2, Task.A1T2])]
    decoding = ContinuousDecoding(model, max_positions=POSITIONS)
    together = run(decoding, arrivals, leaves={(6, 0), (9, 2)})
    for _, name, request in arrivals:
        expected = alone(model, request)
        assert together[name] == (expected[: [6, None, 7, None][name]])
    assert len(decoding) == 0


def test_int8_answers_do_not_depend_on_the_batch_either():
    model = quantise(build())
    arrivals = [(3 * n, n, a_request(Task.A1A2, n, 10)) for n in range(5)]
    together = run(ContinuousDecoding(model, max_positions=POSITIONS), arrivals)
    for _, name, request in arrivals:
        assert together[name] == alone(model, request)


def a_conversation(model, decoding, turns, keep):
    """Ask some spoken questions one after the other; give the answers, and how many columns each join read."""
    read, answers, asked, features, prefix = [], [], [], [], None
    reading = decoding._cache.read_alone
    decoding._cache.read_alone = lambda row, positions: (read.append(positions), reading(row, positions))
    for seed in range(turns):
        question = a_request(Task.A1A2, seed)
        features += question.features
        number = decoding.join(Request([*asked, *question.turns], features, 0, 6), parallel=True, prefix=prefix)
        steps = []
        while not steps or steps[-1].end is None:
            steps += decoding.step()
        prefix = decoding.leave(number, keep=keep)
        answers.append(said(steps))
        text = [step.text for step in steps if step.text is not None]
        codes = [step.frame for step in steps if step.frame is not None]
        asked.append(Turn(Task.A1A2, question.turns[0].positions, answer=text, codes=codes))
    return answers, read


@pytest.mark.parametrize("adapter_layers", [0, 1])
def test_a_conversation_reads_its_turns_once_and_answers_alike(adapter_layers):
    model = build(adapter_layers)
    again, all_read = a_conversation(model, ContinuousDecoding(model, max_positions=200), 4, keep=False)
    kept, read = a_conversation(model, ContinuousDecoding(model, max_positions=200), 4, keep=True)
    assert kept == again
    assert read[0] == all_read[0]
    assert sum(read) < sum(all_read) / 2


def test_a_prefix_that_heard_something_else_is_read_again():
    model = build()
    decoding = ContinuousDecoding(model, max_positions=POSITIONS)
    one, other = a_request(Task.A1A2, 0, 4), a_request(Task.A1A2, 7, 4)
    assert one.turns[0].positions == other.turns[0].positions
    number = decoding.join(one, parallel=True)
    decoding.step()
    prefix = decoding.leave(number, keep=True)
    number = decoding.join(other, parallel=True, prefix=prefix)
    steps = []
    while not steps or steps[-1].end is None:
        steps += decoding.step()
    assert said(steps) == alone(model, other)


def test_what_cannot_join_leaves_the_batch_as_it_was():
    model = build()
    decoding = ContinuousDecoding(model, max_positions=POSITIONS)
    request = a_request(Task.A1A2, 1, 5)
    number = decoding.join(request, parallel=True)
    steps = decoding.step()
    with pytest.raises(ValueError, match="no room to answer"):
        decoding.join(Request([Turn(Task.T1A2, question=[1] * POSITIONS)]))
    with pytest.raises(ValueError, match="the features take"):
        decoding.join(Request([Turn(Task.A1A2, positions=3)], [torch.zeros(9, FEATURE_WIDTH)]))
    while steps[-1].end is None:
        steps += decoding.step()
    decoding.leave(number)
    assert said(steps) == alone(model, request)


def test_a_backbone_with_windows_answers_alike():
    window = {"head_dim": 8, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
    model = build(1, Gemma3TextConfig(**SIZES, **window))
    arrivals = [(2 * n, n, a_request(task, n, 12)) for n, task in enumerate([Task.A1A2, Task.T1T2, Task.T1A2])]
    together = run(ContinuousDecoding(model, max_positions=POSITIONS), arrivals)
    for _, name, request in arrivals:
        assert together[name] == alone(model, request)


def test_a_batch_serves_again_and_is_empty_after_an_answer_that_nobody_hears_out():
    model = build()
    decoding = ContinuousDecoding(model, max_positions=POSITIONS)
    first, second = a_request(Task.A1A2, 1, 9), a_request(Task.T1A2, 4, 9)
    given_up = decoding.run([first, second], parallel=True)
    next(given_up)
    with pytest.raises(ValueError, match="2 requests are being answered"):
        next(decoding.run([second]))
    given_up.close()
    assert len(decoding) == 0
    assert said(decoding.run([second], parallel=True)) == alone(model, second)
    assert said(decoding.run([first], parallel=True)) == alone(model, first)

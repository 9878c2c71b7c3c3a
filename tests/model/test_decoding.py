"""The decoding loop, against a plain loop without a cache and against a model that has learned what to say."""

import pytest
import torch
from support.small_model import FEATURE_WIDTH, LAYOUT, SIZES
from torch.nn import functional
from transformers import Gemma3TextConfig, LlamaConfig, Qwen2Config

from anytalk.model.batch import Request
from anytalk.model.config import MiniOmniConfig, backbone_fields
from anytalk.model.decoding import decode, generate
from anytalk.model.layout import IGNORE, Task, Turn
from anytalk.model.network import MiniOmni
from anytalk.model.sampling import Sampling, choose

FAMILIES = {"qwen2": Qwen2Config, "llama": LlamaConfig, "gemma3": Gemma3TextConfig}
OTHERS = {"max_position_embeddings": 128, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
WINDOW = {"head_dim": 8, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}


def build(family="qwen2", adapter_layers=0, seed=0):
    torch.manual_seed(seed)
    shape = FAMILIES[family](**SIZES, **OTHERS, **(WINDOW if family == "gemma3" else {}))
    config = MiniOmniConfig(
        LAYOUT,
        backbone_fields(shape, LAYOUT),
        FEATURE_WIDTH,
        adapter_hidden=20,
        tts_adapter_layers=adapter_layers,
    )
    return MiniOmni(config).eval()


def features(frames, seed=0):
    return torch.randn(frames, FEATURE_WIDTH, generator=torch.Generator().manual_seed(seed))


def codes(frames, seed):
    return [tuple((5 * n + 3 * i + seed) % 12 for i in range(7)) for n in range(frames)]


def known_turns():
    """One turn of each task, with an answer to learn."""
    turns = []
    for k, task in enumerate(Task):
        question = () if task.hears else (k + 1, 2 * k + 1, 7)
        answer = question if task is Task.T1A1 else tuple(range(20 + k, 24 + 2 * k))
        spoken = codes(3 + k, k) if task.speaks else ()
        turns.append(Turn(task, positions=4 + k if task.hears else 0, question=question, answer=answer, codes=spoken))
    return turns


def asked(turn, seed=0):
    return Request([turn], [features(turn.positions, turn.positions)] if turn.task.hears else [], seed)


@pytest.fixture(scope="module")
def learned():
    """A model of the paper's kind that has learned `known_turns` by heart."""
    model = build(adapter_layers=1)
    examples = [LAYOUT.example([turn]) for turn in known_turns()]
    heard = [asked(turn).features for turn in known_turns()]
    T = max(len(example.labels[0]) for example in examples)
    streams, labels = torch.tensor(LAYOUT.padding).repeat(6, T, 1).mT.clone(), torch.full((6, 8, T), IGNORE)
    for row, example in enumerate(examples):
        length = len(example.labels[0])
        streams[row, :, :length] = torch.tensor(example.streams)
        labels[row, :, :length] = torch.tensor(example.labels)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        out = model(streams, [x[0] if x else None for x in heard])
        loss = functional.cross_entropy(out.text_logits.mT, labels[:, -1], ignore_index=IGNORE)
        loss = loss + functional.cross_entropy(
            out.audio_logits.permute(0, 3, 1, 2), labels[:, :-1], ignore_index=IGNORE
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@pytest.mark.parametrize("parallel", [False, True])
def test_a_model_says_what_it_learned(learned, parallel):
    turns = [turn for turn in known_turns() if not (parallel and turn.task.speaks and turn.task.writes)]
    answers = generate(learned, [asked(turn) for turn in turns], parallel=parallel)
    for turn, answer in zip(turns, answers, strict=True):
        assert answer.text == list(turn.answer)
        assert [tuple(frame) for frame in answer.codes.tolist()] == list(turn.codes)
        assert answer.end == ("eoa" if turn.task.speaks else "eot")
        assert answer.steps == LAYOUT.answer_length(turn)


def plainly(model, request, steps, parallel):
    """Decode greedily as the paper says it, one request, every step from the start, without a cache."""
    turn = request.turns[-1]
    rows = [LAYOUT.request(request.turns).streams]
    if parallel:
        silent = {Task.A1A2: Task.A1T2, Task.T1A2: Task.T1T2}[turn.task]
        rows.append(LAYOUT.prompt(Turn(silent, turn.positions, turn.question)))
    said, text_ended = [], False
    for _ in range(steps):
        out = model(torch.tensor(rows), [request.features[0] if turn.task.hears else None] * len(rows))
        audio = out.audio_logits[0, :, -1].argmax(-1).tolist()
        audio = audio if turn.task.speaks else [LAYOUT.pad_a] * 7
        text = LAYOUT.pad_t if text_ended else int(out.text_logits[-1, -1].argmax())
        text_ended = text_ended or text == LAYOUT.eot
        said.append((*audio, text))
        spoken = [LAYOUT.shift(x, i) for i, x in enumerate(audio)] + [text]
        for row, column in zip(rows, [spoken, LAYOUT.column(LAYOUT.pad_a, text)], strict=False):
            for stream, x in zip(row, column, strict=True):
                stream.append(x)
    return said


@pytest.mark.parametrize(("family", "adapter_layers"), [("qwen2", 2), ("llama", 0), ("gemma3", 2)])
@pytest.mark.parametrize(
    ("task", "parallel"), [(Task.A1A2, False), (Task.A1A2, True), (Task.T1A2, True), (Task.A1T1, False)]
)
def test_the_loop_is_the_plain_one(family, adapter_layers, task, parallel):
    model = build(family, adapter_layers, seed=3)
    request = asked(Turn(task, positions=5) if task.hears else Turn(task, question=[1, 2, 3]))
    steps = list(decode(model, [request], parallel=parallel, max_positions=32))
    with torch.no_grad():
        expected = plainly(model, request, len(steps), parallel)
    assert [step.column for step in steps] == expected
    assert len(steps) > 9


SAMPLED = Sampling(temperature=1.0, top_k=8, top_p=0.9, repetition_penalty=1.2, repetition_window=5)


@pytest.mark.parametrize(
    ("family", "adapter_layers", "parallel", "sampling"),
    [("qwen2", 0, True, Sampling()), ("gemma3", 2, False, Sampling()), ("gemma3", 2, True, SAMPLED)],
)
def test_a_batch_answers_as_each_alone(family, adapter_layers, parallel, sampling):
    model = build(family, adapter_layers, seed=4)
    requests = [asked(turn, seed=k) for k, turn in enumerate(known_turns())]
    requests.append(Request([*known_turns()[:1], *known_turns()[1:2]], [features(4, 4), features(5, 5)], seed=9))
    options = {"text": sampling, "audio": sampling, "parallel": parallel, "max_positions": 36}
    together = {k: [] for k in range(len(requests))}
    for step in decode(model, requests, **options):
        together[step.request].append((step.column, step.text, step.frame, step.end))
    for k, request in enumerate(requests):
        alone = [(s.column, s.text, s.frame, s.end) for s in decode(model, [request], **options)]
        assert together[k] == alone


def test_in_parallel_the_text_is_what_the_model_writes_without_speaking(learned):
    heard = known_turns()[0]
    (spoken,) = generate(learned, [asked(heard)], parallel=True)
    (written,) = generate(learned, [asked(Turn(Task.A1T2, positions=heard.positions))])
    assert spoken.text == written.text


def test_text_to_speech_says_the_text_that_it_is_given():
    turn = Turn(Task.T1A1, question=[3, 1, 4, 1, 5])
    steps = list(decode(build(seed=3), [asked(turn)], max_positions=30))
    assert [step.text for step in steps if step.text is not None] == [3, 1, 4, 1, 5]
    assert [step.column[-1] for step in steps[5:7]] == [LAYOUT.eot, LAYOUT.pad_t]


def rows_of(module, calls):
    def note(_, inputs):
        calls.append(inputs[0].numel() // inputs[0].shape[-1])

    return module.register_forward_pre_hook(note)


def test_only_the_heads_and_rows_that_are_needed_are_computed(learned):
    text_rows, audio_rows = [], []
    hooks = [
        rows_of(learned.backbone.get_output_embeddings(), text_rows),
        rows_of(learned.audio_head, audio_rows),
    ]
    spoken, written = known_turns()[0], known_turns()[1]
    (answer,) = generate(learned, [asked(written)])
    assert (text_rows, audio_rows) == ([1] * answer.steps, [])
    text_rows.clear()
    (answer,) = generate(learned, [asked(spoken)], parallel=True)
    for hook in hooks:
        hook.remove()
    assert text_rows == [1] * (len(answer.text) + 1)
    assert audio_rows == [1] * answer.steps


def test_text_tasks_leave_the_tts_adapter_alone():
    model, calls = build(adapter_layers=2), []
    hook = rows_of(model.tts_adapter.layers[0], calls)
    generate(model, [asked(known_turns()[1])], max_positions=20)
    assert calls == []
    generate(model, [asked(known_turns()[0])], max_positions=20)
    hook.remove()
    assert calls


def test_the_second_row_leaves_when_the_text_has_ended(learned):
    rows = []
    hook = rows_of(learned.backbone.model.layers[0], rows)
    (answer,) = generate(learned, [asked(known_turns()[0])], parallel=True)
    hook.remove()
    fed = len(answer.text) + 1
    assert rows[0] == 4 + 3 - 1, "the rows' prompts differ in their last column"
    assert rows[1 : fed + 1] == [2] * fed
    assert rows[fed + 1 :] == [1] * (answer.steps - fed)


def test_positions_are_limited_and_codes_are_codes():
    model = build(seed=1)
    (answer,) = generate(model, [asked(Turn(Task.A1A2, positions=5))], max_positions=60)
    assert answer.end == "limit"
    assert answer.steps == 60 - 8
    assert answer.codes.shape[1:] == (7,)
    assert answer.codes.dtype == "uint16"
    assert 0 < len(answer.codes) <= 52 - 7
    assert answer.codes.max() < LAYOUT.codebook_size
    assert max(answer.text) < LAYOUT.text_size


def test_the_first_frame_is_complete_seven_steps_after_the_prompt(learned):
    steps = list(decode(learned, [asked(known_turns()[0])]))
    assert [k for k, step in enumerate(steps) if step.frame is not None] == [7, 8, 9]


def test_seeds_repeat_and_differ():
    model, turn = build(seed=1), Turn(Task.A1A2, positions=3)
    hot = Sampling(temperature=1.0)

    def said(seed):
        (answer,) = generate(model, [asked(turn, seed)], text=hot, audio=hot, max_positions=40)
        return answer.text, answer.codes.tolist(), answer.steps

    torch.manual_seed(0)
    first = said(1)
    torch.rand(7)
    assert said(1) == first
    assert said(2) != first


@pytest.mark.parametrize(
    ("sampling", "possible"),
    [
        (Sampling(), {2}),
        (Sampling(temperature=0.9, top_k=1), {2}),
        (Sampling(temperature=1.0, top_k=2), {1, 2}),
        (Sampling(temperature=1.0, top_p=0.5), {2}),
        (Sampling(temperature=1.0, top_p=0.8), {1, 2}),
        (Sampling(temperature=1.0), {0, 1, 2, 3}),
    ],
)
def test_sampling_chooses_among_the_likeliest(sampling, possible):
    logits = torch.tensor([0.10, 0.25, 0.60, 0.05]).log().expand(400, 4)
    chance = torch.rand(400, generator=torch.Generator().manual_seed(0))
    assert set(choose(logits, sampling, chance).tolist()) == possible


def test_repetition_is_penalised_within_its_window_and_never_for_specials():
    logits = torch.tensor([[2.0, 1.9, -1.0, 2.5]])
    mild = Sampling(repetition_penalty=1.5, repetition_window=2)
    assert choose(logits, mild, recent_NW=torch.tensor([[0, 1]])).tolist() == [3]
    assert choose(logits, mild, recent_NW=torch.tensor([[3, 3]])).tolist() == [0]
    assert choose(logits, mild, recent_NW=torch.tensor([[-1, 3]])).tolist() == [0]
    assert choose(logits, mild, recent_NW=torch.tensor([[3, 3]]), specials_from=3).tolist() == [3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sampling(temperature=-1), "temperature must be >= 0"),
        (lambda: Sampling(top_p=0), r"top_p in \(0, 1\]"),
        (lambda: Sampling(top_k=0), "at least 1"),
        (lambda: generate(build(), [Request([Turn(Task.A1A2, positions=3)])]), r"take \[\] positions; .* have \[3\]"),
        (lambda: generate(build(), [Request([Turn(Task.A1A2, positions=3)], [features(4)])]), r"\[4\] positions"),
        (lambda: generate(build(), [Request([])]), "at least one turn"),
        (lambda: generate(build(), [asked(Turn(Task.A1A2, positions=3))], max_positions=6), "no room to answer"),
    ],
)
def test_wrong_requests_are_one_clear_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_no_request_is_no_work():
    assert generate(build(), []) == []

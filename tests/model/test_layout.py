"""The layouts of Mini-Omni: the published numbers as literals, and every inverse pair over random input."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytalk.model import layout as layout_module
from anytalk.model.layout import IGNORE, MINI_OMNI, Chat, Layout, Task, Turn, adapter_positions, feature_frames

TINY = Layout(text_size=11, codebook_size=6, layers=3, text_specials=5, audio_specials=5)
LAYOUTS = [MINI_OMNI, TINY, Layout(text_size=50, codebook_size=2048, layers=8)]
LAYOUTS += [
    Layout(text_size=50, codebook_size=9, layers=7, chat=Chat(first=(1, 2))),
    Layout(
        text_size=50, codebook_size=9, layers=7, chat=Chat(first=(1, 2), following=(3,), closing=(4, 5), end=50 - 1)
    ),
]
SPEAKING = [task for task in Task if task.speaks]


@st.composite
def turns(draw, layout, task=None):
    task = task or draw(st.sampled_from(Task))
    # No text holds the token that ends an answer.
    tokens = st.lists(st.integers(0, layout.text_size - 2), max_size=12)
    frame = st.tuples(*[st.integers(0, layout.codebook_size - 1)] * layout.layers)
    return Turn(
        task,
        positions=draw(st.integers(1, 9)) if task.hears else 0,
        question=() if task.hears else draw(tokens),
        answer=draw(tokens),
        codes=draw(st.lists(frame, max_size=9)) if task.speaks else (),
    )


layouts_and_turns = st.sampled_from(LAYOUTS).flatmap(lambda x: st.tuples(st.just(x), turns(x)))


def test_mini_omni_sizes_and_special_ids():
    m = MINI_OMNI
    assert (m.streams, m.text_vocabulary, m.audio_vocabulary, m.vocabulary) == (8, 152_000, 4160, 181_120)
    assert (m.eot, m.pad_t, m.input_t, m.answer_t, m.asr) == (151936, 151937, 151938, 151939, 151940)
    assert (m.eoa, m.pad_a, m.input_a, m.answer_a, m.split) == (4096, 4097, 4098, 4099, 4100)
    bases = [152_000, 156_160, 160_320, 164_480, 168_640, 172_800, 176_960]
    assert [m.shift(0, i) for i in range(7)] == bases
    assert [m.shift(x, 0) for x in (m.eoa, m.pad_a, m.input_a, m.answer_a, m.split)] == [
        156096, 156097, 156098, 156099, 156100,
    ]  # fmt: skip
    assert m.shift(4159, 6) == 181_119


@pytest.mark.parametrize(
    ("task", "audio", "text"),
    [
        (Task.A1A2, [4098, 4097, 4097, 4096, 4099], [151938, 151937, 151937, 151936, 151939]),
        (Task.A1T2, [4098, 4097, 4097, 4096, 4097], [151938, 151937, 151937, 151936, 151939]),
        (Task.A1T1, [4098, 4097, 4097, 4096, 4097], [151938, 151937, 151937, 151936, 151940]),
        (Task.T1A2, [4097, 4097, 4097, 4097, 4099], [151938, 70, 71, 151936, 151939]),
        (Task.T1T2, [4097, 4097, 4097, 4097, 4097], [151938, 70, 71, 151936, 151939]),
        (Task.T1A1, [4097, 4097, 4097, 4097, 4099], [151938, 70, 71, 151936, 151939]),
    ],
)
def test_prompts_are_the_published_ones(task, audio, text):
    turn = Turn(task, positions=2) if task.hears else Turn(task, question=[70, 71])
    streams = MINI_OMNI.prompt(turn)
    assert len(streams) == 8
    for layer in range(7):
        assert [x - 152_000 - 4160 * layer for x in streams[layer]] == audio
    assert streams[7] == text


def test_answer_is_the_published_delay_pattern():
    codes = [(0, 1, 2, 3, 4, 5, 6), (10, 11, 12, 13, 14, 15, 16)]
    streams = MINI_OMNI.answer(Turn(Task.A1A2, positions=1, answer=[70, 71, 72], codes=codes))
    eoa, pad = 4096, 4097
    local = [[x - 152_000 - 4160 * i for x in streams[i]] for i in range(7)]
    assert local == [
        [pad, 0, 10, eoa, pad, pad, pad, pad, pad, pad],
        [pad, pad, 1, 11, eoa, pad, pad, pad, pad, pad],
        [pad, pad, pad, 2, 12, eoa, pad, pad, pad, pad],
        [pad, pad, pad, pad, 3, 13, eoa, pad, pad, pad],
        [pad, pad, pad, pad, pad, 4, 14, eoa, pad, pad],
        [pad, pad, pad, pad, pad, pad, 5, 15, eoa, pad],
        [pad, pad, pad, pad, pad, pad, pad, 6, 16, eoa],
    ]
    assert streams[7] == [70, 71, 72, 151936] + [151937] * 6


def test_text_only_answer_keeps_the_audio_streams_silent():
    streams = MINI_OMNI.answer(Turn(Task.A1T2, positions=1, answer=[70, 71]))
    assert streams[0] == [156097] * 3
    assert streams[6] == [176960 + 4097] * 3
    assert streams[7] == [70, 71, 151936]


def test_frame_count_is_the_originals_rule():
    assert [feature_frames(n) for n in (0, 319, 320, 16_000, 479_999, 480_000, 10**7)] == [
        1, 1, 2, 51, 1500, 1500, 1500,
    ]  # fmt: skip
    for samples in range(0, 480_000, 997):
        assert feature_frames(samples) == min(1500, int(samples / 16_000 * 1000 / 20) + 1)
    assert [adapter_positions(n, 5) for n in (1, 5, 6, 1500)] == [1, 1, 2, 300]
    with pytest.raises(ValueError, match="-1 samples"):
        feature_frames(-1)


@given(st.sampled_from(LAYOUTS), st.data())
def test_unshift_undoes_shift(layout, data):
    layer = data.draw(st.integers(0, layout.layers - 1))
    local_id = data.draw(st.integers(0, layout.audio_vocabulary - 1))
    assert layout.unshift(layout.shift(local_id, layer), layer) == local_id


@given(layouts_and_turns)
def test_undelay_undoes_delay(pair):
    layout, turn = pair
    codes = [tuple(frame) for frame in turn.codes]
    assert layout.undelay(layout.delay(codes)) == codes
    rows = layout.delay(codes)
    columns = list(zip(*rows, strict=True))
    streamed = [
        layout.complete_frame(columns[step - layout.layers + 1 : step + 1])
        for step in range(layout.layers, len(codes) + layout.layers)
    ]
    assert streamed == codes


@given(layouts_and_turns)
def test_parse_answer_undoes_answer(pair):
    layout, turn = pair
    text, codes = layout.parse_answer(layout.answer(turn))
    assert text == list(turn.answer)
    assert codes == [tuple(frame) for frame in turn.codes]


@given(layouts_and_turns)
def test_lengths_are_known_without_building(pair):
    layout, turn = pair
    assert {len(s) for s in layout.prompt(turn)} == {layout.prompt_length(turn)}
    assert {len(s) for s in layout.answer(turn)} == {layout.answer_length(turn)}
    audio_window = len(turn.codes) + layout.layers + 1 if turn.task.speaks else 0
    assert layout.answer_length(turn) == max(len(turn.answer) + 1, audio_window)


@given(layouts_and_turns)
def test_every_label_is_the_next_id_of_its_stream(pair):
    layout, turn = pair
    example = layout.example([turn])
    whole = [p + a for p, a in zip(layout.prompt(turn), layout.answer(turn), strict=True)]
    assert [s + w[-1:] for s, w in zip(example.streams, whole, strict=True)] == whole
    for k, labels in enumerate(example.labels):
        assert len(labels) == len(whole[k]) - 1
        for t, label in enumerate(labels):
            if label != IGNORE:
                assert whole[k][t + 1] == (layout.shift(label, k) if k < layout.layers else label)


@given(layouts_and_turns)
def test_loss_stands_on_what_the_task_learns(pair):
    layout, turn = pair
    labels = layout.example([turn]).labels
    before = layout.prompt_length(turn) - 1
    assert all(label == IGNORE for stream in labels for label in stream[:before])
    text = [x for x in labels[-1] if x != IGNORE]
    assert text == ([*turn.answer, layout.end] if turn.task.writes else [])
    for stream in labels[:-1]:
        window = len(turn.codes) + layout.layers + 1 if turn.task.speaks else 0
        assert IGNORE not in stream[before : before + window]
        assert all(x == IGNORE for x in stream[before + window :])


def test_equal_text_and_audio_lengths_keep_their_labels():
    turn = Turn(Task.A1A2, positions=1, answer=list(range(11)), codes=[(0,) * 7] * 4)
    labels = MINI_OMNI.answer_labels(turn)
    assert all(IGNORE not in stream for stream in labels)


def test_earlier_turns_are_unlabelled_context():
    first = Turn(Task.A1A2, positions=2, answer=[1, 2], codes=[(3, 4, 5)])
    second = Turn(Task.A1A2, positions=4, answer=[6], codes=[(1, 1, 1), (2, 2, 2)])
    example = TINY.example([first, second])
    context = TINY.prompt_length(first) + TINY.answer_length(first)
    assert example.feature_starts == [1, context + 1]
    for k, alone in enumerate(TINY.example([second]).streams):
        assert example.streams[k] == TINY.prompt(first)[k] + TINY.answer(first)[k] + alone
        assert example.labels[k] == [IGNORE] * context + TINY.example([second]).labels[k]
    assert TINY.request([first, second]).feature_starts == [1, context + 1]


def test_a_chat_template_takes_the_place_of_mini_omnis_columns():
    layout = Layout(text_size=50, codebook_size=6, layers=3, chat=Chat((1, 2, 3), (4, 5), (6, 7), end=9))
    written = Turn(Task.T1T2, question=[20, 21], answer=[30])
    spoken = Turn(Task.A1A2, positions=2, answer=[31], codes=[(0, 1, 2)])
    request = layout.request([written, spoken, written])
    text = [1, 2, 3, 20, 21, 6, 7, 30, 9, 4, 5, layout.pad_t, layout.pad_t, 6, 7, 31, 9, *[layout.pad_t] * 3]
    assert request.streams[-1] == [*text, 4, 5, 20, 21, 6, 7]
    assert request.feature_starts == [11]
    audio = [layout.unshift(x, 0) for x in request.streams[0]]
    marks = {index: x for index, x in enumerate(audio) if x != layout.pad_a}
    assert marks == {10: layout.input_a, 13: layout.eoa, 14: layout.answer_a, 16: 0, 17: layout.eoa}
    transcript = layout.request([Turn(Task.A1T1, positions=1)])
    assert transcript.streams[-1] == [1, 2, 3, layout.pad_t, 6, 7, layout.asr]


def test_a_system_prompt_stands_before_the_first_question():
    turns = [Turn(Task.T1T2, question=[5], answer=[6]), Turn(Task.A1T2, positions=1)]
    plain, prompted = (Layout(text_size=50, codebook_size=6, layers=3, chat=chat) for chat in (None, Chat((1, 2))))
    assert prompted.request(turns).streams[-1] == [1, 2, *plain.request(turns).streams[-1]]
    assert prompted.request(turns).feature_starts == [start + 2 for start in plain.request(turns).feature_starts]


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        (lambda: Chat(first=(1,), closing=(2,)), "needs the id that ends an answer"),
        (lambda: Chat(first=(1,), closing=(2,), end=3), "needs text before and after each question"),
        (lambda: Layout(text_size=5, codebook_size=6, layers=3, chat=Chat(first=(7,))), "token 7 is outside 0..4"),
    ],
)
def test_a_chat_that_cannot_be_is_one_clear_error(chat, message):
    with pytest.raises(ValueError, match=message):
        chat()


def test_text_to_speech_gives_the_text_and_learns_the_sound():
    turn = Turn(Task.T1A1, question=[1, 2], answer=[1, 2], codes=[(3, 4, 5)])
    example = TINY.example([turn])
    assert example.streams[-1] == [TINY.input_t, 1, 2, TINY.eot, TINY.answer_t, 1, 2, TINY.eot, TINY.pad_t]
    assert set(example.labels[-1]) == {IGNORE}
    assert example.labels[0][4:] == [TINY.pad_a, 3, TINY.eoa, TINY.pad_a, TINY.pad_a]


def test_special_ids_never_leave_as_codes():
    streams = TINY.delay([(0, 1, 2), (3, 4, 5), (0, 0, 0)])
    streams[1][3] = TINY.pad_a  # inside the second frame
    assert TINY.undelay(streams) == [(0, 1, 2), (0, 0, 0)]
    assert TINY.complete_frame([(1, 9, 9), (9, 2, 9), (9, 9, TINY.eoa)]) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TINY.answer(Turn(Task.T1A2, question=[1], codes=[(0, 6, 0)])), r"frame 0 is \[0, 6, 0\]"),
        (lambda: TINY.answer(Turn(Task.T1A2, question=[1], codes=[(0, 1)])), "needs 3 codes"),
        (lambda: TINY.prompt(Turn(Task.T1T2, question=[11])), "text token 11 is outside 0..10"),
        (lambda: Turn(Task.A1A2), "positions >= 1"),
        (lambda: Turn(Task.T1T2, question=[1], codes=[(0, 0, 0)]), "does not speak"),
        (lambda: Turn(Task.T1T2, positions=3), "reads its question"),
        (lambda: TINY.shift(11, 0), "audio id 11"),
        (lambda: TINY.shift(0, 3), "layer 3"),
        (lambda: TINY.unshift(3, 0), "does not belong to layer 0"),
        (lambda: Layout(text_size=9, codebook_size=9, layers=0), "needs text, codes and layers"),
        (lambda: Layout(text_size=9, codebook_size=9, layers=1, text_specials=4), "5 special ids"),
    ],
)
def test_wrong_input_is_one_clear_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_layout_needs_the_standard_library_only():
    tree = ast.parse(Path(layout_module.__file__).read_text())
    names = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    names += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    assert all(name and name.split(".")[0] in sys.stdlib_module_names for name in names)
    light = "import sys, anytalk.model.layout; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", light], check=False).returncode == 0

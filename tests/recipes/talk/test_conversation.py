"""A conversation: with what was read kept, and with all of it read again, the same tokens; by the model, by command."""

import json

import numpy as np
import pytest
import soundfile
from support.talkers import write_talker

from anytalk.model import decoding
from anytalk.model.layout import Task
from anytalk.model.network import MiniOmni
from anytalk.recipes.talk import Conversation, Talker, Text, collect, load_model, pcm16
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import FakeWhisper

pytestmark = pytest.mark.usefixtures("one_thread")

RATE_HZ = 24_000
FRAMES = 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = write_talker(tmp_path_factory.mktemp("checkpoint"), load_codec("bundled"), FakeWhisper(), positions=400)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"context_turns": 3}))
    return folder


@pytest.fixture(scope="module")
def talker(checkpoint):
    return Talker(MiniOmni.from_pretrained(checkpoint), load_codec("bundled"), FakeWhisper(), max_frames=FRAMES)


def a_sound(seed):
    return (0.1 * np.random.default_rng(seed).standard_normal(9000 + 4000 * seed)).astype(np.float32), 16_000


TURNS = [
    (a_sound(0), None),
    (Text("Who are you?"), None),
    (a_sound(1), Task.A1A2),
    (Text("And how far is the sea?"), None),
    (a_sound(2), None),
]


class Counted:
    """Counts what a model reads."""

    def __init__(self, model, monkeypatch):
        self.columns, hidden = 0, model.hidden

        def counting(streams, *more, **named):
            self.columns += streams.shape[2]
            return hidden(streams, *more, **named)

        monkeypatch.setattr(model, "hidden", counting)


def spoken(talker, conversation, turns=TURNS, forget=False):
    """Answers, and the requests that they were to."""
    answers = []
    for question, task in turns:
        if forget:
            conversation.prefix = None
        answer = collect(talker.talk(question, task, conversation), RATE_HZ)
        answers.append((answer.text, answer.codes.tolist(), answer.end))
    return answers


def test_what_was_read_is_kept_and_changes_no_token(talker, monkeypatch):
    counted = Counted(talker.model, monkeypatch)
    kept = spoken(talker, Conversation(len(TURNS)))
    few, counted.columns = counted.columns, 0
    assert spoken(talker, Conversation(len(TURNS)), forget=True) == kept
    assert few < 0.7 * counted.columns
    assert len({text for text, _, _ in kept}) > 1


def test_a_turn_is_answered_as_the_decoder_answers_the_whole_conversation(talker):
    conversation = Conversation(len(TURNS))
    spoken(talker, conversation, TURNS[:4])
    earlier, features = [*conversation.turns], [*conversation.features]
    [answer] = spoken(talker, conversation, TURNS[4:])
    request = decoding.Request(conversation.turns[:5], conversation.features, max_frames=FRAMES)
    assert (conversation.turns[:4], conversation.features[:2]) == (earlier, features)
    [whole] = decoding.generate(talker.model, [request], parallel=True, max_positions=talker.max_positions)
    assert answer == (talker.tokenizer.decode(whole.text), whole.codes.tolist(), whole.end)
    alone = collect(talker.talk(TURNS[4][0]), RATE_HZ)
    assert alone.codes.tolist() != answer[1]


def test_as_many_turns_are_remembered_as_the_model_learned(talker):
    conversation = Conversation(2)
    spoken(talker, conversation)
    assert [turn.task for turn in conversation.turns] == [Task.T1A2, Task.A1A2]
    assert len(conversation.features) == 1
    forgetful = Conversation(0)
    assert spoken(talker, forgetful, TURNS[:2])[1:] == spoken(talker, None, TURNS[1:2])
    assert (forgetful.turns, forgetful.prefix) == ([], None)


def test_a_listener_who_leaves_has_heard_what_was_said(talker):
    conversation = Conversation(3)
    pieces = talker.talk(Text("Who are you?"), None, conversation)
    next(piece for piece in pieces if len(piece.codes))
    pieces.close()
    [turn] = conversation.turns
    assert 0 < len(turn.codes) < FRAMES
    assert conversation.prefix is not None
    again = Conversation(3, [turn])
    assert spoken(talker, conversation, TURNS[:1]) == spoken(talker, again, TURNS[:1])


def test_a_long_conversation_forgets_its_beginning(talker):
    conversation = Conversation(64)
    spoken(talker, conversation, [(Text("Who are you, and how far is it to the sea? " * 3), None)] * 8)
    assert 1 < len(conversation.turns) < 8
    with pytest.raises(SampleError, match=r"takes \d+ of the model's 400 positions"):
        spoken(talker, conversation, [(Text("sea " * 500), None)])


def test_several_questions_are_one_conversation(anytalk, checkpoint, talker, tmp_path):
    for n in range(2):
        soundfile.write(tmp_path / f"{n}.wav", pcm16(a_sound(n)[0]), 16_000)
    asked = [tmp_path / "0.wav", tmp_path / "1.wav"]
    code, out, err = anytalk("talk", checkpoint, *asked, "--max-frames", FRAMES, "--json", "--out", "answers")
    told = json.loads(out)["answers"]
    expected = spoken(talker, Conversation(3), [(path, None) for path in asked])
    assert (code, [each["text"] for each in told]) == (0, [text for text, _, _ in expected])
    assert [each["audio"] for each in told] == ["answers/0-answer.wav", "answers/1-answer.wav"]
    assert "answered alone" not in err
    words = ["--text", "Who are you?", "--text", "How far?"]
    code, out, _ = anytalk("talk", checkpoint, *words, "--max-frames", FRAMES)
    texts = spoken(talker, Conversation(3), [(Text(words[1]), None), (Text(words[3]), None)])
    assert all(text in out.decode() for text, _, _ in texts)
    assert sorted(path.name for path in tmp_path.glob("answer-*.wav")) == ["answer-1.wav", "answer-2.wav"]
    assert "answered alone" in anytalk("talk", checkpoint, *words, "--max-frames", 1, "--context-turns", 0)[2]


def test_what_is_no_conversation_is_one_line(anytalk, checkpoint, tmp_path):
    (tmp_path / "folder").mkdir()
    soundfile.write(tmp_path / "a.wav", pcm16(a_sound(0)[0]), 16_000)
    for arguments, line in [
        (["a.wav", "folder"], "folder is a folder; the turns of a conversation are recordings"),
        (["a.wav", "a.wav"], "two questions would give answers of one name; rename one"),
        (["--text", "A?", "--text", "B?", "--out", "x.wav"], "--out x.wav: 2 answers need a folder"),
        (["a.wav", "--text", "A?"], "give either QUESTION, a recording or a folder of them, or --text"),
    ]:
        assert anytalk("talk", checkpoint, *arguments) == (2, b"", f"anytalk: {line}\n")


def test_a_trained_model_knows_its_turns(checkpoint):
    assert load_model(checkpoint).config.context_turns == 3

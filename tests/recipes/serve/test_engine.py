"""The engine: many at once get what each gets alone; a bound, an order, and nobody pays for another's failure."""

import queue
import random
import threading
import time

import numpy as np
import pytest
import torch

from anytalk.model import Piece, Task
from anytalk.recipes.serve.engine import Engine, Question
from anytalk.recipes.serve.engine.listening import Listener
from anytalk.recipes.serve.errors import Closed, Full
from anytalk.recipes.talk import Conversation, Talker, Text
from anytalk.synth.errors import AnyTalkError, SampleError
from anytalk.synth.hearing import FakeWhisper


class Client:
    """Asks, and collects what comes."""

    def __init__(self, engine, question):
        self.arrived, self.pieces = queue.Queue(), []
        self.answering = engine.ask(question, self.arrived.put)

    def answer(self):
        """Give text, codes, sound and end; or the error."""
        while not self.pieces or self.pieces[-1].end is None:
            piece = self.arrived.get(timeout=60)
            if not isinstance(piece, Piece):
                return piece
            self.pieces.append(piece)
        return together(self.pieces)


def together(pieces):
    text = "".join(piece.text for piece in pieces)
    codes = np.concatenate([piece.codes for piece in pieces]).tolist()
    return text, codes, np.concatenate([piece.pcm for piece in pieces]).tolist(), pieces[-1].end


@pytest.fixture
def engine(talker):
    engine = Engine(talker, answers=4, waiting=20)
    yield engine
    engine.close()


def a_sound(seed):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(4000 + 3000 * seed)).astype(np.float32)


def questions(engine, count):
    """Questions of every task."""
    for n in range(count):
        task = [*Task][n % len(Task)]
        if task.hears:
            yield task, (a_sound(n), 16_000), Question(task, features=engine.listener.features(a_sound(n)))
        else:
            yield task, Text(f"Who are you, number {n}?"), Question(task, f"Who are you, number {n}?")


def test_each_of_many_gets_what_it_gets_alone(engine, talker):
    rng, clients = random.Random(0), []
    for task, asked, question in questions(engine, 18):
        clients.append((task, asked, Client(engine, question)))
        time.sleep(rng.random() * 0.02)
    for task, asked, client in clients:
        assert client.answer() == together([*talker.talk(asked, task)])
    assert (engine.running, engine.queued) == (0, 0)


def test_questions_are_answered_in_order_and_no_more_wait_than_may(long_talker):
    order = []
    engine = Engine(long_talker, answers=1, waiting=3, finished=lambda answering, end: order.append(answering))
    clients = [Client(engine, Question(Task.T1A2, f"Number {n}", max_frames=6)) for n in range(4)]
    with pytest.raises(Full, match="4 questions"):
        engine.ask(Question(Task.T1A2, "One more"), print)
    for client in clients:
        client.answer()
    engine.close()
    assert order == [client.answering for client in clients]


def test_who_asks_much_waits_behind_who_asks_little(long_talker):
    order = []
    engine = Engine(long_talker, answers=1, waiting=9, finished=lambda answering, end: order.append(answering.question))
    long = Client(engine, Question(Task.T1A2, "Speak on", asker="first"))
    long.arrived.get(timeout=60)
    clients = [Client(engine, Question(Task.T1A2, "And now?", max_frames=3, asker=asker)) for asker in "aaaabcb"]
    long.answering.cancel()
    for client in clients:
        client.answer()
    engine.close()
    assert [question.asker for question in order] == ["first", *"abcabaa"]


class Slow(FakeWhisper):
    """A recogniser that hears when it is told to."""

    def __init__(self):
        super().__init__()
        self.begins, self.heard = threading.Semaphore(0), []

    def features(self, waveforms):
        self.begins.acquire()
        self.heard += map(len, waveforms)
        return super().features(waveforms)


def test_the_recogniser_takes_turns_and_a_bounded_number_waits_for_it():
    whisper = Slow()
    listener = Listener(whisper, most=4)
    sounds = [a_sound(1)[: 3000 + n] for n in range(7)]
    first = listener.features(sounds[0], "a")
    while listener.is_idle or len(listener._waiting):
        time.sleep(0.001)
    waiting = [listener.features(sound, asker) for sound, asker in zip(sounds[1:5], "aaba", strict=True)]
    with pytest.raises(Full, match="4 questions"):
        listener.features(sounds[5], "b").result(timeout=60)
    assert waiting[1].cancel()
    last = listener.features(sounds[6], "b")
    maybe, wanted = (listener.features(a_sound(1)[:count], "c", maybe=True) for count in (3007, 3008))
    listener.want(wanted)
    for _ in range(8):
        whisper.begins.release()
    for future in (first, waiting[0], waiting[2], waiting[3], last, maybe, wanted):
        future.result(timeout=60)
    assert whisper.heard == [3000, 3001, 3003, 3008, 3004, 3006, 3007]
    listener.close()
    with pytest.raises(Closed):
        listener.features(sounds[0]).result(timeout=60)


def test_who_cancels_makes_room(long_talker):
    ends = []
    engine = Engine(long_talker, answers=1, waiting=1, finished=lambda answering, end: ends.append(end))
    long, next_one = (Client(engine, Question(Task.T1A2, "Speak on", max_frames=n)) for n in (None, 3))
    long.arrived.get(timeout=60)
    long.answering.cancel()
    long.answering.cancel()
    assert next_one.answer()[3] == "limit"
    engine.close()
    assert ends == ["cancelled", "limit"]
    assert all(piece.end is None for piece in long.arrived.queue)


class Breaking:
    """A codec that fails at the third decode."""

    def __init__(self, codec):
        self.codec, self.calls = codec, 0

    def __getattr__(self, name):
        return getattr(self.codec, name)

    def decode(self, codes):
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("broken")
        return self.codec.decode(codes)


def test_what_fails_for_one_does_not_touch_the_others(talker, caplog):
    broken = Talker(talker.model, Breaking(talker.codec), talker.whisper, max_frames=9)
    engine = Engine(broken, answers=4)
    silent = engine.listener.features(np.zeros(16_000, np.float32))
    asked = [Question(Task.A1A2, features=silent), Question(Task.T1A2, " "), Question(Task.T1A2, "word " * 600)]
    clients = [Client(engine, question) for question in [*asked, *[Question(Task.T1A2, "Who are you?")] * 3]]
    silence, empty, long, *answers = [client.answer() for client in clients]
    engine.close()
    assert [error.reason for error in (silence, empty, long)] == ["silent_audio", "empty_text", "too_long"]
    failed = [answer for answer in answers if isinstance(answer, AnyTalkError)]
    assert str(failed[0]) == "the answer failed: RuntimeError"
    expected = together([*talker.talk(Text("Who are you?"))])
    assert len(failed) == 1
    assert [answer for answer in answers if answer not in failed] == [expected] * 2


def test_a_step_that_fails_ends_all_and_the_next_question_is_answered(talker, monkeypatch, caplog):
    engine = Engine(talker, answers=4)
    step, failed = engine._decoding.step, threading.Event()

    def fail():
        failed.set()
        raise RuntimeError("no memory")

    monkeypatch.setattr(engine._decoding, "step", fail)
    assert isinstance(Client(engine, Question(Task.T1A2, "Who are you?")).answer(), AnyTalkError)
    assert failed.is_set()
    assert step is not engine._decoding.step
    answer = Client(engine, Question(Task.T1A2, "Who are you?")).answer()
    engine.close()
    assert answer == together([*talker.talk(Text("Who are you?"))])


def test_a_conversation_is_remembered_as_far_as_the_model_learned(talker):
    engine = Engine(talker, answers=2)
    conversation = Conversation(context_turns=2)
    for n in range(4):
        features = engine.listener.features(a_sound(n))
        Client(engine, Question(Task.A1A2, features=features, conversation=conversation)).answer()
        assert len(conversation.turns) == len(conversation.features) == min(n + 1, 2)
        assert conversation.prefix is not None
    forgetful = Conversation(context_turns=0)
    features = engine.listener.features(a_sound(5))
    alone = Client(engine, Question(Task.A1A2, features=features, conversation=forgetful)).answer()
    engine.close()
    assert forgetful.turns == []
    assert alone == together([*talker.talk((a_sound(5), 16_000))])


def test_who_waits_when_the_engine_stops_is_told(long_talker):
    engine = Engine(long_talker, answers=1)
    clients = [Client(engine, Question(Task.T1A2, "Speak on")) for _ in range(2)]
    clients[0].arrived.get(timeout=60)
    engine.close()
    for client in clients:
        assert isinstance(client.answer(), Closed)
    with pytest.raises(Closed):
        engine.ask(Question(Task.T1A2, "And now?"), print)


def test_features_that_fail_are_the_clients_error(engine):
    long = engine.listener.features(np.ones(31 * 16_000, np.float32))
    error = Client(engine, Question(Task.A1A2, features=long)).answer()
    assert isinstance(error, SampleError)
    assert error.reason == "too_long"
    assert torch.is_tensor(engine.listener.features(a_sound(1)).result())

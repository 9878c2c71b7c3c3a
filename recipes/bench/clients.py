"""Clients of `anytalk serve`, each of which asks a question, hears the answer and asks again.

A client speaks a question as fast as a person does, is silent, and the server finds that its turn is over; the next
question comes when the answer has been heard, after a pause that is drawn. First sound is counted from
`input_audio_buffer.committed`, the server's word that the turn is over, to the first `output_audio.delta`.

A client plays what it gets at the codec's rate, and begins when `PREFILL_S` of it are there, as the page does: a gap is
where the next sound came later than it was needed.
"""

import base64
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from anytalk.pipelines.progress import Reporter
from anytalk.recipes.talk import pcm16
from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SetupError

PATIENCE_S = 30.0
"""For a first sound, once the time is over."""

PREFILL_S = 0.12
"""Of sound, before it is played; as in `serve/page/playback-worklet.js`."""

RATE_HZ = 24_000
PIECE_S = 0.1
PIECE_BYTES = 2 * round(PIECE_S * RATE_HZ)
SILENCE_S = 5.0
"""After a question, in which the server must find that it is over."""


@dataclass(frozen=True)
class Heard:
    """One answer, as a client heard it."""

    first_s: float
    """From the question to the first sound."""
    speech_s: float
    made_s: float
    """From the first sound to the last."""
    gaps_s: tuple[float, ...]
    """How long the player had nothing to play, each time."""


class Load:
    """Clients of a server.

    Args:
        address: of its WebSocket.
        asked: the question, at `RATE_HZ`.
        progress: who is told of each second.
    """

    def __init__(self, address: str, asked: Waveform, progress: Reporter) -> None:
        self._address, self._progress = address, progress
        self._pcm = pcm16(asked).astype("<i2").tobytes()

    def run(self, clients: int, seconds: float, *, in_turn: bool = False) -> list[Heard]:
        """Let some clients ask for some time, each at least once.

        Args:
            clients: at once.
            seconds: after which nobody asks any more; with 0 each asks once, up to the first sound.
            in_turn: a question waits until the one before is answered.

        Raises:
            SetupError: a client failed.
        """
        begun_s = time.monotonic()
        turn = threading.Semaphore(1) if in_turn else None
        heard: list[list[Heard]] = [[] for _ in range(clients)]
        failed: list[Exception] = []

        def client(number: int) -> None:
            try:
                rng = random.Random(number)
                time.sleep(rng.random() * min(seconds, 2.0))
                heard[number] += self._client(begun_s + seconds, rng, turn)
            except Exception as error:  # noqa: BLE001 told by the thread that waits for this one
                failed.append(error)

        threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(clients)]
        for thread in threads:
            thread.start()
        told = 0
        for thread in threads:
            while thread.is_alive():
                thread.join(1.0)
                passed = min(round(seconds), int(time.monotonic() - begun_s))
                if passed > told:
                    self._progress.advance(passed - told)
                    told = passed
        self._progress.advance(round(seconds) - told)
        if failed:
            raise SetupError(f"a client failed: {type(failed[0]).__name__}: {failed[0]}")
        return [each for some in heard for each in some]

    def _client(self, ends_s: float, rng: random.Random, turn: threading.Semaphore | None) -> list[Heard]:
        """Ask until the time is over."""
        heard: list[Heard] = []
        with _session(self._address, detects=turn is None) as session:
            while True:
                if turn is None:
                    ear = Ear(session, ends_s)
                    _speak(ear, self._pcm)
                else:
                    time.sleep(len(self._pcm) / 2 / RATE_HZ)
                    ear = Ear(session, ends_s, time.monotonic())
                    with _having(turn, ends_s):
                        _give(session, self._pcm)
                        ear.listen()
                answer = ear.heard()
                heard.append(answer)
                # Until the answer has been heard, and a little longer.
                pause_s = max(0.0, answer.speech_s - answer.made_s) + rng.random()
                if time.monotonic() + pause_s >= ends_s:
                    return heard
                time.sleep(pause_s)


@contextmanager
def _having(turn: threading.Semaphore | None, ends_s: float) -> Iterator[None]:
    """Wait for one's turn, as long as for a first sound."""
    if turn is None:
        yield
        return
    has_turn = turn.acquire(timeout=max(0.0, ends_s - time.monotonic()) + PATIENCE_S)
    try:
        yield
    finally:
        if has_turn:
            turn.release()


@contextmanager
def _session(address: str, *, detects: bool) -> Iterator[Any]:
    """Connect, and say who finds the end of a turn."""
    from websockets.sync.client import connect

    with connect(address, max_size=None, open_timeout=60, close_timeout=1, ping_interval=None) as socket:
        first = json.loads(socket.recv(60))
        if first["type"] == "error":
            raise SetupError(f"the server says: {first['error']['message']}")
        detection = {"type": "server_vad"} if detects else None
        socket.send(json.dumps({"type": "session.update", "session": {"turn_detection": detection}}))
        yield socket


def _speak(ear: "Ear", pcm: bytes) -> None:
    """Say the question as fast as a person does, then be silent until the answer is over."""
    silence = bytes(PIECE_BYTES)
    said, next_s = 0, time.monotonic()
    while not ear.is_over:
        if ear.since_s is None:  # the microphone is of no interest any more once the turn is over
            if said > len(pcm) + SILENCE_S * 2 * RATE_HZ:
                raise SetupError("the server found no speech in the question; give another with --question")
            _append(ear.socket, pcm[said : said + PIECE_BYTES] or silence)
            said += PIECE_BYTES
            next_s = max(next_s, time.monotonic()) + PIECE_S
        ear.listen(next_s if ear.since_s is None else None)


def _give(socket: Any, pcm: bytes) -> None:
    """Hand over the whole question, and ask for an answer."""
    for first in range(0, len(pcm), PIECE_BYTES):
        _append(socket, pcm[first : first + PIECE_BYTES])
    socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
    socket.send(json.dumps({"type": "response.create"}))


def _append(socket: Any, pcm: bytes) -> None:
    socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}))


class Ear:
    """Listens to one answer, all of it or until the time is over.

    Args:
        socket: of the session.
        ends_s: when the time is over.
        since_s: when the question was asked; None where the server says that its turn is over.
    """

    def __init__(self, socket: Any, ends_s: float, since_s: float | None = None) -> None:
        self.socket, self.since_s, self.is_over = socket, since_s, False
        self._ends_s, self._detects = ends_s, since_s is None
        self._arrived: list[tuple[float, float]] = []

    def listen(self, until_s: float | None = None) -> None:
        """Take what comes until some time, or until the answer is over.

        Raises:
            SetupError: the server has an error, or the answer no sound.
        """
        while not self.is_over:
            gives_up_s = self._ends_s
            if not self._arrived:
                gives_up_s = max(self._ends_s, self.since_s or time.monotonic()) + PATIENCE_S
            wakes_s = gives_up_s if until_s is None else min(until_s, gives_up_s)
            try:
                event = json.loads(self.socket.recv(max(0.0, wakes_s - time.monotonic())))
            except TimeoutError:
                self.is_over = time.monotonic() >= gives_up_s
                return
            self._take(event, time.monotonic())

    def _take(self, event: dict[str, Any], now_s: float) -> None:
        if event["type"] == "error":
            raise SetupError(event["error"]["message"])
        if event["type"] == "input_audio_buffer.committed" and self._detects:
            self.since_s, self._arrived = now_s, []
        if event["type"] == "response.output_audio.delta":
            self._arrived.append((now_s, len(event["delta"]) * 3 / 4 / 2 / RATE_HZ))
        if event["type"] == "response.done":
            status = event["response"]["status"]
            if status == "failed":
                raise SetupError(event["response"]["status_details"]["error"]["message"])
            if status == "cancelled":  # the question went on after a pause
                self.since_s, self._arrived = None, []
                return
            if not self._arrived:
                raise SetupError("the model answered without a sound; ask it with --question what it was trained on")
            self.is_over = True

    def heard(self) -> Heard:
        """Give what was heard."""
        arrived, since_s = self._arrived, self.since_s
        if since_s is None or not arrived:
            return Heard(time.monotonic() - (since_s or time.monotonic()), 0.0, 0.0, ())
        speech_s = sum(seconds for _, seconds in arrived)
        return Heard(arrived[0][0] - since_s, speech_s, arrived[-1][0] - arrived[0][0], _gaps_s(arrived))


def _gaps_s(arrived: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Play sounds that came at some times: how long there was nothing to play, each time.

    >>> [round(gap_s, 2) for gap_s in _gaps_s([(0.0, 0.5), (0.4, 0.5), (1.2, 0.5)])]
    [0.2]
    >>> _gaps_s([(0.0, 0.08), (0.1, 0.08), (0.2, 0.5)])
    ()
    """
    gaps, there_s = list[float](), 0.0
    ends_s: float | None = None
    for at_s, speech_s in arrived:
        there_s += speech_s
        if ends_s is not None and at_s > ends_s:
            gaps.append(at_s - ends_s)
        if ends_s is not None:
            ends_s = max(at_s, ends_s) + speech_s
        elif there_s >= PREFILL_S:
            ends_s = at_s + there_s
    return tuple(gaps)

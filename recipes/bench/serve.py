"""How many can talk at once? Milliseconds from a question to its first sound, beside one request after the other.

A server runs in a process of its own, as `anytalk serve` starts it, and clients in this one ask it over a WebSocket on
loopback, each at a time of its own: it speaks a question as fast as a person does, is silent, and the server finds that
its turn is over; the next question comes when the answer has been heard, after a pause that is drawn. First sound is
counted from `input_audio_buffer.committed`, the server's word that the turn is over, to the first `output_audio.delta`.

A client plays what it gets at the codec's rate, and begins when `PREFILL_S` of it are there, as the page does: a gap is
where the next sound came later than it was needed. The real-time factor is the time from the first sound to the last
over the speech that came between.

Each number of clients asks for a time that is given. When it is over, nobody asks any more: who has heard a first sound
hangs up, the others wait for theirs, `PATIENCE_S` at most, and such a wait counts as what it took so far.

The naive way is one request after the other, what the original's `server.py` does (gpt-omni/mini-omni at 26c31d5): each
client waits for its turn, and then gives the whole question; the time is counted from where it would have spoken.
Value and naive are the 95th percentiles of the largest number of clients; the bound is the quickest answer to one
client that had the server for itself.
"""

import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer

from anytalk.model import MiniOmni, mini_omni_config
from anytalk.pipelines.progress import Reporter
from anytalk.recipes.data import train_tokenizer
from anytalk.recipes.talk import pcm16
from anytalk.synth.audio import Waveform, read_audio
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SetupError
from anytalk.synth.extra import import_extra
from anytalk.synth.hearing import load_whisper
from anytalk.synth.voice import SpeakRequest, load_voice

from .figures import Figures, compared, describe, figures

EPILOG = (
    "It takes --seconds for each number of clients, the same once more (60 at most) for one request after the other, "
    "and half a minute: 3 minutes as it is. Each number that is too much for a machine takes up to half a minute more."
    "\n\n"
    "Examples:  anytalk bench serve out/quickstart/talker --question out/quickstart/answers/00-exact-question.wav  |  "
    "anytalk bench serve RUN --clients 8 --seconds 600 --int8  |  anytalk bench serve --clients 1 --int8"
)
ALONE = 3
"""Answers to one client before the rest: the first warms everything up, the others give the bound."""

NAIVE_S = 60.0
"""For which the naive way is measured at most; more would tell no more."""

PATIENCE_S = 30.0
"""For a first sound, once the time is over."""

WORDS = "Hello there, what's your name?"

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


def bench(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            help="A checkpoint's folder, or a training run's (its best); Mini-Omni's 0.5B shape with random weights by "
            "default.",
        ),
    ] = None,
    question: Annotated[
        Path | None, typer.Option(help="A recording of a question it was trained on; a sentence is spoken by default.")
    ] = None,
    clients: Annotated[
        list[int] | None, typer.Option(min=1, help="Clients at once. Repeatable; 1, 4, 8 and 16 by default.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="For which each number of clients asks.")] = 30.0,
    int8: Annotated[bool, typer.Option("--int8", help="Decode in int8.")] = False,
    device: Annotated[str, typer.Option(help="See anytalk serve.")] = "auto",
    *,
    progress: Reporter,
) -> Figures:
    """Load a server.

    Args:
        run: see above.
        question: see above.
        clients: see above.
        seconds: see above.
        int8: see above.
        device: see above.
        progress: who is told how far it is.

    Raises:
        SetupError: the server does not start, or gives no sound.
    """
    import_extra("websockets", "anytalk bench serve", "serve")
    counts = sorted(clients or [1, 4, 8, 16])
    asked = read_audio(question, RATE_HZ) if question else _spoken()
    options = ["--sessions", str(counts[-1]), "--device", device, *(["--int8"] if int8 else [])]
    naive_s = min(seconds, NAIVE_S)
    found: dict[str, Figures] = {}
    progress.phase("starting a server")
    try:
        with _model(run) as folder, _server(folder, options) as address:
            load = Load(address, asked, progress)
            progress.start("seconds", round(len(counts) * seconds + naive_s))
            alone = [heard for _ in range(ALONE) for heard in load.run(1, 0.0)][1:]
            progress.say(HEADINGS)
            for count in counts:
                heard = load.run(count, seconds)
                found[str(count)] = _summary(heard, count, seconds)
                progress.say(_line(str(count), found[str(count)]))
            heard_in_turn = load.run(counts[-1], naive_s, in_turn=True)
            naive = _summary(heard_in_turn, counts[-1], naive_s)
            progress.say(_line(f"{counts[-1]} in turn", naive))
    finally:
        progress.stop()
    comparison = compared(
        [_first_ms(heard, 95)], [_first_ms(heard_in_turn, 95)], _first_ms(alone, 0), less_is_better=True
    )
    return figures(
        "serve",
        f"ms to first sound, p95 of {counts[-1]} clients",
        comparison,
        clients=found,
        one_after_another={str(counts[-1]): naive},
        seconds=seconds,
        cores=os.cpu_count(),
        int8=int8,
    )


def _spoken() -> Waveform:
    voice = load_voice("hibari:heart")
    spoken = voice.speak([SpeakRequest(WORDS, seed=0)])[0]
    if isinstance(spoken, Exception):
        raise spoken
    return spoken


@contextmanager
def _model(run: Path | None) -> Iterator[Path]:
    """Give the folder of what is served: the run, or random weights that speak until they are stopped."""
    if run is not None:
        yield run
        return
    whisper, codec = load_whisper("tiny.en"), load_codec("bundled")
    config = replace(
        mini_omni_config(),
        feature_width=whisper.feature_width,
        feature={**whisper.fingerprint, "width": whisper.feature_width},
        codec=dict(codec.fingerprint),
    )
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = MiniOmni(config)
        layout = config.layout
        with torch.no_grad():
            # Special ids have logits of 0, and so are never the largest.
            model.audio_head.weight.view(layout.layers, layout.audio_vocabulary, -1)[:, layout.codebook_size :] = 0
        model.to(torch.bfloat16).save_pretrained(folder)
        # What it writes means nothing, and is read by a tokenizer that knows few of its ids.
        train_tokenizer([WORDS], len(WORDS) + 256).save(str(Path(folder) / "tokenizer.json"))
        del model
        yield Path(folder)


@contextmanager
def _server(run: Path, options: Sequence[str]) -> Iterator[str]:
    """Start `anytalk serve` on a free port; give its WebSocket's address."""
    command = [sys.executable, "-m", "anytalk.recipes", "serve", str(run), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("http"):
                raise SetupError(f"the server did not start; run: anytalk serve {run}")
            yield line.split()[0].replace("http", "ws", 1) + "/v1/realtime"
        finally:
            process.terminate()


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

    def _take(self, event: Figures, now_s: float) -> None:
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


def _first_ms(heard: Sequence[Heard], percentile: float) -> float:
    return float(np.percentile([1000 * each.first_s for each in heard], percentile))


def _summary(heard: Sequence[Heard], clients: int, seconds: float) -> Figures:
    gaps = [gap_s for each in heard for gap_s in each.gaps_s]
    return {
        "answers": len(heard),
        "without_sound": sum(not each.speech_s for each in heard),
        "first_sound_ms_p50": round(_first_ms(heard, 50)),
        "first_sound_ms_p95": round(_first_ms(heard, 95)),
        "real_time_factor": round(median([each.made_s / each.speech_s for each in heard if each.speech_s] or [0.0]), 3),
        "speech_s": round(sum(each.speech_s for each in heard), 1),
        "gaps": len(gaps),
        "gaps_per_client_minute": round(60 * len(gaps) / (clients * seconds), 2),
        "longest_gap_ms": round(1000 * max(gaps, default=0.0)),
    }


COLUMNS = {
    "answers": "answers",
    "first_sound_ms_p50": "p50 ms",
    "first_sound_ms_p95": "p95 ms",
    "real_time_factor": "RTF",
    "speech_s": "speech s",
    "gaps": "gaps",
    "gaps_per_client_minute": "gaps/client-minute",
    "longest_gap_ms": "longest ms",
}
WIDTH = 7
HEADINGS = "  ".join([f"{'clients':10}", *(f"{title:>{WIDTH}}" for title in COLUMNS.values())])


def _line(name: str, each: Figures) -> str:
    widths = {key: max(WIDTH, len(title)) for key, title in COLUMNS.items()}
    return "  ".join([f"{name:10}", *(f"{each[key]:>{width}}" for key, width in widths.items())])


def text(found: Figures) -> str:
    """The figures as lines for a person."""
    lines = [_line(count, each) for count, each in found["clients"].items()]
    lines += [_line(f"{count} in turn", each) for count, each in found["one_after_another"].items()]
    return describe(found, "the quickest answer to one client alone", "time to first sound:", HEADINGS, *lines)

"""How many can talk at once? Milliseconds from a question to its first sound, beside one request after the other.

A server runs in a process of its own, as `anytalk serve` starts it, and clients in this one ask it over a WebSocket on
loopback, each a spoken question at a time of its own: the next one comes when the answer has been heard, after a pause
that is drawn. First sound is counted from the message that commits the question to the first `output_audio.delta`.

A client plays what it gets at the codec's rate, from the first sound on: a gap is where the next sound came later than
it was needed. The real-time factor is the time from the first sound to the last over the speech that came between.

The naive way is a server that answers one request after the other (`--sessions 1`, each client waits for its turn):
what the original's `server.py` does (gpt-omni/mini-omni at 26c31d5). Value and naive are the 95th percentiles of the
largest number of clients; the bound is the quickest answer to one client that the server had for itself.
"""

import base64
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from anytalk.pipelines.progress import Reporter
from anytalk.recipes.talk import pcm16
from anytalk.synth.audio import Waveform, read_audio
from anytalk.synth.errors import SetupError
from anytalk.synth.extra import import_extra
from anytalk.synth.voice import SpeakRequest, load_voice

from .figures import Figures, compared, describe, figures

EPILOG = (
    "Examples:  anytalk bench serve out/quickstart/talker --question out/quickstart/answers/00-exact-question.wav  |  "
    "anytalk bench serve RUN --clients 8 --seconds 600 --int8"
)
ALONE = 3
"""Answers to one client before the rest: the first warms everything up, the others give the bound."""

RATE_HZ = 24_000


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
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A checkpoint's folder, or a training run's (its best).")],
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
    options = ["--device", device, *(["--int8"] if int8 else [])]
    found: dict[int, list[Heard]] = {}
    progress.start("clients", len(counts) + 1)
    try:
        with _server(run, ["--sessions", str(counts[-1]), *options]) as address:
            alone = [heard for _ in range(ALONE) for heard in _load(address, 1, 0.0, asked)][1:]
            for count in counts:
                found[count] = _load(address, count, seconds, asked)
                progress.advance(1)
        with _server(run, ["--sessions", "1", *options]) as address:
            _load(address, 1, 0.0, asked)
            naive = _load(address, counts[-1], seconds, asked, waits=True)
            progress.advance(1)
    finally:
        progress.stop()
    comparison = compared(
        [_first_ms(found[counts[-1]], 95)], [_first_ms(naive, 95)], _first_ms(alone, 0), less_is_better=True
    )
    return figures(
        "serve",
        f"ms to first sound, p95 of {counts[-1]} clients",
        comparison,
        clients={str(count): _summary(heard) for count, heard in found.items()},
        one_after_another={str(counts[-1]): _summary(naive)},
        seconds=seconds,
        cores=os.cpu_count(),
        int8=int8,
    )


def _spoken() -> Waveform:
    voice = load_voice("hibari:heart")
    spoken = voice.speak([SpeakRequest("Hello there, what's your name?", seed=0)])[0]
    if isinstance(spoken, Exception):
        raise spoken
    return spoken


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


def _load(address: str, clients: int, seconds: float, asked: Waveform, *, waits: bool = False) -> list[Heard]:
    """Let some clients ask for some time, each at least once."""
    ends_s = time.monotonic() + seconds
    heard: list[list[Heard]] = [[] for _ in range(clients)]
    failed: list[Exception] = []

    def client(number: int) -> None:
        try:
            rng = random.Random(number)
            time.sleep(rng.random() * min(seconds, 2.0))
            heard[number] += _client(address, ends_s, asked, rng, waits)
        except Exception as error:  # noqa: BLE001 told by the thread that waits for this one
            failed.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SetupError(f"a client failed: {type(failed[0]).__name__}: {failed[0]}")
    return [each for some in heard for each in some]


def _client(address: str, ends_s: float, asked: Waveform, rng: random.Random, waits: bool) -> list[Heard]:
    """Ask until the time is over; where a session takes turns with others, one for each question."""
    heard: list[Heard] = []
    pcm = pcm16(asked).astype("<i2").tobytes()
    with ExitStack() as stack:
        session = None
        while True:
            asked_s = time.perf_counter()
            if session is None or waits:
                stack.close()
                session = stack.enter_context(_session(address, waits))
            answer = _ask(session, pcm, asked_s if waits else None)
            heard.append(answer)
            if waits:
                stack.close()
            if time.monotonic() >= ends_s:
                break
            # Until the answer has been heard, and a little longer.
            time.sleep(max(0.0, answer.speech_s - answer.made_s) + rng.random())
    return heard


@contextmanager
def _session(address: str, waits: bool) -> Iterator[Any]:
    """Connect, and come again while the server is full, if it is to be waited for."""
    from websockets.sync.client import connect

    while True:
        with connect(address, max_size=None, open_timeout=60, ping_interval=None) as socket:
            first = json.loads(socket.recv(60))
            if first["type"] != "error":
                socket.send(json.dumps({"type": "session.update", "session": {"turn_detection": None}}))
                yield socket
                return
            if not waits:
                raise SetupError(f"the server says: {first['error']['message']}")
        time.sleep(0.02)


def _ask(socket: Any, pcm: bytes, since_s: float | None) -> Heard:
    """Say the question, then take the answer as it comes."""
    piece = RATE_HZ // 10 * 2
    for first in range(0, len(pcm), piece):
        audio = base64.b64encode(pcm[first : first + piece]).decode()
        socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
    since_s = time.perf_counter() if since_s is None else since_s
    socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
    socket.send(json.dumps({"type": "response.create"}))
    arrived: list[tuple[float, float]] = []
    while True:
        event = json.loads(socket.recv(600))
        now_s = time.perf_counter()
        if event["type"] == "error":
            raise SetupError(event["error"]["message"])
        if event["type"] == "response.output_audio.delta":
            arrived.append((now_s, len(event["delta"]) * 3 / 4 / 2 / RATE_HZ))
        if event["type"] == "response.done":
            break
    if not arrived:
        raise SetupError("the model answered without a sound; ask it with --question what it was trained on")
    return Heard(arrived[0][0] - since_s, sum(s for _, s in arrived), arrived[-1][0] - arrived[0][0], _gaps_s(arrived))


def _gaps_s(arrived: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Play sounds that came at some times: how long there was nothing to play, each time.

    >>> [round(gap_s, 2) for gap_s in _gaps_s([(0.0, 0.5), (0.4, 0.5), (1.2, 0.5)])]
    [0.2]
    """
    gaps, ends_s = [], arrived[0][0]
    for at_s, speech_s in arrived:
        if at_s > ends_s:
            gaps.append(at_s - ends_s)
        ends_s = max(at_s, ends_s) + speech_s
    return tuple(gaps)


def _first_ms(heard: Sequence[Heard], percentile: float) -> float:
    return float(np.percentile([1000 * each.first_s for each in heard], percentile))


def _summary(heard: Sequence[Heard]) -> dict[str, float]:
    gaps = [gap_s for each in heard for gap_s in each.gaps_s]
    return {
        "answers": len(heard),
        "first_sound_ms_p50": round(_first_ms(heard, 50)),
        "first_sound_ms_p95": round(_first_ms(heard, 95)),
        "real_time_factor": round(median(each.made_s / each.speech_s for each in heard), 3),
        "speech_s": round(sum(each.speech_s for each in heard), 1),
        "gaps": len(gaps),
        "longest_gap_ms": round(1000 * max(gaps, default=0.0)),
    }


def text(found: Figures) -> str:
    """The figures as lines for a person."""
    lines = [_line(f"{count} at once", each) for count, each in found["clients"].items()]
    lines += [_line(f"{count}, one after another", each) for count, each in found["one_after_another"].items()]
    return describe(found, "the quickest answer to one client alone", *lines)


def _line(name: str, each: dict[str, Any]) -> str:
    return (
        f"{name}: first sound p50 {each['first_sound_ms_p50']} ms, p95 {each['first_sound_ms_p95']} ms; "
        f"RTF {each['real_time_factor']}; {each['gaps']} gaps in {each['speech_s']} s of speech, "
        f"longest {each['longest_gap_ms']} ms"
    )

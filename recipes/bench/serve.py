"""How many can talk at once? Milliseconds from a question to its first sound, beside one request after the other.

A server runs in a process of its own, as `anytalk serve` starts it, and clients in this one ask it over a WebSocket on
loopback, each at a time of its own; see `clients`. The real-time factor is the time from the first sound to the last
over the speech that came between.

Each number of clients asks for a time that is given. When it is over, nobody asks any more: who has heard a first sound
hangs up, the others wait for theirs, `clients.PATIENCE_S` at most, and such a wait counts as what it took so far.

The naive way is one request after the other, what the original's `server.py` does (gpt-omni/mini-omni at 26c31d5): each
client waits for its turn, and then gives the whole question; the time is counted from where it would have spoken.
Value and naive are the 95th percentiles of the largest number of clients; the bound is the quickest answer to one
client that had the server for itself.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import torch
import typer

from anytalk.model import MiniOmni, mini_omni_config
from anytalk.pipelines.progress import Reporter
from anytalk.recipes.data import train_tokenizer
from anytalk.synth.audio import Waveform, read_audio
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SetupError
from anytalk.synth.extra import import_extra
from anytalk.synth.hearing import load_whisper
from anytalk.synth.voice import SpeakRequest, load_voice

from .clients import RATE_HZ, Heard, Load
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

WORDS = "Hello there, what's your name?"


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

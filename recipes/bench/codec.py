"""How fast is a codec? Seconds of speech a second, beside the plain loop over its network, in the same run.

The plain loop is what the `snac` package's README shows: one utterance after the other through the package's own
`encode` and `decode`, in inference mode. For a codec of ours it is the same loop over its network. Repeats of both
take turns, so that what else the machine does weighs on both; on one core both are timed by the processor time that
they took, on several by the clock. The bound is the multiplications of convolutions and
matrix products over this machine's measured rate of them.
"""

import functools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from importlib import resources
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from anytalk.pipelines.progress import Reporter
from anytalk.recipes.machine import commit_id, machine
from anytalk.synth.audio import Waveform, resample
from anytalk.synth.codec import Codec, load_codec
from anytalk.synth.codec.bundled import BundledCodec
from anytalk.synth.codec.order import to_frames, to_levels
from anytalk.synth.codec.snac import SnacCodec, find_folder, read_network, write_random_snac
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.threads import torch_threads
from anytalk.synth.voice import SpeakRequest, load_voice

REPEATS = 3
SENTENCES_AN_UTTERANCE = (1, 2, 1, 3)
"""Taken in turn: answers from 2 to 12 seconds."""

Loop = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Encodes waveforms, or decodes codes."""


def bench_codec(name: str | None, seconds: float, cores: int, compiled: bool, progress: Reporter) -> dict[str, Any]:
    """Measure a codec and the plain loop over its network.

    Args:
        name: see `load_codec`; None for SNAC at its real size with random weights, which speed does not depend on.
        seconds: speech to measure on, at least.
        cores: the plain loop gets as many threads, the codec as many processes of one thread.
        compiled: see `load_codec`.
        progress: who is told how far it is.

    Returns:
        Figures under the names that all benchmarks share, those of encoding on top and those of decoding below
        `decode`. `spread` holds the lowest and the highest of the repeats.

    Raises:
        SetupError: there is no such codec, or it is none with a network.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as pools:
        if name is None:
            write_random_snac(Path(folder), seed=0)
        target = name or folder
        codec = load_codec(target, compiled=compiled)
        network, plain_encode, plain_decode = plain_loops(codec)
        encode, decode = (codec.encode, codec.decode) if cores == 1 else _on_processes(target, cores, compiled, pools)
        waveforms = utterances(seconds, codec.sample_rate_hz)
        codes = codec.encode(waveforms)
        speech_s = sum(len(waveform) for waveform in waveforms) / codec.sample_rate_hz
        progress.start("repeats", 2 * REPEATS)
        try:
            encoding = _compare(encode, plain_encode, waveforms, speech_s, cores, progress)
            decoding = _compare(decode, plain_decode, codes, speech_s, cores, progress)
        finally:
            progress.stop()
        peak = cores * matmul_flops_per_s()
        for figures, loop, items in ((encoding, plain_encode, waveforms), (decoding, plain_decode, codes)):
            figures["bound"] = round(peak / (flops(loop, items) / speech_s), 1)
            figures["share_of_bound"] = round(figures["value"] / figures["bound"], 3)
        plain_codes = plain_encode(waveforms)
    same = sum(int((ours == plain).sum()) for ours, plain in zip(codes, plain_codes, strict=True))
    return {
        "name": "codec",
        "unit": f"seconds of speech a second of {'one core' if cores == 1 else f'{cores} cores'}",
        **encoding,
        "decode": decoding,
        "codes_as_plain": round(same / sum(frames.size for frames in codes), 5),
        "codec": "SNAC at its real size with random weights" if name is None else dict(codec.fingerprint),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "utterances": len(waveforms),
        "speech_s": round(speech_s, 1),
        "cores": cores,
        "compiled": compiled,
        "machine": machine(),
        "commit": commit_id(),
    }


def utterances(seconds: float, rate_hz: int) -> list[Waveform]:
    """Speech of one, two or three sentences an utterance, until there is enough."""
    voice = load_voice("hibari:heart")
    sentences = cycle((resources.files("anytalk.synth") / "corpus" / "holdout.txt").read_text("utf-8").splitlines())
    spoken: list[Waveform] = []
    for count in cycle(SENTENCES_AN_UTTERANCE):
        [waveform] = voice.speak([SpeakRequest(" ".join(islice(sentences, count)), seed=len(spoken))])
        if isinstance(waveform, SampleError):
            raise waveform
        spoken.append(resample(waveform, voice.sample_rate_hz, rate_hz))
        if sum(len(each) for each in spoken) >= seconds * rate_hz:
            return spoken
    raise AssertionError("a cycle does not end")


def plain_loops(codec: Codec) -> tuple[torch.nn.Module, Loop, Loop]:
    """What a user writes who has the network: one utterance after the other, to codes and back.

    Returns:
        The network as it comes, and the loops that encode and decode.

    Raises:
        SetupError: the codec has no network.
    """
    if isinstance(codec, SnacCodec):
        snac = read_network(find_folder(codec.name)[0])
        return snac, functools.partial(_encode_each, snac, 1), functools.partial(_decode_each, snac)
    if isinstance(codec, BundledCodec):
        network = codec.network
        encode = functools.partial(_encode_each, network, codec.frame_samples)
        return network, encode, functools.partial(_decode_each, network)
    raise SetupError(f"codec {codec.name!r} has no network to compare it with; name bundled, a codec's file, or SNAC")


def _encode_each(network: Any, multiple: int, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
    codes = []
    for waveform in waveforms:
        audio_BS = torch.from_numpy(np.pad(waveform, (0, -len(waveform) % multiple)))[None]
        # SNAC has an axis for its one channel, and pads to whole frames itself.
        levels = network.encode(audio_BS[:, None] if multiple == 1 else audio_BS)
        codes.append(to_frames([level[0].numpy() for level in levels]))
    return codes


def _decode_each(network: Any, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [
        network.decode([torch.from_numpy(level)[None] for level in to_levels(frames)]).reshape(-1).numpy()
        for frames in codes
    ]


def _compare(
    ours: Loop, plain: Loop, items: Sequence[np.ndarray], speech_s: float, cores: int, progress: Reporter
) -> dict[str, Any]:
    """Run both in turn, after one call each to warm up."""
    clock = time.process_time if cores == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    with torch.inference_mode(), torch_threads(cores):
        ours(items[:1])
        plain(items[:1])
        for _ in range(REPEATS):
            for label, loop in (("plain", plain), ("ours", ours)):
                started = clock()
                loop(items)
                seconds[label].append(clock() - started)
            progress.advance(1)
    rates = {label: [speech_s / each for each in measured] for label, measured in seconds.items()}
    ratios = [slow / fast for slow, fast in zip(seconds["plain"], seconds["ours"], strict=True)]
    return {
        "value": round(statistics.median(rates["ours"]), 2),
        "naive": round(statistics.median(rates["plain"]), 2),
        "ratio": round(statistics.median(ratios), 2),
        "spread": {
            "value": [round(min(rates["ours"]), 2), round(max(rates["ours"]), 2)],
            "naive": [round(min(rates["plain"]), 2), round(max(rates["plain"]), 2)],
            "ratio": [round(min(ratios), 2), round(max(ratios), 2)],
        },
    }


def flops(loop: Loop, items: Sequence[np.ndarray]) -> float:
    """Floating-point operations of convolutions and matrix products in a run over all items.

    The shortest item is counted, and the rest taken in proportion.
    """
    shortest = min(items, key=len)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        loop([shortest])
    return float(counter.get_total_flops()) * sum(len(item) for item in items) / len(shortest)


def matmul_flops_per_s(size: int = 1024) -> float:
    """Rate of float32 matrix products on one thread: the best of a few."""
    a, b = torch.ones(size, size), torch.ones(size, size)
    best_s = float("inf")
    with torch.inference_mode(), torch_threads(1):
        for _ in range(8):
            started = time.process_time()
            torch.mm(a, b)
            best_s = min(best_s, time.process_time() - started)
    return 2 * size**3 / best_s


def _on_processes(name: str, count: int, compiled: bool, pools: ExitStack) -> tuple[Loop, Loop]:
    """Encode and decode on processes of one thread, the longest utterance first."""
    context = multiprocessing.get_context("spawn")
    pool = pools.enter_context(ProcessPoolExecutor(count, context, _load_in_process, (name, compiled)))

    def loop(task: Callable[[np.ndarray], np.ndarray], items: Sequence[np.ndarray]) -> list[np.ndarray]:
        places = sorted(range(len(items)), key=lambda place: -len(items[place]))
        done = dict(zip(places, pool.map(task, [items[place] for place in places]), strict=True))
        return [done[place] for place in range(len(items))]

    return functools.partial(loop, _encode_in_process), functools.partial(loop, _decode_in_process)


_codec_of_process: Codec


def _load_in_process(name: str, compiled: bool) -> None:
    global _codec_of_process
    _codec_of_process = load_codec(name, compiled=compiled)


def _encode_in_process(waveform: np.ndarray) -> np.ndarray:
    return _codec_of_process.encode([waveform])[0]


def _decode_in_process(frames: np.ndarray) -> np.ndarray:
    return _codec_of_process.decode([frames])[0]


def text(figures: dict[str, Any]) -> str:
    """The figures as lines for a person."""
    what = figures["codec"]
    what = what if isinstance(what, str) else f"{what['name']} ({what['revision']})"
    per = "one core" if figures["cores"] == 1 else f"{figures['cores']} cores"
    per += ", compiled" if figures["compiled"] else ""
    lines = [
        f"{what}: {figures['speech_s']:.0f} s of speech in {figures['utterances']} utterances on {per}",
        "           x real time   plain loop   ratio (lowest to highest)   bound   share",
    ]
    for side, row in (("encode", figures), ("decode", figures["decode"])):
        low, high = row["spread"]["ratio"]
        lines.append(
            f"  {side}   {row['value']:>11.1f}   {row['naive']:>10.1f}   {row['ratio']:.2f} ({low:.2f} to {high:.2f})"
            f"         {row['bound']:>5.0f}   {row['share_of_bound']:.1%}"
        )
    lines.append(f"  {figures['codes_as_plain']:.3%} of the codes are those of the plain loop")
    return "\n".join(lines)

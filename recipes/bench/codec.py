"""How fast is a codec? Seconds of speech a second, beside the plain loop over its network, in the same run.

The plain loop is what the `snac` package's README shows: one utterance after the other through the package's own
`encode` and `decode`, in inference mode. For a codec of ours it is the same loop over its network. Repeats of both
take turns, so that what else the machine does weighs on both; on one core both are timed by the processor time that
they took, on several by the clock. The bound is the multiplications of convolutions and
matrix products over this machine's measured rate of them.
"""

import functools
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from importlib import resources
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from anytalk.pipelines.progress import Reporter
from anytalk.recipes.device import CodecDtype, Device
from anytalk.recipes.train import matmul_rate
from anytalk.synth.audio import Waveform, resample
from anytalk.synth.batch import raise_first
from anytalk.synth.codec import Codec, load_codec
from anytalk.synth.codec.bundled import BundledCodec
from anytalk.synth.codec.order import to_frames, to_levels
from anytalk.synth.codec.snac import SnacCodec, find_folder, read_network, write_random_snac
from anytalk.synth.device import torch_device
from anytalk.synth.errors import SetupError
from anytalk.synth.threads import torch_threads
from anytalk.synth.voice import SpeakRequest, load_voice

from .figures import (
    Figures,
    bound_line,
    clock_of,
    compared,
    comparison_line,
    describe,
    figures,
    in_turns,
    matmul_flops_per_s,
    seconds_of,
)

EPILOG = (
    "Examples:  anytalk bench codec --compiled  |  anytalk bench codec bundled --seconds 30  |  "
    "anytalk bench codec --device cuda --dtype float16"
)
SENTENCES_AN_UTTERANCE = (1, 2, 1, 3)
"""Taken in turn: answers from 2 to 12 seconds."""

Loop = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Encodes waveforms, or decodes codes."""


def bench(
    codec: Annotated[
        str | None, typer.Argument(metavar="CODEC", help="See anytalk codec eval; SNAC with random weights by default.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How much speech, at least.")] = 60.0,
    cores: Annotated[int, typer.Option(min=1, help="Threads of the plain loop, processes of the codec.")] = 1,
    compiled: Annotated[bool, typer.Option("--compiled", help="Compile SNAC; takes a C++ compiler.")] = False,
    device: Device = "auto",
    dtype: CodecDtype = "float32",
    *,
    progress: Reporter,
) -> Figures:
    """Measure a codec and the plain loop over its network.

    Returns:
        Figures of encoding, and those of decoding below `decode`. Speed does not depend on the weights.

    Raises:
        SetupError: there is no such codec, it is none with a network, or the device or precision cannot be had.
    """
    on = torch_device(device)
    if cores > 1 and on.type != "cpu":
        raise SetupError(f"--cores {cores} is for a CPU, and the device is {on}; leave it out, or give --device cpu")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as pools:
        if codec is None:
            write_random_snac(Path(folder), seed=0)
        name = codec or folder
        loaded = load_codec(name, compiled=compiled, device=device, dtype=dtype)
        network, plain_encode, plain_decode = plain_loops(loaded, on)
        encode, decode = _on_one(loaded) if cores == 1 else _on_processes(name, cores, compiled, pools)
        waveforms = utterances(seconds, loaded.sample_rate_hz)
        codes = raise_first(loaded.encode(waveforms))
        speech_s = sum(len(waveform) for waveform in waveforms) / loaded.sample_rate_hz
        encoding = _compare(encode, plain_encode, waveforms, speech_s, cores, on, progress)
        decoding = _compare(decode, plain_decode, codes, speech_s, cores, on, progress)
        plain_codes = plain_encode(waveforms)
    same = sum(int((ours == plain).sum()) for ours, plain in zip(codes, plain_codes, strict=True))
    return figures(
        "codec",
        f"seconds of speech a second of {_where(on, cores)}",
        encoding,
        decode=decoding,
        codes_as_plain=round(same / sum(frames.size for frames in codes), 5),
        codec="SNAC at its real size with random weights" if codec is None else dict(loaded.fingerprint),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        utterances=len(waveforms),
        speech_s=round(speech_s, 1),
        cores=cores,
        compiled=compiled,
        device=on.type,
        dtype=dtype,
    )


def _where(device: torch.device, cores: int) -> str:
    if device.type != "cpu":
        return "one GPU"
    return "one core" if cores == 1 else f"{cores} cores"


def utterances(seconds: float, rate_hz: int) -> list[Waveform]:
    """Speech of one, two or three sentences an utterance, until there is enough."""
    voice = load_voice("hibari:heart")
    sentences = cycle((resources.files("anytalk.synth") / "corpus" / "holdout.txt").read_text("utf-8").splitlines())
    spoken: list[Waveform] = []
    for count in cycle(SENTENCES_AN_UTTERANCE):
        [waveform] = raise_first(voice.speak([SpeakRequest(" ".join(islice(sentences, count)), seed=len(spoken))]))
        spoken.append(resample(waveform, voice.sample_rate_hz, rate_hz))
        if sum(len(each) for each in spoken) >= seconds * rate_hz:
            return spoken
    raise AssertionError("a cycle does not end")


def plain_loops(codec: Codec, device: torch.device) -> tuple[torch.nn.Module, Loop, Loop]:
    """What a user writes who has the network: one utterance after the other, to codes and back, on a device.

    Returns:
        The network as it comes, and the loops that encode and decode.

    Raises:
        SetupError: the codec has no network.
    """
    if isinstance(codec, SnacCodec):
        snac = read_network(find_folder(codec.name)[0]).to(device)
        return snac, functools.partial(_encode_each, snac, 1), functools.partial(_decode_each, snac)
    if isinstance(codec, BundledCodec):
        network = codec.network
        encode = functools.partial(_encode_each, network, codec.frame_samples)
        return network, encode, functools.partial(_decode_each, network)
    raise SetupError(f"codec {codec.name!r} has no network to compare it with; name bundled, a codec's file, or SNAC")


def _encode_each(network: Any, multiple: int, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
    codes = []
    for waveform in waveforms:
        audio_BS = torch.from_numpy(np.pad(waveform, (0, -len(waveform) % multiple)))[None].to(_device_of(network))
        # SNAC has an axis for its one channel, and pads to whole frames itself.
        levels = network.encode(audio_BS[:, None] if multiple == 1 else audio_BS)
        codes.append(to_frames([level[0].cpu().numpy() for level in levels]))
    return codes


def _decode_each(network: Any, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [
        network.decode([torch.from_numpy(level)[None].to(_device_of(network)) for level in to_levels(frames)])
        .reshape(-1)
        .cpu()
        .numpy()
        for frames in codes
    ]


def _device_of(network: Any) -> torch.device:
    found: torch.device = next(network.parameters()).device
    return found


def _compare(
    ours: Loop,
    plain: Loop,
    items: Sequence[np.ndarray],
    speech_s: float,
    cores: int,
    device: torch.device,
    progress: Reporter,
) -> Figures:
    """Run both in turn, after one call each to warm up."""
    clock = clock_of(cores, device)
    with torch.inference_mode(), torch_threads(cores):
        ours(items[:1])
        plain(items[:1])
        values, naives = in_turns(
            lambda: speech_s / seconds_of(lambda: ours(items), clock),
            lambda: speech_s / seconds_of(lambda: plain(items), clock),
            progress,
        )
    if device.type == "cpu":
        with torch_threads(1):
            peak = cores * matmul_flops_per_s()
    else:
        peak = matmul_rate(device, torch.float32)
    return compared(values, naives, peak / (flops(plain, items) / speech_s))


def flops(loop: Loop, items: Sequence[np.ndarray]) -> float:
    """Floating-point operations of convolutions and matrix products in a run over all items.

    The shortest item is counted, and the rest taken in proportion.
    """
    shortest = min(items, key=len)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        loop([shortest])
    return float(counter.get_total_flops()) * sum(len(item) for item in items) / len(shortest)


def _on_one(codec: Codec) -> tuple[Loop, Loop]:
    """Encode and decode here, one batch at a time."""
    return lambda waveforms: raise_first(codec.encode(waveforms)), lambda codes: raise_first(codec.decode(codes))


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
    return raise_first(_codec_of_process.encode([waveform]))[0]


def _decode_in_process(frames: np.ndarray) -> np.ndarray:
    return raise_first(_codec_of_process.decode([frames]))[0]


def text(found: Figures) -> str:
    """The figures as lines for a person."""
    what = found["codec"]
    what = what if isinstance(what, str) else f"{what['name']} ({what['revision']})"
    network = "the multiplications of its network"
    return describe(
        found | {"name": "encode"},
        network,
        comparison_line("decode", found["decode"], found["unit"]),
        f"{bound_line(found['decode'], network)}",
        f"{what}{', compiled' if found['compiled'] else ''}: {found['speech_s']:.0f} s of speech in "
        f"{found['utterances']} utterances; {found['codes_as_plain']:.3%} of the codes are those of the plain loop",
    )

"""How fast is talking? Milliseconds a step, beside a plain float32 loop, in the same run.

One spoken question is answered in batch-parallel decoding, so with two rows. The plain loop does what the original's
does (`inference.py` of gpt-omni/mini-omni at 26c31d5): the same network in float32 with a cache, all heads of both rows
at every step. Ours is the decoding of `talk`, `eval` and `serve`: on a processor with int8 weights and the heads that
are needed, on a GPU in bfloat16 with a step as one CUDA graph. Repeats of both take turns. On one core both are timed
by the processor time that they took, else by the clock. The bound is the weights that a step reads over this machine's
measured rate of reading memory; real time is 2048 samples at 24 kHz a step, 85.33 ms.

How far the fast model's tokens are those of float32 is counted in two ways: *forced*, where both read what float32 said
before, and *free*, where each reads what it said itself, so that one other token changes all that follow. A model with
random weights is the hardest case, since its likeliest tokens are hardly likelier than the next.

Shapes: B = rows, K = streams, T = positions, F = feature width.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import closing
from statistics import median
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from anytalk.model import (
    ContinuousDecoding,
    MiniOmni,
    QuantisedBlock,
    QuantisedLinear,
    Request,
    Task,
    Turn,
    adapter_positions,
    int8_kernel,
    mini_omni_0_5b,
    quantise,
)
from anytalk.pipelines.progress import Reporter
from anytalk.recipes.device import Device
from anytalk.synth.device import Dtype, check_dtype, torch_device, torch_dtype
from anytalk.synth.errors import SetupError
from anytalk.synth.threads import torch_threads

from .figures import Clock, Figures, best_rate, clock_of, compared, describe, figures, in_turns

EPILOG = "Examples:  anytalk bench talk --cores 2  |  anytalk bench talk out/talker/best --device cuda --dtype bfloat16"

QUESTION_FRAMES = 150  # 3 s
STEP_MS = 2048 / 24_000 * 1000

Column = tuple[int, ...]


def bench(
    checkpoint: Annotated[
        str | None,
        typer.Argument(metavar="CHECKPOINT", help="A model's folder; the 0.5B shape with random weights by default."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1500, help="Of each repeat, and to compare tokens over.")] = 50,
    cores: Annotated[int, typer.Option(min=1, help="Threads of both.")] = 1,
    device: Device = "auto",
    dtype: Annotated[
        Dtype | None, typer.Option(help="Of the fast model's weights; int8 on a CPU and bfloat16 on a GPU by default.")
    ] = None,
    *,
    progress: Reporter,
    model: MiniOmni | None = None,
) -> Figures:
    """Decode with a model and with its fast copy.

    Args:
        checkpoint: speed does not depend on its weights.
        steps: see above.
        cores: see above.
        device: see above.
        dtype: see above.
        progress: who is told how far it is.
        model: measured instead of a checkpoint, if given; float32 and in eval mode.

    Raises:
        SetupError: the checkpoint is none, or the device or precision cannot be had.
    """
    on = torch_device(device)
    arithmetic = dtype or ("int8" if on.type == "cpu" else "bfloat16")
    check_dtype(arithmetic, str(on))
    how = f"int8 ({int8_kernel()})" if arithmetic == "int8" else arithmetic
    clock = clock_of(cores, on)
    said: list[Column] = []
    answered: list[Column] = []
    with torch_threads(cores), torch.inference_mode():
        plain_model = (model or _load(checkpoint)).to(on)
        fast_model = _fast(copy.deepcopy(plain_model), arithmetic)
        request = question(plain_model)
        room = plain_model.layout.prompt_length(request.turns[-1]) + steps + 1
        decoding = ContinuousDecoding(fast_model, max_positions=room)

        def ours() -> float:
            columns = _columns(decoding, request)
            answered[:], each_ms = _timed(columns, steps, clock)
            return each_ms

        def naive() -> float:
            said[:], each_ms = _timed(_plainly(plain_model, request), steps, clock)
            return each_ms

        values, naives = in_turns(ours, naive, progress)
        forced = PlainLoop(fast_model, request)
        repeated = [forced.column, *(forced.step(column) for column in said[:-1])]
        read_bytes = weight_bytes(fast_model)
        bytes_per_s = read_rate(on, clock)
    return figures(
        "talk",
        "ms a step",
        compared(values, naives, read_bytes / bytes_per_s * 1000, less_is_better=True),
        real_time=round(STEP_MS / median(values), 2),
        agreement={
            "steps": len(said),
            "forced_text": agreement(said, repeated, slice(-1, None)),
            "forced_audio": agreement(said, repeated, slice(0, -1)),
            "free_text": agreement(said, answered, slice(-1, None)),
            "free_audio": agreement(said, answered, slice(0, -1)),
        },
        model=checkpoint or "random weights",
        arithmetic=how if on.type == "cpu" else f"{arithmetic}, CUDA graphs",
        weights_mb=round(read_bytes / 1e6, 1),
        read_gb_per_s=round(bytes_per_s / 1e9, 1),
        device=on.type,
        cores=cores,
    )


def _load(checkpoint: str | None) -> MiniOmni:
    if checkpoint is None:
        torch.manual_seed(0)
        return mini_omni_0_5b().eval()
    try:
        return MiniOmni.from_pretrained(checkpoint)
    except ValueError as error:
        raise SetupError(str(error)) from error


def _fast(model: MiniOmni, arithmetic: str) -> MiniOmni:
    if arithmetic == "int8":
        return quantise(model)
    for x in model.parameters():  # not `model.to`: rotary frequencies stay in float32
        x.data = x.data.to(torch_dtype(arithmetic))
    return model


def question(model: MiniOmni, frames: int = QUESTION_FRAMES) -> Request:
    """Ask something in noise."""
    features_TF = torch.randn(frames, model.config.feature_width, generator=torch.Generator().manual_seed(0))
    positions = adapter_positions(frames, model.config.stack)
    device = model.audio_embedding.weight.device
    return Request([Turn(Task.A1A2, positions=positions)], [features_TF.to(device)])


class PlainLoop:
    """The original's loop: two rows, one that speaks and one that writes, and every head of both at every step.

    Args:
        model: in eval mode.
        request: one turn that is spoken and answered in speech.
    """

    def __init__(self, model: MiniOmni, request: Request) -> None:
        self.model, layout = model, model.layout
        self.device = model.audio_embedding.weight.device
        prompt = layout.request(request.turns)
        silent = [[x] for x in layout.column(layout.pad_a, prompt.streams[-1][-1])]
        rows = [prompt.streams, [s[:-1] + x for s, x in zip(prompt.streams, silent, strict=True)]]
        self.cache = model.new_cache(2048)
        features = [list(zip(prompt.feature_starts, request.features, strict=True))] * 2
        self.text_ended = False
        self.column = self._said(torch.tensor(rows, device=self.device), features)
        """What was said last: local audio ids, then the text id."""

    def step(self, column: Column | None = None) -> Column:
        """Read a column, the one that was said last when None, and say the next."""
        *audio, text = column or self.column
        layout = self.model.layout
        spoken = [layout.shift(x, i) for i, x in enumerate(audio)] + [text]
        rows = torch.tensor([spoken, layout.column(layout.pad_a, text)], device=self.device)
        self.column = self._said(rows[:, :, None], None)
        return self.column

    def _said(self, streams_BKT: Tensor, features: list[list[tuple[int, Tensor]]] | None) -> Column:
        hidden = self.model.hidden(streams_BKT, features, cache=self.cache)
        assert hidden.audio is not None
        texts_B = self.model.text_head(hidden.text[:, -1]).argmax(-1)
        audio_BL = self.model.audio_heads(hidden.audio[:, -1]).argmax(-1)
        text = self.model.layout.pad_t if self.text_ended else int(texts_B[1])
        self.text_ended = self.text_ended or text == self.model.layout.end
        return (*audio_BL[0].tolist(), text)


def _plainly(model: MiniOmni, request: Request) -> Iterator[Column]:
    """What the plain loop says, step after step."""
    loop = PlainLoop(model, request)
    yield loop.column
    while True:
        yield loop.step()


def _columns(decoding: ContinuousDecoding, request: Request) -> Iterator[Column]:
    """What our decoding says, step after step; padding where the answer is over."""
    layout = decoding.layout
    with closing(decoding.run([request], parallel=True)) as answer:
        for step in answer:
            yield step.column
    while True:
        yield (*([layout.pad_a] * layout.layers), layout.pad_t)


def _timed(columns: Iterator[Column], steps: int, clock: Clock) -> tuple[list[Column], float]:
    """Take the column that answers the prompt and those of so many steps; give the median of their milliseconds."""
    said, passed = [next(columns)], []
    for _ in range(steps):
        started = clock()
        said.append(next(columns))
        passed.append(clock() - started)
    return said, median(passed) * 1000


def agreement(said: Sequence[Column], other: Sequence[Column], streams: slice) -> float:
    """Share of ids that are the same in some of the streams."""
    pairs = [pair for a, b in zip(said, other, strict=True) for pair in zip(a[streams], b[streams], strict=True)]
    return round(sum(a == b for a, b in pairs) / len(pairs), 4)


def weight_bytes(model: MiniOmni) -> int:
    """Bytes of the weights that a step reads: those of the blocks and of the heads."""
    modules = [model.backbone, model.audio_head, *([model.tts_adapter] if model.tts_adapter is not None else [])]
    layers = [part for module in modules for part in module.modules()]
    quantised = sum(part.bytes for part in layers if isinstance(part, QuantisedLinear | QuantisedBlock))
    plain = [part.weight for part in layers if isinstance(part, nn.Linear)]
    return quantised + sum(weight.numel() * weight.element_size() for weight in plain)


def read_rate(device: torch.device, clock: Clock) -> float:
    """Measure the bytes a second that a sum over much memory reads."""
    x = torch.ones(1 << 26, device=device)
    return best_rate(x.numel() * x.element_size(), x.sum, clock)


def text(found: Figures) -> str:
    """The figures as lines for a person."""
    agreed = found["agreement"]
    return describe(
        found,
        f"{found['weights_mb']} MB of weights at {found['read_gb_per_s']} GB/s",
        f"{found['real_time']} times real time",
        f"same tokens as float32 in {agreed['steps']} steps: forced text {agreed['forced_text']:.1%}, audio "
        f"{agreed['forced_audio']:.1%}; free text {agreed['free_text']:.1%}, audio {agreed['free_audio']:.1%}",
        f"{found['model']}, {found['arithmetic']}, batch 2, {found['device']}, {found['cores']} threads",
    )

"""Answering: one loop for every task, for one request or many.

A request takes one row of the batch, or two in *batch-parallel* decoding, which lets a small model keep its
wits while it speaks: the second row answers in text only, its text is fed to both rows, and the first row's
speech follows it (https://arxiv.org/abs/2408.16725, section 3.3). A row leaves the batch when nobody needs
its logits any more, and only the heads that are needed are computed, each for its own rows.

Shapes: B = rows, K = streams, T = positions, D = width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .fixed_step import FixedStep
from .layout import Layout, Prompt, Task, Turn, adapter_positions
from .network import MiniOmni
from .sampling import GREEDY, Sampling, choose

End = Literal["eoa", "eot", "limit"]
"""Why an answer ended: the last layer's end of audio, the end of text, or no position was left."""


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked.

    Args:
        turns: the conversation; the last turn's question is answered, and what it holds of an answer ignored.
            Text to speech speaks its question.
        features: Whisper features of every spoken question, in order, each (frames, F).
        seed: where this request's chance comes from.
        max_frames: codec frames that the answer may have; None for as many as there is room for. An answer in text
            ends after as many tokens as would have been said meanwhile.
    """

    turns: Sequence[Turn]
    features: Sequence[Tensor] = ()
    seed: int = 0
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, not {self.max_frames}")


@dataclass(frozen=True)
class Step:
    """What one step brought to one request."""

    request: int
    """Index of the request."""
    column: tuple[int, ...]
    """What every stream said: local audio ids, then the text id, specials included."""
    text: int | None = None
    """The next text token; never a special one."""
    frame: tuple[int, ...] | None = None
    """The next codec frame that is complete; never with a special id."""
    end: End | None = None
    """Set on the request's last step."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    text: list[int]
    codes: NDArray[np.uint16]
    """(frames, layers), as a codec takes them."""
    end: End
    steps: int


def generate(
    model: MiniOmni,
    requests: Sequence[Request],
    *,
    text: Sampling = GREEDY,
    audio: Sampling = GREEDY,
    parallel: bool = False,
    max_positions: int = 2048,
) -> list[Answer]:
    """Answer requests in one batch; see `decode` for the arguments."""
    steps: list[list[Step]] = [[] for _ in requests]
    for step in decode(model, requests, text=text, audio=audio, parallel=parallel, max_positions=max_positions):
        steps[step.request].append(step)
    return [_collected(model.layout, answer) for answer in steps]


def decode(
    model: MiniOmni,
    requests: Sequence[Request],
    *,
    text: Sampling = GREEDY,
    audio: Sampling = GREEDY,
    parallel: bool = False,
    max_positions: int = 2048,
    fixed_shapes: bool = False,
) -> Iterator[Step]:
    """Answer requests in one batch, and give each step of each request as it comes.

    Step 0 comes out of the prompts' last column. Layer i speaks its frame n at step n + i + 1, so the first
    frame is complete after the prompts and as many steps as there are layers.

    Args:
        model: in eval mode.
        requests: any mixture of tasks and lengths; every answer is the one it would have alone.
        text: how text is chosen.
        audio: how codes are chosen.
        parallel: give tasks that write and speak a second row for the text.
        max_positions: prompt and answer together, for each request.
        fixed_shapes: take steps of fixed shapes, on a GPU as CUDA graphs; see `FixedStep`. Give no more
            `max_positions` than are needed then.

    Raises:
        ValueError: if a prompt leaves no position for an answer, or its features do not fit it.
    """
    if not requests:
        return
    state = _Decoding(model, requests, text, audio, parallel, max_positions, fixed_shapes)
    hidden = state.read_prompts()
    while True:
        yield from state.choose(*hidden)
        if not state.rows:
            return
        hidden = state.advance()


def _collected(layout: Layout, steps: list[Step]) -> Answer:
    frames = [step.frame for step in steps if step.frame is not None]
    codes = np.array(frames, dtype=np.uint16).reshape(-1, layout.layers)
    end = steps[-1].end
    assert end is not None
    return Answer([step.text for step in steps if step.text is not None], codes, end, len(steps))


@dataclass
class _Progress:
    """How far one request is."""

    task: Task
    length: int
    limit: int
    generator: torch.Generator
    given: list[int] | None
    """Text to speech: the text stream, which is not chosen."""
    text: list[int] = field(default_factory=list)
    """Ids said in the text stream, specials included."""
    columns: list[list[int]] = field(default_factory=list)
    """Local ids said in the audio streams."""
    text_ended: bool = False
    end: End | None = None

    @property
    def steps(self) -> int:
        return len(self.text)

    @property
    def chooses_text(self) -> bool:
        return self.end is None and not self.text_ended and self.given is None

    @property
    def speaks(self) -> bool:
        return self.end is None and self.task.speaks


@dataclass(frozen=True)
class Row:
    """One row of the batch: whose it is, and whether it is the second one, which brings text only."""

    request: int
    text_only: bool


class Batch:
    """What the requests of a batch said so far, which rows they need, and what each of them says next.

    Args:
        model: in eval mode.
        text: how text is chosen.
        audio: how codes are chosen.
        max_positions: prompt and answer together, for each request.
    """

    def __init__(self, model: MiniOmni, text: Sampling, audio: Sampling, max_positions: int) -> None:
        self.model, self.layout, self.max_positions = model, model.layout, max_positions
        self.text_sampling, self.audio_sampling = text, audio
        self.device = model.audio_embedding.weight.device
        self.progress: dict[int, _Progress] = {}
        self.two_rows: dict[int, bool] = {}
        self.rows: list[Row] = []

    def begin(self, number: int, request: Request, parallel: bool) -> Prompt:
        """Take a request, whose rows are then to be added, and lay out its prompt.

        Raises:
            ValueError: see `decode`.
        """
        layout, prompt = self.layout, self.layout.request(request.turns)
        turn, length = request.turns[-1], len(prompt.streams[0])
        if length >= self.max_positions:
            raise ValueError(
                f"the prompt has {length} positions and the limit is {self.max_positions}: no room to answer"
            )
        limit = self.max_positions - length
        if request.max_frames is not None:  # a frame is complete as many steps later as there are layers
            limit = min(limit, request.max_frames + layout.layers)
        generator = torch.Generator(self.device).manual_seed(request.seed)
        given = [*turn.question, layout.end] if turn.task is Task.T1A1 else None
        self.progress[number] = _Progress(turn.task, length, limit, generator, given)
        # A backbone that does not read what is said aloud writes the same text either way.
        hears_itself = self.model.config.backbone_reads == "streams"
        self.two_rows[number] = parallel and hears_itself and turn.task.speaks and turn.task.writes
        return prompt

    def forget(self, number: int) -> None:
        """Let go of a request."""
        del self.progress[number], self.two_rows[number]

    def last_column(self, row: Row) -> list[int]:
        """Give the column that a row reads next: what its request said last."""
        progress, layout = self.progress[row.request], self.layout
        text = progress.text[-1]
        if row.text_only or not progress.task.speaks:
            return layout.column(layout.pad_a, text)
        return [layout.shift(x, i) for i, x in enumerate(progress.columns[-1])] + [text]

    @torch.inference_mode()
    def choose(self, text_BD: Tensor, audio_BD: Tensor | None) -> list[Step]:
        """Let every request choose its next column."""
        waiting = [i for i, p in self.progress.items() if p.end is None]
        texts = self._choose_text(text_BD)
        columns = self._choose_audio(audio_BD)
        return [self._say(i, texts.get(i), columns.get(i)) for i in waiting]

    def is_needed(self, row: Row) -> bool:
        """Tell whether somebody will read a row's logits again."""
        return self._brings_text(row) or self._brings_audio(row)

    def _choose_text(self, text_BD: Tensor) -> dict[int, int]:
        rows = [n for n, row in enumerate(self.rows) if self._brings_text(row)]
        if not rows:
            return {}
        chosen = {}
        logits_NV = self.model.text_head(text_BD[rows])
        if self.layout.chat is not None and self.layout.chat.is_template:
            logits_NV = logits_NV[:, : self.layout.text_size]  # its answers hold none of our special tokens
        for n, logits_V in zip(rows, logits_NV, strict=True):
            p, sampling = self.progress[self.rows[n].request], self.text_sampling
            (token,) = choose(logits_V[None], sampling, p.generator, [p.text], self.layout.text_size)
            chosen[self.rows[n].request] = token
        return chosen

    def _choose_audio(self, audio_BD: Tensor | None) -> dict[int, list[int]]:
        rows = [n for n, row in enumerate(self.rows) if self._brings_audio(row)]
        if not rows or audio_BD is None:
            return {}
        chosen = {}
        for n, logits_LV in zip(rows, self.model.audio_heads(audio_BD[rows]), strict=True):
            p, sampling = self.progress[self.rows[n].request], self.audio_sampling
            said = list(zip(*p.columns[-sampling.repetition_window :], strict=True))
            column = choose(logits_LV, sampling, p.generator, said, self.layout.codebook_size)
            chosen[self.rows[n].request] = column
        return chosen

    def _brings_text(self, row: Row) -> bool:
        return self.progress[row.request].chooses_text and row.text_only == self.two_rows[row.request]

    def _brings_audio(self, row: Row) -> bool:
        return self.progress[row.request].speaks and not row.text_only

    def _say(self, i: int, text: int | None, column: list[int] | None) -> Step:
        p, layout = self.progress[i], self.layout
        if p.given is not None:
            text = p.given[p.steps] if p.steps < len(p.given) else layout.pad_t
        text = layout.pad_t if text is None else text
        p.text.append(text)
        p.text_ended = p.text_ended or text == layout.end
        if column is not None:
            p.columns.append(column)
        p.end = self._ended(p)
        complete = len(p.columns) > layout.layers
        frame = layout.complete_frame(p.columns[-layout.layers :]) if complete else None
        said = (*(column or [layout.pad_a] * layout.layers), text)
        is_word = text < layout.text_size and text != layout.end
        return Step(i, said, text if is_word else None, frame, p.end)

    def _ended(self, p: _Progress) -> End | None:
        if p.task.speaks and p.columns[-1][-1] == self.layout.eoa:
            return "eoa"
        if not p.task.speaks and p.text_ended:
            return "eot"
        return "limit" if p.steps == p.limit else None


class _Decoding(Batch):
    """A batch that begins together and only shrinks: padded on the left, all rows end in one column."""

    def __init__(
        self,
        model: MiniOmni,
        requests: Sequence[Request],
        text: Sampling,
        audio: Sampling,
        parallel: bool,
        max_positions: int,
        fixed_shapes: bool,
    ) -> None:
        super().__init__(model, text, audio, max_positions)
        self.fixed_shapes = fixed_shapes
        self.fixed: FixedStep | None = None
        self.prompts = [self.begin(i, request, parallel) for i, request in enumerate(requests)]
        self.features = [
            placed(request, prompt.feature_starts, model.config.stack)
            for request, prompt in zip(requests, self.prompts, strict=True)
        ]
        self.rows = [Row(i, False) for i in range(len(requests))]
        self.rows += [Row(i, True) for i, two in self.two_rows.items() if two]

    @torch.inference_mode()
    def read_prompts(self) -> tuple[Tensor, Tensor | None]:
        """Read all prompts, padded on the left so that they end in one column."""
        longest = max(p.length for p in self.progress.values())
        room = max(p.limit for p in self.progress.values())
        self.cache = self.model.new_cache(longest + room)
        pads = torch.tensor([longest - self.progress[row.request].length for row in self.rows])
        self.pads, self.padded = pads.to(self.device), bool(pads.any())
        streams = torch.tensor([self._prompt(row, longest) for row in self.rows], device=self.device)
        return self._hidden(streams, [self.features[row.request] for row in self.rows])

    @torch.inference_mode()
    def advance(self) -> tuple[Tensor, Tensor | None]:
        """Read the column that was said last."""
        columns = [self.last_column(row) for row in self.rows]
        streams_BK1 = torch.tensor(columns, device=self.device)[:, :, None]
        if not self.fixed_shapes:
            return self._hidden(streams_BK1, None)
        audio = any(p.speaks for p in self.progress.values())
        if self.fixed is None or self.fixed.audio != audio:
            self.fixed = FixedStep(self.model, self.cache, self.pads, audio=audio)
        hidden = self.fixed(streams_BK1)
        return hidden.text[:, -1], None if hidden.audio is None else hidden.audio[:, -1]

    def _hidden(
        self, streams_BKT: Tensor, features: list[list[tuple[int, Tensor]]] | None
    ) -> tuple[Tensor, Tensor | None]:
        """Give each row's newest hidden states, (B, D), for text and for audio."""
        end = self.cache.length + streams_BKT.shape[2]
        columns_T = torch.arange(end, device=self.device)
        mask_BT = columns_T >= self.pads[:, None]
        positions_BT = (columns_T - self.pads[:, None]).clamp(min=0)[:, -streams_BKT.shape[2] :]
        hidden = self.model.hidden(
            streams_BKT,
            features,
            attention_mask_BT=mask_BT if self.padded else None,
            position_ids_BT=positions_BT,
            cache=self.cache,
            audio=any(p.speaks for p in self.progress.values()),
        )
        return hidden.text[:, -1], None if hidden.audio is None else hidden.audio[:, -1]

    def _prompt(self, row: Row, longest: int) -> list[list[int]]:
        streams = self.prompts[row.request].streams
        if row.text_only:
            streams = asking_for_text(self.layout, streams)
        missing = longest - len(streams[0])
        return [[pad] * missing + stream for pad, stream in zip(self.layout.padding, streams, strict=True)]

    def choose(self, text_BD: Tensor, audio_BD: Tensor | None) -> list[Step]:
        """See `Batch.choose`; lets go of rows that are needed no more, which changes no answer."""
        steps = super().choose(text_BD, audio_BD)
        kept = [n for n, row in enumerate(self.rows) if self.is_needed(row)]
        if 0 < len(kept) < len(self.rows):
            at = torch.tensor(kept, device=self.device)
            self.cache.keep_rows(at)
            self.pads = self.pads[at]
            self.padded = bool(self.pads.any())
            self.fixed = None
        self.rows = [self.rows[n] for n in kept]
        return steps


def asking_for_text(layout: Layout, streams: list[list[int]]) -> list[list[int]]:
    """Give a prompt's streams with a last column that asks for text only, as the second row's."""
    last = [[x] for x in layout.column(layout.pad_a, streams[-1][-1])]
    return [stream[:-1] + x for stream, x in zip(streams, last, strict=True)]


def placed(request: Request, starts: list[int], stack: int) -> list[tuple[int, Tensor]]:
    """Pair features with the positions where they start, and see that they fill what the prompt keeps for them."""
    kept = [turn.positions for turn in request.turns if turn.task.hears]
    given = [adapter_positions(len(features_NF), stack) for features_NF in request.features]
    if kept != given:
        raise ValueError(f"the features take {given} positions; the request's spoken questions have {kept}")
    return list(zip(starts, request.features, strict=True))

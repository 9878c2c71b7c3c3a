"""Requests, and what each of them has said and says next.

A request takes one row of the batch, or two in *batch-parallel* decoding, which lets a small model keep its
wits while it speaks: the second row answers in text only, its text is fed to both rows, and the first row's
speech follows it (https://arxiv.org/abs/2408.16725, section 3.3). The second row is let go when nobody needs
its logits any more.

Shapes: B = rows, K = streams, L = codec layers, W = steps of a repetition window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .layout import Layout, Prompt, Task, Turn, adapter_positions
from .network import MiniOmni
from .sampling import Sampling

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


@dataclass
class _Progress:
    """How far one request is."""

    task: Task
    length: int
    limit: int
    generator: torch.Generator
    given: list[int] | None
    """Text to speech: the text stream, which is not chosen."""
    recent_text_W: NDArray[np.int64]
    """Ids said in the repetition window, in a ring; -1 where nothing was said yet."""
    recent_audio_LW: NDArray[np.int64]
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
        generator = torch.Generator().manual_seed(request.seed)
        given = [*turn.question, layout.end] if turn.task is Task.T1A1 else None
        recent_text_W = np.full(self.text_sampling.repetition_window, -1)
        recent_audio_LW = np.full((layout.layers, self.audio_sampling.repetition_window), -1)
        self.progress[number] = _Progress(turn.task, length, limit, generator, given, recent_text_W, recent_audio_LW)
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

    @property
    def text_rows(self) -> list[int]:
        """Places of the rows whose text is chosen next."""
        return [n for n, row in enumerate(self.rows) if self._brings_text(row)]

    @property
    def audio_rows(self) -> list[int]:
        """Places of the rows whose codes are chosen next."""
        return [n for n, row in enumerate(self.rows) if self._brings_audio(row)]

    def chance(self) -> Tensor | None:
        """Draw what every row's streams need to choose, (B, K), from the request's own seed; None when greedy."""
        if self.text_sampling.is_greedy and self.audio_sampling.is_greedy:
            return None
        drawn = {i: torch.rand(self.layout.streams, generator=p.generator) for i, p in self.progress.items()}
        return torch.stack([drawn[row.request] for row in self.rows])

    def recent(self) -> tuple[Tensor | None, Tensor | None]:
        """Give what every row's streams said lately, (B, W) and (B, L, W); None where it makes no difference."""
        texts = audios = None
        if self.text_sampling.repetition_penalty != 1:
            texts = torch.from_numpy(np.stack([self.progress[row.request].recent_text_W for row in self.rows]))
        if self.audio_sampling.repetition_penalty != 1:
            audios = torch.from_numpy(np.stack([self.progress[row.request].recent_audio_LW for row in self.rows]))
        return texts, audios

    def say(self, chosen_BK: list[list[int]]) -> list[Step]:
        """Let every request say what its rows chose: local audio ids, then the text id. Others' ids are ignored."""
        texts = {self.rows[n].request: chosen_BK[n][-1] for n in self.text_rows}
        columns = {self.rows[n].request: chosen_BK[n][:-1] for n in self.audio_rows}
        waiting = [i for i, p in self.progress.items() if p.end is None]
        return [self._say(i, texts.get(i), columns.get(i)) for i in waiting]

    def is_needed(self, row: Row) -> bool:
        """Tell whether somebody will read a row's logits again."""
        return self._brings_text(row) or self._brings_audio(row)

    def _brings_text(self, row: Row) -> bool:
        return self.progress[row.request].chooses_text and row.text_only == self.two_rows[row.request]

    def _brings_audio(self, row: Row) -> bool:
        return self.progress[row.request].speaks and not row.text_only

    def _say(self, i: int, text: int | None, column: list[int] | None) -> Step:
        p, layout = self.progress[i], self.layout
        if p.given is not None:
            text = p.given[p.steps] if p.steps < len(p.given) else layout.pad_t
        text = layout.pad_t if text is None else text
        p.recent_text_W[p.steps % len(p.recent_text_W)] = text
        p.text.append(text)
        p.text_ended = p.text_ended or text == layout.end
        if column is not None:
            p.recent_audio_LW[:, len(p.columns) % p.recent_audio_LW.shape[1]] = column
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

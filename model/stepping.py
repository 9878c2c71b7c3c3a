"""One step of all rows: the network reads a column of each, and every stream of each chooses its next id.

On a GPU a step is one CUDA graph, sampling included, launched at once and not kernel by kernel. A graph has fixed
shapes: rows and positions are rounded up to buckets, powers of two. What a bucket has too much is masked: rows that
nobody reads, positions that no row sees. A graph is kept for each pair of buckets that came up, until the memory grows.

On a processor the same operations run one by one, over the rows, heads and positions that there are and no others.

Shapes: B = rows of the step, K = streams, L = codec layers, P = positions, W = steps of a repetition window.
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from .batch import Batch
from .cache import RowsCache, power_of_two
from .network import MiniOmni
from .sampling import choose

FEWEST_ROWS = 2
FEWEST_POSITIONS = 128


@dataclass
class _Given:
    """What a step is given."""

    columns_BK: Tensor
    at_B: Tensor
    """The position of each row's column."""
    chance_BK: Tensor | None
    recent_text_BW: Tensor | None
    recent_audio_BLW: Tensor | None

    def on(self, device: torch.device, rows: int) -> "_Given":
        """Copy it to a device, with copies of the first row added up to a number; they stand where nothing is kept."""

        def padded(x: Tensor) -> Tensor:
            return torch.cat((x, x[:1].expand(rows - len(x), *x.shape[1:]))).to(device)

        given = {field.name: getattr(self, field.name) for field in fields(self)}
        full: dict[str, Any] = {name: None if x is None else padded(x) for name, x in given.items()}
        copied = _Given(**full)
        copied.at_B[len(self.at_B) :] = 0
        return copied

    def fill(self, other: "_Given") -> None:
        """Write what another holds over the first rows."""
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if ours is not None:
                ours[: len(theirs)].copy_(theirs)


@dataclass
class _Captured:
    """A graph and where it reads and writes."""

    graph: torch.cuda.CUDAGraph
    given: _Given
    chosen_BK: Tensor


class Stepper:
    """Takes the steps of a batch.

    Args:
        batch: whose rows; its model is in eval mode.
        cache: what they have read.
        fixed: steps of fixed shapes; on a GPU when None. Elsewhere it only costs time, and is there to be tested.

    Raises:
        ValueError: the backbone has blocks that see neither all positions nor a window of them.
    """

    def __init__(self, batch: Batch, cache: RowsCache, fixed: bool | None = None) -> None:
        self._batch, self._cache = batch, cache
        self._model: MiniOmni = batch.model
        self._device = batch.device
        self._fixed = self._device.type == "cuda" if fixed is None else fixed
        self._windows = _windows(self._model.backbone.config)
        self._graphs: dict[tuple[int, int, bool], _Captured] = {}

    def __call__(self, columns_BK: list[list[int]]) -> list[list[int]]:
        """Let every row read its column; give what each row's streams choose, local ids, the text's last.

        Where the batch needs no choice of a row, what stands there means nothing.
        """
        batch, cache = self._batch, self._cache
        at_B = torch.tensor(cache.filled)
        cache.count_column()
        given = _Given(torch.tensor(columns_BK), at_B, batch.chance(), *batch.recent())
        audio = any(p.speaks for p in batch.progress.values())
        chosen_BK = self._fixed_step(given, audio) if self._fixed else self._exact_step(given, audio)
        found: list[list[int]] = chosen_BK.tolist()
        return found[: len(columns_BK)]

    def _exact_step(self, given: _Given, audio: bool) -> Tensor:
        rows = len(given.at_B)
        self._cache.make_room(rows)
        given = given.on(self._device, rows)
        return self._run(given, max(self._cache.filled), audio, self._batch.text_rows, self._batch.audio_rows)

    def _fixed_step(self, given: _Given, audio: bool) -> Tensor:
        rows = max(FEWEST_ROWS, power_of_two(len(given.at_B)))
        positions = min(self._cache.positions, max(FEWEST_POSITIONS, power_of_two(max(self._cache.filled))))
        if self._cache.make_room(rows):
            self._graphs.clear()  # they read memory that is no more
        if self._device.type != "cuda":
            return self._run(given.on(self._device, rows), positions, audio)
        key = (rows, positions, audio)
        if key not in self._graphs:
            self._graphs[key] = self._capture(given.on(self._device, rows), positions, audio)
        captured = self._graphs[key]
        captured.given.at_B.zero_()  # rows that left write to their first place: nobody has read it
        captured.given.fill(given)
        captured.graph.replay()
        return captured.chosen_BK

    def _run(
        self,
        given: _Given,
        positions: int,
        audio: bool,
        text_rows: list[int] | None = None,
        audio_rows: list[int] | None = None,
    ) -> Tensor:
        """Run the network and choose, for some rows or for all: (B, K)."""
        model, batch, at_B = self._model, self._batch, given.at_B
        self._cache.read_together(at_B, positions)
        hidden = model.hidden(
            given.columns_BK[:, :, None],
            attention_mask_BT=self._masks(at_B, positions),
            position_ids_BT=at_B[:, None],
            cache=self._cache,
            audio=audio,
        )
        chosen_BK = torch.zeros_like(given.columns_BK)
        if text_rows is None or text_rows:
            some = slice(None) if text_rows is None or len(text_rows) == len(at_B) else text_rows
            logits_NV = model.text_head(hidden.text[some, -1])
            if batch.layout.chat is not None and batch.layout.chat.is_template:
                logits_NV = logits_NV[:, : batch.layout.text_size]  # its answers hold none of our special tokens
            chance_N = None if given.chance_BK is None else given.chance_BK[some, -1]
            recent_NW = None if given.recent_text_BW is None else given.recent_text_BW[some]
            chosen_BK[some, -1] = choose(logits_NV, batch.text_sampling, chance_N, recent_NW, batch.layout.text_size)
        if hidden.audio is not None and (audio_rows is None or audio_rows):
            some = slice(None) if audio_rows is None or len(audio_rows) == len(at_B) else audio_rows
            logits_NLV = model.audio_heads(hidden.audio[some, -1])
            chance_N = None if given.chance_BK is None else given.chance_BK[some, :-1].flatten()
            recent_NW = None if given.recent_audio_BLW is None else given.recent_audio_BLW[some].flatten(0, 1)
            ids_N = choose(
                logits_NLV.flatten(0, 1), batch.audio_sampling, chance_N, recent_NW, batch.layout.codebook_size
            )
            chosen_BK[some, :-1] = ids_N.view(-1, batch.layout.layers)
        return chosen_BK

    def _masks(self, at_B: Tensor, positions: int) -> Any:
        """What each row sees. Four axes: transformers then takes a mask as it is, and makes none."""
        columns_P = torch.arange(positions, device=at_B.device)
        seen_BP = columns_P <= at_B[:, None]
        if self._windows is None:
            return self._mask(seen_BP)
        return {
            kind: self._mask(seen_BP if window is None else seen_BP & (columns_P > at_B[:, None] - window))
            for kind, window in self._windows.items()
        }

    def _mask(self, seen_BP: Tensor) -> Tensor:
        zeros_BP = self._model.audio_embedding.weight.new_zeros(seen_BP.shape)
        return zeros_BP.masked_fill(~seen_BP, -torch.inf)[:, None, None]

    def _capture(self, given: _Given, positions: int, audio: bool) -> _Captured:
        """Record a step, after running it aside so that libraries have set themselves up."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):  # writes what the step itself will write again
                self._run(given, positions, audio)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        pool = next((captured.graph.pool() for captured in self._graphs.values()), None)
        with torch.cuda.graph(graph, pool=pool):
            chosen_BK = self._run(given, positions, audio)
        return _Captured(graph, given, chosen_BK)


def _windows(backbone: Any) -> dict[str, int | None] | None:
    """Give the window of each kind of block, None for all positions; None where there is one kind, which sees all."""
    kinds = {*(getattr(backbone, "layer_types", None) or ["full_attention"])}
    if wrong := sorted(kinds - {"full_attention", "sliding_attention"}):
        raise ValueError(f"decoding knows full and sliding attention; this backbone has {', '.join(wrong)}")
    if "sliding_attention" not in kinds:
        return None
    return {"full_attention": None, "sliding_attention": backbone.sliding_window}

"""Decoding steps of fixed shapes: on a GPU one step is then one CUDA graph, launched at once, not kernel by kernel.

The price is that attention reads all positions of the cache at every step, filled or not.

Shapes: B = rows, K = streams, P = positions of the cache.
"""

import torch
from torch import Tensor

from .cache import DecodingCache
from .network import Hidden, MiniOmni


class FixedStep:
    """The network for one column at a time. A graph on a GPU; elsewhere the same operations, one by one.

    Args:
        model: in eval mode.
        cache: holds the prompts; it is fixed from now on. Another `FixedStep` is needed when its rows change.
        pads_B: columns of padding on the left of each row.
        audio: whether the audio heads will be asked.

    Raises:
        ValueError: the backbone has blocks with a window, which need a mask of their own.
    """

    def __init__(self, model: MiniOmni, cache: DecodingCache, pads_B: Tensor, *, audio: bool) -> None:
        kinds = getattr(model.backbone.config, "layer_types", None) or ["full_attention"]
        if wrong := sorted({*kinds} - {"full_attention"}):
            raise ValueError(f"steps of fixed shapes need full attention; this backbone has {', '.join(wrong)}")
        self.audio = audio
        self._model, self._cache, self._pads_B = model, cache, pads_B
        self._at_1 = torch.tensor([cache.length], device=pads_B.device)
        self._columns_P = torch.arange(cache.positions, device=pads_B.device)
        self._streams_BK1 = torch.zeros(len(pads_B), model.layout.streams, 1, dtype=torch.int64, device=pads_B.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        cache.fix(self._at_1)

    def __call__(self, streams_BK1: Tensor) -> Hidden:
        """Read a column; what is returned is overwritten by the next call.

        Raises:
            ValueError: the cache is full.
        """
        if self._cache.length == self._cache.positions:
            raise ValueError(f"the cache holds {self._cache.positions} positions, and all are filled")
        self._streams_BK1.copy_(streams_BK1)
        self._at_1.fill_(self._cache.length)
        if self._at_1.device.type != "cuda":
            self._hidden = self._run()
        elif self._graph is None:
            self._capture()
        if self._graph is not None:
            self._graph.replay()
        self._cache.advance()
        return self._hidden

    def _run(self) -> Hidden:
        seen_BP = (self._columns_P <= self._at_1) & (self._columns_P >= self._pads_B[:, None])
        # Four axes: transformers then takes the mask as it is and makes none, for which it would ask the cache.
        mask_B11P = self._model.audio_embedding.weight.new_zeros(seen_BP.shape).masked_fill(~seen_BP, -torch.inf)
        return self._model.hidden(
            self._streams_BK1,
            attention_mask_BT=mask_B11P[:, None, None],
            position_ids_BT=(self._at_1 - self._pads_B)[:, None],
            cache=self._cache,
            audio=self.audio,
        )

    def _capture(self) -> None:
        """Record the step, after running it aside so that libraries have set themselves up."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):
                self._run()
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._hidden = self._run()

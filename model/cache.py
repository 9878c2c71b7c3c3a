"""The key/value memory of decoding: of a batch whose rows are all as long, and of rows that come and go.

Shapes: B = rows, H = key/value heads, T = positions, D = head width.
"""

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class DecodingCache:
    """Keys and values of every block of a `MiniOmni`: the backbone's, and the TTS adapter's where it has one.

    One object holds both, so that neither can be cleared without the other (the original's `clear_kv_cache`
    forgets its adapter blocks). The memory for all positions is taken at the first step and written in place;
    attention reads only what is filled. It is for loops of one's own; `ContinuousDecoding` has a `RowsCache`.

    Args:
        backbone_layers: blocks of the backbone.
        tts_adapter_layers: blocks of the TTS adapter, or 0.
        positions: how many positions fit.
    """

    def __init__(self, backbone_layers: int, tts_adapter_layers: int, positions: int) -> None:
        self._layers = [_PreallocatedLayer(positions) for _ in range(backbone_layers + tts_adapter_layers)]
        self.backbone = Cache(layers=[*self._layers[:backbone_layers]])
        self.tts_adapter = Cache(layers=[*self._layers[backbone_layers:]])
        self.positions = positions

    @property
    def length(self) -> int:
        """Positions filled so far."""
        return self.backbone.get_seq_length()

    def reset(self) -> None:
        """Forget everything; the memory stays."""
        for layer in self._layers:
            layer.reset()


class _PreallocatedLayer(CacheLayerMixin):
    """One block's keys and values, each (B, H, positions, D).

    `StaticCache` of transformers returns all its positions, filled or not, and attention then reads 2048
    positions at every step. This one returns a view of what is filled. Sliding-window blocks keep their whole
    past; their window is in the mask that transformers makes.
    """

    is_sliding = False

    def __init__(self, positions: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.positions = positions
        self.filled = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self._key_memory = self._allocate(key_states)
        self._value_memory = self._allocate(value_states)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        end = self.filled + key_states.shape[2]
        if end > self.positions:
            raise ValueError(f"the cache holds {self.positions} positions; {end} are needed")
        if not self.is_initialized or (not self.filled and len(self._key_memory) != len(key_states)):
            self.lazy_initialization(key_states, value_states)
        self._key_memory[:, :, self.filled : end] = key_states
        self._value_memory[:, :, self.filled : end] = value_states
        self.filled = end
        return self._key_memory[:, :, :end], self._value_memory[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.filled + query_length, 0

    def get_seq_length(self) -> int:
        return self.filled

    def get_max_length(self) -> int:
        return self.positions

    def reset(self) -> None:
        self.filled = 0

    def _allocate(self, like: Tensor) -> Tensor:
        rows, heads, _, width = like.shape
        return like.new_empty(rows, heads, self.positions, width)


StepMemory = tuple[Tensor, Tensor, Tensor]
"""Keys and values of all rows, each (B or more, H, positions, D), and where each row's column stands, (B,)."""

RowMemory = list[tuple[Tensor, Tensor] | None]
"""Keys and values of one row, each (H, T, D), a block at a time; None for a block that never ran."""


class RowsCache:
    """Keys and values of rows that join and leave while others go on, each filled to a length of its own.

    A row joins at the end and is read alone, its prompt at once; then all rows take steps of one column together.
    When one leaves, the last row takes its place, so that the rows stay side by side and attention reads a view.

    Args:
        backbone_layers: blocks of the backbone.
        tts_adapter_layers: blocks of the TTS adapter, or 0.
        positions: how many positions fit into a row.
    """

    def __init__(self, backbone_layers: int, tts_adapter_layers: int, positions: int) -> None:
        self.positions = positions
        self.filled: list[int] = []
        """Positions filled so far, of each row."""
        self._layers = [_RowsLayer(positions) for _ in range(backbone_layers + tts_adapter_layers)]
        self.backbone = Cache(layers=[*self._layers[:backbone_layers]])
        self.tts_adapter = Cache(layers=[*self._layers[backbone_layers:]])

    def add(self, memory: RowMemory | None = None, positions: int = 0) -> int:
        """Add a row and give its place, which is the last one.

        Args:
            memory: what `memory_of` gave.
            positions: how many positions of it to take.
        """
        row = len(self.filled)
        self.filled.append(positions)
        for layer, kept in zip(self._layers, memory or [None] * len(self._layers), strict=True):
            layer.rows = row + 1
            if kept is not None:
                layer.put(row, kept[0][:, :positions], kept[1][:, :positions])
        return row

    def read_alone(self, row: int, positions: int) -> None:
        """Let the next call of the network fill one row with that many positions."""
        self._check_room(row, positions)
        for layer in self._layers:
            layer.alone = (row, self.filled[row])
        self.filled[row] += positions

    def read_together(self, at_B: Tensor, positions: int) -> None:
        """Let the next call of the network give each row one column, which it does not count.

        Args:
            at_B: where each row's column stands, on the device. There may be more rows than were added, with columns
                that nobody reads; `make_room` is asked for them first.
            positions: how many attention gets.
        """
        rows_B = torch.arange(len(at_B), device=at_B.device)
        for layer in self._layers:
            layer.alone, layer.at_B, layer.rows_B, layer.seen = None, at_B, rows_B, positions

    def count_column(self) -> None:
        """Count a column of every row, before the call of the network that brings it."""
        for row in range(len(self.filled)):
            self._check_room(row, 1)
        self.filled = [length + 1 for length in self.filled]

    def make_room(self, rows: int) -> bool:
        """Make room for so many rows at least; tell whether memory has moved, now or since the last call."""
        moved = False
        for layer in self._layers:
            moved |= layer.make_room(rows)
        return moved

    def remove(self, row: int) -> None:
        """Remove a row; the last one, if it is another, takes its place."""
        last = len(self.filled) - 1
        if row != last:
            for layer, kept in zip(self._layers, self.memory_of(last, copied=False), strict=True):
                if kept is not None:
                    layer.put(row, *kept)
            self.filled[row] = self.filled[last]
        self.filled.pop()
        for layer in self._layers:
            layer.rows = last

    def memory_of(self, row: int, *, copied: bool = True) -> RowMemory:
        """Give what a row holds: a copy, or views that the next call of the network may change."""
        return [layer.get(row, self.filled[row], copied) for layer in self._layers]

    def _check_room(self, row: int, positions: int) -> None:
        if (end := self.filled[row] + positions) > self.positions:
            raise ValueError(f"the cache holds {self.positions} positions a row; {end} are needed")


class _RowsLayer(CacheLayerMixin):
    """One block's keys and values, each (rows, H, positions, D), with room for a power of two of rows."""

    is_sliding = False

    def __init__(self, positions: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.positions = positions
        self.rows = 0
        self.alone: tuple[int, int] | None = None
        """The row that is read alone, and where; None where all take a step."""
        self.at_B: Tensor | None = None
        self.rows_B: Tensor | None = None
        self.seen = 0
        self._moved = False

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        # Zeros: attention multiplies what a row does not see by 0, which must be a number.
        shape = (power_of_two(self.rows), key_states.shape[-3], self.positions)
        self._key_memory = key_states.new_zeros(*shape, key_states.shape[-1])
        self._value_memory = value_states.new_zeros(*shape, value_states.shape[-1])
        self.is_initialized = self._moved = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        if self.alone is not None:
            row, start = self.alone
            self.put(row, key_states[0], value_states[0], start)
            end = start + key_states.shape[2]
            return self._key_memory[row : row + 1, :, :end], self._value_memory[row : row + 1, :, :end]
        if not self.is_initialized:
            self.rows = max(self.rows, len(key_states))
            self.lazy_initialization(key_states, value_states)
        self._key_memory[self.rows_B, :, self.at_B] = key_states[:, :, 0]
        self._value_memory[self.rows_B, :, self.at_B] = value_states[:, :, 0]
        rows = len(key_states)
        return self._key_memory[:rows, :, : self.seen], self._value_memory[:rows, :, : self.seen]

    def step_memory(self) -> StepMemory | None:
        """Give where a step of all rows reads and writes, to who does both without `update`; None where it must."""
        if self.alone is not None or not self.is_initialized or self.at_B is None:
            return None
        return self._key_memory, self._value_memory, self.at_B

    def put(self, row: int, keys_HTD: Tensor, values_HTD: Tensor, start: int = 0) -> None:
        if not self.is_initialized:
            self.lazy_initialization(keys_HTD, values_HTD)
        self._grow(self.rows)
        self._key_memory[row, :, start : start + keys_HTD.shape[1]] = keys_HTD
        self._value_memory[row, :, start : start + keys_HTD.shape[1]] = values_HTD

    def get(self, row: int, positions: int, copied: bool) -> tuple[Tensor, Tensor] | None:
        if not self.is_initialized or row >= len(self._key_memory):
            return None
        kept = self._key_memory[row, :, :positions], self._value_memory[row, :, :positions]
        return (kept[0].clone(), kept[1].clone()) if copied else kept

    def make_room(self, rows: int) -> bool:
        if self.is_initialized:
            self._grow(rows)
        moved, self._moved = self._moved, False
        return moved

    def _grow(self, rows: int) -> None:
        if rows > (had := len(self._key_memory)):
            more = power_of_two(rows) - had
            grown = [torch.cat((x, x.new_zeros(more, *x.shape[1:]))) for x in (self._key_memory, self._value_memory)]
            self._key_memory, self._value_memory = grown
            self._moved = True

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self.seen - 1 if self.alone is None else self.alone[1]

    def get_max_length(self) -> int:
        return self.positions


def power_of_two(n: int) -> int:
    """Round up to a power of two."""
    return 1 << max(n - 1, 0).bit_length()

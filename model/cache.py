"""The key/value memory of decoding, allocated once.

Shapes: B = rows, H = key/value heads, T = positions, D = head width.
"""

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class DecodingCache:
    """Keys and values of every block of a `MiniOmni`: the backbone's, and the TTS adapter's where it has one.

    One object holds both, so that neither can be cleared without the other (the original's `clear_kv_cache`
    forgets its adapter blocks). The memory for all positions is taken at the first step and written in place;
    attention reads only what is filled.

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

    def fix(self, at_1: Tensor) -> None:
        """Take single steps of fixed shapes from now on, written where `at_1` says; attention gets all positions.

        Then the caller masks what is not filled, and calls `advance` after each step; see `FixedStep`.
        """
        for layer in self._layers:
            layer.at_1 = at_1

    def advance(self) -> None:
        """Count a step of fixed shapes."""
        for layer in self._layers:
            layer.filled += 1

    def keep_rows(self, rows: Tensor) -> None:
        """Keep only these rows of the batch, in this order."""
        self.backbone.batch_select_indices(rows)
        self.tts_adapter.batch_select_indices(rows)


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
        self.at_1: Tensor | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self._key_memory = self._allocate(key_states)
        self._value_memory = self._allocate(value_states)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        if self.at_1 is not None:
            self._key_memory.index_copy_(2, self.at_1, key_states)
            self._value_memory.index_copy_(2, self.at_1, value_states)
            return self._key_memory, self._value_memory
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
        self.at_1 = None

    def batch_select_indices(self, indices: Tensor) -> None:
        if self.filled:
            keys = self._key_memory[indices, :, : self.filled]
            values = self._value_memory[indices, :, : self.filled]
            self.lazy_initialization(keys, values)
            self._key_memory[:, :, : self.filled] = keys
            self._value_memory[:, :, : self.filled] = values

    def _allocate(self, like: Tensor) -> Tensor:
        rows, heads, _, width = like.shape
        # Zeros: with fixed shapes attention multiplies what is not filled by 0, which must be a number.
        return like.new_zeros(rows, heads, self.positions, width)

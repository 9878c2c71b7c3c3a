"""SNAC's three codebooks and the seven-layer order of one frame: two inverse reshapes.

Source: gpt-omni/mini-omni, utils/snac_utils.py at commit 26c31d5: one 2048-sample frame holds 1 + 2 + 4 codes,
flattened depth-first over the tree.
Shapes: F = frames of 2048 samples. Levels hold F, 2F and 4F codes (11.72, 23.44 and 46.88 Hz at 24 kHz).
"""

from collections.abc import Sequence

import numpy as np

LEVEL_STRIDES = (4, 2, 1)
"""How many of the finest codes one code of each level spans."""

LAYERS_PER_LEVEL = ((0,), (1, 4), (2, 3, 5, 6))
"""For each level, the layers that hold its codes of one frame, in time order."""

LAYERS = 7


def to_frames(levels: Sequence[np.ndarray]) -> np.ndarray:
    """Interleave three code levels into frames.

    Args:
        levels: integer arrays of shape (F,), (2F,) and (4F,).

    Returns:
        Codes of shape (F, 7), uint16, in layer order.

    Raises:
        ValueError: if the levels do not have lengths F, 2F and 4F.

    >>> to_frames([np.array([0]), np.array([1, 4]), np.array([2, 3, 5, 6])])
    array([[0, 1, 2, 3, 4, 5, 6]], dtype=uint16)
    """
    lengths = [len(level) for level in levels]
    if len(lengths) != 3 or lengths[1] != 2 * lengths[0] or lengths[2] != 4 * lengths[0]:
        raise ValueError(f"levels must hold F, 2F and 4F codes; got lengths {lengths}")
    frames = np.empty((lengths[0], LAYERS), np.uint16)
    for level, layers in zip(levels, LAYERS_PER_LEVEL, strict=True):
        frames[:, layers] = np.asarray(level).reshape(lengths[0], len(layers))
    return frames


def to_levels(frames: np.ndarray) -> list[np.ndarray]:
    """Undo `to_frames`.

    Args:
        frames: codes of shape (F, 7), any integer dtype.

    Returns:
        Three int64 arrays of shape (F,), (2F,) and (4F,).

    Raises:
        ValueError: if `frames` is not of shape (F, 7).
    """
    if frames.ndim != 2 or frames.shape[1] != LAYERS:
        raise ValueError(f"frames must have shape (F, {LAYERS}); got {frames.shape}")
    return [frames[:, layers].reshape(-1).astype(np.int64) for layers in LAYERS_PER_LEVEL]

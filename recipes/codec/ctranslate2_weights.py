"""Read the tensors of a model in CTranslate2's format, for which CTranslate2 itself offers no way.

The format is that of `ModelSpec.save` (https://github.com/OpenNMT/CTranslate2, python/ctranslate2/specs/model_spec.py,
v4.8.5): version, class and revision, then the tensors with name, shape, type and bytes, all in little endian.
"""

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anytalk.synth.errors import SetupError

_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
"""By their number in the file; what comes after them is not read."""


def read_weights(path: Path, prefix: str) -> dict[str, Tensor]:
    """Read tensors whose names begin alike.

    Args:
        path: a model.bin.
        prefix: such as `encoder/`.

    Returns:
        The tensors by name without the prefix, numbers of half precision as float32.

    Raises:
        SetupError: the file is missing, damaged, or of a type that is not read here.
    """
    try:
        data = memoryview(path.read_bytes())
        return _tensors(data, prefix)
    except (OSError, struct.error, ValueError) as error:
        raise SetupError(f"{path} cannot be read as a model of CTranslate2: {error}") from error


def _tensors(data: memoryview, prefix: str) -> dict[str, Tensor]:
    at = 0

    def take(kind: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + kind, data, at)
        at += struct.calcsize(kind)
        return int(value)

    def take_name() -> str:
        nonlocal at
        length = take("H")
        at += length
        return bytes(data[at - length : at - 1]).decode()  # without the zero at its end

    take("I")
    take_name()
    take("I")
    tensors = {}
    for _ in range(take("I")):
        name = take_name()
        shape = [take("I") for _ in range(take("B"))]
        type_, size = take("B"), take("I")
        if name.startswith(prefix):
            if type_ >= len(_TYPES):
                raise ValueError(f"{name} is of type {type_}, and only types up to {len(_TYPES) - 1} are known")
            values = np.frombuffer(data[at : at + size], _TYPES[type_]).reshape(shape)
            if values.dtype == np.float16:
                values = values.astype(np.float32)
            tensors[name.removeprefix(prefix)] = torch.from_numpy(values.copy())
        at += size
    return tensors

"""`product.c` and `attention.c`, compiled when first needed, where there is a compiler and a processor for them.

The compiler takes half a second, once a process: nothing is kept on disk, where another processor might find it.
"""

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from anytalk.model.cache import StepMemory

TILE, FOUR, ZERO = 32, 4, 64
"""As in `product.c`."""
FILLED = 64  # inputs are filled up to a multiple of it

FLAGS = ("-O3", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vnni", "-mfma", "-fopenmp", "-fPIC", "-shared")

LANES = 16
"""Heads that attend are as wide as a multiple of it."""


class _Functions(NamedTuple):
    multiply: Callable[..., int]
    attend: Callable[..., int]


class _Product(ctypes.Structure):
    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("norm", ctypes.c_void_p),
        ("least", ctypes.c_float),
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
    )


class _Attention(ctypes.Structure):
    _fields_ = (
        ("queries", ctypes.c_int64),
        ("keys", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("scale", ctypes.c_float),
    )


def why_not() -> str | None:
    """Say why products are not our own here; None where they are."""
    return _compiled()[1]


@functools.cache
def _compiled() -> tuple[_Functions | None, str | None]:
    """Give the functions, or why there are none."""
    if not _has_vnni():
        return None, "the processor has no AVX512-VNNI"
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        return None, "there is no C compiler"
    source = "".join(files(__package__).joinpath(name).read_text() for name in ("product.c", "attention.c"))
    with tempfile.TemporaryDirectory(prefix="anytalk-") as folder:
        library = Path(folder, "int8.so")
        command = [compiler, *FLAGS, "-x", "c", "-", "-o", str(library)]
        try:
            made = subprocess.run(command, input=source, capture_output=True, text=True, timeout=60)
            if made.returncode:
                return None, f"{compiler}: {(made.stderr.strip().splitlines() or ['failed'])[0]}"
            found = ctypes.CDLL(str(library))
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, f"{compiler}: {error}"
    pointer, count, threads = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    found.multiply.argtypes = [pointer, pointer, count, pointer, pointer, threads]
    found.attend.argtypes = [*[pointer] * 5, count, pointer, pointer, count, count, pointer, threads]
    return _Functions(found.multiply, found.attend), None


def _has_vnni() -> bool:
    if not hasattr(torch.cpu, "get_capabilities"):  # before 2.11
        return False
    able: Mapping[str, Any] = torch.cpu.get_capabilities()
    return all(able.get(name) for name in ("avx512_f", "avx512_bw", "avx512_vl", "avx512_vnni"))


def _functions() -> _Functions:
    functions, problem = _compiled()
    if functions is None:
        raise ValueError(f"no functions of our own here: {problem}")
    return functions


class NativeProduct:
    """Rounded weights as `product.c` reads them.

    Args:
        rounded_VD: int8.
        scales_V: float32.
        bias_V: or None.
        norm_D: what to multiply inputs with, where rows are to be normed; or None.
        least: see `product.c`.
    """

    def __init__(
        self, rounded_VD: Tensor, scales_V: Tensor, bias_V: Tensor | None, norm_D: Tensor | None, least: float
    ) -> None:
        self._multiply = _functions().multiply
        V, D = rounded_VD.shape
        self._inputs, self._outputs = D, V
        tiles, fours = -(-V // TILE), -(-D // FILLED) * FILLED // FOUR
        filled = functional.pad(rounded_VD, (0, fours * FOUR - D, 0, tiles * TILE - V))
        sums_V = filled.sum(1, dtype=torch.int32) * ZERO

        def of_tiles(x_V: Tensor) -> Tensor:
            return functional.pad(x_V, (0, tiles * TILE - V)).contiguous()

        bias_V = None if bias_V is None else of_tiles(bias_V)
        packed = _aligned(filled.view(tiles, TILE, fours, FOUR).transpose(1, 2))
        self._kept = (packed, of_tiles(scales_V), sums_V, bias_V, norm_D)  # what the pointers point to
        pointers = [None if x is None else x.data_ptr() for x in self._kept]
        self._product = _Product(*pointers, least, D, V)
        self._address = ctypes.addressof(self._product)

    def __call__(self, x_ND: Tensor, plus_NV: Tensor | None) -> Tensor:
        """Map (N, D) to (N, V), float32, and add (N, V)."""
        N, D = x_ND.shape
        if self._inputs != D:  # else memory would be read that is not ours
            raise ValueError(f"the product takes rows of {self._inputs} numbers, not of {D}")
        x_ND = x_ND.float().contiguous()
        plus_NV = None if plus_NV is None else plus_NV.expand(N, self._outputs).float().contiguous()
        out_NV = x_ND.new_empty(N, self._outputs)
        plus = None if plus_NV is None else plus_NV.data_ptr()
        threads = torch.get_num_threads()
        if self._multiply(self._address, x_ND.data_ptr(), N, plus, out_NV.data_ptr(), threads):
            raise MemoryError(f"no memory for a product of {N} rows")
        return out_NV


class NativeAttention:
    """A step's attention as `attention.c` does it, from the outputs of queries, keys and values on.

    Args:
        queries: heads.
        keys: heads of keys, and as many of values; divides `queries`.
        width: of a head, a multiple of `LANES`.
        scale: of scores.
    """

    def __init__(self, queries: int, keys: int, width: int, scale: float) -> None:
        self._attend = _functions().attend
        self._queries, self._keys, self._width = queries, keys, width
        self._attention = _Attention(queries, keys, width, scale)
        self._address = ctypes.addressof(self._attention)

    def __call__(self, heads_BHW: Tensor, turns_BW: Tensor, memory: StepMemory, mask_BP: Tensor) -> Tensor:
        """Keep each row's keys and values, and let its queries attend.

        Args:
            heads_BHW: queries, keys, values; float32, numbers that turn together side by side.
            turns_BW: what to turn them by, half as many complex numbers.
            memory: of the block; float32.
            mask_BP: added to scores, over the positions that are read.

        Returns:
            (B, queries * W), float32.
        """
        keys, values, at_B = memory
        B, P = mask_BP.shape
        rows, _, positions, _ = keys.shape
        fits = rows >= B and positions >= P  # else memory would be read that is not ours
        if not fits or heads_BHW.shape != (B, self._queries + 2 * self._keys, self._width):
            raise ValueError(f"heads {tuple(heads_BHW.shape)} for {B} rows, {P} positions of {tuple(keys.shape)}")
        out = heads_BHW.new_empty(B, self._queries * self._width)
        given = [x.data_ptr() for x in (heads_BHW, turns_BW, keys, values)]
        more = [positions, at_B.data_ptr(), mask_BP.data_ptr(), P, B, out.data_ptr(), torch.get_num_threads()]
        if self._attend(self._address, *given, *more):
            raise MemoryError(f"no memory for the attention of {B} rows")
        return out


def _aligned(x: Tensor) -> Tensor:
    """Copy a tensor to where the address is a multiple of 64, as the instructions ask."""
    memory = torch.empty(x.nbytes + 64, dtype=torch.uint8)
    start = -memory.data_ptr() % 64
    copy = memory[start : start + x.nbytes].view(x.dtype).view(x.shape)
    return copy.copy_(x)

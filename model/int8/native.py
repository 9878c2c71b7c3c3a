"""The product of `product.c`, compiled when it is first needed, where there is a compiler and a processor for it.

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
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TILE, FOUR, ZERO = 32, 4, 64
"""As in `product.c`."""
FILLED = 64  # inputs are filled up to a multiple of it

FLAGS = ("-O3", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vnni", "-mfma", "-fopenmp", "-fPIC", "-shared")

Multiply = Callable[..., int]


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


def why_not() -> str | None:
    """Say why products are not our own here; None where they are."""
    return _compiled()[1]


@functools.cache
def _compiled() -> tuple[Multiply | None, str | None]:
    """Give the product, or why there is none."""
    if not _has_vnni():
        return None, "the processor has no AVX512-VNNI"
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        return None, "there is no C compiler"
    source = files(__package__).joinpath("product.c").read_text()
    with tempfile.TemporaryDirectory(prefix="anytalk-") as folder:
        library = Path(folder, "product.so")
        command = [compiler, *FLAGS, "-x", "c", "-", "-o", str(library)]
        try:
            made = subprocess.run(command, input=source, capture_output=True, text=True, timeout=60)
            if made.returncode:
                return None, f"{compiler}: {(made.stderr.strip().splitlines() or ['failed'])[0]}"
            found: Any = ctypes.CDLL(str(library)).multiply
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, f"{compiler}: {error}"
    pointer = ctypes.c_void_p
    found.argtypes = [pointer, pointer, ctypes.c_int64, pointer, pointer, ctypes.c_int]
    found.restype = ctypes.c_int
    return found, None


def _has_vnni() -> bool:
    if not hasattr(torch.cpu, "get_capabilities"):  # before 2.11
        return False
    able: Mapping[str, Any] = torch.cpu.get_capabilities()
    return all(able.get(name) for name in ("avx512_f", "avx512_bw", "avx512_vl", "avx512_vnni"))


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
        multiply, problem = _compiled()
        if multiply is None:
            raise ValueError(f"no product of our own here: {problem}")
        self._multiply = multiply
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
        if x_ND.shape[1] != self._inputs:  # else memory would be read that is not ours
            raise ValueError(f"the product takes rows of {self._inputs} numbers, not of {x_ND.shape[1]}")
        x_ND = x_ND.float().contiguous()
        plus_NV = None if plus_NV is None else plus_NV.expand(len(x_ND), self._outputs).float().contiguous()
        out_NV = x_ND.new_empty(len(x_ND), self._outputs)
        plus = None if plus_NV is None else plus_NV.data_ptr()
        threads = torch.get_num_threads()
        if self._multiply(self._address, x_ND.data_ptr(), len(x_ND), plus, out_NV.data_ptr(), threads):
            raise MemoryError(f"no memory for a product of {len(x_ND)} rows")
        return out_NV


def _aligned(x: Tensor) -> Tensor:
    """Copy a tensor to where the address is a multiple of 64, as the instructions ask."""
    memory = torch.empty(x.nbytes + 64, dtype=torch.uint8)
    start = -memory.data_ptr() % 64
    copy = memory[start : start + x.nbytes].view(x.dtype).view(x.shape)
    return copy.copy_(x)

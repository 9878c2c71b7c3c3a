"""Where an engine computes, `auto`, `cpu`, `cuda` or `cuda:1`, and in which precision: decided here alone.

A process has the GPUs that torch sees: all of a machine's, or those in `CUDA_VISIBLE_DEVICES`, which Ray sets for each
crew to its own. A library that cannot use them computes on the CPU where the device is `auto`, and is an error where a
GPU was asked for.
"""

import gc
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from .errors import SetupError

if TYPE_CHECKING:
    import torch  # takes seconds to import, which recipes that only name a device are spared

Library = Literal["torch", "ctranslate2", "onnxruntime"]
Dtype = Literal["float32", "float16", "bfloat16"]

FORMS = "auto, cpu, cuda, or cuda:N such as cuda:1"


def check_named(device: str) -> None:
    """Refuse what names no device, wherever it would run.

    Raises:
        SetupError: it is none of the forms.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise SetupError(f"there is no device {device!r}; name {FORMS}")


def resolve(device: str, library: Library = "torch") -> str:
    """Choose the device that an engine gets.

    Args:
        device: `auto` for the first GPU of this process if it has one and the library can use it, else the CPU; `cpu`;
            `cuda` for the first GPU; `cuda:1` for the second, and so on.
        library: what the engine computes with.

    Returns:
        `cpu`, or `cuda:` and a number.

    Raises:
        SetupError: a GPU was asked for that is not there, or that the library cannot use.

    >>> resolve("cpu")
    'cpu'
    """
    check_named(device)
    if device == "cpu":
        return "cpu"
    lacking = _lacking_for_gpu(library)
    if device == "auto":
        return "cpu" if lacking else "cuda:0"
    if lacking:
        raise SetupError(f"device {device}: {lacking}; name cpu, or auto for a GPU where there is one")
    import torch

    number, count = int(device.partition(":")[2] or 0), torch.cuda.device_count()
    if number >= count:
        there = "only cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise SetupError(f"device {device}: there is no such GPU here, {there}")
    return f"cuda:{number}"


def release_memory() -> None:
    """Hand back to GPUs what torch keeps there of engines that are gone, for other programs."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def torch_device(device: str) -> "torch.device":
    """Choose the device of an engine that runs on torch; see `resolve`.

    On a GPU, torch is told for the whole process to convolve in what its tensors hold, not in TF32, whose ten bits
    change codes, and always by the same algorithm, so that bytes repeat.
    """
    import torch

    found = torch.device(resolve(device))
    if found.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    return found


def check_dtype(dtype: str, device: str) -> None:
    """Refuse a precision that a device is not made for.

    Args:
        dtype: `float32`, `float16` or `bfloat16`.
        device: as `resolve` gives it.

    Raises:
        SetupError: it is float16 on a CPU.
    """
    if dtype == "float16" and device == "cpu":
        raise SetupError("float16 is for a GPU, and the device is cpu; name float32 or bfloat16, or a GPU")


def torch_dtype(dtype: str) -> "torch.dtype":
    """Give torch's own name of a precision."""
    import torch

    found: torch.dtype = getattr(torch, dtype)
    return found


def gpu_fingerprint(device: str) -> dict[str, str]:
    """What a fingerprint says of the device: nothing of a CPU, and of a GPU its name and compute capability.

    Args:
        device: as `resolve` gives it.
    """
    if device == "cpu":
        return {}
    import torch

    properties = torch.cuda.get_device_properties(device)
    return {"device": f"{properties.name} sm_{properties.major}{properties.minor}"}


def _lacking_for_gpu(library: Library) -> str | None:
    """Why a library cannot use a GPU in this process; None if it can."""
    import torch

    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else f", since torch {torch.__version__} is built without CUDA"
        return f"there is no GPU in this process{built}"
    return _LACKING[library]()


def _lacking_for_ctranslate2() -> str | None:
    import ctranslate2

    return None if ctranslate2.get_cuda_device_count() else "CTranslate2 finds no GPU (it needs CUDA 12 and cuDNN 9)"


def _lacking_for_onnxruntime() -> str | None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return None
    return "onnxruntime has no CUDAExecutionProvider (pip install onnxruntime-gpu instead of onnxruntime)"


_LACKING: dict[Library, Callable[[], str | None]] = {
    "torch": lambda: None,
    "ctranslate2": _lacking_for_ctranslate2,
    "onnxruntime": _lacking_for_onnxruntime,
}

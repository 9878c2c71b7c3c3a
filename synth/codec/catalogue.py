"""The table of codec engines, and loading a codec by its name.

A new engine is one file here, with its `ENGINE`, and one line in `ENGINES`.
"""

import importlib
from pathlib import Path

from anytalk.synth.device import Dtype
from anytalk.synth.engine import EngineInfo
from anytalk.synth.remote import brought

from .contract import Codec, CodecEngine, CodecSettings

ENGINES = {
    "bundled": ".bundled",
    "snac": ".snac",
    "fake": ".fake",
}
"""Module of each engine, imported when it is needed, by the part of a codec's name before the colon."""


def load_codec(
    name: str = "bundled",
    threads: int = 1,
    *,
    compiled: bool = False,
    device: str = "cpu",
    dtype: Dtype = "float32",
) -> Codec:
    """Load a codec.

    Args:
        name: `bundled`; a `.safetensors` file that the codec recipe wrote, or its folder; a folder that holds SNAC
            (config.json with model.safetensors or pytorch_model.bin), or a hub id such as `hubertsiuzdak/snac_24khz`;
            `fake` for tests; or `ENGINE:SPEC`, with an engine of the table. A file or folder may be a URL.
        threads: of one engine on a CPU. The lowest bits of the codec's floats depend on it, so it is not left to the
            machine.
        compiled: compile a SNAC where it runs, if that is a CPU, which takes a C++ compiler; others are not compiled.
        device: `cpu`; `cuda` or `cuda:1` for a GPU; `auto` for a GPU where there is one.
        dtype: precision of SNAC's encoder on a GPU; the quantiser and the decoder stay in float32.

    Raises:
        SetupError: there is no such codec, its files are not in order, it cannot be compiled, or it cannot run on the
            device or in the precision.
    """
    engine, spec = _split(brought(name))
    return _engine(ENGINES[engine]).load(spec, CodecSettings(name, threads, compiled, device, dtype))


def known_codecs() -> list[EngineInfo]:
    """List the codecs that can be named, without loading one."""
    return [info for module in ENGINES.values() for info in _engine(module).known()]


def _split(name: str) -> tuple[str, str]:
    """The engine and the SPEC of a codec's name; files of ours and SNAC go without the engine's name."""
    engine, _, spec = name.partition(":")
    if engine in ENGINES:
        return engine, spec
    is_ours = name.endswith(".safetensors") or (Path(name) / "codec.safetensors").is_file()
    return "bundled" if is_ours else "snac", name


def _engine(module: str) -> CodecEngine:
    found: CodecEngine = importlib.import_module(module, __package__).ENGINE
    return found

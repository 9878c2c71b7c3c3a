"""Build spoken-instruction datasets and train models on them until they talk.

The names that users import, each loaded when it is first asked for, so that `import anytalk` is quick:

    from anytalk import build, check                # make a dataset from a recipe, and verify it
    from anytalk import load_codec, load_whisper    # waveforms to codes and back; features and transcripts
    from anytalk import MiniOmni, talk              # a trained model, and talking with it
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "anytalk":
    raise ImportError("import anytalk (pip install -e .), not the bare folder name")

if TYPE_CHECKING:
    from anytalk.model import MiniOmni as MiniOmni
    from anytalk.pipelines import build as build
    from anytalk.pipelines import check as check
    from anytalk.recipes.talk import talk as talk
    from anytalk.synth.codec import load_codec as load_codec
    from anytalk.synth.hearing import load_whisper as load_whisper

_HOME = {
    "MiniOmni": "anytalk.model",
    "build": "anytalk.pipelines",
    "check": "anytalk.pipelines",
    "load_codec": "anytalk.synth.codec",
    "load_whisper": "anytalk.synth.hearing",
    "talk": "anytalk.recipes.talk",
}
"""Where each name is defined."""

__all__ = ["MiniOmni", "build", "check", "load_codec", "load_whisper", "talk"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'anytalk' has no attribute {name!r}")
    found = getattr(import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *_HOME]

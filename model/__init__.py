"""The network: token layouts, parallel streams, Mini-Omni and its decoding.

    layout      ids, streams, delays, prompts, answers, labels (standard library only)
    config      the shape of one model
    network     MiniOmni; adapter, cache and checkpoint are its parts
    sampling    choosing the next id
    decoding    the loop: one request or many, any task
    streaming   sound and text while they are made
    convert     checkpoints of the original Mini-Omni, both ways

Names are imported when they are first asked for, so that `anytalk.model.layout` costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ == "model":
    raise ImportError("import anytalk.model (pip install -e .), not the bare folder name")

if TYPE_CHECKING:
    from .config import MiniOmniConfig, backbone_fields
    from .convert import from_mini_omni, to_mini_omni
    from .decoding import Answer, Request, Step, decode, generate
    from .layout import IGNORE, MINI_OMNI, Example, Layout, Prompt, Task, Turn, adapter_positions, feature_frames
    from .network import Hidden, MiniOmni, MiniOmniOutput, mini_omni_0_5b
    from .sampling import GREEDY, Sampling
    from .streaming import Codec, Piece, StreamingDecoder, StreamingText, stream

__all__ = [
    "GREEDY",
    "IGNORE",
    "MINI_OMNI",
    "Answer",
    "Codec",
    "Example",
    "Hidden",
    "Layout",
    "MiniOmni",
    "MiniOmniConfig",
    "MiniOmniOutput",
    "Piece",
    "Prompt",
    "Request",
    "Sampling",
    "Step",
    "StreamingDecoder",
    "StreamingText",
    "Task",
    "Turn",
    "adapter_positions",
    "backbone_fields",
    "decode",
    "feature_frames",
    "from_mini_omni",
    "generate",
    "mini_omni_0_5b",
    "stream",
    "to_mini_omni",
]

_HOME = {
    "config": ("MiniOmniConfig", "backbone_fields"),
    "convert": ("from_mini_omni", "to_mini_omni"),
    "decoding": ("Answer", "Request", "Step", "decode", "generate"),
    "layout": (
        "IGNORE",
        "MINI_OMNI",
        "Example",
        "Layout",
        "Prompt",
        "Task",
        "Turn",
        "adapter_positions",
        "feature_frames",
    ),
    "network": ("Hidden", "MiniOmni", "MiniOmniOutput", "mini_omni_0_5b"),
    "sampling": ("GREEDY", "Sampling"),
    "streaming": ("Codec", "Piece", "StreamingDecoder", "StreamingText", "stream"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)

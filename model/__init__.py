"""The network: token layouts, parallel streams, Mini-Omni and its decoding.

    layout      ids, streams, delays, prompts, answers, labels (standard library only)
    config      the shape of one model
    network     MiniOmni; adapter, cache and checkpoint are its parts
    codebook    codes that begin alike where the codec's are near each other
    loss        cross-entropy of each stream
    sampling    choosing the next id
    batch       requests, and what each of them said
    stepping    one step of all rows, as a CUDA graph on a GPU
    decoding    the loop: one request or many, any task, together or coming and going
    streaming   sound and text while they are made
    int8        a fast copy for a processor
    convert     checkpoints of the original Mini-Omni, both ways
    hub         checkpoints on the Hugging Face hub

Names are imported when they are first asked for, so that `anytalk.model.layout` costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if __name__ == "model":
    raise ImportError("import anytalk.model (pip install -e .), not the bare folder name")

if TYPE_CHECKING:
    from .batch import End, Request, Step
    from .checkpoint import CONFIG_FILE, LORA, LORA_WEIGHTS, read_config, write_checkpoint
    from .codebook import draw_from_codebook
    from .config import MiniOmniConfig, backbone_fields
    from .convert import ORIGINAL_WEIGHTS, from_mini_omni, to_mini_omni
    from .decoding import Answer, ContinuousDecoding, Prefix, decode, generate
    from .hub import CARD, checkpoint_folder, is_hub_id, new_card, push_checkpoint
    from .int8 import QuantisedBlock, QuantisedLinear, int8_kernel, quantise
    from .layout import IGNORE, MINI_OMNI, Chat, Example, Layout, Prompt, Task, Turn, adapter_positions, feature_frames
    from .loss import OnHost, StreamLoss, label_counts, weighted_mean
    from .network import Hidden, MiniOmni, MiniOmniOutput, mini_omni_0_5b, mini_omni_config
    from .sampling import GREEDY, Sampling
    from .streaming import Codec, Piece, StreamingAnswer, StreamingDecoder, StreamingText, stream

__all__ = [
    "CARD",
    "CONFIG_FILE",
    "GREEDY",
    "IGNORE",
    "LORA",
    "LORA_WEIGHTS",
    "MINI_OMNI",
    "ORIGINAL_WEIGHTS",
    "Answer",
    "Chat",
    "Codec",
    "ContinuousDecoding",
    "End",
    "Example",
    "Hidden",
    "Layout",
    "MiniOmni",
    "MiniOmniConfig",
    "MiniOmniOutput",
    "OnHost",
    "Piece",
    "Prefix",
    "Prompt",
    "QuantisedBlock",
    "QuantisedLinear",
    "Request",
    "Sampling",
    "Step",
    "StreamLoss",
    "StreamingAnswer",
    "StreamingDecoder",
    "StreamingText",
    "Task",
    "Turn",
    "adapter_positions",
    "backbone_fields",
    "checkpoint_folder",
    "decode",
    "draw_from_codebook",
    "feature_frames",
    "from_mini_omni",
    "generate",
    "int8_kernel",
    "is_hub_id",
    "label_counts",
    "mini_omni_0_5b",
    "mini_omni_config",
    "new_card",
    "push_checkpoint",
    "quantise",
    "read_config",
    "stream",
    "to_mini_omni",
    "weighted_mean",
    "write_checkpoint",
]

_HOME = {
    "batch": (
        "End",
        "Request",
        "Step",
    ),
    "checkpoint": (
        "CONFIG_FILE",
        "LORA",
        "LORA_WEIGHTS",
        "read_config",
        "write_checkpoint",
    ),
    "codebook": ("draw_from_codebook",),
    "config": (
        "MiniOmniConfig",
        "backbone_fields",
    ),
    "convert": (
        "ORIGINAL_WEIGHTS",
        "from_mini_omni",
        "to_mini_omni",
    ),
    "decoding": (
        "Answer",
        "ContinuousDecoding",
        "Prefix",
        "decode",
        "generate",
    ),
    "int8": (
        "QuantisedBlock",
        "QuantisedLinear",
        "int8_kernel",
        "quantise",
    ),
    "hub": (
        "CARD",
        "checkpoint_folder",
        "is_hub_id",
        "new_card",
        "push_checkpoint",
    ),
    "layout": (
        "Chat",
        "Example",
        "IGNORE",
        "Layout",
        "MINI_OMNI",
        "Prompt",
        "Task",
        "Turn",
        "adapter_positions",
        "feature_frames",
    ),
    "loss": (
        "OnHost",
        "StreamLoss",
        "label_counts",
        "weighted_mean",
    ),
    "network": (
        "Hidden",
        "MiniOmni",
        "MiniOmniOutput",
        "mini_omni_0_5b",
        "mini_omni_config",
    ),
    "sampling": (
        "GREEDY",
        "Sampling",
    ),
    "streaming": (
        "Codec",
        "Piece",
        "StreamingAnswer",
        "StreamingDecoder",
        "StreamingText",
        "stream",
    ),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)

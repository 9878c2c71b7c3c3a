"""The shape of one model, as it stands in a checkpoint's config.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from transformers import PreTrainedConfig

from .layout import Layout

FORMAT = "anytalk/mini-omni/1"
MODEL_TYPE = "anytalk_mini_omni"
"""The name under which transformers' AutoConfig knows it."""

_OF_TRANSFORMERS = ("model_type", "architectures")
"""Keys of config.json that are for transformers alone; older checkpoints lack them."""

_LATER = frozenset({"context_turns", "backbone_reads"})
"""Keys that older checkpoints lack."""

# What a Hugging Face config carries besides the network's shape.
_NOT_SHAPE = frozenset({"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"})


@dataclass(frozen=True)
class MiniOmniConfig:
    """Everything that decides which tensors a `MiniOmni` has, and what made its inputs.

    Args:
        layout: ids of the text vocabulary and the codec.
        backbone: a Hugging Face causal LM's config as a dict with its `model_type`; its `vocab_size` is the
            layout's text vocabulary, special tokens included. `backbone_fields` makes one.
        feature_width: width of one Whisper frame (768 in whisper-small).
        adapter: the Whisper adapter: "swiglu", the original's "llamamlp", or "linear", its "mlp".
        adapter_hidden: inner width of the swiglu adapter.
        stack: Whisper frames that share one position (1 in Mini-Omni).
        tts_adapter_layers: decoder blocks between the backbone's last block and the audio head. 0 is the
            released
            model, whose audio head reads the normed hidden state beside the text head; 6 is the paper's.
        tie_audio_head: whether the audio head is the audio embedding table (released variant only).
        unread_audio_head: keep an audio head beside the text head although the TTS adapter has its own. The
            original stores these 26.09 M numbers and never reads them; they let its checkpoints travel both
            ways.
        backbone_reads: "streams", the mean of all of them as in Mini-Omni; or "text": the backbone then reads the text
            stream and what it hears, and nothing of what is said aloud, which the TTS adapter reads. What it writes
            does not depend on speech, and a backbone that is not trained writes what it always wrote.
        feature: fingerprint of the model that made the features; opaque here.
        codec: fingerprint of the codec that made the codes; opaque here.
        context_turns: most earlier turns that stood before a question when it was trained.
    """

    layout: Layout
    backbone: Mapping[str, Any]
    feature_width: int
    adapter: Literal["swiglu", "linear"] = "swiglu"
    adapter_hidden: int = 4864
    stack: int = 1
    tts_adapter_layers: int = 0
    tie_audio_head: bool = False
    unread_audio_head: bool = False
    feature: Mapping[str, Any] = field(default_factory=dict)
    codec: Mapping[str, Any] = field(default_factory=dict)
    context_turns: int = 0
    backbone_reads: Literal["streams", "text"] = "streams"

    def __post_init__(self) -> None:
        if "model_type" not in self.backbone:
            raise ValueError("the backbone's config needs a model_type, such as 'qwen2'")
        if (rows := self.backbone.get("vocab_size")) != self.layout.text_vocabulary:
            raise ValueError(
                f"the backbone's vocab_size is {rows}; the layout needs {self.layout.text_vocabulary}: "
                f"{self.layout.text_size} of text and {self.layout.text_specials} special"
            )
        if self.adapter not in ("swiglu", "linear"):
            raise ValueError(f"adapter is {self.adapter!r}; it may be 'swiglu' or 'linear'")
        if min(self.feature_width, self.adapter_hidden, self.stack) < 1 or self.tts_adapter_layers < 0:
            raise ValueError(
                f"widths and stack must be positive: feature_width {self.feature_width}, adapter_hidden "
                f"{self.adapter_hidden}, stack {self.stack}, tts_adapter_layers {self.tts_adapter_layers}"
            )
        if self.tts_adapter_layers and self.tie_audio_head:
            raise ValueError("tie_audio_head belongs to the released variant; the TTS adapter has its own head")
        if self.context_turns < 0:
            raise ValueError(f"context_turns is {self.context_turns}; it is 0 or more")
        if self.backbone_reads not in ("streams", "text"):
            raise ValueError(f"backbone_reads is {self.backbone_reads!r}; it may be 'streams' or 'text'")
        if self.backbone_reads == "text" and not self.tts_adapter_layers:
            raise ValueError("a backbone that reads text alone needs a TTS adapter, which reads what is said aloud")
        if self.unread_audio_head and not self.tts_adapter_layers:
            raise ValueError("unread_audio_head belongs to the paper variant; without a TTS adapter it is read")

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON values, the inverse of `from_dict`."""
        return {"format": FORMAT, "model_type": MODEL_TYPE, "architectures": ["MiniOmni"], **asdict(self)}

    @classmethod
    def keys(cls) -> set[str]:
        """Name the keys of `to_dict`."""
        return {"format", *_OF_TRANSFORMERS, *(f.name for f in fields(cls))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Raises:
            ValueError: if the format is another, or a key is unknown or missing.
        """
        rest = dict(values)
        if (found := rest.pop("format", None)) != FORMAT:
            raise ValueError(f"the config's format is {found!r}; this code reads {FORMAT!r}")
        for key in _OF_TRANSFORMERS:
            rest.pop(key, None)
        known = {f.name for f in fields(cls)}
        if wrong := sorted(set(rest) - known | known - set(rest) - _LATER):
            raise ValueError(f"the config's keys are unknown or missing: {', '.join(wrong)}")
        try:
            rest["layout"] = Layout(**rest["layout"])
            return cls(**rest)
        except (TypeError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"a value of the config has a wrong type: {error}") from error


def backbone_fields(config: PreTrainedConfig, layout: Layout) -> dict[str, Any]:
    """Take a Hugging Face config's shape, with the text vocabulary of a layout.

    >>> from transformers import Qwen2Config
    >>> backbone_fields(Qwen2Config(), Layout(text_size=151_936, codebook_size=4096, layers=7))["vocab_size"]
    152000
    """
    shape = {key: value for key, value in config.to_diff_dict().items() if key not in _NOT_SHAPE}
    return {**shape, "model_type": config.model_type, "vocab_size": layout.text_vocabulary}

"""The model card: README.md, with what the hub needs to know and what a reader wants to."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from anytalk.model.config import MiniOmniConfig

CARD = "README.md"

TEXT = """# {title}

A model that hears and speaks: it answers speech or text with text and speech at the same time. Trained with
[anytalk](https://pypi.org/project/anytalk/) as in [Mini-Omni](https://arxiv.org/abs/2408.16725).
"""

FACTS = """
```sh
anytalk talk {repo} question.wav
```

```python
from anytalk.recipes.talk import Talker

for piece in Talker.from_pretrained("{repo}").talk("question.wav"):
    print(piece.text, end="")
```

| | |
|---|---|
| backbone | {backbone} |
| Whisper | {feature} |
| codec | {codec} |
| TTS adapter | {adapter} |
"""


def new_card(name: str, config: MiniOmniConfig | None = None) -> ModelCard:
    """Write the card of a model that has none. It names no licence: that is for its owner to add.

    Args:
        name: of the model, or its id on the hub.
        config: what the card says of it.
    """
    data = ModelCardData(
        library_name="anytalk",
        pipeline_tag="audio-to-audio",
        tags=["mini-omni", "speech-to-speech", "anytalk"],
        model_name=name.rpartition("/")[2],
    )
    text = TEXT.format(title=name.rpartition("/")[2])
    if config is not None:
        text += FACTS.format(
            repo=name,
            backbone=f"{config.backbone['model_type']}, {_shape(config.backbone)}",
            feature=_named(config.feature, "model"),
            codec=_named(config.codec, "name"),
            adapter=f"{config.tts_adapter_layers} blocks" if config.tts_adapter_layers else "none",
        )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


def _shape(backbone: Mapping[str, Any]) -> str:
    sizes = (("blocks", "num_hidden_layers"), ("wide", "hidden_size"))
    return ", ".join(f"{backbone[key]} {what}" for what, key in sizes if key in backbone)


def _named(fingerprint: Mapping[str, Any], key: str) -> str:
    """Its name, and all that tells it from others."""
    if key not in fingerprint:
        return "not named by the checkpoint"
    rest = ", ".join(f"{name} {value}" for name, value in fingerprint.items() if name != key)
    return f"{fingerprint[key]} ({rest})" if rest else str(fingerprint[key])

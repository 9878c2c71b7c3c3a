"""A checkpoint under the names of transformers: `AutoConfig` and `AutoModel` know it once this package is imported.

No code comes with a checkpoint, so `trust_remote_code` is never needed. What has no meaning here, such as `device_map`,
is an error.
"""

from os import PathLike
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from anytalk.model.config import MODEL_TYPE, MiniOmniConfig

_OF_TRANSFORMERS = ("_from_auto", "adapter_kwargs", "trust_remote_code")
"""What AutoModel hands on of its own."""


class AutoMiniOmniConfig(PreTrainedConfig):
    """config.json with its keys as attributes; `mini_omni` is the config that the model is built from."""

    model_type = MODEL_TYPE

    @property
    def mini_omni(self) -> MiniOmniConfig:
        """The same as a `MiniOmniConfig`."""
        known = MiniOmniConfig.keys()
        return MiniOmniConfig.from_dict({key: value for key, value in self.to_dict().items() if key in known})


def register(model_class: Any) -> None:
    """Let `AutoConfig` read our config.json, and `AutoModel` give a model of this class.

    Args:
        model_class: `MiniOmni`.
    """

    class AutoMiniOmni:
        """What `AutoModel` takes for the model's class."""

        config_class = AutoMiniOmniConfig

        @staticmethod
        def from_pretrained(name: str | PathLike[str], config: AutoMiniOmniConfig, **more: Any) -> nn.Module:
            """See `MiniOmni.from_pretrained`."""
            more = {key: value for key, value in more.items() if key not in _OF_TRANSFORMERS}
            model: nn.Module = model_class.from_pretrained(name, **more)
            return model

        @staticmethod
        def _from_config(config: AutoMiniOmniConfig, dtype: torch.dtype | None = None, **_: Any) -> nn.Module:
            model: nn.Module = model_class(config.mini_omni)
            return model

    AutoConfig.register(MODEL_TYPE, AutoMiniOmniConfig, exist_ok=True)
    AutoModel.register(AutoMiniOmniConfig, AutoMiniOmni, exist_ok=True)

r"""Mini-Omni: a language model that hears and speaks in parallel streams.

    Whisper features, adapted --+
    audio ids, 7 streams -------+--> mean of 8 --> backbone blocks --+--> norm --+--> text head
    text ids, 1 stream ---------+    embeddings                      |           +--> audio head  (released)
                                                                     +--> TTS adapter --> audio head  (paper)

With `backbone_reads="text"` the backbone reads text and features alone, and the TTS adapter the audio ids besides.

Source: https://arxiv.org/abs/2408.16725 (section 3) and `litgpt/model.py` of gpt-omni/mini-omni at 26c31d5.
The backbone is any causal language model of Hugging Face transformers, called with `inputs_embeds`.

Shapes: B = batch, K = streams (codec layers, then text), L = codec layers, T = positions, D = width,
F = feature width, N = chosen positions, V = vocabulary of one stream.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, Qwen2Config
from transformers.initialization import no_init_weights

from .adapter import WhisperAdapter, tts_adapter
from .cache import DecodingCache, RowsCache
from .checkpoint import TOKENIZER_FILES, check_fits, read_config, read_weights, write_checkpoint
from .config import MiniOmniConfig, backbone_fields
from .hub import CARD, checkpoint_folder, push_checkpoint, register
from .layout import MINI_OMNI

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Features = Sequence[Tensor | Sequence[tuple[int, Tensor]] | None]
"""One entry a row: features that stand at positions 1, 2, ...; or (start, features) pairs; or None."""


class Hidden(NamedTuple):
    """What the heads read."""

    text: Tensor
    """(B, T, D): the backbone's last hidden state, normed."""
    audio: Tensor | None
    """(B, T, D): the same, or what the TTS adapter made of the state before the norm; or None."""


class MiniOmniOutput(NamedTuple):
    """Logits of the next id in every stream."""

    text_logits: Tensor | None
    """(B, T, V), or (N, V) at chosen positions."""
    audio_logits: Tensor | None
    """(B, L, T, V), or (N, L, V) at chosen positions; ids are local to their layer."""


class MiniOmni(nn.Module):
    """The network. Random weights; `from_backbone` and `from_pretrained` bring others.

    Args:
        config: the shape.
        backbone: the language model to build on, with `config.backbone`'s shape; made at random when None. It
            is taken over: its final norm moves out of it, because the TTS adapter reads the state before.
    """

    def __init__(self, config: MiniOmniConfig, backbone: PreTrainedModel | None = None) -> None:
        super().__init__()
        self.config = config
        self.layout = config.layout
        self.folder: Path | None = None
        """The checkpoint that it was read from, where its tokenizer lies; None for a model that was built."""
        self.residual_dtype: torch.dtype | None = None
        """Precision of the states that the blocks add to; that of the embeddings when None. In autocast only."""
        shape = AutoConfig.for_model(**config.backbone)
        if backbone is None:
            backbone = _random_backbone(shape)
        backbone.tie_weights()
        self.backbone = backbone
        self.final_norm = _take_final_norm(backbone)
        self._logit_softcap: float | None = getattr(shape, "final_logit_softcapping", None)
        # Gemma's table scales what it gives by sqrt(D). All streams are one table, and so scale alike:
        # litgpt's `scale_embeddings`, which scales their mean, adapted features included.
        self._embedding_scale = float(getattr(backbone.get_input_embeddings(), "scalar_embed_scale", 1.0))

        width = shape.hidden_size
        audio_rows = self.layout.layers * self.layout.audio_vocabulary
        self.audio_embedding = nn.Embedding(audio_rows, width)
        self.whisper_adapter = WhisperAdapter(
            config.feature_width, width, config.adapter, config.adapter_hidden, config.stack
        )
        self.tts_adapter = tts_adapter(shape, config.tts_adapter_layers) if config.tts_adapter_layers else None
        self.audio_head = nn.Linear(width, audio_rows, bias=False)
        new: list[nn.Embedding | nn.Linear] = [self.audio_embedding, self.audio_head]
        if config.unread_audio_head:
            self.unread_audio_head = nn.Linear(width, audio_rows, bias=False).requires_grad_(False)
            new.append(self.unread_audio_head)
        for module in new:
            nn.init.normal_(module.weight, std=shape.initializer_range)
        if config.tie_audio_head:
            self.audio_head.weight = self.audio_embedding.weight

    @classmethod
    def from_backbone(cls, backbone: PreTrainedModel, config: MiniOmniConfig) -> Self:
        """Build on a pretrained language model; rows that it lacks are drawn like the ones that it has.

        Args:
            backbone: taken over, and its text table resized to the layout's text vocabulary.
            config: the shape, with `backbone_fields(backbone.config, layout)` as its backbone.
        """
        found = backbone_fields(backbone.config, config.layout)
        if wrong := sorted(k for k, v in found.items() if config.backbone.get(k, v) != v):
            raise ValueError(f"the backbone differs from config.backbone in {', '.join(wrong)}")
        old_rows = len(_table(backbone))
        if old_rows != config.layout.text_size:
            raise ValueError(
                f"the backbone has {old_rows} text rows; the layout's text_size is {config.layout.text_size}"
            )
        spread = float(_table(backbone).detach().float().std())
        backbone.resize_token_embeddings(config.layout.text_vocabulary, mean_resizing=False)
        with _default_dtype(backbone.dtype), torch.device(backbone.device):
            model = cls(config, backbone)
        new_rows = [model.audio_embedding.weight, model.audio_head.weight]
        new_rows += [table[old_rows:] for table in (_table(backbone), _head(backbone).weight)]
        with torch.no_grad():
            for rows in new_rows:
                nn.init.normal_(rows, std=spread)
            if config.backbone_reads == "text":  # beside the backbone's normed state; see `hidden`
                nn.init.normal_(model.audio_embedding.weight)
        return model

    # Input

    def embed(self, streams_BKT: Tensor, features: Features | None = None, offsets: Sequence[int] = ()) -> Tensor:
        """Give what the backbone reads: the mean of all streams' embeddings, or the text's.

        Args:
            streams_BKT: shifted ids, int64.
            features: adapted and put in place of all audio streams' embeddings where they stand; of the text's, where
                the backbone reads text alone.
            offsets: for each row, the columns of padding before its position 0; none when empty.

        Returns:
            (B, T, D).
        """
        K = streams_BKT.shape[1]
        if self.layout.streams != K:
            raise ValueError(f"{K} streams; this model has {self.layout.streams}, text last")
        text_BTD: Tensor = self.backbone.get_input_embeddings()(streams_BKT[:, -1])
        if self.config.backbone_reads == "text":
            return self._with_features(text_BTD, features, offsets, self._embedding_scale)
        # Every audio stream holds the same vector where features stand, so their sum holds it `layers` times.
        audio_BTD = self._with_features(self._said(streams_BKT), features, offsets, self.layout.layers)
        return (audio_BTD * self._embedding_scale + text_BTD) / K

    def _said(self, streams_BKT: Tensor) -> Tensor:
        """Add up the embeddings of the audio streams: (B, T, D)."""
        B, K, T = streams_BKT.shape
        local_BTL = (streams_BKT[:, :-1] - self.layout.text_vocabulary).transpose(1, 2)
        return functional.embedding_bag(local_BTL.reshape(B * T, K - 1), self.audio_embedding.weight, mode="sum").view(
            B, T, -1
        )

    def _with_features(
        self, embedded_BTD: Tensor, features: Features | None, offsets: Sequence[int], times: float
    ) -> Tensor:
        """Put adapted features, so many times each, in place of what is embedded where they stand."""
        if features is None:
            return embedded_BTD
        B, T, _ = embedded_BTD.shape
        if len(features) != B:
            raise ValueError(f"features for {len(features)} rows; the batch has {B}")
        rows, columns, stacked = [], [], []
        for row, entry in enumerate(features):
            for start, features_NF in _placed(entry):
                frames = self.whisper_adapter.stacked(features_NF).to(self.audio_embedding.weight)
                first = start + (offsets[row] if offsets else 0)
                if start < 0 or first + len(frames) > T:
                    raise ValueError(f"row {row}: features at {first}..{first + len(frames) - 1} of {T} positions")
                rows.append(torch.full((len(frames),), row))
                columns.append(torch.arange(first, first + len(frames)))
                stacked.append(frames)
        if not stacked:
            return embedded_BTD
        adapted_ND = self.whisper_adapter(torch.cat(stacked))
        at = (torch.cat(rows).to(embedded_BTD.device), torch.cat(columns).to(embedded_BTD.device))
        return embedded_BTD.index_put(at, (times * adapted_ND).to(embedded_BTD.dtype))

    # Blocks

    def hidden(
        self,
        streams_BKT: Tensor,
        features: Features | None = None,
        *,
        attention_mask_BT: Tensor | dict[str, Tensor] | None = None,
        position_ids_BT: Tensor | None = None,
        cache: DecodingCache | RowsCache | None = None,
        audio: bool = True,
    ) -> Hidden:
        """Run the blocks, and no head.

        Args:
            streams_BKT: shifted ids, int64.
            features: see `Features`; starts count from a row's first column that is not padding.
            attention_mask_BT: 1 where a column is not padding; with a cache it covers the past too. Needed
                for
                padding on the left only: what stands on the right of a row is never seen by the row. Or, with a cache
                and `position_ids_BT`, transformers' own: what is added to scores, (B, 1, T, past and T), for blocks of
                several kinds one of each.
            position_ids_BT: counted from the mask when None.
            cache: past keys and values; grows by T.
            audio: whether the audio heads will be asked; the TTS adapter runs only then.
        """
        T = streams_BKT.shape[2]
        offsets: list[int] = []
        if isinstance(attention_mask_BT, Tensor):
            if position_ids_BT is None:
                position_ids_BT = (attention_mask_BT.long().cumsum(1) - 1).clamp(min=0)[:, -T:]
            if features is not None and attention_mask_BT.ndim == 2:
                offsets = attention_mask_BT[:, -T:].int().argmax(1).tolist()
        common = {
            "attention_mask": attention_mask_BT,
            "position_ids": position_ids_BT,
            "use_cache": cache is not None,
        }
        x_BTD = self.backbone.base_model(
            inputs_embeds=self._residual(self.embed(streams_BKT, features, offsets)),
            past_key_values=cache.backbone if cache else None,
            **common,
        ).last_hidden_state
        text_BTD = self.final_norm(x_BTD)
        if not audio:
            return Hidden(text_BTD, None)
        if self.tts_adapter is None:
            return Hidden(text_BTD, text_BTD)
        if self.config.backbone_reads == "text":
            # The normed state, of the size of embeddings that are drawn at unit variance; the state before it may be
            # hundreds of times as large.
            x_BTD = text_BTD + self._said(streams_BKT) / self.layout.layers
        adapted = self.tts_adapter(
            inputs_embeds=self._residual(x_BTD), past_key_values=cache.tts_adapter if cache else None, **common
        )
        return Hidden(text_BTD, adapted.last_hidden_state)

    def _residual(self, x_BTD: Tensor) -> Tensor:
        """Bring what blocks read into the precision that they add in."""
        return x_BTD if self.residual_dtype is None else x_BTD.to(self.residual_dtype)

    def new_cache(self, positions: int) -> DecodingCache:
        """Make an empty cache for `positions` positions."""
        layers = self.backbone.config.num_hidden_layers
        return DecodingCache(layers, self.config.tts_adapter_layers, positions)

    def new_rows_cache(self, positions: int) -> RowsCache:
        """Make an empty cache for rows that join and leave, each of `positions` positions."""
        return RowsCache(self.backbone.config.num_hidden_layers, self.config.tts_adapter_layers, positions)

    # Heads

    def text_head(self, text_D: Tensor) -> Tensor:
        """Map hidden states (..., D) to text logits (..., V)."""
        logits: Tensor = _head(self.backbone)(text_D)
        if self._logit_softcap is not None:
            logits = torch.tanh(logits / self._logit_softcap) * self._logit_softcap
        return logits

    @property
    def linear_text_head(self) -> nn.Parameter | None:
        """The text head's rows (V, D), where it is a product and nothing else: no bias, no cap on its logits."""
        head = _head(self.backbone)
        plain = type(head) is nn.Linear and head.bias is None and self._logit_softcap is None
        return cast(nn.Parameter, head.weight) if plain else None

    def audio_heads(self, audio_D: Tensor) -> Tensor:
        """Map hidden states (..., D) to audio logits (..., L, V)."""
        logits: Tensor = self.audio_head(audio_D)
        return logits.view(*audio_D.shape[:-1], self.layout.layers, self.layout.audio_vocabulary)

    def forward(
        self,
        streams_BKT: Tensor,
        features: Features | None = None,
        *,
        attention_mask_BT: Tensor | None = None,
        position_ids_BT: Tensor | None = None,
        text_at_BT: Tensor | None = None,
        audio_at_BT: Tensor | None = None,
        heads: Literal["both", "text", "audio"] = "both",
    ) -> MiniOmniOutput:
        """Predict the next id of every stream.

        Args:
            streams_BKT: shifted ids, int64.
            features: see `hidden`.
            attention_mask_BT: see `hidden`.
            position_ids_BT: see `hidden`.
            text_at_BT: bool; where text logits are wanted. Everywhere when None.
            audio_at_BT: bool; where audio logits are wanted. Everywhere when None.
            heads: what is wanted at all; the other's logits are None.
        """
        hidden = self.hidden(
            streams_BKT,
            features,
            attention_mask_BT=attention_mask_BT,
            position_ids_BT=position_ids_BT,
            audio=heads != "text",
        )
        text = audio = None
        if heads != "audio":
            text = self.text_head(hidden.text if text_at_BT is None else hidden.text[text_at_BT])
        if hidden.audio is not None:
            if audio_at_BT is None:
                audio = self.audio_heads(hidden.audio).transpose(1, 2)
            else:
                audio = self.audio_heads(hidden.audio[audio_at_BT])
        return MiniOmniOutput(text, audio)

    # Checkpoints

    def save_pretrained(self, folder: str | PathLike[str], tokenizer_files: Iterable[Path] | None = None) -> None:
        """Write a folder that `from_pretrained` reads.

        Args:
            folder: made where it does not exist.
            tokenizer_files: copied into it; those of the folder that the model was read from when None.
        """
        aliases = self.aliases()
        state = {name: x for name, x in self.state_dict().items() if name not in aliases}
        files = self._tokenizer_files() if tokenizer_files is None else tokenizer_files
        write_checkpoint(Path(folder), self.config.to_dict(), state, files)

    def _tokenizer_files(self) -> list[Path]:
        if self.folder is None:
            return []
        return [self.folder / name for name in TOKENIZER_FILES if (self.folder / name).is_file()]

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool = True,
        tokenizer_files: Iterable[Path] | None = None,
        api: "HfApi | None" = None,
    ) -> str:
        """Send weights, config with its fingerprints, tokenizer and card to the hub; see `hub.push_checkpoint`.

        Args:
            repo: OWNER/NAME; made if there is none.
            private: of a new repository.
            tokenizer_files: see `save_pretrained`.
            api: the hub.

        Returns:
            The repository's address.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, tokenizer_files)
            if self.folder is not None and (self.folder / CARD).is_file():
                shutil.copy2(self.folder / CARD, folder)
            return push_checkpoint(Path(folder), repo, private=private, api=api)

    @classmethod
    def from_pretrained(
        cls,
        name: str | PathLike[str],
        *,
        revision: str | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        merged: bool = True,
    ) -> Self:
        """Read a checkpoint, in eval mode.

        Args:
            name: a folder; or an id of the hub, OWNER/NAME, or OWNER/NAME@REVISION.
            revision: branch, tag or commit on the hub; its main branch when None.
            dtype: precision of the weights.
            device: where they go.
            merged: add LoRA's products to the weights beside which a run keeps them.

        Raises:
            ValueError: it is neither a checkpoint's folder nor on the hub, or its tensors are not exactly its config's.
        """
        folder = checkpoint_folder(name, revision)
        config = MiniOmniConfig.from_dict(read_config(folder))
        with _default_dtype(dtype), no_init_weights():
            model = cls(config)
        state = read_weights(folder, merged=merged)
        check_fits(model, state, model.aliases(), str(folder))
        model.load_state_dict(state, strict=False)  # the aliases are not in the file
        model.folder = folder
        return model.to(device).eval()

    def aliases(self) -> set[str]:
        """Name the entries of the state dict that share another entry's tensor."""
        first: dict[int, str] = {}
        aliases = set()
        for name, x in self.state_dict(keep_vars=True).items():
            if first.setdefault(id(x), name) != name:
                aliases.add(name)
        return aliases


def mini_omni_0_5b(post_adapter: bool = False) -> MiniOmni:
    """Build Mini-Omni on the shape of Qwen2-0.5B, with random weights; see `mini_omni_config`."""
    return MiniOmni(mini_omni_config(post_adapter))


def mini_omni_config(post_adapter: bool = False) -> MiniOmniConfig:
    """Give Mini-Omni's config, on the shape of Qwen2-0.5B.

    Sources: https://huggingface.co/Qwen/Qwen2-0.5B (config.json), whisper-small's width, and
        `litgpt/config.py` of gpt-omni/mini-omni. Qwen2-0.5B ties its text head to its text table; the
        released Mini-Omni does not.

    Args:
        post_adapter: False for the released model, 694.29 M parameters; True for the paper's, 115.57 M more.
    """
    qwen2 = Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=False,
    )
    return MiniOmniConfig(
        layout=MINI_OMNI,
        backbone=backbone_fields(qwen2, MINI_OMNI),
        feature_width=768,
        adapter_hidden=4864,
        tts_adapter_layers=6 if post_adapter else 0,
        unread_audio_head=post_adapter,
    )


def _placed(entry: Tensor | Sequence[tuple[int, Tensor]] | None) -> Sequence[tuple[int, Tensor]]:
    if entry is None:
        return []
    return [(1, entry)] if isinstance(entry, Tensor) else entry


def _random_backbone(shape: PreTrainedConfig) -> PreTrainedModel:
    backbone = AutoModelForCausalLM.from_config(shape, dtype=torch.get_default_dtype())
    return cast(PreTrainedModel, backbone)


def _table(backbone: PreTrainedModel) -> Tensor:
    return cast(nn.Embedding, backbone.get_input_embeddings()).weight


def _head(backbone: PreTrainedModel) -> nn.Linear:
    return cast(nn.Linear, backbone.get_output_embeddings())


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make new float tensors of this dtype. Unlike `Module.to`, it leaves rotary frequencies in float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _take_final_norm(backbone: PreTrainedModel) -> nn.Module:
    """Take the final norm out of a language model, so that the model ends before it."""
    shape = backbone.config
    for name in ("logit_scale", "logits_scaling"):
        if getattr(shape, name, None) not in (None, 1, 1.0):
            raise ValueError(f"{shape.model_type} scales its logits by {name}; this backbone is not supported")
    base = backbone.base_model
    for name in ("norm", "ln_f", "final_layer_norm", "final_layernorm"):
        if isinstance(norm := getattr(base, name, None), nn.Module):
            setattr(base, name, nn.Identity())
            return norm
    raise ValueError(f"{shape.model_type}: no final norm found in {type(base).__name__}")


register(MiniOmni)

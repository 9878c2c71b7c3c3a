"""The language model alone: what a model that speaks would answer in writing if it had lost nothing, its ceiling."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch

from anytalk.synth.device import Dtype, torch_device, torch_dtype
from anytalk.synth.errors import SetupError

MAX_TOKENS = 128
"""Longest answer: a minute of speech."""

PLAIN = "Question: {question}\nAnswer:"
"""How a model without a chat template is asked; its answer ends with the line."""

RUN_RECIPE = "recipe.json"


def backbone_of(run: Path) -> str | None:
    """Name the pretrained language model that a training run started from.

    Args:
        run: its folder, or that of one of its checkpoints.

    Returns:
        A hub id or a folder; None for a model from scratch, and for a checkpoint without its run.
    """
    checkpoint = (run / "best" if (run / "best").exists() else run).resolve()
    for folder in (run, *checkpoint.parents[:2]):
        if (folder / RUN_RECIPE).is_file():
            try:
                named = json.loads((folder / RUN_RECIPE).read_text(encoding="utf-8"))["model"]["backbone"]
            except (ValueError, KeyError, TypeError):
                return None
            return named if isinstance(named, str) else None
    return None


class Backbone:
    """A causal language model as it was before it learned to hear and to speak.

    Args:
        name: hub id or folder.
        device: where it computes; see `synth.device.resolve`.
        dtype: precision of its weights.

    Raises:
        SetupError: there is no such model, or the device cannot be had.
    """

    def __init__(self, name: str, device: str = "cpu", dtype: Dtype = "float32") -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.name = name
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left")
            model = AutoModelForCausalLM.from_pretrained(name, dtype=torch_dtype(dtype))
        except (OSError, ValueError) as error:
            first = str(error).strip().partition("\n")[0]
            raise SetupError(f"the backbone {name} cannot be loaded: {first}; name another with --backbone") from error
        self._model = cast(Any, model).to(torch_device(device)).eval()
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.convert_ids_to_tokens(0)

    def answer(self, questions: Sequence[str]) -> list[str]:
        """Answer questions in one batch, greedily."""
        from transformers import GenerationConfig

        chats = self._tokenizer.chat_template is not None
        given = self._tokenizer(
            [self._prompt(question, chats) for question in questions], return_tensors="pt", padding=True
        )
        given = given.to(self._model.device)
        settings = GenerationConfig(
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
            pad_token_id=self._tokenizer.pad_token_id,
            eos_token_id=self._model.generation_config.eos_token_id,
        )
        with torch.inference_mode():
            ids = self._model.generate(
                input_ids=given["input_ids"], attention_mask=given["attention_mask"], generation_config=settings
            )
        texts = self._tokenizer.batch_decode(ids[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() if chats else text.strip().partition("\n")[0] for text in texts]

    def _prompt(self, question: str, chats: bool) -> str:
        if not chats:
            return PLAIN.format(question=question)
        message = [{"role": "user", "content": question}]
        return str(self._tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))

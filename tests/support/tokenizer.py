"""Tokenizers as language models have them: one that begins its texts as Llama 3's does, one with Qwen2's template."""

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

BEGIN = "<|begin_of_text|>"


def write_tokenizer(folder: Path) -> Path:
    """Write it, for `AutoTokenizer`; `eve` is 2, `:` 3, all other words 1."""
    words = Tokenizer(WordLevel({BEGIN: 128_000, "[UNK]": 1, "eve": 2, ":": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 128_000)])
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token=BEGIN, unk_token="[UNK]").save_pretrained(folder)
    return folder


CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are kind."
    "<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""As Qwen2's."""


def write_chat_tokenizer(folder: Path, template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Write a tokenizer of 300 tokens and three special ones, with a chat template, for `AutoTokenizer`."""
    from anytalk.recipes.data.tokenizer import train_tokenizer

    words = train_tokenizer(["Who are you? A bird can do every fine game, said the old one.\n"] * 20, 300)
    words.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    made = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.chat_template = template
    made.save_pretrained(folder)
    return made

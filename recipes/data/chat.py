"""How a language model is addressed: a system prompt, or its tokenizer's chat template taken apart.

A template is a program that writes a whole conversation. It is run on questions and answers that are easy to find
again, and what stands around them is the template's text.
"""

from typing import Any

from tokenizers import Tokenizer

from anytalk.model import Chat
from anytalk.synth.errors import SetupError

FIRST, ANSWER, SECOND = "§1§", "§2§", "§3§"


def system_chat(system: str, tokenizer: Tokenizer) -> Chat:
    """Put a system prompt before Mini-Omni's own columns.

    Args:
        system: the prompt.
        tokenizer: of the model.
    """
    return Chat(first=_ids(system, tokenizer), system=system)


def template_chat(pretrained: Any, tokenizer: Tokenizer, system: str | None = None) -> Chat:
    """Take a chat template apart.

    Args:
        pretrained: the language model's own tokenizer, of transformers.
        tokenizer: the same, of tokenizers.
        system: the system prompt; what the template says without one when None.

    Raises:
        SetupError: there is no template, it knows no system prompt, or it ends an answer with ordinary text.
    """
    if not pretrained.chat_template:
        raise SetupError("model.chat_template: the backbone's tokenizer has no chat template; set model.system instead")
    told = [] if system is None else [{"role": "system", "content": system}]
    first = [*told, {"role": "user", "content": FIRST}]
    later = [*first, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": SECOND}]
    opening, _, closing = _rendered(pretrained, first).partition(FIRST)
    between = _rendered(pretrained, later).partition(ANSWER)[2].partition(SECOND)[0]
    if system is not None and system not in opening:
        raise SetupError("model.system: the backbone's chat template has no place for a system prompt")
    end, *following = _ids(between, tokenizer) or (None,)
    added = tokenizer.get_added_tokens_decoder()
    if end is None or end not in added or not added[end].special:
        raise SetupError(
            "model.chat_template: the template ends an answer with ordinary text, not with a special token"
        )
    try:
        return Chat(_ids(opening, tokenizer), tuple(following), _ids(closing, tokenizer), end, system)
    except ValueError as error:
        raise SetupError(f"model.chat_template: {error}") from error


def _rendered(pretrained: Any, messages: list[dict[str, str]]) -> str:
    from jinja2 import TemplateError

    try:
        text = pretrained.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except (TemplateError, ValueError, TypeError) as error:
        raise SetupError(f"model.chat_template: the template refuses a conversation: {error}") from error
    return str(text)


def _ids(text: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text, add_special_tokens=False).ids)

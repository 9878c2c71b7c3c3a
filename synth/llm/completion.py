"""Read a chat completion, in the shapes that servers give it.

OpenAI's form has text in `choices[0].message.content` and counts in `usage`. Others send the text as a list of parts,
put all of it where thinking belongs (vLLM's `reasoning`, others' `reasoning_content`), or leave counts out or empty.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REASONING = ("reasoning_content", "reasoning", "thinking")
"""Where servers put what a model thought; some put the answer there, too, and leave the content empty."""


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: its words.
        finish_reason: `stop`, `length` where it was cut off, `content_filter` where it would not answer.
        model: name of the model as the server gives it, often with a version.
        prompt_tokens: tokens sent; None if the server did not count.
        completion_tokens: tokens got back; None if the server did not count.
    """

    text: str
    finish_reason: str | None
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None


def read_completion(content: bytes, model: str) -> Answer:
    """Read the body of a response.

    Args:
        content: the body.
        model: name of the model, where the response does not give it.

    Raises:
        ValueError: there is no chat completion in it.
    """
    try:
        completion = json.loads(content.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    choices = completion.get("choices") if isinstance(completion, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        begins = " ".join(content[:200].decode("utf-8", "replace").split())
        raise ValueError(f"there is no choices[0].message; it begins {begins!r}")
    refusal, reason = _text(message.get("refusal")), choice.get("finish_reason")
    usage = completion.get("usage")
    tokens = usage if isinstance(usage, dict) else {}
    named = completion.get("model")
    return Answer(
        text=refusal or _said(message),
        finish_reason="content_filter" if refusal else reason if isinstance(reason, str) else None,
        model=named if isinstance(named, str) and named else model,
        prompt_tokens=_count(tokens.get("prompt_tokens")),
        completion_tokens=_count(tokens.get("completion_tokens")),
    )


def _said(message: Mapping[str, Any]) -> str:
    """The content, or where there is none, what stands in its place."""
    texts = (_text(message.get(name)) for name in ("content", *REASONING))
    return next((text for text in texts if text.strip()), "")


def _text(content: Any) -> str:
    """A text, or the texts of a list of parts; thinking is left out unless there is nothing else."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, str | dict)]
        spoken = [
            part for part in parts if isinstance(part, str) or part.get("type", "text") in ("text", "output_text")
        ]
        return "".join(map(_text, spoken or parts))
    if isinstance(content, dict):
        return _text(next((content[name] for name in ("text", "content", "thinking") if name in content), None))
    return content if isinstance(content, str) else ""


def _count(tokens: Any) -> int | None:
    """Tokens as a server counts them; None for what is no count."""
    return int(tokens) if isinstance(tokens, int | float) and 0 <= tokens < 2**53 else None

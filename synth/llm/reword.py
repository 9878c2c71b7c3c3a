"""Other words for a text that voices could not say so that it was understood."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from anytalk.synth.errors import SampleError

from .client import ChatClient, Messages
from .completion import Answer
from .endpoint import Usage
from .job import repair_seed, repairing, texts_of
from .json_answer import read_object
from .speech import check_own
from .template import Template


class _Wording(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str


SCHEMA = _Wording.model_json_schema()
"""JSON schema of every answer."""


@dataclass(frozen=True)
class Request:
    """One text to be had in other words.

    Attributes:
        side: what it is, `question` or `answer`.
        text: as it was said.
        heard: what was understood of it; empty if nothing was.
        language: BCP-47 tag.
        seed: of the sampling.
    """

    side: Literal["question", "answer"]
    text: str
    heard: str
    language: str
    seed: int

    def messages(self, template: Template) -> Messages:
        """Write the request out; texts are JSON strings, so that it is plain where they end."""
        texts = {name: json.dumps(getattr(self, name), ensure_ascii=False) for name in ("text", "heard")}
        return template.fill({"side": self.side, "language": self.language, **texts})


async def reword(
    request: Request, template: Template, client: ChatClient, check: Callable[[str], str], usage: Usage
) -> str:
    """Ask for other words, and have them mended once.

    Args:
        request: what is to be said otherwise.
        template: the prompt.
        client: asked; with a cache, only for what was not answered before.
        check: gives what is to be said of an answer's text, and raises `SampleError` where that will not do.
        usage: counts the answers, those from the cache too.

    Returns:
        What `check` gave.

    Raises:
        SampleError: the model would not answer, or what it said in the end will not do.
        EngineError: there was no answer after all attempts, or the endpoint is down.
    """
    messages = request.messages(template)

    async def asked(told: Messages, seed: int, *, repair: bool) -> Answer:
        answer = await client.ask(told, seed, SCHEMA, repair=repair)
        usage.count(answer.prompt_tokens, answer.completion_tokens)
        return answer

    def said(answer: Answer) -> str:
        text = read_object(answer, texts_of(messages), _Wording).text
        check_own(f"the {request.side}", text, template.fixed)
        return check(text)

    answer = await asked(messages, request.seed, repair=False)
    try:
        return said(answer)
    except SampleError as problem:
        answer = await asked(repairing(messages, answer, problem), repair_seed(request.seed), repair=True)
    return said(answer)

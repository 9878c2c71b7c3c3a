"""What a recipe says of language models: conversations, written pairs made speakable, other words for what fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from anytalk.synth.errors import SetupError
from anytalk.synth.http import HttpEndpoint
from anytalk.synth.llm.draw import shares_of
from anytalk.synth.llm.endpoint import ChatEndpoint
from anytalk.synth.llm.generate import Generation
from anytalk.synth.llm.rewrite import Rewriting
from anytalk.synth.llm.template import REWORD_FIELDS, Template, load_template

from .file import Section


@dataclass(frozen=True)
class ClusterModel:
    """A model that the cluster serves to itself.

    Attributes:
        model: hub id or folder, the same on every node.
        replicas: engines, each with `tensor_parallel_size` GPUs.
        tensor_parallel_size: GPUs that share one engine.
        batch_rows: rows that travel together.
        max_tokens: longest answer, in tokens.
        temperature: of the sampling; None leaves it to vLLM.
        top_p: of the sampling; None leaves it to vLLM.
        engine: further arguments of vLLM's engine, such as {max_model_len: 8192}.
        chat_template: further arguments of the chat template, such as {enable_thinking: false}.

    Raises:
        ValueError: if a number is not over 0.
    """

    model: str
    replicas: int = 1
    tensor_parallel_size: int = 1
    batch_rows: int = 64
    max_tokens: int = 1024
    temperature: float | None = 0.9
    top_p: float | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)
    chat_template: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("replicas", "tensor_parallel_size", "batch_rows", "max_tokens"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be over 0; got {getattr(self, name)}")

    def sampling(self) -> dict[str, Any]:
        """Settings that decide what the model answers, named as an endpoint names them, so that the cache is shared."""
        chosen = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        extra = {"chat_template_kwargs": dict(self.chat_template)} if self.chat_template else {}
        return {key: value for key, value in chosen.items() if value is not None} | extra

    def __str__(self) -> str:
        return f"vLLM ({self.model})"


VLLM_PART = 20_000
"""Conversations of a part with vLLM inside the cluster, which is loaded for each."""


class LlmSection(Section):
    """What asks a language model while a plan is made: an endpoint, or vLLM inside the cluster."""

    section: ClassVar[str]
    """Where it stands in a recipe."""
    endpoint: ChatEndpoint | None = Field(None, description="chat endpoint and request settings")
    vllm: ClusterModel | None = Field(None, description="a model served by vLLM inside the Ray cluster (anytalk[vllm])")
    part: int | None = Field(
        2000,
        ge=1,
        description="conversations that are planned together and spoken while the next ones are asked for; "
        f"{VLLM_PART} with vllm; null for all",
    )

    @model_validator(mode="before")
    @classmethod
    def loads_seldom(cls, value: Any) -> Any:
        """A model that is loaded for each part has large ones."""
        if isinstance(value, dict) and value.get("vllm") is not None and "part" not in value:
            return value | {"part": VLLM_PART}
        return value

    @model_validator(mode="after")
    def asks_one_model(self) -> "LlmSection":
        """An answer comes from one place."""
        if (self.endpoint is None) == (self.vllm is None):
            raise ValueError(
                "name either an endpoint or, for a model inside the cluster, vllm; "
                f"give one with --set {self.section}.endpoint='{{base_url: ..., model: ...}}'"
            )
        return self

    @property
    def backend(self) -> ChatEndpoint | ClusterModel:
        """The endpoint or model that answers."""
        backend = self.endpoint or self.vllm
        assert backend is not None
        return backend


class Llm(LlmSection):
    """Conversations that a language model is asked for."""

    section = "source"
    kind: Literal["llm"]
    ask: Generation = Field(description="what to generate")
    split_name: str | None = Field(None, description="label of all rows; each pair's kind by default")
    limit: int | None = Field(None, ge=1, description="generate only this many conversations")

    @property
    def language(self) -> str:
        """The one that is asked for most often, the first of equals."""
        shares = shares_of(self.ask.languages)
        return max(shares, key=lambda tag: shares[tag])

    @property
    def languages(self) -> set[str]:
        """All that are asked for."""
        return set(shares_of(self.ask.languages))

    @property
    def brings_codes(self) -> bool:
        """No: all of it is spoken."""
        return False

    @property
    def conversations(self) -> int:
        """How many are asked for."""
        return min(self.ask.conversations, self.limit or self.ask.conversations)


class Rewrite(LlmSection):
    """Have a language model write pairs as one would say them. What the source had stays beside it."""

    section = "rewrite"
    sides: Literal["both", "answer"] = Field(Rewriting.sides, description="answer keeps the questions as they are")
    seconds: float = Field(
        Rewriting.seconds, ge=1.0, description="longest spoken answer, in seconds; longer ones are condensed"
    )
    templates: str | None = Field(Rewriting.templates, description="folder with your own rewrite.md")

    def rewriting(self) -> Rewriting:
        """What the model is told."""
        return Rewriting(self.sides, self.seconds, self.templates)


class Reword(Section):
    """Have a language model find other words for what fails the check however often it is spoken.

    It is asked now and then, row by row, so that it must be running: vLLM inside the cluster is loaded for one pass.
    """

    endpoint: ChatEndpoint = Field(description="chat endpoint and request settings")
    after: int = Field(3, ge=1, description="attempts with the original text; each later attempt is rephrased")
    sides: Literal["both", "question", "answer"] = Field("both", description="sides that may be rephrased")
    templates: str | None = Field(None, description="folder with your own reword.md")

    @property
    def backend(self) -> ChatEndpoint:
        """The endpoint or model that answers."""
        return self.endpoint

    def template(self) -> Template:
        """The prompt.

        Raises:
            SetupError: there is no such folder, or the template is malformed.
        """
        if self.templates is not None and not Path(self.templates).is_dir():
            raise SetupError(f"reword.templates: {self.templates} does not exist")
        return load_template("reword", self.templates, REWORD_FIELDS)

    def fingerprint(self) -> dict[str, Any]:
        """What decides the words.

        Raises:
            SetupError: the template is not in order.
        """
        words = {"template": self.template().name, "model": self.endpoint.model, **self.endpoint.sampling()}
        return words | {"after": self.after, "sides": self.sides}


ENDPOINT_ACCESS_KEYS: Any = {
    "endpoint": {field.name for field in fields(HttpEndpoint)} - {"model"}
    | {"price_in_per_million", "price_out_per_million"}
}
"""Keys of `reword` that change no word: address, key, timeouts and retries of the endpoint."""

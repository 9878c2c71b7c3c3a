"""What a recipe says of language models: conversations, written pairs made speakable, other words for what fails."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from anytalk.synth.errors import SetupError
from anytalk.synth.llm.draw import shares_of
from anytalk.synth.llm.endpoint import Endpoint
from anytalk.synth.llm.generate import Generation
from anytalk.synth.llm.rewrite import Rewriting
from anytalk.synth.llm.template import REWORD_FIELDS, Template, load_template

from .recipe_file import Section
from .vllm import ClusterModel


class Asked(Section):
    """What asks a language model: an endpoint, or vLLM inside the cluster."""

    section: ClassVar[str]
    """Where it stands in a recipe."""
    endpoint: Endpoint | None = Field(None, description="where a model answers, and how it is asked")
    vllm: ClusterModel | None = Field(None, description="a model that the cluster serves to itself (anytalk[vllm])")

    @model_validator(mode="after")
    def asks_one_model(self) -> "Asked":
        """An answer comes from one place."""
        if (self.endpoint is None) == (self.vllm is None):
            raise ValueError(
                "name either an endpoint or, for a model inside the cluster, vllm; "
                f"give one with --set {self.section}.endpoint='{{base_url: ..., model: ...}}'"
            )
        return self

    @property
    def whom(self) -> Endpoint | ClusterModel:
        """What is asked."""
        whom = self.endpoint or self.vllm
        assert whom is not None
        return whom


class Llm(Asked):
    """Conversations that a language model is asked for."""

    section = "source"
    kind: Literal["llm"]
    ask: Generation = Field(description="what it is asked for")
    split_name: str | None = Field(None, description="label of all rows; by default the kind of pair that each is")
    limit: int | None = Field(None, ge=1, description="ask only for the first so many conversations")

    @property
    def language(self) -> str:
        """The one that is asked for most often, the first of equals."""
        shares = shares_of(self.ask.languages)
        return max(shares, key=lambda tag: shares[tag])

    @property
    def brings_codes(self) -> bool:
        """No: all of it is spoken."""
        return False

    @property
    def conversations(self) -> int:
        """How many are asked for."""
        return min(self.ask.conversations, self.limit or self.ask.conversations)


class Rewrite(Asked):
    """Have a language model write pairs as one would say them. What the source had stays beside it."""

    section = "rewrite"
    sides: Literal["both", "answer"] = Field(Rewriting.sides, description="answer keeps the questions as they are")
    seconds: float = Field(
        Rewriting.seconds, ge=1.0, description="how long an answer may take to say; longer ones are condensed"
    )
    templates: str | None = Field(Rewriting.templates, description="folder with a rewrite.md of one's own")

    def rewriting(self) -> Rewriting:
        """What the model is told."""
        return Rewriting(self.sides, self.seconds, self.templates)


class Reword(Section):
    """Have a language model find other words for what fails the check however often it is spoken.

    It is asked now and then, row by row, so that it must be running: vLLM inside the cluster is loaded for one pass.
    """

    endpoint: Endpoint = Field(description="where a model answers, and how it is asked")
    after: int = Field(3, ge=1, description="attempts in a side's own words; each further one has words of its own")
    sides: Literal["both", "question", "answer"] = Field("both", description="which are said in other words")
    templates: str | None = Field(None, description="folder with a reword.md of one's own")

    @property
    def whom(self) -> Endpoint:
        """What is asked."""
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
        asked = {"template": self.template().name, "model": self.endpoint.model, **self.endpoint.sampling()}
        return asked | {"after": self.after, "sides": self.sides}

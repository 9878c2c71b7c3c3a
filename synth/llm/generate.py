"""Conversations of every kind, asked for by a plan that steers what they are about.

The plan is a function of the configuration and a seed alone, and its beginning stays when more conversations are asked
for: a set that grows pays for what is new.
"""

import dataclasses
import functools
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import yaml

from anytalk.synth.errors import SetupError
from anytalk.synth.http import SEEDS
from anytalk.synth.seed import derive_seed, digest

from .client import ChatClient
from .draw import Weights, check_weights, deal, shares_of
from .job import Job, Outcome, run
from .speech import allowing_tags, length
from .template import Template, load_template


def longest_s(seconds: float) -> float:
    """Longest answer that passes where `seconds` were asked for: models count badly."""
    return 2 * seconds + 3


@dataclass(frozen=True)
class Generation:
    """What to ask for. Each list may be a mapping with weights, such as {en: 3, de: 1}; None is the bundled choice.

    Attributes:
        conversations: how many to ask for; all but a conversation kind's have one turn.
        kinds: kinds of pairs, which are names of templates.
        topics: what they are about, by kind; a kind that is not named here keeps its bundled topics.
        personas: who asks.
        styles: how they talk.
        sparks: words that lead to a situation, so that no two requests are alike.
        seconds: how long an answer should take to say.
        languages: BCP-47 tags.
        turns: turns of a conversation, where the kind has several.
        assistant: who answers, in the third person.
        templates: folder of templates of one's own, which are looked for there first.

    Raises:
        ValueError: if a number is out of range or a list is empty.
    """

    conversations: int
    kinds: Weights[str] | None = None
    topics: Mapping[str, Weights[str]] = field(default_factory=dict)
    personas: Weights[str] | None = None
    styles: Weights[str] | None = None
    sparks: Weights[str] | None = None
    seconds: Weights[float] | None = None
    languages: Weights[str] = ("en",)
    turns: Weights[int] | None = None
    assistant: str = "Robin, a small voice assistant that lives on the listener's own computer"
    templates: str | None = None

    def __post_init__(self) -> None:
        if self.conversations < 1:
            raise ValueError(f"conversations must be 1 or more; got {self.conversations}")
        for name in ("kinds", "personas", "styles", "sparks", "seconds", "languages", "turns"):
            weights = getattr(self, name)
            if weights is not None:
                check_weights(name, weights)
        for kind, topics in self.topics.items():
            check_weights(f"topics.{kind}", topics)
        for name, least in (("seconds", 1), ("turns", 1)):
            low = [value for value in getattr(self, name) or () if value < least]
            if low:
                raise ValueError(f"{name} must be {least} or more; got {low[0]}")


@dataclass(frozen=True)
class Request:
    """One conversation of the plan: what was drawn for it.

    Attributes:
        number: place in the plan, from 0.
        seconds: how long each answer should take to say.
        turns: how many turns it should have.
    """

    number: int
    kind: str
    topic: str
    persona: str
    style: str
    spark: str
    seconds: float
    language: str
    turns: int
    seed: int

    def job(self, template: Template, assistant: str, style_tags: tuple[str, ...] = ()) -> Job:
        """Write the request out.

        Args:
            template: of its kind.
            assistant: who answers.
            style_tags: what texts may hold beside words.
        """
        drawn = dataclasses.asdict(self)
        values = drawn | {
            "assistant": assistant,
            "length": length(self.seconds, self.language),
            "seconds": f"{self.seconds:g}",
        }
        name = digest(*(str(value) for value in drawn.values()))[:16]
        return Job(
            split_name=self.kind,
            conversation=name,
            language=self.language,
            messages=allowing_tags(template.fill(values), style_tags),
            prompt=template.fixed,
            seed=self.seed,
            turns=self.turns,
            max_answer_s=longest_s(self.seconds),
            source=f"llm:{self.kind}:{self.number}",
            provenance={
                "template": template.name,
                **{key: drawn[key] for key in ("number", "topic", "persona", "style", "spark", "seconds")},
            },
            style_tags=style_tags,
        )


def plan_requests(config: Generation, seed: int) -> Iterator[Request]:
    """Draw what to ask for.

    Args:
        config: kinds, topics and so on.
        seed: the same seed gives the same plan.

    Yields:
        `config.conversations` requests. Each list's values come as often as their weights say: exactly where that is
        a whole number, else less than two more or fewer; a topic within its kind.

    Raises:
        SetupError: a kind has no template, or no topics.
    """
    bundled = bundled_choices()
    templates = load_templates(config)
    topics = {kind: _topics(config, kind, bundled, seed) for kind in templates}
    draws = {
        name: deal(getattr(config, f"{name}s") or bundled[f"{name}s"], seed, name)
        for name in ("kind", "persona", "style", "spark", "language")
    }
    lengths = shares_of(config.seconds or bundled["seconds"])
    # 8 and 8.0 are the same length and give the same plan.
    seconds = deal({float(length_s): share for length_s, share in lengths.items()}, seed, "seconds")
    turns = deal(config.turns or bundled["turns"], seed, "turns")
    for number in range(config.conversations):
        drawn = {name: next(draw) for name, draw in draws.items()}
        kind = drawn["kind"]
        yield Request(
            number=number,
            topic=next(topics[kind]),
            seconds=next(seconds),
            turns=next(turns) if templates[kind].many_turns else 1,
            seed=derive_seed(seed, "llm", number) % SEEDS,
            **drawn,
        )


def _topics(config: Generation, kind: str, bundled: Mapping[str, Any], seed: int) -> Iterator[str]:
    weights = config.topics.get(kind) or bundled["topics"].get(kind)
    if not weights:
        raise SetupError(f"topics.{kind} is missing: only the bundled kinds have topics of their own")
    return deal(weights, seed, f"topic {kind}")


def load_templates(config: Generation) -> dict[str, Template]:
    """Load the template of every kind.

    Raises:
        SetupError: a kind has none, or it is malformed.
    """
    return {kind: load_template(kind, config.templates) for kind in config.kinds or bundled_choices()["kinds"]}


@functools.cache
def bundled_choices() -> Mapping[str, Any]:
    """The lists that a configuration leaves out, from `templates/choices.yaml`."""
    path = resources.files("anytalk.synth.llm") / "templates" / "choices.yaml"
    choices: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return choices


def generation_jobs(config: Generation, seed: int, style_tags: tuple[str, ...] = ()) -> Iterator[Job]:
    """Write out every request of the plan; see `plan_requests`."""
    templates = load_templates(config)
    for request in plan_requests(config, seed):
        yield request.job(templates[request.kind], config.assistant, style_tags)


def generate(
    config: Generation, seed: int, client: ChatClient, style_tags: tuple[str, ...] = ()
) -> AsyncGenerator[Outcome, None]:
    """Ask for every conversation of the plan.

    Args:
        config: kinds, topics and so on.
        seed: of the plan and of the sampling.
        client: asked; with a cache, only for what was not answered before.
        style_tags: what texts may hold beside words.

    Returns:
        One outcome for each request, in the order of the plan. `SetupError` comes from it if a kind has no template
        or no topics, or if the cache cannot be written.
    """
    return run(generation_jobs(config, seed, style_tags), client)

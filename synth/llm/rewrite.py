"""Written pairs made speakable: the same content, said as one would say it.

Mini-Omni's answers were rewritten so by a language model before they were spoken
(https://github.com/gpt-omni/mini-omni/issues/104).
"""

import json
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from anytalk.synth.http import SEEDS
from anytalk.synth.seed import derive_seed

from .client import ChatClient
from .generate import longest_s
from .job import Job, Outcome, Turn, run
from .speech import allowing_tags, length
from .template import REWRITE_FIELDS, load_template


@dataclass(frozen=True)
class Rewriting:
    """How written pairs are rewritten.

    Attributes:
        sides: `both`, or `answer` to keep the questions as they are.
        seconds: how long an answer may take to say; longer ones are condensed.
        templates: folder with a `rewrite.md` of one's own.

    Raises:
        ValueError: if `seconds` is under 1.
    """

    sides: Literal["both", "answer"] = "both"
    seconds: float = 20.0
    templates: str | None = None

    def __post_init__(self) -> None:
        if not self.seconds >= 1:
            raise ValueError(f"seconds must be 1 or more; got {self.seconds}")


@dataclass(frozen=True)
class Written:
    """A written conversation, turns in order."""

    split_name: str
    conversation: str
    language: str
    turns: tuple[Turn, ...]
    source: str


def rewriting_jobs(
    conversations: Iterable[Written], config: Rewriting, seed: int, style_tags: tuple[str, ...] = ()
) -> Iterator[Job]:
    """Write out the request of every conversation.

    Raises:
        SetupError: the template is malformed.
    """
    template = load_template("rewrite", config.templates, REWRITE_FIELDS)
    for written in conversations:
        text = json.dumps({"turns": [turn.model_dump() for turn in written.turns]}, ensure_ascii=False, indent=1)
        values = {
            "language": written.language,
            "length": length(config.seconds, written.language),
            "seconds": f"{config.seconds:g}",
            "turns": len(written.turns),
            "written": text,
        }
        yield Job(
            split_name=written.split_name,
            conversation=written.conversation,
            language=written.language,
            messages=allowing_tags(template.fill(values), style_tags),
            prompt=template.fixed,
            # By content, so that a conversation is asked for once wherever it stands.
            seed=derive_seed(seed, "rewrite", text) % SEEDS,
            turns=len(written.turns),
            exact=True,
            max_answer_s=longest_s(config.seconds),
            source=written.source,
            provenance={"template": template.name},
            questions=tuple(turn.question for turn in written.turns) if config.sides == "answer" else None,
            style_tags=style_tags,
        )


def rewrite(
    conversations: Iterable[Written], config: Rewriting, seed: int, client: ChatClient
) -> AsyncGenerator[Outcome, None]:
    """Have every conversation rewritten.

    Args:
        conversations: read as they are needed.
        config: which sides, and how long.
        seed: of the sampling.
        client: asked; with a cache, only for what was not answered before.

    Returns:
        One outcome for each conversation, in their order; a `Generated` one has as many turns as the written one.
        `SetupError` comes from it if the template is malformed or the cache cannot be written.
    """
    return run(rewriting_jobs(conversations, config, seed), client)

"""What a grammar's file holds: patterns of questions with an answer each, and the words that fill their slots."""

import re
from importlib import resources
from pathlib import Path

from pydantic import Field, model_validator

from anytalk.pipelines.recipe import GrammarSource, Section
from anytalk.synth.remote import brought

SHIPPED = ("household", "household-sums")
"""The grammars that ship with the package."""

SLOT = re.compile(r"\{([a-z_]+\d?)(?: \+ ([a-z_]+\d?))?\}")
"""A slot, or a sum of two."""


class Kind(Section):
    """One kind of question."""

    combinations: int = Field(ge=1, description="different answers")
    wordings: int = Field(1, ge=1, description="questions for each of them")
    questions: tuple[str, ...] = Field(min_length=1, description="patterns of questions")
    answer: str = Field(description="pattern of the answer")
    only_named: bool = Field(False, description="drawn only where source.kinds names it")

    @model_validator(mode="after")
    def has_wordings(self) -> "Kind":
        """There are as many patterns as wordings are asked for."""
        if self.wordings > len(self.questions):
            raise ValueError(f"wordings {self.wordings} needs as many questions; there are {len(self.questions)}")
        return self


class Grammar(Section):
    """What a grammar's file holds."""

    kinds: dict[str, Kind] = Field(min_length=1, description="patterns, by the kind's name")
    words: dict[str, tuple[int | str, ...]] = Field(description="what each slot may hold; it may have slots itself")

    @model_validator(mode="after")
    def slots_have_words(self) -> "Grammar":
        """Every slot is filled from a list of words."""
        patterns = [text for kind in self.kinds.values() for text in (*kind.questions, kind.answer)]
        patterns += [str(word) for words in self.words.values() for word in words]
        slots = {slot for text in patterns for found in SLOT.finditer(text) for slot in found.groups() if slot}
        if missing := sorted(slot for slot in slots if not self.words.get(list_of(slot))):
            raise ValueError(f"no words for the slots {', '.join(missing)}")
        return self


def grammar_path(source: GrammarSource) -> Path:
    """File of the grammar; of one at a URL, its copy on this machine.

    Raises:
        SetupError: there is nothing at the URL, or it cannot be read.
    """
    if source.path in SHIPPED:
        return Path(str(resources.files("anytalk.synth") / "corpus" / f"{source.path}.yaml"))
    return Path(brought(source.path))


def list_of(slot: str) -> str:
    """The list that a slot is filled from: `room` for `room2`."""
    return slot.rstrip("0123456789")

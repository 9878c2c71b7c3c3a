"""What a recipe says of texts that are alike: near-duplicates, and evaluation sets that must not be trained on."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from .file import Section, Shorthand
from .source import Side


class Dedup(Section):
    """Which conversations say nearly the same as an earlier one. The later one is rejected, whole."""

    threshold: float = Field(0.7, gt=0.0, le=1.0, description="Jaccard similarity of shingles from which two are alike")
    ngram: int = Field(2, ge=1, le=13, description="words of a shingle; characters in scripts without spaces")
    sides: tuple[Side, ...] = Field(("question", "answer"), min_length=1, description="what is compared")
    against: tuple[str, ...] = Field((), description="earlier anytalk datasets, folders or URLs, that come first")


class EvaluationSet(Shorthand):
    """Texts that a model is to be measured on."""

    path: str = Field(description="txt, jsonl, csv or parquet file, anytalk dataset, or hub id")
    columns: tuple[str, ...] = Field((), description="columns that hold the texts; the question's by default")
    config: str | None = Field(None, description="configuration of a hub dataset, where it has several")
    split: str = Field("test", description="which split of a hub dataset or anytalk dataset")
    revision: str | None = Field(None, description="branch, tag or commit of a hub dataset")

    @classmethod
    def spell_out(cls, value: str) -> dict[str, Any]:
        """A bare string is a path or a hub id."""
        return {"path": value}


class Decontaminate(Section):
    """Which conversations hold texts of evaluation sets. They are rejected, whole."""

    against: tuple[EvaluationSet, ...] = Field(min_length=1, description="evaluation sets")
    ngram: int = Field(8, ge=1, le=32, description="words of an n-gram; characters in scripts without spaces")
    min_overlap: float = Field(
        0.5, gt=0.0, le=1.0, description="share of an evaluation text's words in n-grams that the row has too"
    )
    sides: tuple[Side, ...] = Field(("question", "answer"), min_length=1, description="where they are looked for")


def _switched(value: Any) -> Any:
    """`true` is everything by default, `false` nothing."""
    return ({} if value else None) if isinstance(value, bool) else value


Dedups = Annotated[Dedup | None, BeforeValidator(_switched)]

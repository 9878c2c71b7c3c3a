"""Which pairs of a source stay, and in which split.

What can be spoken at all, near-duplicates, evaluation texts that must not be trained on, and shares of the splits.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from anytalk.synth.text.style_tag import FORM

from .file import Section, Shorthand, written_as
from .source import Side

SPEAKER = "speaker:"
"""Before the name of a speaker of the source, in a list of voices."""

StyleTag = Annotated[
    str,
    Field(pattern=f"^{FORM}$"),
    written_as(FORM, "a name between brackets or asterisks, such as <laugh>, [sigh] or *laughs*"),
]


class Clean(Section):
    """Which pairs are speakable at all. What fails is kept among the rejects with its reason."""

    max_question_characters: int = Field(400, ge=1, description="longer questions are rejected")
    max_answer_characters: int = Field(1200, ge=1, description="longer answers are rejected")
    max_question_s: float | None = Field(None, gt=0.0, description="reject questions that would take longer to speak")
    max_answer_s: float | None = Field(None, gt=0.0, description="reject answers that would take longer to speak")
    normalise: Literal["rules", "nemo", "none"] = Field(
        "rules", description="text normaliser for numbers, abbreviations and symbols"
    )
    refuse_unspeakable: bool = Field(True, description="reject markdown, code, tables, links, emoji and the like")
    style_tags: tuple[StyleTag, ...] = Field(
        (), description="tags that texts may hold, such as <laugh> or [sigh]; kept in the text, ignored by the WER"
    )
    identify_language: bool = Field(False, description="reject texts in another language")
    drop_repeats: bool = Field(True, description="reject conversations with the same text as an earlier one")


class Split(Section):
    """Shares of conversations, by hash: a conversation stays in its split however the set grows."""

    validation: float = Field(0.0, ge=0.0, lt=1.0, description="share of conversations")
    test: float = Field(0.0, ge=0.0, lt=1.0, description="share of conversations")
    by: Literal["conversation", "speaker"] = Field(
        "conversation", description="what a split holds whole: conversations, or all that a speaker of the source asks"
    )
    held_out_voices: dict[Literal["validation", "test"], tuple[str, ...]] = Field(
        {},
        description="voices reserved for one split, and with speaker:NAME speakers of the source; a list is for test",
    )

    @field_validator("held_out_voices", mode="before")
    @classmethod
    def of_test(cls, value: Any) -> Any:
        """A list of voices, or one of them, is held out for the test split."""
        if isinstance(value, str | list | tuple):
            return {"test": [value] if isinstance(value, str) else value}
        return value

    def voices_of(self, split: str) -> tuple[str, ...]:
        """Voices that are held out for a split."""
        held_out = next((voices for name, voices in self.held_out_voices.items() if name == split), ())
        return tuple(voice for voice in held_out if not voice.startswith(SPEAKER))

    def held_out_speakers(self) -> dict[str, str]:
        """Split of each speaker of the source that is held out."""
        return {
            voice.removeprefix(SPEAKER): split
            for split, voices in self.held_out_voices.items()
            for voice in voices
            if voice.startswith(SPEAKER)
        }

    @model_validator(mode="after")
    def leaves_training(self) -> "Split":
        """Some share must be left to train on."""
        if self.validation + self.test >= 1.0:
            raise ValueError(f"validation + test must stay below 1; got {self.validation + self.test:g}")
        return self

    @model_validator(mode="after")
    def holds_out_for_something(self) -> "Split":
        """Voices that are held out have conversations to ask, and each has one split to ask in."""
        for split in self.held_out_voices:
            if self.voices_of(split) and not getattr(self, split):
                raise ValueError(f"held_out_voices ask the {split} split, whose share is 0; set split.{split}")
        names = [name for voices in self.held_out_voices.values() for name in set(voices)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"held_out_voices: {', '.join(twice)} can be held out for one split only")
        return self


class Dedup(Section):
    """Which conversations say nearly the same as an earlier one. The later one is rejected, whole."""

    threshold: float = Field(0.7, gt=0.0, le=1.0, description="lowest Jaccard similarity of near-duplicates")
    ngram: int = Field(2, ge=1, le=13, description="words of a shingle; characters in scripts without spaces")
    sides: tuple[Side, ...] = Field(("question", "answer"), min_length=1, description="sides that are compared")
    against: tuple[str, ...] = Field((), description="earlier anytalk datasets (folders or URLs) to compare with")


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
        0.5, gt=0.0, le=1.0, description="share of an evaluation text's words that must be in shared n-grams"
    )
    sides: tuple[Side, ...] = Field(("question", "answer"), min_length=1, description="sides that are searched")


def _switched(value: Any) -> Any:
    """`true` is everything by default, `false` nothing."""
    return ({} if value else None) if isinstance(value, bool) else value


Dedups = Annotated[Dedup | None, BeforeValidator(_switched)]

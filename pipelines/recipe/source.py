"""Where pairs come from: each kind of source with its own keys."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from anytalk.synth.recording import ChannelChoice
from anytalk.synth.remote import name_of

from .file import WHOLE, Section, from_short
from .llm import Llm

Side = Literal["question", "answer"]

TABLE_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
"""Kinds of tables. Both kinds of text are read as they are found: arrays of JSON, other delimiters."""


class Columns(Section):
    """Which columns of a table hold what. Paths of recordings are relative to the table's folder."""

    question: str = Field("question", description="text, or transcript of the recording")
    answer: str = Field("answer", description="text, or transcript of the recording")
    conversation: str = Field("conversation", description="optional: groups turns")
    turn: str = Field("turn", description="optional: number of the turn, from 0")
    split_name: str = Field("split_name", description="optional: label of the row's source")
    language: str = Field("language", description="optional: BCP-47 tag")
    question_audio: str = Field("question_audio", description="optional: a recording, as a path or as bytes")
    answer_audio: str = Field("answer_audio", description="optional: a recording, as a path or as bytes")
    question_speaker: str = Field("question_speaker", description="optional: who asks in the recording")
    answer_speaker: str = Field("answer_speaker", description="optional: who answers in the recording")


class _Rows(Section):
    """What every source has but a mix."""

    split_name: str | None = Field(None, description="label of rows without one; the source's name by default")
    language: str = Field("en", description="BCP-47 tag of rows without one")
    limit: int | None = Field(None, ge=1, description="read only this many conversations")

    @property
    def brings_codes(self) -> bool:
        """Whether answers come as SNAC codes instead of being spoken or recorded."""
        return False


class Bundled(_Rows):
    """The corpus that ships with the package."""

    kind: Literal["bundled"]
    language: str = Field("en", description="which corpus: en (298 pairs) or de (36)")


class GrammarSource(_Rows):
    """Questions and answers drawn from a grammar."""

    kind: Literal["grammar"]
    path: str = Field("household", description="YAML file of a grammar, or one that ships: household, household-sums")
    kinds: tuple[str, ...] | None = Field(
        None, description="kinds of question to draw; by default all but those that are only drawn by name"
    )
    seed: int = Field(1, ge=0, lt=2**63, description="of the draws")


OneChannel = Literal["auto", "left", "right", "mix"]
_CHANNEL = "channel of recordings: left, right, mix, or auto, which refuses two talkers"


class Table(_Rows):
    """A table of pairs, with recordings or without."""

    kind: Literal["jsonl", "csv", "parquet"]
    path: str = Field(description="the file, or its URL (s3, gs, https)")
    columns: Columns = Columns()
    channel: OneChannel = Field("auto", description=_CHANNEL)


LjSpeechField = Literal["id", "speaker", "text", "normalised"]
_WORDS = {"text", "normalised"}


class Recordings(_Rows):
    """A folder of recordings, or a table that names them."""

    kind: Literal["recordings"]
    path: str = Field(
        description="folder, table (jsonl, csv, parquet) with paths of recordings, or URL (s3, gs, https)"
    )
    columns: Columns = Columns()
    transcribe: bool = Field(
        False, description="transcribe recordings that have no transcript; cut long ones at silences"
    )
    channel: ChannelChoice = Field(
        "auto", description=f"{_CHANNEL}; split: each channel of a recording without a transcript is a row"
    )

    @model_validator(mode="after")
    def splits_what_it_transcribes(self) -> "Recordings":
        """One transcript cannot be that of two channels."""
        if self.channel == "split" and not self.transcribe:
            raise ValueError("channel: split needs transcribe: true")
        return self


class LjSpeech(_Rows):
    """A folder as LJSpeech has it: recordings, and a table of their transcripts."""

    kind: Literal["ljspeech"]
    path: str = Field(description="folder with metadata.csv and wavs/")
    metadata: str = Field("metadata.csv", description="the table, relative to the folder")
    fields: tuple[LjSpeechField, ...] | None = Field(
        None,
        description="what the fields of a line are: id, speaker, text, normalised; by default id|text, "
        "id|text|normalised or id|speaker|text|normalised",
    )
    channel: OneChannel = Field("auto", description=_CHANNEL)

    @field_validator("fields")
    @classmethod
    def name_a_recording_and_its_text(cls, value: tuple[LjSpeechField, ...] | None) -> tuple[LjSpeechField, ...] | None:
        """A line says which recording it is of, and what is said in it."""
        if value is not None and (len(set(value)) < len(value) or "id" not in value or len({*value} & _WORDS) == 0):
            raise ValueError("fields must hold id, and text or normalised, each once")
        return value


ChatKind = Literal["messages", "sharegpt", "ultrachat", "alpaca"]


class ChatColumns(Section):
    """Which columns of a set of chats hold what."""

    turns: str | None = Field(
        None, description="the turns; messages, conversations (sharegpt) or data (ultrachat) by default"
    )
    conversation: str = Field("id", description="optional: name of the chat")
    split_name: str = Field("split_name", description="optional: label of the row's source")
    language: str = Field("language", description="optional: BCP-47 tag")


class Chats(_Rows):
    """Chats as language models are trained on them, a whole one in a row."""

    kind: ChatKind
    path: str | None = Field(None, description="the file (json, jsonl, csv, parquet); either this or dataset")
    dataset: str | None = Field(None, description="hub id, or a local copy; either this or path")
    config: str | None = Field(None, description="configuration of the dataset, where it has several")
    split: str = Field("train", description="split to read")
    revision: str | None = Field(None, description="branch, tag or commit; the newest by default")
    columns: ChatColumns = ChatColumns()

    @model_validator(mode="after")
    def is_in_one_place(self) -> "Chats":
        """A file, or a dataset of the hub."""
        if (self.path is None) == (self.dataset is None):
            raise ValueError("name either path, a file, or dataset, a hub id")
        return self


class Hub(_Rows):
    """A dataset of the Hugging Face hub, or a local copy of one; read as a stream."""

    kind: Literal["hub"]
    dataset: str = Field(description="hub id, or a local file, folder or copy made with save_to_disk")
    config: str | None = Field(None, description="configuration of the dataset, where it has several")
    split: str = Field("train", description="split to read")
    revision: str | None = Field(None, description="branch, tag or commit; the newest by default")
    columns: Columns = Columns()
    channel: OneChannel = Field("auto", description=_CHANNEL)


class VoiceAssistant(_Rows):
    """VoiceAssistant-400K as published, from the hub or a local copy."""

    kind: Literal["voiceassistant"]
    dataset: str = Field("gpt-omni/VoiceAssistant-400K", description="hub id, or a local file or folder")
    config: str | None = Field(None, description="configuration of the dataset, where it has several")
    split: str = Field("train", description="split to read")
    revision: str | None = Field(None, description="branch, tag or commit; the newest by default")
    respeak: tuple[Side, ...] = Field(
        (), description="sides to synthesise again with the recipe's voices: question, answer; true for both"
    )

    @field_validator("respeak", mode="before")
    @classmethod
    def both_or_none(cls, value: Any) -> Any:
        """`true` stands for both sides, `false` for none, a name for one."""
        if isinstance(value, bool):
            return ("question", "answer") if value else ()
        return (value,) if isinstance(value, str) else value

    @property
    def brings_codes(self) -> bool:
        """Unless answers are spoken anew."""
        return "answer" not in self.respeak


def spell_out(value: str | list[Any]) -> dict[str, Any]:
    """Say what a source written short stands for.

    A list is a mix. A name is the bundled corpus, a table by its suffix, or else a folder of recordings.

    >>> spell_out("talks/pairs.csv")
    {'kind': 'csv', 'path': 'talks/pairs.csv'}
    """
    if isinstance(value, list):
        return {"kind": "mix", "parts": value}
    if value in ("bundled", "voiceassistant"):
        return {"kind": value}
    return {"kind": TABLE_SUFFIXES.get(name_of(value).suffix.lower(), "recordings"), "path": value}


def _from_short(value: Any) -> Any:
    return from_short(value, (str, list), spell_out)


OneSource = Annotated[
    Bundled | GrammarSource | Table | Recordings | LjSpeech | Chats | Hub | VoiceAssistant | Llm,
    Field(discriminator="kind"),
    BeforeValidator(_from_short),
]
"""One place that pairs come from."""


class Part(Section):
    """One source of a mix and its share."""

    source: OneSource
    weight: float = Field(1.0, gt=0.0, description="share of the conversations, relative to the other weights")

    @model_validator(mode="before")
    @classmethod
    def of_source(cls, value: Any) -> Any:
        """A source written short is a part of weight 1; one written out may have its weight among its keys."""
        if isinstance(value, dict) and ("kind" in value or WHOLE in value):
            weight = {"weight": value["weight"]} if "weight" in value else {}
            return {"source": {key: more for key, more in value.items() if key != "weight"}, **weight}
        return {"source": value} if isinstance(value, str) else value


class Mix(Section):
    """Several sources, dealt by weight."""

    kind: Literal["mix"]
    parts: tuple[Part, ...] = Field(description="sources, each with its weight")
    limit: int | None = Field(None, ge=1, description="read only this many conversations, over all parts")

    @model_validator(mode="after")
    def is_not_empty(self) -> "Mix":
        """There is something to mix."""
        if not self.parts:
            raise ValueError("a mix needs parts")
        return self

    @property
    def language(self) -> str:
        """Of the first part."""
        return self.parts[0].source.language

    @property
    def brings_codes(self) -> bool:
        """Whether answers of some part come as SNAC codes."""
        return any(part.source.brings_codes for part in self.parts)


Source = Annotated[
    Bundled | GrammarSource | Table | Recordings | LjSpeech | Chats | Hub | VoiceAssistant | Llm | Mix,
    Field(discriminator="kind"),
    BeforeValidator(_from_short),
]
"""Where pairs come from: one source, or a mix. May be written short; see `spell_out`."""


def sources_of(source: "Source") -> tuple["OneSource", ...]:
    """The source itself, or the sources of a mix."""
    return tuple(part.source for part in source.parts) if isinstance(source, Mix) else (source,)

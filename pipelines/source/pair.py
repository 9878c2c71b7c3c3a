"""What a source gives: pairs, their recordings, and rows that are no pairs."""

import dataclasses
from typing import Literal

from anytalk.synth.recording import ChannelChoice


@dataclasses.dataclass(frozen=True)
class Recording:
    """Audio or codes of a row: where they are, and the SHA-256 of their bytes."""

    name: str
    """What the row says of it."""
    sha256: str
    path: str
    """A file of its own; with `row`, a pack (see `attachment`): relative to the dataset until a plan is loaded."""
    row: int | None = None
    """Place within the pack."""
    holds: Literal["audio", "codes"] = "audio"
    channel: ChannelChoice = "auto"
    """Which channel of it is read."""

    def label(self) -> str:
        """What a row says instead of a voice: `recording:talk.mp3`, `codes:...`."""
        channel = "" if self.channel == "auto" else f" {self.channel}"
        return f"{'recording' if self.holds == 'audio' else 'codes'}:{self.name}{channel}"

    def hash(self) -> str:
        """Hash of what is read of it."""
        return self.sha256 if self.channel == "auto" else f"{self.sha256} {self.channel}"


@dataclasses.dataclass(frozen=True)
class Pair:
    """One question and its answer as the source has them.

    A side without text has a recording, whose words are still to be heard, or is not there at all.
    """

    split_name: str
    conversation: str
    turn: int
    question: str | None
    answer: str | None
    language: str
    question_recording: Recording | None = None
    answer_recording: Recording | None = None
    question_written: str | None = None
    """As the source has it, once `question` is its spoken form."""
    answer_written: str | None = None
    source: str = ""
    """Where in the source it stands."""
    group: str | None = None
    """What stays in one split together; the conversation where None."""
    question_speaker: str | None = None
    """Who asks in the recording, as the source names them."""
    answer_speaker: str | None = None

    @property
    def is_answered(self) -> bool:
        """Whether there is an answer."""
        return self.answer is not None or self.answer_recording is not None

    def recording_hashes(self) -> tuple[str | None, str | None]:
        """Hashes of the question's and of the answer's own recording, where there is one."""
        question, answer = self.question_recording, self.answer_recording
        return (question.hash() if question else None, answer.hash() if answer else None)


@dataclasses.dataclass(frozen=True)
class BadPair:
    """A row of the source that is no pair."""

    reason: str
    detail: str
    source: str
    pair: Pair | None = None
    """What it was before it failed, where it was one."""


@dataclasses.dataclass(frozen=True)
class DeferredPair:
    """A pair that the machinery failed to get; the next run tries again, and until then there is no plan."""

    detail: str
    source: str


SourceRow = Pair | BadPair | DeferredPair

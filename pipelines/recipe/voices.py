"""What a recipe says of voices: which ask, which answer, in which ranges of speed and pitch, and on what terms."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from anytalk.synth.voice import SpeechServer, Terms, voice_language

from .file import Section, Shorthand

Speed = Annotated[float, Field(ge=0.5, le=2.0)]
Pitch = Annotated[float, Field(ge=0.8, le=1.25)]


class VoiceChoice(Shorthand):
    """One voice and the ranges that its speed and pitch are drawn from."""

    voice: str = Field(description="engine and voice, such as hibari:heart; see anytalk doctor")
    speed: tuple[Speed, Speed] = Field((1.0, 1.0), description="range of speeds, 0.5 to 2")
    pitch: tuple[Pitch, Pitch] = Field((1.0, 1.0), description="range of frequency ratios, 0.8 to 1.25")
    language: str | None = Field(None, description="BCP-47 tag of the rows it speaks, mul for all; its own by default")
    terms: Terms | None = Field(None, description="licence, source and consent; its own by default")
    reference: str | None = Field(None, description="a recording of the speaker, for check.speaker")
    style_tags: tuple[str, ...] = Field(
        (), description="those of clean.style_tags that it knows; others are left out of what it is told to say"
    )

    @classmethod
    def spell_out(cls, value: str) -> dict[str, Any]:
        """A bare name is a voice at its natural speed."""
        return {"voice": value}

    @field_validator("speed", "pitch", mode="before")
    @classmethod
    def range_of_one(cls, value: Any) -> Any:
        """A single number is a range of its own."""
        return (value, value) if isinstance(value, int | float) else value


class QuestionVoice(VoiceChoice):
    """One of the voices that take turns at questions."""

    weight: float = Field(1.0, gt=0.0, description="probability of being chosen, relative to the other weights")


class Voices(Section):
    """Who asks and who answers."""

    question: tuple[QuestionVoice, ...] = Field(min_length=1)
    answer: VoiceChoice
    answer_by_language: dict[str, VoiceChoice] = Field(
        {}, description="answer voices of other languages, by BCP-47 tag"
    )
    servers: dict[str, SpeechServer] = Field({}, description="OpenAI-compatible speech servers, for server:NAME/VOICE")
    allow_unknown_terms: tuple[str, ...] = Field((), description="voices allowed without a known licence")
    variants: int = Field(1, ge=1, le=1000, description="rows per pair, each in other voices")

    def choices(self) -> tuple[VoiceChoice, ...]:
        """All of them, question voices first."""
        return (*self.question, self.answer, *self.answer_by_language.values())

    def names(self) -> tuple[str, ...]:
        """Each voice once."""
        return tuple(dict.fromkeys(choice.voice for choice in self.choices()))

    def declared_terms(self) -> dict[str, Terms]:
        """Terms that the recipe says, by voice."""
        return {choice.voice: choice.terms for choice in self.choices() if choice.terms is not None}

    def references(self) -> dict[str, str]:
        """Recordings of the speakers, by voice."""
        return {choice.voice: choice.reference for choice in self.choices() if choice.reference is not None}

    def language_of(self, choice: VoiceChoice) -> str:
        """What a choice speaks.

        Raises:
            SetupError: there is no such voice or server.
        """
        return choice.language or voice_language(choice.voice, self.servers)


VOICE_TERMS_KEYS: Any = {
    "question": {"__all__": {"terms"}},
    "answer": {"terms"},
    "answer_by_language": {"__all__": {"terms"}},
    "servers": True,
    "allow_unknown_terms": True,
}
"""Keys of `voices` that change no byte; what decides what a server says is in its voice's fingerprint."""

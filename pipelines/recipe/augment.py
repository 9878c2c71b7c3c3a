"""What a recipe says of augmentation: steps in order, each with its probability and its ranges."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from anytalk.synth.augment import (
    Augmentation,
    Coding,
    CodingName,
    Gain,
    Noise,
    Room,
    SimulatedRoom,
    SoundFolder,
    Speed,
    Step,
    Telephone,
)
from anytalk.synth.augment.coding import rates
from anytalk.synth.augment.room import LONGEST_RESPONSE_S
from anytalk.synth.errors import SetupError

from .file import Section, from_short


def _range_of_one(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) else value


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("a range goes from its smaller to its larger end")
    return bounds


BoundsT = TypeVar("BoundsT")
Ascending = Annotated[BoundsT, BeforeValidator(_range_of_one), AfterValidator(_ascending)]
"""Two bounds, or a single number for both."""

Decibels = Annotated[float, Field(ge=-60.0, le=60.0)]
DecibelRange = Ascending[tuple[Decibels, Decibels]]
Factor = Annotated[float, Field(ge=0.5, le=2.0)]
FactorRange = Ascending[tuple[Factor, Factor]]
Seconds = Annotated[float, Field(ge=0.05, le=5.0)]
SecondsRange = Ascending[tuple[Seconds, Seconds]]
KbitS = Annotated[float, Field(gt=0.0)]
KbitSRange = Ascending[tuple[KbitS, KbitS]]


class _Step(Section):
    probability: float = Field(1.0, gt=0.0, le=1.0, description="probability of the step")


class SpeedStep(_Step):
    """Play faster or slower, at another pitch and length."""

    kind: Literal["speed"]
    factor: FactorRange = Field((0.9, 1.1), description="range; over 1 is faster")

    def step(self) -> Step:
        """The step itself."""
        return Speed(self.factor)


class GainStep(_Step):
    """Make louder or quieter."""

    kind: Literal["gain"]
    gain_db: DecibelRange = Field((-12.0, 0.0), description="range, in dB")

    def step(self) -> Step:
        """The step itself."""
        return Gain(self.gain_db)


class NoiseStep(_Step):
    """Mix noise, music or voices in."""

    kind: Literal["noise"]
    folder: str = Field(description="folder of recordings, subfolders included")
    snr_db: DecibelRange = Field((5.0, 20.0), description="range of the signal-to-noise ratio, in dB")

    def step(self) -> Step:
        """The step itself."""
        return Noise(SoundFolder(self.folder), self.snr_db)


class RoomStep(_Step):
    """Put the speaker into a room that was measured."""

    kind: Literal["room"]
    folder: str = Field(description="folder of impulse responses, subfolders included")

    def step(self) -> Step:
        """The step itself."""
        return Room(SoundFolder(self.folder, LONGEST_RESPONSE_S))


class SimulatedRoomStep(_Step):
    """Put the speaker into a room that is made up."""

    kind: Literal["simulated_room"]
    rt60_s: SecondsRange = Field((0.2, 0.6), description="range of the reverberation time, in seconds")
    direct_to_reverberant_db: DecibelRange = Field((0.0, 10.0), description="range of the direct-to-reverberant ratio")

    def step(self) -> Step:
        """The step itself."""
        return SimulatedRoom(self.rt60_s, self.direct_to_reverberant_db)


class TelephoneStep(_Step):
    """Leave 300 to 3400 Hz, sampled at 8 kHz."""

    kind: Literal["telephone"]

    def step(self) -> Step:
        """The step itself."""
        return Telephone()


class CodecStep(_Step):
    """Encode with a codec and decode again."""

    kind: Literal["codec"]
    codecs: tuple[CodingName, ...] = Field(description="any of mp3, opus, amr-nb, g711; one is drawn")
    kbit_s: KbitSRange | None = Field(None, description="range of bit rates; usual ones by default")

    @model_validator(mode="after")
    def has_rates(self) -> "CodecStep":
        """Every codec has a bit rate in the range."""
        if not self.codecs:
            raise ValueError("codecs must name at least one")
        if without := [name for name in self.codecs if not rates(name, self.kbit_s)]:
            raise ValueError(f"{', '.join(without)} has no bit rate in kbit_s {self.kbit_s}")
        return self

    def step(self) -> Step:
        """The step itself."""
        return Coding(self.codecs, self.kbit_s)


AnyStep = Annotated[
    SpeedStep | GainStep | NoiseStep | RoomStep | SimulatedRoomStep | TelephoneStep | CodecStep,
    Field(discriminator="kind"),
]


class Augment(Section):
    """What is done to questions that passed the check. Answers stay as they are."""

    steps: tuple[AnyStep, ...] = Field(description="steps, applied in order")
    max_wer: float | None = Field(
        None, ge=0.0, description="highest word error rate; above it, drawn again, at most check.attempts times"
    )

    @model_validator(mode="after")
    def does_something(self) -> "Augment":
        """There are steps."""
        if not self.steps:
            raise ValueError("steps must hold at least one; leave augment out to do nothing")
        return self

    def probabilities(self) -> list[float]:
        """Of each step."""
        return [step.probability for step in self.steps]

    def chain(self) -> Augmentation:
        """The steps themselves.

        Raises:
            SetupError: folders or encoders are missing; every one of them is named.
        """
        steps, problems = [], []
        for section in self.steps:
            try:
                steps.append((section.probability, section.step()))
            except SetupError as error:
                problems.append(str(error))
        if problems:
            raise SetupError("\n".join(problems))
        return Augmentation(steps)


def augment_from_short(value: Any) -> Any:
    """A list is the steps."""
    return from_short(value, list, lambda steps: {"steps": steps})

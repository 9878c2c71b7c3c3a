"""One utterance to be spoken, or read where there is a recording: its text, voice, seed and limits."""

import dataclasses

import numpy as np

from anytalk.pipelines.dataset import RATES_HZ
from anytalk.pipelines.plan import PlannedRow, answer_voice, voice_order
from anytalk.pipelines.recipe import Recipe, Side, VoiceChoice
from anytalk.pipelines.source import Recording
from anytalk.synth.seed import derive_seed
from anytalk.synth.text import without_tags


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One utterance to be spoken, or read where there is a recording."""

    text: str
    voice: str
    seed: int
    speed: float
    pitch: float
    rate_hz: int
    max_s: float
    recording: Recording | None = None

    def label(self) -> str:
        """What the row says of the voice."""
        if self.recording is not None:
            return self.recording.label()
        return f"{self.voice} speed={self.speed:g} pitch={self.pitch:g} seed={self.seed}"


def utterance_of(row: PlannedRow, side: Side, number: int, recipe: Recipe) -> Utterance:
    """The utterance of an attempt: text or recording, and a voice drawn from the row's seed."""
    rng = np.random.default_rng(derive_seed(row.seed(recipe.seed), side, number))
    recording: Recording | None = getattr(row.pair, f"{side}_recording")
    choice = answer_voice(row.pair.language, recipe)
    # No voice need know the language of a question that was recorded.
    if side == "question" and recording is None:
        order = voice_order(row, recipe)
        # Variants of a pair start at different voices; an attempt that fails moves on to the next one.
        choice = order[(row.variant + number // recipe.check.attempts_per_voice) % len(order)]
    limits = {"question": recipe.audio.max_question_s, "answer": recipe.audio.max_answer_s}
    speed, pitch = (round(float(rng.uniform(*bounds)), 3) for bounds in (choice.speed, choice.pitch))
    return Utterance(
        text=said_by(choice, getattr(row.pair, side) or "", recipe),
        voice=choice.voice,
        seed=int(rng.integers(2**32)),
        speed=speed,
        pitch=pitch,
        rate_hz=RATES_HZ[side],
        max_s=limits[side],
        recording=recording,
    )


def said_by(choice: VoiceChoice, text: str, recipe: Recipe) -> str:
    """What a voice is told to say of a text: style tags that it does not know are left out."""
    return without_tags(text, [tag for tag in recipe.clean.style_tags if tag not in choice.style_tags])

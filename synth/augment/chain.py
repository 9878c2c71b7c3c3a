"""Steps one after another, each with its probability, all from one seed."""

import json
from collections.abc import Sequence

import numpy as np

from anytalk.synth.audio import Waveform, check_waveform
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.seed import derive_seed

from .contract import Done, Step


def drawn(probabilities: Sequence[float], seed: int) -> list[int]:
    """Say which steps a seed draws, without doing them.

    Args:
        probabilities: of each step, 0 to 1.
        seed: of the utterance.

    Returns:
        Their places, in order.

    >>> drawn([0.0, 1.0, 1.0], seed=7)
    [1, 2]
    """
    return [place for place, share in enumerate(probabilities) if _generator(seed, place).random() < share]


def _generator(seed: int, place: int) -> np.random.Generator:
    """One for each step, so that what one draws does not shift what the next one does."""
    return np.random.default_rng(derive_seed(seed, place))


class Augmentation:
    """A chain of steps.

    Args:
        steps: each with its probability, 0 to 1, in the order in which they are done.
    """

    def __init__(self, steps: Sequence[tuple[float, Step]]) -> None:
        self.probabilities = [share for share, _ in steps]
        self.steps = [step for _, step in steps]

    def __call__(self, waveform: Waveform, rate_hz: int, seed: int) -> tuple[Waveform, list[Done]]:
        """Do the steps that a seed draws.

        Args:
            waveform: float32, mono.
            rate_hz: its rate.
            seed: the same one always does the same.

        Returns:
            The changed waveform, no sample of it over full scale, and what was done, in order; nothing if no step was
            drawn.

        Raises:
            SampleError: a step cannot be done with this waveform and seed.
        """
        done: list[Done] = []
        for place in drawn(self.probabilities, seed):
            rng = _generator(seed, place)
            rng.random()  # The one that drew the step itself.
            waveform, what = self.steps[place].apply(waveform, rate_hz, rng)
            check_waveform(waveform)
            done.append(what)
        peak = float(np.max(np.abs(waveform)))
        if done and peak > 1.0:
            waveform = waveform / np.float32(peak)
            done.append({"step": "fit", "gain_db": round(-20 * float(np.log10(peak)), 3)})
        return waveform, done

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the files and programs that the steps use."""
        return {name: value for step in self.steps for name, value in step.fingerprint.items()}


def described(done: Sequence[Done]) -> str | None:
    """Write what was done as JSON; None where nothing was.

    >>> described([{"step": "speed", "factor": 0.9}])
    '[{"step":"speed","factor":0.9}]'
    """
    return json.dumps(done, ensure_ascii=False, separators=(",", ":")) if done else None

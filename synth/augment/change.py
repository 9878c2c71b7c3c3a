"""Speed and gain.

Speed is Kaldi's perturbation, which changes pace and pitch together, as a tape that runs faster does
(T. Ko et al., "Audio augmentation for speech recognition", Interspeech 2015).
"""

from dataclasses import dataclass

import numpy as np

from anytalk.synth.audio import Waveform, resample
from anytalk.synth.fingerprint import Fingerprint

from .contract import Done, Range, draw


@dataclass(frozen=True)
class Speed:
    """Play faster or slower.

    Args:
        factor: range; 1.1 is a tenth faster, and shorter by as much.
    """

    factor: Range

    def apply(self, waveform: Waveform, rate_hz: int, rng: np.random.Generator) -> tuple[Waveform, Done]:
        """See `Step.apply`."""
        factor = draw(rng, self.factor, 3)
        return resample(waveform, rate_hz * factor, rate_hz), {"step": "speed", "factor": factor}

    @property
    def fingerprint(self) -> Fingerprint:
        """Nothing."""
        return {}


@dataclass(frozen=True)
class Gain:
    """Make louder or quieter.

    Args:
        gain_db: range, in dB.
    """

    gain_db: Range

    def apply(self, waveform: Waveform, rate_hz: int, rng: np.random.Generator) -> tuple[Waveform, Done]:
        """See `Step.apply`."""
        gain_db = draw(rng, self.gain_db, 2)
        return waveform * np.float32(10.0 ** (gain_db / 20.0)), {"step": "gain", "gain_db": gain_db}

    @property
    def fingerprint(self) -> Fingerprint:
        """Nothing."""
        return {}

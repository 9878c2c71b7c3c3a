"""Augmentation: what happens to speech on its way to a microphone and down a line, drawn from a seed and written down.

>>> import numpy as np
>>> from anytalk.synth.augment import Augmentation, Gain
>>> quieter = Augmentation([(1.0, Gain((-6.0, -6.0)))])
>>> waveform, done = quieter(np.full(4, 0.5, np.float32), 16_000, seed=1)
>>> round(float(waveform.max()), 3), done
(0.251, [{'step': 'gain', 'gain_db': -6.0}])
"""

from .chain import Augmentation, drawn
from .change import Gain, Speed
from .coding import CODINGS, Coding, CodingName
from .contract import Done, Range, Step
from .noise import Noise, mix
from .room import Room, SimulatedRoom
from .sounds import SoundFolder
from .telephone import Telephone

__all__ = [
    "CODINGS",
    "Augmentation",
    "Coding",
    "CodingName",
    "Done",
    "Gain",
    "Noise",
    "Range",
    "Room",
    "SimulatedRoom",
    "SoundFolder",
    "Speed",
    "Step",
    "Telephone",
    "drawn",
    "mix",
]

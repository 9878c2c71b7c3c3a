"""Hearing: Whisper's features and transcripts behind one small interface.

>>> from anytalk.synth.hearing import FakeWhisper
>>> import numpy as np
>>> [heard] = FakeWhisper({16_000: "Hello."}).listen([np.zeros(15_000, np.float32)])
>>> heard.text, heard.features.shape
('Hello.', (47, 4))
"""

from .catalogue import computes_in, known_whispers, load_whisper
from .contract import Context, Heard, Whisper
from .fake import FakeWhisper
from .language import only_english_by_name

__all__ = [
    "Context",
    "FakeWhisper",
    "Heard",
    "Whisper",
    "computes_in",
    "known_whispers",
    "load_whisper",
    "only_english_by_name",
]

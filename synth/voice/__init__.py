"""Text to speech: one small interface over several engines.

>>> from anytalk.synth.voice import SpeakRequest, load_voice
>>> [waveform] = load_voice("fake:tone").speak([SpeakRequest("Hello.", seed=1)])
>>> waveform.shape, waveform.dtype
((8640,), dtype('float32'))
"""

from .catalogue import VoiceInfo, known_voices, load_voice
from .request import PITCH_RANGE, SPEED_RANGE, SpeakRequest, Voice, check_speakable

__all__ = [
    "PITCH_RANGE",
    "SPEED_RANGE",
    "SpeakRequest",
    "Voice",
    "VoiceInfo",
    "check_speakable",
    "known_voices",
    "load_voice",
]

"""Text to speech: one small interface over several engines.

>>> from anytalk.synth.voice import SpeakRequest, load_voice
>>> [waveform] = load_voice("fake:tone").speak([SpeakRequest("Hello.", seed=1)])
>>> waveform.shape, waveform.dtype
((8640,), dtype('float32'))
"""

from anytalk.synth.language import is_accent

from .catalogue import check_engine, known_voices, load_voice, speaks, voice_language
from .engine import VoiceInfo
from .request import PITCH_RANGE, SPEED_RANGE, SpeakRequest, Voice, check_speakable
from .speech_server import SpeechServer
from .terms import Terms, refuse_unknown

__all__ = [
    "PITCH_RANGE",
    "SPEED_RANGE",
    "SpeakRequest",
    "SpeechServer",
    "Terms",
    "Voice",
    "VoiceInfo",
    "check_engine",
    "check_speakable",
    "is_accent",
    "known_voices",
    "load_voice",
    "refuse_unknown",
    "speaks",
    "voice_language",
]

"""Judgement: how an utterance sounds, where speech is in it, what is measured of it, and whether that is good enough.

>>> from anytalk.synth.judge import Policy, Measures, verdict
>>> spoken = Measures(0.5, 0.2, 4.1, 0.35, 0.05, 0.1, 0.3, 0.0, -3.0)
>>> verdict(spoken, Policy())
'high_wer'
"""

from .catalogue import known_judges, load_judge, load_mos, load_vad
from .contract import Mos, Span, Vad
from .dnsmos import Dnsmos
from .fake import FakeMos, FakeVad
from .measure import Measures, measure
from .policy import REASONS, Policy, verdict
from .speaker import SpeakerNetwork, similarity
from .trim import trim_to_speech
from .vad import SileroVad

__all__ = [
    "REASONS",
    "Dnsmos",
    "FakeMos",
    "FakeVad",
    "Measures",
    "Mos",
    "Policy",
    "SileroVad",
    "Span",
    "SpeakerNetwork",
    "Vad",
    "known_judges",
    "load_judge",
    "load_mos",
    "load_vad",
    "measure",
    "similarity",
    "trim_to_speech",
    "verdict",
]

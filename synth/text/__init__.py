"""Text as it is said: what a voice is to say for what was written, and what nobody can say at all.

>>> from anytalk.synth.text import unspeakable, normalise
>>> normalise("Meet Dr. Lee at 7:30.", "en")
'Meet Doctor Lee at seven thirty.'
>>> unspeakable("**Meet** Dr. Lee.", "en")
[Problem(reason='markdown', piece='**Meet**'), Problem(reason='symbols', piece='*')]
"""

from .duration import spoken_seconds
from .language import Identifier, Langid
from .nemo import NemoNormaliser
from .normalise import load_normaliser, normalise
from .speakable import REASONS, Problem, unspeakable
from .style_tag import around_tags, without_tags

__all__ = [
    "REASONS",
    "Identifier",
    "Langid",
    "NemoNormaliser",
    "Problem",
    "around_tags",
    "load_normaliser",
    "normalise",
    "spoken_seconds",
    "unspeakable",
    "without_tags",
]

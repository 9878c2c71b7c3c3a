"""Exports: a finished dataset in the formats of other tools, one file a format."""

from .format import Format
from .hub import HubParquet
from .orpheus import BASES, Base, Orpheus
from .tts import TtsParquet
from .voiceassistant import VoiceAssistant400k
from .write import PART_ROWS, Exported, export

__all__ = [
    "BASES",
    "PART_ROWS",
    "Base",
    "Exported",
    "Format",
    "HubParquet",
    "Orpheus",
    "TtsParquet",
    "VoiceAssistant400k",
    "export",
]

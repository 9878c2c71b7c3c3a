"""Exports: a finished dataset in the formats of other tools, one file a format."""

from .format import Format
from .hub import HubParquet
from .lhotse import Lhotse
from .messages import Messages
from .moshi import Moshi
from .orpheus import BASES, Base, Orpheus
from .preferences import Preferences
from .tts import TtsParquet
from .voiceassistant import VoiceAssistant400k
from .webdataset import WebDataset
from .write import PART_ROWS, Exported, export

__all__ = [
    "BASES",
    "PART_ROWS",
    "Base",
    "Exported",
    "Format",
    "HubParquet",
    "Lhotse",
    "Messages",
    "Moshi",
    "Orpheus",
    "Preferences",
    "TtsParquet",
    "VoiceAssistant400k",
    "WebDataset",
    "export",
]

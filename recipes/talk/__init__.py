"""Talk with a trained model."""

from .talk import Talker, collect, pcm16, talk

__all__ = ["Talker", "collect", "pcm16", "talk"]

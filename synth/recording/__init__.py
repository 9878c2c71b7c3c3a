"""Recordings as people have them: what a file claims, what is really in it, and which of its channels counts."""

from .channels import ChannelChoice, chosen, to_mono
from .decode import Decoded, decoded_parts, ffmpeg_binary

__all__ = ["ChannelChoice", "Decoded", "chosen", "decoded_parts", "ffmpeg_binary", "to_mono"]

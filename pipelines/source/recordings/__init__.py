"""Recordings with or without transcripts: folders of them on this machine or in a bucket, and tables that name them."""

from .files import AUDIO_SUFFIXES, Folder, at_once, folder_of
from .folder import source_in
from .pairs import recording_pairs

__all__ = ["AUDIO_SUFFIXES", "Folder", "at_once", "folder_of", "recording_pairs", "source_in"]

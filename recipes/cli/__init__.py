"""The command line: main (the app), one file a group of commands, and console (what the commands share)."""

from .main import main

__all__ = ["main"]

"""Pairs drawn from patterns and lists of words."""

from .draw import grammar_pairs
from .file import grammar_path

__all__ = ["grammar_pairs", "grammar_path"]

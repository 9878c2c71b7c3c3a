"""Pairs from language models."""

from .ask import LlmClient, cache_of
from .pairs import SourceRow, examine, llm_pairs, rewritten

__all__ = ["LlmClient", "SourceRow", "cache_of", "examine", "llm_pairs", "rewritten"]

"""Pairs from language models."""

from .ask import LlmClient, cache_of
from .pairs import examine, llm_conversations, rewritten

__all__ = ["LlmClient", "cache_of", "examine", "llm_conversations", "rewritten"]

"""Measure how well a trained model talks, and write a page to listen to."""

from .evaluation import evaluate
from .page import answer_page, measured

__all__ = [
    "answer_page",
    "evaluate",
    "measured",
]

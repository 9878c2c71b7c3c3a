"""Measure how well a trained model talks, and write a page to listen to."""

from .evaluation import evaluate
from .page import PAGE, answer_lines, answer_page, failed_lines, figure_lines

__all__ = ["PAGE", "answer_lines", "answer_page", "evaluate", "failed_lines", "figure_lines"]

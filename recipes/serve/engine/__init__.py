"""Answers for many clients at once, whatever they speak: a batch, a recogniser, and lines that are fair to all.

line       who is next
listening  a thread for the recogniser: features and transcripts
engine     one thread owns the model and steps a batch that questions join and leave
answers    one question's pieces, or its whole answer, for code that waits
"""

from .answers import Whole, pieces, whole
from .engine import Answering, Engine, Question

__all__ = ["Answering", "Engine", "Question", "Whole", "pieces", "whole"]

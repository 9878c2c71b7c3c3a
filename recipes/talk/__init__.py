"""Talk with a trained model: a question spoken or written in, text and speech out."""

from .conversation import Conversation, ask
from .load import load_engines, load_model, run_checkpoint
from .push import PushedModel, push_model
from .talker import Answer, Question, Talker, Text, collect, pcm16, refuse_silence, talk

__all__ = [
    "Answer",
    "Conversation",
    "PushedModel",
    "Question",
    "Talker",
    "Text",
    "ask",
    "collect",
    "load_engines",
    "load_model",
    "pcm16",
    "push_model",
    "refuse_silence",
    "run_checkpoint",
    "talk",
]

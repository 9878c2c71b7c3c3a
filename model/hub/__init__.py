"""Checkpoints on the Hugging Face hub: found by an id, sent with a card, known to transformers' Auto classes.

auto      config.json as AutoConfig reads it, and AutoModel
card      the model card
download  a folder, or a repository of the hub as a folder
upload    a checkpoint's files, in one commit
"""

from .auto import register
from .card import CARD, new_card
from .download import checkpoint_folder, is_hub_id
from .upload import push_checkpoint

__all__ = ["CARD", "checkpoint_folder", "is_hub_id", "new_card", "push_checkpoint", "register"]

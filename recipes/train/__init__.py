"""Train a model on datasets, stage after stage; convert checkpoints."""

from .checkpoint import BEST, TrainingState
from .convert import READERS, WRITERS, convert_checkpoint
from .recipe import TrainingRecipe, load_training_recipe
from .run import train
from .speed import matmul_rate
from .stage import StageTrainer, TrainingStopped
from .workers import ProcessGroup

__all__ = [
    "BEST",
    "READERS",
    "WRITERS",
    "ProcessGroup",
    "StageTrainer",
    "TrainingRecipe",
    "TrainingState",
    "TrainingStopped",
    "convert_checkpoint",
    "load_training_recipe",
    "matmul_rate",
    "train",
]

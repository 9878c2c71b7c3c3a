"""Train a model on datasets, stage after stage."""

from .checkpoint import BEST, TrainingState
from .dry_run import Expected, dry_run
from .recipe import TrainingRecipe, load_training_recipe
from .run import train
from .speed import can_compile_for_cpu, matmul_rate
from .stage import StageTrainer, TrainingStopped
from .workers import ProcessGroup

__all__ = [
    "BEST",
    "Expected",
    "ProcessGroup",
    "StageTrainer",
    "TrainingRecipe",
    "TrainingState",
    "TrainingStopped",
    "can_compile_for_cpu",
    "dry_run",
    "load_training_recipe",
    "matmul_rate",
    "train",
]

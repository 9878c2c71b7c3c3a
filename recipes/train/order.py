"""Which samples a stage draws, in which order, and how many steps its epochs are."""

from collections.abc import Mapping

from tokenizers import Tokenizer

from anytalk.model import Layout, Task
from anytalk.recipes.data import Loader, Rows, Shares
from anytalk.synth.errors import SetupError
from anytalk.synth.seed import derive_seed

from .recipe import Stage, TrainingRecipe
from .start import model_layout


def stage_loader(
    recipe: TrainingRecipe,
    stage: Stage,
    rows: Rows,
    layout: Layout,
    stack: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    prefetch: int = 0,
    tasks: Mapping[Task, float] | None = None,
    pinned: bool = False,
) -> Loader:
    """Build the loader of a stage.

    Args:
        recipe: of the run.
        stage: one of its stages.
        rows: what samples are views of.
        layout: the model's ids.
        stack: Whisper frames in one position.
        rank: this worker.
        world_size: how many workers there are.
        prefetch: steps loaded ahead.
        tasks: weight of each task; the stage's by default.
        pinned: see `Loader`.

    Raises:
        SetupError: see `Loader`.
    """
    settings = recipe.loader
    return Loader(
        rows,
        tasks or stage.tasks,
        layout,
        stack=stack,
        seed=derive_seed(recipe.seed, "order", stage.name),
        positions=settings.positions,
        max_positions=settings.max_positions,
        window=settings.window,
        padding=settings.padding,
        context_turns=recipe.data.context_turns,
        batches_per_step=settings.batches_per_step,
        rank=rank,
        world_size=world_size,
        prefetch=prefetch,
        shares=shares_of(recipe),
        pinned=pinned,
    )


def shares_of(recipe: TrainingRecipe) -> Shares | None:
    """How often rows of each dataset are drawn; None where all are drawn alike."""
    return recipe.data.shares if recipe.data.mixture() else None


def with_steps(recipe: TrainingRecipe, rows: Rows, tokenizer: Tokenizer) -> TrainingRecipe:
    """Say in steps how long the stages are that are given in epochs.

    Raises:
        SetupError: a stage has no samples, or its warm-up is longer than itself.
    """
    if all(stage.epochs is None for stage in recipe.stages):
        return recipe
    layout, stack = model_layout(recipe.model, tokenizer)
    stages = []
    for stage in recipe.stages:
        if stage.epochs is None:
            stages.append(stage)
            continue
        loader = stage_loader(recipe, stage, rows, layout, stack)
        loader.close()
        counted = stage.model_copy(update={"steps": loader.steps_in(stage.epochs)})
        try:
            counted.refuse_long_warmup()
        except ValueError as error:
            raise SetupError(f"stage {stage.name}, {stage.epochs:g} epochs: {error}") from error
        stages.append(counted)
    return recipe.model_copy(update={"stages": tuple(stages)})

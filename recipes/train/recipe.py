"""The recipe of a training run: its sections, their defaults, and what they refuse.

How the file is read is in `anytalk.pipelines.recipe.file`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from anytalk.model import Task
from anytalk.pipelines.recipe import TABLE_SUFFIXES, GrammarSource, Hub, Section, Table, read_recipe
from anytalk.pipelines.recipe.file import Name
from anytalk.pipelines.recipe.source import spell_out
from anytalk.recipes.data import TextSource
from anytalk.recipes.shipped import find

Part = Literal[
    "whisper_adapter",
    "tts_adapter",
    "audio_head",
    "audio_embedding",
    "new_text_rows",
    "text_embedding",
    "text_head",
    "backbone",
    "lora",
]
"""What a stage may train; `anytalk.recipes.train.parts` says which tensors each one names."""


def _table_or_hub(value: Any) -> Any:
    """A name with a table's suffix is a table, any other a dataset of the hub or a copy of one."""
    if not isinstance(value, str):
        return value
    return spell_out(value) if Path(value).suffix.lower() in TABLE_SUFFIXES else {"kind": "hub", "dataset": value}


class Dataset(Section):
    """One dataset of several: how often its rows are drawn, and for what."""

    dataset: str = Field(description="folder that anytalk build wrote")
    weight: float = Field(1.0, gt=0.0, description="how often a row of it is drawn beside rows of weight 1")
    tasks: dict[Task, float] | None = Field(
        None, description="what its rows are drawn for, and how often for each; null: for every task, once"
    )

    @field_validator("tasks")
    @classmethod
    def are_positive(cls, tasks: dict[Task, float] | None) -> dict[Task, float] | None:
        """A task that rows are not drawn for is left out."""
        if tasks is not None and (not tasks or not all(weight > 0.0 for weight in tasks.values())):
            raise ValueError("name at least one task, each with a weight above 0; leave a task out to do without it")
        return tasks

    def share(self, task: Task) -> float:
        """How often a row of it is drawn for a task."""
        return self.weight * (1.0 if self.tasks is None else self.tasks.get(task, 0.0))


class Texts(Section):
    """Pairs that are text alone, for T1T2."""

    source: Annotated[Table | Hub | GrammarSource, Field(discriminator="kind"), BeforeValidator(_table_or_hub)] = Field(
        description="a table (jsonl, csv, parquet), a dataset of the hub, or a grammar; as a dataset's recipe names it"
    )
    weight: float = Field(1.0, gt=0.0, description="how often a pair of it is drawn beside rows of weight 1")
    held_out: float = Field(
        0.0, ge=0.0, lt=1.0, description="share that is left out: what a dataset's recipe with this split.test tests"
    )

    @model_validator(mode="before")
    @classmethod
    def of_source(cls, value: Any) -> Any:
        """A path is a source of weight 1."""
        return {"source": value} if isinstance(value, str) else value

    def share(self, task: Task) -> float:
        """How often a pair of it is drawn for a task."""
        return self.weight if task is Task.T1T2 else 0.0


class Data(Section):
    """Which rows."""

    datasets: tuple[Dataset, ...] = Field(
        (), description="folders that anytalk build wrote, or {dataset, weight, tasks}; --data on the command line"
    )
    texts: tuple[Texts, ...] = Field((), description="pairs that are text alone, for T1T2: tables and hub datasets")
    train: str = Field("train", description="split to train on")
    validation: str | None = Field("validation", description="split to evaluate on; null for none")
    context_turns: int = Field(0, ge=0, le=64, description="earlier turns of a conversation before each question")

    @field_validator("datasets", mode="before")
    @classmethod
    def one_or_many(cls, value: Any) -> Any:
        """A single path is a list of one, and a path is a dataset of weight 1."""
        value = (value,) if isinstance(value, str | dict) else value
        if not isinstance(value, list | tuple):
            return value
        return tuple({"dataset": one} if isinstance(one, str) else one for one in value)

    @field_validator("texts", mode="before")
    @classmethod
    def one_text_or_many(cls, value: Any) -> Any:
        """A single source is a list of one."""
        return (value,) if isinstance(value, str | dict) else value

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of the datasets."""
        return tuple(one.dataset for one in self.datasets)

    @property
    def sources(self) -> tuple[TextSource, ...]:
        """Where pairs of text come from."""
        return tuple(TextSource(one.source, one.held_out) for one in self.texts)

    def shares(self, task: Task) -> tuple[float, ...]:
        """How often a row is drawn for a task: by dataset, then by source of text."""
        parts: tuple[Dataset | Texts, ...] = (*self.datasets, *self.texts)
        return tuple(one.share(task) for one in parts)

    def mixture(self) -> dict[str, Any]:
        """What of the datasets changes which samples are drawn; nothing where all are drawn alike."""
        drawn = [one.model_dump(mode="json", include={"weight", "tasks"}) for one in self.datasets]
        if not self.texts and all(one == {"weight": 1.0, "tasks": None} for one in drawn):
            return {}
        return {"datasets": drawn, "texts": [one.model_dump(include={"weight", "held_out"}) for one in self.texts]}


class Model(Section):
    """What the run starts from: exactly one of `checkpoint`, `backbone` and `shape`, and what is built around it."""

    checkpoint: str | None = Field(
        None, description="a MiniOmni checkpoint: folder or hub id; the keys below do not apply then"
    )
    backbone: str | None = Field(None, description="a pretrained causal language model: hub id or folder")
    shape: dict[str, Any] | None = Field(None, description="a Hugging Face config, such as {model_type: qwen2, ...}")
    vocabulary: int = Field(2048, ge=300, description="of the BPE that is trained on the corpus (with shape)")
    chat_template: bool = Field(False, description="address it by its tokenizer's chat template (with backbone)")
    system: str | None = Field(None, min_length=1, description="system prompt before each conversation")
    untie_text_head: bool = Field(False, description="give a tied backbone a text head of its own (with backbone)")
    features: str | None = Field(None, description="Whisper that the datasets' features must be of, such as small")
    feature_width: int | None = Field(None, ge=1, description="the datasets' by default")
    codebook_size: int = Field(4096, ge=2)
    adapter: Literal["swiglu", "linear"] = "swiglu"
    adapter_hidden: int = Field(4864, ge=1)
    stack: int = Field(1, ge=1, le=100, description="Whisper frames in one position")
    tts_adapter_layers: int = Field(0, ge=0)
    tie_audio_head: bool = False
    codes: Literal["random", "codebook"] = Field(
        "random", description="how new codes begin: unlike each other, or alike where they are near in the codebook"
    )
    backbone_reads: Literal["streams", "text"] = Field(
        "streams", description="all streams, as Mini-Omni; or text and what it hears, the TTS adapter the rest"
    )

    @model_validator(mode="after")
    def has_one_start(self) -> "Model":
        """Exactly one start, and only the options that belong to it."""
        given = [name for name in ("checkpoint", "backbone", "shape") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of checkpoint, backbone and shape; has {', '.join(given) or 'none'}")
        if self.checkpoint and (extra := sorted(self.model_fields_set - {"checkpoint"})):
            raise ValueError(f"a checkpoint brings its own {', '.join(extra)}")
        if self.shape and "vocab_size" in self.shape:
            raise ValueError("shape.vocab_size follows from the tokenizer; set vocabulary instead")
        if self.shape and "model_type" not in self.shape:
            raise ValueError("shape needs a model_type, such as qwen2")
        if self.untie_text_head and not self.backbone:
            raise ValueError("untie_text_head belongs to a backbone; a shape has tie_word_embeddings")
        if self.chat_template and not self.backbone:
            raise ValueError("chat_template belongs to a backbone, whose tokenizer has one; a shape takes system alone")
        if self.backbone_reads == "text" and not self.tts_adapter_layers:
            raise ValueError("backbone_reads text needs tts_adapter_layers, which read what is said aloud")
        if self.tie_audio_head and self.tts_adapter_layers:
            raise ValueError("tie_audio_head needs tts_adapter_layers 0: the TTS adapter has a head of its own")
        return self


class Lora(Section):
    """Thin matrices that learn beside the backbone's frozen ones, through peft (the extra lora)."""

    rank: int = Field(16, ge=1, description="of each product")
    alpha: float = Field(32.0, gt=0.0, description="a product counts alpha / rank times")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="of what the thin matrices read")
    modules: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", min_length=1, description="linear layers of the blocks, or names such as [q_proj, v_proj]"
    )


class Stage(Section):
    """A stretch of training with an optimiser of its own: which parts, which tasks, how fast, how long."""

    name: Name
    train: Literal["all"] | tuple[Part, ...]
    tasks: dict[Task, float] = Field(min_length=1, description="weight of each task, drawn sample by sample")
    steps: int = Field(0, ge=0, description="updates of the weights; or name epochs")
    epochs: float | None = Field(None, gt=0.0, description="passes over the samples of its tasks, instead of steps")
    learning_rate: float = Field(gt=0.0)
    minimum: float = Field(0.0, ge=0.0, description="learning rate at the end of the cosine")
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float | None = Field(None, ge=0.0, description="instead of optim.weight_decay")

    @model_validator(mode="after")
    def is_consistent(self) -> "Stage":
        """Parts and tasks are named, weights are positive, the schedule goes down."""
        if not self.train:
            raise ValueError("train must name at least one part, or be all")
        if wrong := [task.value for task, weight in self.tasks.items() if not weight > 0.0]:
            raise ValueError(f"the weight of {', '.join(wrong)} must be above 0; leave a task out to do without it")
        if self.minimum > self.learning_rate:
            raise ValueError(f"minimum {self.minimum:g} is above learning_rate {self.learning_rate:g}")
        if (self.steps == 0) == (self.epochs is None):
            raise ValueError("needs either steps (1 or more) or epochs")
        if self.steps:
            self.refuse_long_warmup()
        return self

    def refuse_long_warmup(self) -> None:
        """The learning rate must come down again.

        Raises:
            ValueError: the warm-up is as long as the stage.
        """
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} leaves nothing of {self.steps} steps")


class Optim(Section):
    """AdamW, the arithmetic, and what is traded for memory. Defaults as in litgpt's pretraining, Mini-Omni's base."""

    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = Field(1e-8, gt=0.0)
    weight_decay: float = Field(0.1, ge=0.0, description="of matrices; neither norms nor embeddings decay")
    clip: float = Field(1.0, gt=0.0, description="largest gradient norm")
    skip: int = Field(
        5, ge=0, description="steps in a row with a loss or gradient that is NaN or infinite; they change no weight"
    )
    stream_weights: tuple[float, ...] | None = Field(None, description="audio layers, then text; equal by default")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32",
        description="bfloat16: autocast, weights stay float32; auto: bfloat16 where the device multiplies in it",
    )
    residual: Literal["float32", "bfloat16"] | None = Field(
        None, description="of the states that blocks add to, where precision is bfloat16; null: bfloat16 on a GPU"
    )
    loss_chunk: int = Field(
        0, ge=0, description="labelled positions whose logits under one head exist at once; 0 for all"
    )
    code_dropout: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="share of answer positions whose own codes are not read",
    )
    code_noise: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="share of an answer's codes that are read as another code of their layer",
    )
    activation_checkpointing: bool = Field(False, description="compute activations again in the backward pass")
    compile: bool | None = Field(None, description="torch.compile each block; null: on a GPU that Triton knows")
    sharding: Literal["none", "fsdp"] = Field("none", description="with several workers: copies, or FSDP2 shards")

    @model_validator(mode="after")
    def residual_suits_precision(self) -> "Optim":
        """In float32 arithmetic nothing is in bfloat16."""
        if self.precision == "float32" and self.residual == "bfloat16":
            raise ValueError("residual bfloat16 needs precision bfloat16 or auto")
        return self


class Loading(Section):
    """How samples become batches. None but `prefetch` may change when a run goes on."""

    positions: int = Field(8192, ge=1, description="largest batch, padding included: the knob for memory")
    batches_per_step: int = Field(1, ge=1, description="over all workers; they are accumulated and shared out")
    max_positions: int = Field(2048, ge=8, description="longer samples are left out and counted")
    window: int = Field(4096, ge=1, description="samples that are sorted by length together")
    padding: float = Field(0.05, ge=0.0, le=1.0, description="largest share of a window that may be padding")
    prefetch: int = Field(2, ge=0, description="steps that are loaded ahead, in two threads")

    @model_validator(mode="after")
    def fits(self) -> "Loading":
        """The longest sample must fit into a batch."""
        if self.positions < self.max_positions:
            raise ValueError(f"positions {self.positions} must be at least max_positions {self.max_positions}")
        return self


class Checkpoints(Section):
    """When to evaluate and write a checkpoint, and how many to keep; the end of a stage always has one."""

    every: int = Field(500, ge=1, description="steps")
    keep: int = Field(2, ge=1, description="newest checkpoints that are kept, beside the best")
    validation_batches: int = Field(20, ge=1, description="at most; always the same ones")


class TrainingRecipe(Section):
    """Everything that the weights follow from."""

    name: Name
    seed: int = Field(1, ge=0, lt=2**63)
    data: Data = Data()
    model: Model
    lora: Lora | None = Field(None, description="LoRA on the backbone: what the part lora of a stage trains")
    stages: tuple[Stage, ...] = Field(min_length=1)
    optim: Optim = Optim()
    loader: Loading = Loading()
    checkpoint: Checkpoints = Checkpoints()

    @field_validator("stages")
    @classmethod
    def names_differ(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """Stages are told apart by name."""
        names = [stage.name for stage in stages]
        if len({*names}) < len(names):
            raise ValueError(f"stages need different names; they are called {', '.join(names)}")
        return stages

    @model_validator(mode="after")
    def lora_is_trained(self) -> "TrainingRecipe":
        """Thin matrices learn while those beside them rest."""
        named = [stage for stage in self.stages if "lora" in stage.train]
        if self.lora is None and named:
            raise ValueError(f"stage {named[0].name} trains lora; say which in lora, such as lora: {{rank: 16}}")
        if self.lora is not None and not named:
            raise ValueError("lora is trained by no stage; name it in a stage's train")
        for stage in self.stages if self.lora else ():
            if stage.train == "all" or {"lora", "backbone"} <= {*stage.train}:
                raise ValueError(f"stage {stage.name} trains the backbone and lora beside it; name lora or backbone")
        return self

    def identity(self) -> dict[str, Any]:
        """What must not change when a run goes on: all but where the data lies, what memory costs, and when to save."""
        ways = {"activation_checkpointing", "compile", "loss_chunk", "sharding", "skip"}
        dropped: Any = {"checkpoint": True, "data": {"datasets", "texts"}, "loader": {"prefetch"}, "optim": ways}
        found = self.model_dump(mode="json", exclude=dropped)
        if self.optim.residual is None:  # as in all runs from before there was a choice
            del found["optim"]["residual"]
        return found | {"data": found["data"] | self.data.mixture()}


def load_training_recipe(name: str, overrides: Mapping[str, object] | None = None) -> TrainingRecipe:
    """Read a training recipe by name or path; see `read_recipe`."""
    return read_recipe(find(name, "train"), TrainingRecipe, overrides)

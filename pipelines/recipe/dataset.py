"""The recipe of a dataset: what to read, how to speak it, what to keep.

How the file is read is in `file`; sections that need more room have files of their own beside this one.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from anytalk.synth.device import Dtype, check_named
from anytalk.synth.errors import SetupError, near_matches
from anytalk.synth.hearing import Context
from anytalk.synth.judge.catalogue import SCORERS
from anytalk.synth.judge.policy import Policy
from anytalk.synth.seed import digest

from .augment import Augment, augment_from_short
from .clean import Clean, Decontaminate, Dedups, Split
from .file import Name, Section, read_recipe
from .llm import ENDPOINT_ACCESS_KEYS, Llm, Reword, Rewrite
from .source import Source, sources_of
from .voices import VOICE_TERMS_KEYS, Voices


class Audio(Section):
    """What is done to every spoken or recorded utterance."""

    loudness_lufs: float = Field(-20.0, ge=-40.0, le=-10.0, description="integrated loudness (BS.1770)")
    trim_silence: bool = Field(True, description="trim silence at both ends")
    keep_silence_s: float = Field(0.1, ge=0.0, le=2.0, description="silence that is kept at both ends, in seconds")
    max_question_s: float = Field(30.0, gt=0.0, le=30.0, description="longer questions are rejected")
    max_answer_s: float = Field(60.0, gt=0.0, le=600.0, description="longer answers are rejected")


class Check(Section):
    """What an utterance must reach, and how often a spoken one is tried again."""

    listen: bool = Field(
        True, description="listen to utterances and score them; false: all that can be spoken or read is accepted"
    )
    attempts: int = Field(4, ge=1, le=20, description="maximum attempts for each side")
    attempts_per_voice: int = Field(2, ge=1, description="attempts before another voice is tried")
    mos: str = Field(
        "p808",
        description="opinion score: DNSMOS p808 (0.02 s per window) or p835 (overall score, 0.5 s per window), or "
        "utmos:FILE.onnx (MIT, a file or folder of yours)",
        examples=["p808", "p835", "utmos:models/utmos22_strong.onnx"],
    )
    recogniser: str | None = Field(
        None,
        description="Whisper whose transcripts are checked and stored, such as openai:medium; the one of "
        "features.model by default",
    )
    speaker: str | None = Field(
        None, description="ONNX speaker-embedding model, for the similarity to each voice's reference"
    )
    question: Policy = Policy()
    answer: Policy = Policy()

    @field_validator("mos")
    @classmethod
    def mos_is_known(cls, name: str) -> str:
        """The judge stands in the table."""
        judge = name.partition(":")[0]
        if judge not in SCORERS:
            raise ValueError(f"there is no judge {judge!r}{near_matches(judge, SCORERS)}")
        return name


KEPT_CODES = "snac-codes"
"""Instead of a codec: the SNAC codes that the source brings are kept, unheard, and nothing is encoded."""


class Codec(Section):
    """Codec of the answers: `bundled`, a hub id or a folder; or no codec, where the source brings SNAC codes."""

    model: str = Field(
        "bundled",
        description="bundled, a folder, a .safetensors file, a hub id of SNAC, "
        f"or {KEPT_CODES}: keep the source's codes without decoding them",
    )
    compiled: bool = Field(False, description="compile SNAC for the CPU: faster; needs a C++ compiler")
    compute_type: Dtype = Field("float32", description="precision of SNAC's encoder; half precision on a GPU only")


ComputeType = Literal["float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16", "int8_bfloat16"]


class Features(Section):
    """Whisper model whose encoder states are the questions' features, and that transcribes unless another one does."""

    model: str = Field(
        "tiny.en",
        description="a Whisper: tiny.en, small, a hub id, a folder, openai:small, a .pt file, "
        "transformers:openai/whisper-small",
    )
    compute_type: ComputeType = Field(
        "float32", description="precision of the features; float32 matches openai-whisper"
    )
    text_compute_type: ComputeType = Field("int8", description="precision where only a transcript is needed: answers")
    context: Context = Field(
        "full", description="encoder window: full (30 seconds, as in Mini-Omni) or short (8, 16 or 30 seconds)"
    )
    store: bool = Field(True, description="store the features, the largest part of a shard")


class Shards(Section):
    """Shape of what is committed."""

    unit_rows: int = Field(
        32, ge=1, le=4096, description="rows of a work unit; its last conversation is always completed"
    )
    batch_rows: int = Field(8, ge=1, le=1024, description="rows of an Arrow record batch")


class Resources(Section):
    """What a crew gets, and how many crews there are. A crew is the engines of the recipe in one process.

    None of this changes a byte, but for the kind of device.
    """

    device: str = Field(
        "auto",
        description="where engines compute: auto (a GPU where there is one), cpu, cuda, or cuda:1",
        examples=["auto", "cpu", "cuda"],
    )
    crews: int | None = Field(None, ge=1, description="crews on a Ray cluster; as many as it holds by default")
    cpus: float | None = Field(None, gt=0.0, description="cores of a crew on a cluster; up to 4, or a GPU's share")
    gpus: float | None = Field(None, ge=0.0, description="GPUs of a crew, fractions too; 1 where the cluster has any")
    memory_gib: float | None = Field(None, gt=0.0, description="memory of a crew that Ray reserves on a cluster")
    voices: int = Field(1, ge=1, description="TTS engines of a crew")
    hearing: int | None = Field(None, ge=1, description="ASR engines of a crew, most of the work; one a core, or a GPU")
    judging: int = Field(1, ge=1, description="scoring engines of a crew")
    codec: int = Field(1, ge=1, description="codec engines of a crew")
    planning: int | None = Field(None, ge=1, description="processes that clean texts while a plan is made; one a core")
    units_in_flight: int = Field(3, ge=1, description="work units that a crew makes at once")
    hours: float | None = Field(None, gt=0.0, description="wall-clock time after which a run begins no further unit")
    price_per_core_hour: float | None = Field(None, ge=0.0, description="for anytalk plan, in any currency")
    price_per_gpu_hour: float | None = Field(None, ge=0.0, description="for anytalk plan, in the same currency")

    @field_validator("device")
    @classmethod
    def device_is_known(cls, name: str) -> str:
        """The device is named as engines take it; whether it is there is seen where a crew is."""
        try:
            check_named(name)
        except SetupError as error:
            raise ValueError(str(error)) from None
        return name

    @model_validator(mode="after")
    def has_the_gpu(self) -> "Resources":
        """A crew that reserves no GPU gets none from Ray."""
        if self.device.startswith("cuda") and self.gpus == 0:
            raise ValueError(f"gpus 0 reserves no GPU, but device is {self.device}; set device to cpu, or gpus above 0")
        return self


REJUDGED_KEYS: Any = {"attempts", "question", "answer"}
"""Keys of `check` that `anytalk judge` may change: what attempts are, and what is measured of them, stays as it is."""


class Recipe(Section):
    """Everything that a dataset follows from."""

    name: Name = Field(description="of the dataset")
    seed: int = Field(1, ge=0, lt=2**63, description="all randomness follows from it and from the rows")
    source: Source
    rewrite: Rewrite | None = Field(None, description="have a language model turn written pairs into spoken style")
    clean: Clean = Clean()
    dedup: Dedups = Field(None, description="reject near-duplicates of earlier conversations; true for the defaults")
    decontaminate: Decontaminate | None = Field(None, description="reject conversations that contain evaluation texts")
    split: Split = Split()
    voices: Voices
    audio: Audio = Audio()
    check: Check = Check()
    reword: Reword | None = Field(None, description="have a language model rephrase what still fails the check")
    augment: Annotated[Augment | None, BeforeValidator(augment_from_short)] = Field(
        None, description="changes to the audio of questions that passed the check; may be a list of steps"
    )
    codec: Codec = Codec()
    features: Features = Features()
    shards: Shards = Shards()
    resources: Resources = Resources()
    report: bool = Field(False, description="write report.html at the end: a page to look at and listen to")

    @model_validator(mode="after")
    def codec_fits_source(self) -> "Recipe":
        """Codes of a source mean nothing but to SNAC, and without a codec there is nothing else."""
        bring = [source.brings_codes for source in sources_of(self.source)]
        if any(bring) and self.codec.model in ("bundled", "fake"):
            raise ValueError(
                f"codec.model: the source brings SNAC codes, which the codec {self.codec.model!r} does not know; set "
                f"it to SNAC (hubertsiuzdak/snac_24khz, or a folder) or to {KEPT_CODES}, or set source.respeak"
            )
        if not all(bring) and self.codec.model == KEPT_CODES:
            raise ValueError(
                f"codec.model: {KEPT_CODES} keeps the codes of voiceassistant and encodes nothing; name a codec"
            )
        return self

    @model_validator(mode="after")
    def holds_out_question_voices(self) -> "Recipe":
        """Voices that are held out can ask, do not answer, and leave others to train on."""
        held = {name for split in self.split.held_out_voices for name in self.split.voices_of(split)}
        question_voices = {choice.voice for choice in self.voices.question}
        answerers = {choice.voice for choice in self.voices.choices()[len(self.voices.question) :]}
        if unknown := sorted(held - question_voices):
            known = ", ".join(sorted(question_voices))
            raise ValueError(f"split.held_out_voices: {', '.join(unknown)} not among voices.question: {known}")
        if heard := sorted(held & answerers):
            raise ValueError(f"split.held_out_voices: {', '.join(heard)} would be heard in training, as it answers")
        if held and held == question_voices:
            raise ValueError("split.held_out_voices: no voice is left to ask in training")
        return self

    @model_validator(mode="after")
    def listens_where_it_must(self) -> "Recipe":
        """What is transcribed, and what is changed after it passed, has to be heard."""
        transcribed = any(getattr(source, "transcribe", False) for source in sources_of(self.source))
        needs = {
            "source.transcribe": transcribed,
            "augment": self.augment is not None,
            "reword": self.reword is not None,
        }
        if not self.check.listen and any(needs.values()):
            names = " and ".join(name for name, needed in needs.items() if needed)
            raise ValueError(f"check.listen is false, but {names} needs to hear what was said; leave one of them out")
        return self

    @model_validator(mode="after")
    def knows_its_tags(self) -> "Recipe":
        """Tags that a voice knows are allowed in texts."""
        known = {tag for choice in self.voices.choices() for tag in choice.style_tags}
        if unknown := sorted(known - set(self.clean.style_tags)):
            raise ValueError(
                f"clean.style_tags: does not allow {', '.join(unknown)}, which voices have among their style_tags"
            )
        return self

    def models(self) -> list[Llm | Rewrite | Reword]:
        """Every use of a language model."""
        return [*self.planning_models(), *([self.reword] if self.reword else [])]

    def planning_models(self) -> list[Llm | Rewrite]:
        """Uses of language models that a plan waits for."""
        generated = [source for source in sources_of(self.source) if isinstance(source, Llm)]
        return [*generated, *([self.rewrite] if self.rewrite else [])]

    @property
    def part(self) -> int | None:
        """Conversations that are planned together where a language model is asked: as its source says; None for all."""
        models = self.planning_models()
        sizes = [model.part for model in models if isinstance(model, Llm)] or [model.part for model in models]
        return min((size for size in sizes if size is not None), default=None)

    @property
    def hears(self) -> bool:
        """Whether a Whisper is of any use: to check what is said, or for features."""
        return self.check.listen or self.features.store

    def key_variables(self) -> set[str]:
        """Environment variables that units need where they are made: the keys of speech servers and of `reword`."""
        endpoints = [*self.voices.servers.values(), *([self.reword.endpoint] if self.reword else [])]
        return {endpoint.api_key_env for endpoint in endpoints if endpoint and endpoint.api_key_env}

    def unit_identity(self) -> str:
        """Hash of what can change a byte of an attempt: neither thresholds nor resources nor how rows are read."""
        # Without defaults, so that a key which a later version of this package adds starts no build again.
        kept = self.model_dump_json(
            exclude_defaults=True,
            include={"voices", "audio", "codec", "features", "shards", "seed", "augment", "reword"},
            exclude={"voices": VOICE_TERMS_KEYS, "reword": ENDPOINT_ACCESS_KEYS},
        )
        held_out = [part for split, voices in sorted(self.split.held_out_voices.items()) for part in (split, *voices)]
        tags = ["style_tags", *self.clean.style_tags] if self.clean.style_tags else []
        return digest(kept, self.check.model_dump_json(exclude_defaults=True, exclude=REJUDGED_KEYS), *held_out, *tags)


def load_recipe(path: str | Path, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Read the recipe of a dataset; see `read_recipe` and `both_sides`."""
    return read_recipe(path, Recipe, both_sides(overrides))


def both_sides(overrides: Mapping[str, object] | None) -> dict[str, object]:
    """Spell out overrides of both sides' bounds.

    >>> both_sides({"check.max_wer": 0.2})
    {'check.question.max_wer': 0.2, 'check.answer.max_wer': 0.2}
    """
    bounds = {field.name for field in dataclasses.fields(Policy)}
    found: dict[str, object] = {}
    for key, value in (overrides or {}).items():
        section, _, bound = key.partition(".")
        sides = ("question.", "answer.") if section == "check" and bound in bounds else ("",)
        found |= {f"{section}.{side}{bound}" if bound else key: value for side in sides}
    return found

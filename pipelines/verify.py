"""What is wrong with one unit of a dataset: its bytes, its schema, which rows it holds, and each row in itself."""

import dataclasses
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile

from anytalk.pipelines.dataset import Store, schema
from anytalk.pipelines.plan import PlannedRow
from anytalk.pipelines.recipe import SPEAKER
from anytalk.synth.fingerprint import sha256
from anytalk.synth.seed import derive_seed

MAX_FEATURE_FRAMES = 1500
CHANGED = "its bytes have changed (SHA-256 differs from SHA256SUMS)"


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the rows of a unit must be."""

    rows: list[PlannedRow]
    sidecar: Mapping[str, Any]
    recipe: Mapping[str, Any]
    """As the manifest has it."""
    fingerprints: Mapping[str, Any]
    names_speakers: bool
    seeds: Sequence[int]
    """Recipe seeds that the seeds of rows follow from: one, or of a merge those of its datasets."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit that is to be verified."""

    dataset: str
    number: int
    sha256s: Mapping[str, str]
    """Of its files, by path."""
    expected: Expected | None
    """None to verify the bytes alone."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What there was."""

    number: int
    damaged: list[str]
    """Files whose bytes have changed."""
    problems: list[str]
    """Of rows; not looked for where a file is damaged."""
    rows: int = 0
    rejects: int = 0


def verify(unit: Unit) -> Found:
    """Verify a unit, whose files are read once."""
    store, contents, damaged = _opened(unit.dataset), dict[str, bytes](), list[str]()
    for path, expected in unit.sha256s.items():
        contents[path] = store.read(path)
        damaged += [path] if sha256(contents[path]) != expected else []
    if damaged or unit.expected is None:
        return Found(unit.number, damaged, [])
    tables = {
        path.partition("/")[0]: pa.ipc.open_file(contents[path]).read_all()
        for path in (file["path"] for file in unit.expected.sidecar["files"])
    }
    counts = [tables[folder].num_rows if folder in tables else 0 for folder in ("shards", "rejects")]
    return Found(unit.number, damaged, list(_unit_problems(unit.expected, tables)), *counts)


@functools.lru_cache(maxsize=1)
def _opened(dataset: str) -> Store:
    return Store(dataset)


def _schemas(expected: Expected) -> dict[str, pa.Schema]:
    """What the tables of a unit must look like, by folder."""
    fingerprints = expected.fingerprints
    width = fingerprints["features"]["width"] if expected.recipe["features"]["store"] else None
    return {
        "shards": schema.row_schema(width, fingerprints, expected.names_speakers),
        "rejects": schema.reject_schema(fingerprints),
        "attempts": schema.attempt_schema(fingerprints),
    }


def _unit_problems(expected: Expected, tables: Mapping[str, pa.Table]) -> Iterator[str]:
    """The rows of a unit: right schema, every planned row once, and each row in itself."""
    unit, sidecar, recipe, wanted = expected.rows, expected.sidecar, expected.recipe, _schemas(expected)
    planned = {row.id: row for row in unit}
    found: list[str] = []
    paths = {file["path"].partition("/")[0]: file["path"] for file in sidecar["files"]}
    for folder, table in tables.items():
        if not table.schema.equals(wanted[folder], check_metadata=True):
            yield f"{paths[folder]}: not schema {schema.SCHEMA_VERSION} of this dataset"
            continue
        if folder == "attempts":
            accepted = set(tables["shards"]["id"].to_pylist()) if "shards" in tables else set()
            for name in sorted(set(table["id"].to_pylist()) - accepted):
                yield f"{paths[folder]}: row {name} has attempts but is not accepted"
            continue
        found += table["id"].to_pylist()
        if folder == "shards":
            yield from _voice_problems(table, sidecar["split"], recipe, paths[folder])
            for index in range(table.num_rows):
                for problem in row_problems(table, index, expected.seeds):
                    yield f"{paths[folder]}: row {table['id'][index]}: {problem}"
    for name in sorted({*found, *planned}):
        times = found.count(name)
        if times != 1 or name not in planned:
            plans = "planned" if name in planned else "not planned"
            yield f"unit {sidecar['unit']}: row {name} is there {times} times and {plans}"
    for row in unit:
        if row.id != row.named():
            yield f"unit {sidecar['unit']}: row {row.id} is not named by its content"


def _voice_problems(table: pa.Table, split: str, recipe: Mapping[str, Any], path: str) -> Iterator[str]:
    """Voices that are held out ask in their own split alone, and nobody else asks there."""
    held_out = {
        split: [name for name in names if not name.startswith(SPEAKER)]
        for split, names in recipe["split"].get("held_out_voices", {}).items()
    }
    elsewhere = {name for names in held_out.values() for name in names}
    for name, label in zip(table["id"].to_pylist(), table["question_voice"].to_pylist(), strict=True):
        voice = label.partition(" ")[0]
        if label.startswith("recording:"):
            continue
        if voice not in held_out[split] if held_out.get(split) else voice in elsewhere:
            yield f"{path}: row {name}: {voice} asks in the {split} split, against split.held_out_voices"


def row_problems(table: pa.Table, index: int, recipe_seeds: Sequence[int]) -> Iterator[str]:
    """What is wrong with one accepted row: its seed, audio, lengths, codes, features and measures."""
    names = [name for name in table.column_names if name not in ("question_features", "answer_codes")]
    row = {name: table[name][index].as_py() for name in names}
    if row["seed"] not in [derive_seed(seed, row["id"]) for seed in recipe_seeds]:
        yield f"seed {row['seed']} does not follow from its id"
    if row["attempts"] < 1:
        yield f"attempts is {row['attempts']}"
    for side, rate_hz in (("question", schema.QUESTION_RATE_HZ), ("answer", schema.ANSWER_RATE_HZ)):
        yield from _audio_problems(row, side, rate_hz)
        wer = row[f"{side}_wer"]
        if wer is not None and not 0.0 <= wer <= 100.0:
            yield f"{side}_wer is {wer}"
    codes = schema.matrix(table["answer_codes"], index)
    if (codes is None) != (row["answer_samples"] is None):
        yield "answer_codes and answer_samples are not both there"
    elif codes is not None:
        if len(codes) != -(-row["answer_samples"] // schema.FRAME_SAMPLES):
            yield f"answer_codes has {len(codes)} frames for {row['answer_samples']} samples"
        if codes.max(initial=0) >= 4096:
            yield f"answer_codes holds {codes.max()}; codes are 0 to 4095"
    if "question_features" in table.column_names:
        yield from _feature_problems(schema.matrix(table["question_features"], index), row["question_samples"])


def _audio_problems(row: Mapping[str, Any], side: str, rate_hz: int) -> Iterator[str]:
    """Stored audio is mono 16-bit FLAC of the stored length at the side's rate."""
    audio, samples = row[f"{side}_audio"], row[f"{side}_samples"]
    # Codes that a source brought and no codec decoded have a length but no sound.
    unheard = side == "answer" and audio is None and (row["answer_voice"] or "").startswith("codes:")
    if (audio is None) != (samples is None) and not unheard:
        yield f"{side}_audio and {side}_samples are not both there"
    if audio is None:
        return
    try:
        info = soundfile.info(io.BytesIO(audio["bytes"]))
    except soundfile.LibsndfileError as error:
        yield f"{side}_audio cannot be opened: {error}"
        return
    if (info.frames, info.samplerate, info.channels, info.subtype) != (samples, rate_hz, 1, "PCM_16"):
        yield (
            f"{side}_audio is {info.frames} samples, {info.samplerate} Hz, {info.channels} channels, {info.subtype}; "
            f"expected {samples} samples, {rate_hz} Hz, mono, PCM_16"
        )


def _feature_problems(features: np.ndarray | None, samples: int) -> Iterator[str]:
    """Features are finite and as many as the frame rule says: min(1500, samples // 320 + 1)."""
    if features is None:
        yield "question_features is missing"
        return
    frames = min(MAX_FEATURE_FRAMES, samples // 320 + 1)
    if len(features) != frames:
        yield f"question_features has {len(features)} frames; {samples} samples make {frames}"
    if not np.isfinite(features).all():
        yield "question_features holds NaN or infinite values"

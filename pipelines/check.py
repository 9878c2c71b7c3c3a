"""Check a dataset: is every byte what it was, and does every row keep the schema's promises?

What is verified is named in the functions below; each problem is one line that names the file and the row.
"""

import dataclasses
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile

from anytalk.pipelines.dataset import PLAN, Store, commit, current_judgement, made_with, schema
from anytalk.pipelines.plan import Plan, load_committed
from anytalk.pipelines.recipe import SPEAKER
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import sha256
from anytalk.synth.seed import derive_seed

from .close import CARD, CHECKSUMS, MANIFEST, REPORT, checksums_bytes, totals_of
from .progress import Quiet, Reporter

MAX_FEATURE_FRAMES = 1500
UNLISTED = f"not listed in {CHECKSUMS}"


@dataclasses.dataclass(frozen=True)
class Report:
    """What was looked at, and everything that was wrong."""

    dataset: str
    files: int
    rows: int
    rejects: int
    problems: list[str]
    units: list[int] = dataclasses.field(default_factory=list)
    """Units that are wrong, and that a repair makes again."""

    @property
    def well(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems


def check(dataset: str | Path, progress: Reporter | None = None) -> Report:
    """Verify a finished dataset.

    Args:
        dataset: folder or object-store URL.
        progress: who is told how far it is.

    Raises:
        SetupError: there is no dataset.
    """
    store, progress = Store(dataset), progress or Quiet()
    if not store.exists(MANIFEST) or not store.exists(CHECKSUMS):
        if not store.exists(PLAN):
            raise SetupError(f"{store} holds no anytalk dataset")
        command = f"judge {store}" if current_judgement(store).number else "build"
        raise SetupError(f"{store} holds an unfinished dataset; run anytalk {command} again")
    damaged = list(checksum_problems(store, progress))
    problems, files = [f"{path}: {problem}" for path, problem in damaged], len(store.files())
    if problems:
        # Rows of damaged files would only repeat the same news in other words.
        wrong = {number for path, problem in damaged if problem != UNLISTED and (number := unit_of(path)) is not None}
        return Report(str(store), files, 0, 0, problems, sorted(wrong))
    manifest = json.loads(store.read(MANIFEST))
    if manifest["schema"] != schema.SCHEMA_VERSION:
        problems.append(f"{MANIFEST}: schema {manifest['schema']}; this version reads schema {schema.SCHEMA_VERSION}")
        return Report(str(store), files, 0, 0, problems)
    plan, sidecars = load_committed(store), commit.sidecars(store)
    commit.refuse_earlier(store, sidecars.values())
    versions = made_with.announced(store)
    problems += _manifest_problems(manifest, plan, sidecars)
    rows = rejects = 0
    wrong_units = []
    progress.start("shards", len(sidecars))
    try:
        for number, unit in enumerate(plan.units):
            if number not in sidecars:
                problems.append(f"units: unit {number} has no sidecar")
                wrong_units.append(number)
                continue
            tables = _tables(store, sidecars[number])
            fingerprints = versions[sidecars[number]["made_with"][0]]["made_with"]["fingerprints"]
            wanted = _schemas(manifest, fingerprints, plan)
            found = list(_unit_problems(unit, tables, manifest, wanted, sidecars[number]))
            problems += found
            wrong_units += [number] if found else []
            rows += tables["shards"].num_rows if "shards" in tables else 0
            rejects += tables["rejects"].num_rows if "rejects" in tables else 0
            progress.advance(1)
    finally:
        progress.stop()
    return Report(str(store), files, rows, rejects + plan.rejected, problems, wrong_units)


def unit_of(path: str) -> int | None:
    """Number of the unit that a file belongs to; None for a file of the whole dataset."""
    found = re.fullmatch(
        r"(?:units/|(?:shards|rejects|attempts)/[a-z]+-)([0-9]{6,})-[0-9a-f]{16}\.(?:json|arrow)", path
    )
    return None if found is None else int(found[1])


def checksum_problems(store: Store, progress: Reporter) -> Iterator[tuple[str, str]]:
    """Every file is listed, every listed file is there, and its SHA-256 is the listed one.

    Yields:
        The path of what is wrong, and what is wrong with it.
    """
    content = store.read(CHECKSUMS)
    lines = content.decode(errors="replace").split("\n")
    listed = {path: digest for digest, _, path in (line.partition("  ") for line in lines) if path}
    if checksums_bytes(listed) != content:
        yield CHECKSUMS, "not a sorted list of checksums"
    present = {path for path in store.files() if path not in (CHECKSUMS, REPORT)}
    progress.start("checksums", len(present))
    try:
        for path in sorted({*present, *listed}):
            if path not in listed:
                yield path, UNLISTED
            elif path not in present:
                yield path, f"listed in {CHECKSUMS} but missing"
            elif sha256(store.read(path)) != listed[path]:
                yield path, f"its bytes have changed (SHA-256 differs from {CHECKSUMS})"
            progress.advance(1)
    finally:
        progress.stop()
    if {MANIFEST, PLAN, CARD} - listed.keys():
        yield CHECKSUMS, f"does not list {', '.join(sorted({MANIFEST, PLAN, CARD} - listed.keys()))}"


def _manifest_problems(
    manifest: Mapping[str, Any], plan: Plan, sidecars: Mapping[int, dict[str, Any]]
) -> Iterator[str]:
    """The manifest says what its sidecars say."""
    for key, value in totals_of(plan, sidecars).items():
        if manifest[key] != value:
            yield f"{MANIFEST}: {key} is {manifest[key]}; the sidecars come to {value}"


def _tables(store: Store, sidecar: Mapping[str, Any]) -> dict[str, pa.Table]:
    return {
        file["path"].partition("/")[0]: pa.ipc.open_file(store.read(file["path"])).read_all()
        for file in sidecar["files"]
    }


def _schemas(manifest: Mapping[str, Any], fingerprints: Mapping[str, Any], plan: Plan) -> dict[str, pa.Schema]:
    """What the tables of a unit must look like, by folder."""
    width = fingerprints["features"]["width"] if manifest["recipe"]["features"]["store"] else None
    return {
        "shards": schema.row_schema(width, fingerprints, plan.names_speakers),
        "rejects": schema.reject_schema(fingerprints),
        "attempts": schema.attempt_schema(fingerprints),
    }


def _unit_problems(
    unit: list[Any],
    tables: Mapping[str, pa.Table],
    manifest: Mapping[str, Any],
    wanted: Mapping[str, pa.Schema],
    sidecar: Mapping[str, Any],
) -> Iterator[str]:
    """The rows of a unit: right schema, every planned row once, and each row in itself."""
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
            yield from _voice_problems(table, sidecar["split"], manifest["recipe"], paths[folder])
            for index in range(table.num_rows):
                for problem in row_problems(table, index, manifest["recipe"]["seed"]):
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


def row_problems(table: pa.Table, index: int, recipe_seed: int) -> Iterator[str]:
    """What is wrong with one accepted row: its seed, audio, lengths, codes, features and measures."""
    names = [name for name in table.column_names if name not in ("question_features", "answer_codes")]
    row = {name: table[name][index].as_py() for name in names}
    if row["seed"] != derive_seed(recipe_seed, row["id"]):
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

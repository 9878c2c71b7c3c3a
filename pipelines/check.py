"""Check a dataset: is every byte what it was, and does every row keep the schema's promises?

What is verified of a unit is in `verify`; each problem is one line that names the file and the row.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anytalk.pipelines.dataset import PLAN, Store, commit, current_judgement, made_with, schema
from anytalk.pipelines.plan import Plan, load_committed
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import sha256

from .close import CARD, CHECKSUMS, MANIFEST, REPORT, checksums_bytes, totals_of
from .concurrency import in_order
from .progress import Quiet, Reporter
from .verify import CHANGED, Expected, Unit, verify

CHECKED_ALONE = 32
"""Units that are checked before other processes are started."""

READ_AT_ONCE = 256
"""Small files that are held in memory."""

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


def check(dataset: str | Path, progress: Reporter | None = None, workers: int | None = None) -> Report:
    """Verify a finished dataset. Every file is read once.

    Args:
        dataset: folder or object-store URL.
        progress: who is told how far it is.
        workers: processes that read; one for each core by default.

    Raises:
        SetupError: there is no dataset.
        EngineError: a process was killed.
    """
    store, progress = Store(dataset), progress or Quiet()
    if not store.exists(MANIFEST) or not store.exists(CHECKSUMS):
        if not store.exists(PLAN):
            raise SetupError(f"{store} holds no anytalk dataset")
        command = f"judge {store}" if current_judgement(store).number else "build"
        raise SetupError(f"{store} holds an unfinished dataset; run anytalk {command} again")
    files = _Files(store)
    progress.phase("checking what is not a unit", len(files.others))
    damaged = [*files.problems, *_changed(store, files, files.others)]
    problems: list[str] = []
    rows = rejects = 0
    units, is_known = [], not damaged
    if is_known:
        manifest = json.loads(store.read(MANIFEST))
        is_known = manifest["schema"] == schema.SCHEMA_VERSION
        if not is_known:
            told = f"schema {manifest['schema']}; this version reads schema {schema.SCHEMA_VERSION}"
            problems.append(f"{MANIFEST}: {told}")
    if is_known:
        plan, sidecars = load_committed(store), commit.sidecars(store)
        commit.refuse_earlier(store, sidecars.values())
        problems += _manifest_problems(manifest, plan, sidecars)
        rejects = plan.rejected
        units = [number for number in range(len(plan.units)) if number not in sidecars]
        problems += [f"units: unit {number} has no sidecar" for number in units]
        jobs: Iterator[Unit] = _jobs(store, files, manifest, plan, sidecars)
    else:
        # Which rows there should be cannot be told, but bytes can.
        jobs = (Unit(str(store), number, sums, None) for number, sums in files.units.items())
    progress.start("units", len(files.units))
    try:
        for found in in_order(verify, jobs, workers, CHECKED_ALONE):
            damaged += [(path, CHANGED) for path in found.damaged]
            problems += found.problems
            units += [found.number] if found.problems else []
            rows, rejects = rows + found.rows, rejects + found.rejects
            progress.advance(1)
    finally:
        progress.stop()
    if damaged:
        # What else is wrong may only repeat the same news in other words.
        wrong = {number for path, problem in damaged if problem != UNLISTED and (number := unit_of(path)) is not None}
        lines = [f"{path}: {problem}" for path, problem in sorted(damaged, key=lambda one: (one[0] != CHECKSUMS, one))]
        return Report(str(store), files.count, 0, 0, lines, sorted(wrong))
    return Report(str(store), files.count, rows, rejects, problems, sorted(units))


def _jobs(
    store: Store, files: "_Files", manifest: Mapping[str, Any], plan: Plan, sidecars: Mapping[int, dict[str, Any]]
) -> Iterator[Unit]:
    """Everything there is to know of each unit that has a sidecar."""
    versions = made_with.announced(store)
    seeds = (plan.derived or {}).get("seeds") or [manifest["recipe"]["seed"]]
    for number, sidecar in sorted(sidecars.items()):
        fingerprints = versions[sidecar["made_with"][0]]["made_with"]["fingerprints"]
        expected = Expected(plan.units[number], sidecar, manifest["recipe"], fingerprints, plan.names_speakers, seeds)
        # A file that its sidecar does not name is verified with the others of its unit.
        sums = {file["path"]: file["sha256"] for file in sidecar["files"]} | files.units.pop(number, {})
        yield Unit(str(store), number, sums, expected)
    yield from (Unit(str(store), number, sums, None) for number, sums in files.units.items())


class _Files:
    """The files of a dataset, and what its list of checksums says of them."""

    def __init__(self, store: Store) -> None:
        content = store.read(CHECKSUMS)
        lines = content.decode(errors="replace").split("\n")
        self.listed = {path: digest for digest, _, path in (line.partition("  ") for line in lines) if path}
        there = store.files()
        self.count = len(there)
        present = set(there) - {CHECKSUMS, REPORT}
        self.problems = (
            [] if checksums_bytes(self.listed) == content else [(CHECKSUMS, "not a sorted list of checksums")]
        )
        self.problems += [(path, UNLISTED) for path in present - self.listed.keys()]
        missing = sorted(self.listed.keys() - present)
        self.problems += [(path, f"listed in {CHECKSUMS} but missing") for path in missing]
        if needed := sorted({MANIFEST, PLAN, CARD} - self.listed.keys()):
            self.problems.append((CHECKSUMS, f"does not list {', '.join(needed)}"))
        self.others: list[str] = []
        """Files that are there and listed, but for those that units hold."""
        self.units: dict[int, dict[str, str]] = {}
        """SHA-256 of each unit's files, by number and path."""
        for path in sorted(present & self.listed.keys()):
            number = None if path.startswith("units/") else unit_of(path)
            if number is None:
                self.others.append(path)
            else:
                self.units.setdefault(number, {})[path] = self.listed[path]


def _changed(store: Store, files: _Files, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Files whose bytes are not those that are listed; several are read at once."""
    for start in range(0, len(paths), READ_AT_ONCE):
        some = paths[start : start + READ_AT_ONCE]
        for path, content in zip(some, store.read_each(some), strict=True):
            if sha256(content) != files.listed[path]:
                yield path, CHANGED


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
    files = _Files(store)
    yield from files.problems
    progress.phase("checksums", files.count)
    yield from _changed(store, files, [*files.others, *(path for sums in files.units.values() for path in sums)])


def _manifest_problems(
    manifest: Mapping[str, Any], plan: Plan, sidecars: Mapping[int, dict[str, Any]]
) -> Iterator[str]:
    """The manifest says what its sidecars say."""
    for key, value in totals_of(plan, sidecars).items():
        if manifest[key] != value:
            yield f"{MANIFEST}: {key} is {manifest[key]}; the sidecars come to {value}"

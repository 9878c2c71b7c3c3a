"""A finished dataset that rows are taken from."""

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from anytalk.pipelines.close import CHECKSUMS
from anytalk.pipelines.dataset import MANIFEST, Judgement, Store, commit, current_judgement, made_with
from anytalk.pipelines.dataset import opened as open_finished
from anytalk.pipelines.plan import Plan, load_committed
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import sha256


@dataclasses.dataclass(frozen=True)
class Input:
    """A finished dataset that rows are taken from."""

    store: Store
    manifest: Mapping[str, Any]
    plan: Plan
    judgement: Judgement
    sidecars: Mapping[int, dict[str, Any]]
    versions: Mapping[int, Mapping[str, Any]]

    @property
    def seeds(self) -> list[int]:
        """Recipe seeds that the seeds of its rows follow from."""
        return (self.plan.derived or {}).get("seeds") or [self.judgement.recipe.seed]

    def told(self) -> dict[str, Any]:
        """What the provenance says of it."""
        return {
            "name": self.judgement.recipe.name,
            "checksums_sha256": sha256(self.store.read(CHECKSUMS)),
            "rows": self.manifest["rows_accepted"],
            "recipe": self.manifest["recipe"],
            **({"derived": self.plan.derived} if self.plan.derived else {}),
        }

    def tables(self, number: int) -> dict[str, pa.Table]:
        """Tables of a unit, by folder."""
        paths = [file["path"] for file in self.sidecars[number]["files"]]
        return {path.partition("/")[0]: read_table(self.store, path) for path in paths}


def opened(dataset: str | Path) -> Input:
    """Open a finished dataset with all that a derived one takes from it.

    Raises:
        SetupError: there is none, or another version of anytalk made it.
    """
    store = open_finished(str(dataset))
    sidecars = commit.sidecars(store)
    commit.refuse_earlier(store, sidecars.values())
    return Input(
        store,
        json.loads(store.read(MANIFEST)),
        load_committed(store),
        current_judgement(store),
        sidecars,
        made_with.announced(store),
    )


def read_table(store: Store, path: str) -> pa.Table:
    """Read an Arrow file of a dataset.

    Raises:
        SetupError: it is damaged or gone.
    """
    try:
        return pa.ipc.open_file(io.BytesIO(store.read(path))).read_all()
    except (pa.ArrowException, OSError) as error:
        raise SetupError(f"{store}/{path} cannot be read: {error}; run: anytalk check {store}") from error


def first_shard(one: Input) -> str | None:
    """The first file with accepted rows; None if there are no such rows."""
    paths = (str(file["path"]) for unit in one.sidecars.values() for file in unit["files"])
    return next((path for path in paths if path.startswith("shards/")), None)

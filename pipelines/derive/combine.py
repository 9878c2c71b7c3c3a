"""Datasets from finished datasets, without speaking: the rows that meet a condition, or the rows of several together.

Units keep their order and their rows; one that loses none is copied byte for byte. What comes out is finished and
checked like a built dataset, with its provenance in the plan, the manifest and the card. It cannot be spoken on, as it
has no source of its own: thresholds are changed, and damage is repaired, in the datasets that it was made from.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from anytalk.pipelines.dataset.where import parse_where
from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import difference
from anytalk.synth.wording import quantity

from .input import Input, first_shard, opened, read_table
from .write import Derived, derive


def filter_rows(dataset: str | Path, out: str | Path, where: str, progress: Reporter | None = None) -> Derived:
    """Make a dataset of the accepted rows that meet a condition; rejected rows are left out.

    Args:
        dataset: folder or object-store URL of a finished dataset.
        out: folder or URL of the new one.
        where: a condition over its columns; see `dataset.where`.
        progress: who is told how far it is.

    Raises:
        SetupError: there is no such dataset, the condition cannot be read, no row meets it, or `out` holds something
            else.
    """
    found, progress = opened(dataset), progress or Quiet()
    if (shard := first_shard(found)) is None:
        raise SetupError(f"{found.store} has no accepted rows")
    condition = parse_where(where, read_table(found.store, shard).schema)

    def kept(_: int, number: int) -> Collection[str]:
        tables = found.tables(number)
        return condition.kept(tables["shards"])["id"].to_pylist() if "shards" in tables else ()

    return derive([found], kept, {"by": "filter", "where": where}, out, progress)


def merge(
    datasets: Sequence[str | Path], out: str | Path, *, keep_first: bool = False, progress: Reporter | None = None
) -> Derived:
    """Make one dataset of several, with the rejected rows and the attempts of all.

    Args:
        datasets: folders or URLs of finished datasets, of the same columns, codec, feature model and thresholds.
        out: folder or URL of the new one.
        keep_first: of a row that several have, keep that of the first; else such rows are refused.
        progress: who is told how far it is.

    Raises:
        SetupError: one is missing, they do not go together, rows are in several, or `out` holds something else.
    """
    progress = progress or Quiet()
    if len(datasets) < 2:
        raise SetupError(f"merge takes two datasets or more, and then the new one; got {', '.join(map(str, datasets))}")
    progress.phase("reading plans")
    inputs = [opened(dataset) for dataset in datasets]
    for other in inputs[1:]:
        _refuse_unlike(inputs[0], other)
    seen: dict[str, int] = {}
    twice = 0
    for place, one in enumerate(inputs):
        for unit in one.plan.units:
            for row in unit:
                twice += seen.setdefault(row.id, place) != place
    if twice and not keep_first:
        raise SetupError(
            f"{quantity(twice, 'row')} {'is' if twice == 1 else 'are'} in more than one of the datasets: "
            "add --keep-first to take each from the first that has it"
        )

    def kept(place: int, number: int) -> Collection[str]:
        return [row.id for row in inputs[place].plan.units[number] if seen[row.id] == place]

    return derive(inputs, kept, {"by": "merge", "left_out_twice": twice}, out, progress)


def _refuse_unlike(first: Input, other: Input) -> None:
    """Rows that stand together are of one schema, and were judged by one policy."""
    where = f"{first.store} and {other.store}"
    for kind, name in (("codec", "codecs"), ("features", "feature models")):
        fingerprints = (one.manifest["fingerprints"].get(kind, {}) for one in (first, other))
        if told := difference(*fingerprints):
            raise SetupError(f"{where} have different {name}: {told}")
    columns = [set(read_table(one.store, path).schema.names) for one in (first, other) if (path := first_shard(one))]
    if len(columns) == 2 and (unlike := sorted(columns[0] ^ columns[1])):
        raise SetupError(
            f"{where} have different columns: {', '.join(unlike)} {'is' if len(unlike) == 1 else 'are'} in one"
        )
    policies = [one.judgement.recipe.check.model_dump() for one in (first, other)]
    if policies[0] != policies[1]:
        unlike = [key for key in policies[0] if policies[0][key] != policies[1][key]]
        raise SetupError(
            f"{where} have different check.{unlike[0]}: give both the same thresholds first (anytalk judge)"
        )
    if first.judgement.recipe.split.held_out_voices != other.judgement.recipe.split.held_out_voices:
        raise SetupError(f"{where} have different split.held_out_voices")

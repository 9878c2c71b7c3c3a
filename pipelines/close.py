"""Close a dataset: collect strays, then write the card, the manifest and the checksums."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

from anytalk.pipelines.dataset import Judgement, Store, commit, dataset_card, made_with, schema, tally
from anytalk.pipelines.plan import Plan
from anytalk.pipelines.recipe import Recipe
from anytalk.pipelines.speech import STAGES, costs
from anytalk.synth.fingerprint import sha256

MANIFEST, CHECKSUMS, CARD = "dataset.json", "SHA256SUMS", "README.md"
REPORT = "report.html"
"""The page to look at and listen to. It is in no list of checksums: it may be made anew, or deleted."""


def close(judgement: Judgement, plan: Plan, finished: Mapping[int, dict[str, Any]], store: Store) -> None:
    """Collect strays, then write the card, the manifest and, last, the checksums.

    No engine is needed. All that is written follows from what is in the dataset, so that whoever else closes it at the
    same time writes the same bytes.

    Args:
        judgement: the last one, with the recipe.
        plan: of the dataset.
        finished: the sidecar of each unit, in plan order.
        store: the dataset.

    Raises:
        SetupError: there are units that are not of this dataset; nothing was changed.
    """
    sidecar_paths = [commit.sidecar_path(number, sidecar["key"]) for number, sidecar in finished.items()]
    files = {file["path"]: file["sha256"] for sidecar in finished.values() for file in sidecar["files"]}
    files |= plan.files
    versions = {
        number: entry
        for number, entry in made_with.announced(store).items()
        if number in made_with.units_by_version(finished.values())
    }
    announcements = [*plan.announcements, *judgement.paths, *map(made_with.path_of, versions)]
    commit.collect(store, [*files, *sidecar_paths, *announcements], judgement.number)
    manifest = manifest_of(judgement, plan, finished, versions)
    store.write(CARD, dataset_card(manifest, rerolled=judgement.rerolls).encode())
    store.write(MANIFEST, commit.json_bytes(manifest))
    others = [CARD, MANIFEST, *announcements, *sidecar_paths]
    files |= zip(others, map(sha256, store.read_each(others)), strict=True)
    store.write(CHECKSUMS, checksums_bytes(files))


def manifest_of(
    judgement: Judgement,
    plan: Plan,
    finished: Mapping[int, dict[str, Any]],
    versions: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    """Content of `dataset.json`.

    Args:
        judgement: the last one, with the recipe.
        plan: of the dataset.
        finished: the sidecar of each unit, in plan order.
        versions: what units were made with, by number; see `dataset.made_with`.
    """
    counts = made_with.units_by_version(finished.values())
    order = sorted(versions, key=lambda number: (-counts[number], number))
    # Of several versions the manifest is of the one that made most units, and says what the others have otherwise.
    main = versions[order[0]]["made_with"] if order else {"fingerprints": {}, "libraries": {}, "python": ""}
    all_versions = [versions[number]["made_with"] for number in order]
    gpus = sorted({gpu for one in all_versions for gpu in made_with.gpus_of(one["fingerprints"])})
    recipe = judgement.recipe
    licences = {name: terms for number in reversed(order) for name, terms in versions[number]["licences"].items()}
    licences |= {name: dataclasses.asdict(terms) for name, terms in recipe.voices.declared_terms().items()}
    return {
        "format": "anytalk",
        "schema": schema.SCHEMA_VERSION,
        "recipe": stored_recipe(recipe),
        "judgement": judgement.number,
        **({"derived": plan.derived} if plan.derived else {}),
        "fingerprints": main["fingerprints"],
        "licences": licences,
        **totals_of(plan, finished),
        **{name: _added(finished, name) for name in ("rows_by_language", "utterances_by_voice")},
        "libraries": main["libraries"],
        "planned_with": plan.libraries,
        "made_with": [
            {
                "file": made_with.path_of(number),
                "units": counts[number],
                "differs": {
                    name: here for name, (_, here) in made_with.differences(main, versions[number]["made_with"]).items()
                },
            }
            for number in order
        ],
        "asked": [*plan.costs, *costs(recipe, finished.values())],
        "machine": {
            "python": main["python"],
            "instruction_sets": sorted({one["machine"] for one in all_versions}),
            **({"gpus": gpus} if gpus else {}),
        },
    }


def stored_recipe(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the manifest holds it: without resources, which change no byte."""
    stored: dict[str, Any] = recipe.model_dump(mode="json", exclude={"resources"})
    return stored


def _added(finished: Mapping[int, dict[str, Any]], name: str) -> dict[str, int]:
    """Add up one kind of count over the units, by name; sidecars of earlier versions may lack it."""
    return dict(sorted(tally.added(sidecar.get(name, {}) for sidecar in finished.values()).items()))


def checksums_bytes(files: Mapping[str, str]) -> bytes:
    """Checksums by path as `sha256sum` writes and reads them."""
    return "".join(f"{files[path]}  {path}\n" for path in sorted(files)).encode()


def totals_of(plan: Plan, finished: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Counts over all finished units, and over what the plan itself rejected."""
    reasons, splits, gates = Counter(plan.reasons), Counter[str](), tally.Total()
    rerolled, speech_s, seconds = 0, 0.0, dict.fromkeys(STAGES, 0.0)
    # Each is looked at once.
    for sidecar in finished.values():
        reasons.update(sidecar["reasons"])
        splits.update({sidecar["split"]: sidecar["accepted"]})
        gates.add(sidecar["gates"])
        rerolled += sidecar["rerolled"]
        speech_s += sidecar["speech_s"]
        for stage in STAGES:
            seconds[stage] += sidecar["seconds"][stage]
    return {
        "rows_accepted": splits.total(),
        "rows_rerolled": rerolled,
        "rows_rejected": reasons.total(),
        "gates": gates.counts(),
        "reasons": tally.commonest_first(reasons),
        "splits": dict(splits),
        "speech_hours": round(speech_s / 3600, 4),
        "seconds": {stage: round(spent_s, 1) for stage, spent_s in seconds.items()},
        "units": len(finished),
    }

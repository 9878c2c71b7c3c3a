"""Close a dataset: collect strays, then write the card, the manifest and the checksums."""

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from anytalk.pipelines.dataset import PLAN, Judgement, Store, commit, dataset_card, schema, tally
from anytalk.pipelines.plan import Plan
from anytalk.pipelines.speech import STAGES, costs
from anytalk.synth.fingerprint import sha256

MANIFEST, CHECKSUMS, CARD = "dataset.json", "SHA256SUMS", "README.md"


LIBRARIES = (
    "anytalk",
    "ctranslate2",
    "faster-whisper",
    "hibari-tts",
    "numpy",
    "onnxruntime",
    "piper-tts",
    "pyarrow",
    "pyloudnorm",
    "ray",
    "scipy",
    "snac",
    "soundfile",
    "soxr",
    "torch",
)
"""What shapes the bytes; their versions stand in the manifest."""


def close(judgement: Judgement, plan: Plan, finished: Mapping[int, dict[str, Any]], store: Store) -> None:
    """Collect strays, then write the card, the manifest and, last, the checksums."""
    assert judgement.made_with is not None
    made_with = judgement.made_with
    sidecar_paths = [commit.sidecar_path(number, sidecar["key"]) for number, sidecar in finished.items()]
    files = {file["path"]: file["sha256"] for sidecar in finished.values() for file in sidecar["files"]}
    files |= plan.files
    announcements = [PLAN, judgement.path] if judgement.path else [PLAN]
    commit.collect(store, [*files, *sidecar_paths, *announcements])
    manifest = {
        "format": "anytalk",
        "schema": schema.SCHEMA_VERSION,
        "recipe": judgement.recipe.model_dump(mode="json", exclude={"resources"}),
        "judgement": judgement.number,
        "fingerprints": made_with["fingerprints"],
        "licences": made_with["licences"],
        **totals_of(plan, finished),
        **{name: _added(finished, name) for name in ("rows_by_language", "utterances_by_voice")},
        "libraries": made_with["libraries"],
        "asked": [*plan.costs, *costs(judgement.recipe, finished.values())],
        "machine": {
            "python": made_with["python"],
            "instruction_sets": sorted({i for s in finished.values() for i in s["instruction_sets"]}),
            **({"gpus": gpus} if (gpus := sorted({g for s in finished.values() for g in s.get("gpus", [])})) else {}),
        },
    }
    store.write(CARD, dataset_card(manifest, rerolled=judgement.rerolls).encode())
    store.write(MANIFEST, commit.json_bytes(manifest))
    for path in (CARD, MANIFEST, *announcements, *sidecar_paths):
        files[path] = sha256(store.read(path))
    store.write(CHECKSUMS, checksums_bytes(files))


def _added(finished: Mapping[int, dict[str, Any]], name: str) -> dict[str, int]:
    """Add up one kind of count over the units, by name; sidecars of earlier versions may lack it."""
    return dict(sorted(tally.added(sidecar.get(name, {}) for sidecar in finished.values()).items()))


def checksums_bytes(files: Mapping[str, str]) -> bytes:
    """Checksums by path as `sha256sum` writes and reads them."""
    return "".join(f"{files[path]}  {path}\n" for path in sorted(files)).encode()


def versions() -> dict[str, str]:
    """Versions of the libraries that shape the bytes, where they are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def totals_of(plan: Plan, finished: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Counts over all finished units, and over what the plan itself rejected."""
    reasons = tally.added([plan.reasons, *(sidecar["reasons"] for sidecar in finished.values())])
    splits = tally.added({sidecar["split"]: sidecar["accepted"]} for sidecar in finished.values())
    return {
        "rows_accepted": splits.total(),
        "rows_rerolled": sum(sidecar["rerolled"] for sidecar in finished.values()),
        "rows_rejected": reasons.total(),
        "gates": tally.total([sidecar["gates"] for sidecar in finished.values()]),
        "reasons": tally.commonest_first(reasons),
        "splits": dict(splits),
        "speech_hours": round(sum(sidecar["speech_s"] for sidecar in finished.values()) / 3600, 4),
        "seconds": {s: round(sum(sc["seconds"][s] for sc in finished.values()), 1) for s in STAGES},
        "units": len(finished),
    }

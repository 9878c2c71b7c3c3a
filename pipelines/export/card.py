"""The card of an export: front matter that says to `datasets` where the splits are, and a page for people."""

import json
from collections.abc import Mapping
from typing import Any

from anytalk.pipelines.dataset.card import licences_of, listed, size_category, voices_table, whispers_of
from anytalk.synth.language import primary

from .format import Format

CARD = """\
---
{front}---

# {name} ({format})

Exported by [anytalk](https://pypi.org/project/anytalk/) from a dataset that it built (SHA-256 of its checksums:
`{sha256}`). {notes}

| split | rows |
|---|---|
{splits}

{left_out}

## How it was made

{whispers}codec: `{codec}`. `export.json` holds the recipe, the options and the checksum of
every file.

| voice | licence | source | consent of the speaker | utterances |
|---|---|---|---|---|
{voices}

The licences in the front matter are those of the voices; the texts have the licence of their source.
"""


def export_card(form: Format, result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Write the card.

    Args:
        form: the format.
        result: content of `export.json`.
        manifest: content of the dataset's `dataset.json`.
    """
    left_out = ", ".join(f"`{reason}` {rows:,}" for reason, rows in result["left_out"].items())
    return CARD.format(
        front=_front_matter(form, result, manifest),
        name=manifest["recipe"]["name"],
        format=form.name,
        sha256=result["request"]["dataset_sha256"],
        notes=form.notes(),
        splits="\n".join(f"| {split} | {rows:,} |" for split, rows in result["splits"].items()),
        left_out=f"Rows that do not fit this format, left out and named in `left_out.jsonl`: {left_out}."
        if left_out
        else "No row was left out.",
        whispers="".join(f"Whisper ({use}): `{model}`; " for use, model in whispers_of(manifest["recipe"])),
        codec=manifest["recipe"]["codec"]["model"],
        voices="\n".join(voices_table(manifest)),
    )


def _front_matter(form: Format, result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    lines = [
        f"pretty_name: {json.dumps(manifest['recipe']['name'])}",
        *listed("license", licences_of(manifest)),
        *listed("language", sorted({json.dumps(primary(tag)) for tag in manifest["rows_by_language"]})),
        *listed("size_categories", [size_category(result["rows"])]),
        *listed("task_categories", form.task_categories),
        *listed("tags", ["anytalk", "spoken-instructions"]),
    ]
    configs = form.data_files([split for split, rows in result["splits"].items() if rows])
    lines += ["configs:"] if any(configs.values()) else []
    for config, files in configs.items():
        lines += [f"- config_name: {config}", *(["  default: true"] if config == "default" else []), "  data_files:"]
        lines += [line for split, path in files.items() for line in (f"  - split: {split}", f"    path: {path}")]
    return "".join(f"{line}\n" for line in lines)

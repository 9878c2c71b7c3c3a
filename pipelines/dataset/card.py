"""The dataset card: front matter for the Hugging Face hub and `datasets.load_dataset`, and a page for people."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anytalk.synth.language import primary

from .schema import MEASURES, SIDES
from .tally import table

CARD = """\
---
{front}---

# {name}

A spoken-instruction dataset built by [anytalk](https://pypi.org/project/anytalk/). Each row is one question and its
answer: as text, as speech, and encoded for training (Whisper encoder states of the question, SNAC codes of the answer).

| | |
|---|---|
| rows | {rows} |
| hours of speech | {hours} |
| rejected rows (in `rejects/`, with reasons) | {rejected} |
| languages | {languages} |
{whispers}| codec | `{codec}` |

## Load it

```python
from pathlib import Path

from datasets import Audio, load_dataset

dataset = str(Path.cwd())  # run in this folder; from the Hugging Face hub: "OWNER/NAME"
rows = load_dataset(dataset, split="{split}")
for column in ("question_audio", "answer_audio"):
    rows = rows.cast_column(column, Audio(decode=False))  # FLAC bytes, which soundfile reads
print(rows[0]["question"])
```

Decoding audio with `datasets` itself needs `torchcodec` and FFmpeg's libraries. `load_dataset` copies the rows into its
cache; without a copy, `pyarrow.ipc.open_file(pyarrow.memory_map("shards/….arrow")).get_batch(0)` reads a few rows.

## Columns

| column | content |
|---|---|
{columns}

## Checks

{heard}

Rows that failed are in `rejects/`; further attempts at accepted rows are in `attempts/`.

| threshold | question | answer |
|---|---|---|
{thresholds}

How many passed, and which check the first attempt failed:

{gates}

## Voices

| voice | licence | source | consent of the speaker | utterances |
|---|---|---|---|---|
{voices}

`utterances` counts every attempt that is stored, rejected ones included. The licences in the front matter are those of
the voices; {texts}

{derived}How it was built is in `dataset.json`; `sha256sum -c SHA256SUMS` or `anytalk check` verify it.
"""

HUB_LICENCES = (
    "apache-2.0",
    "bsd-3-clause",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "gpl-3.0",
    "mit",
)
"""Licences that the Hugging Face hub knows by this name: SPDX in lower case, without -only and -or-later."""

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
"""Size categories of the Hugging Face hub, by the rows that they end below."""

COLUMNS = {
    "id, split_name, conversation, turn, variant": "what the row is: label of the source, conversation, turn from 0, "
    "and which speaking of the pair",
    "question, answer": "the text that was spoken, or the transcript of a recording",
    "question_written, answer_written": "the text as the source has it, before numbers and abbreviations were written "
    "out",
    "language": "BCP-47 tag",
    "question_audio, answer_audio": "mono 16-bit FLAC at 16 kHz and 24 kHz",
    "question_samples, answer_samples": "length at those rates",
    "question_features": "Whisper encoder states, float16, {width} wide, 50 frames a second",
    "answer_codes": "SNAC codes, seven in a frame of 2048 samples",
    "question_voice, answer_voice": "voice with speed, pitch and seed, or the recording",
    "question_transcript, answer_transcript": "what Whisper heard",
    "question_*, answer_*": "measures, stored whatever the result: {measures}",
    "question_augmentation, question_augmented_transcript, question_augmented_wer": "how the question's audio was "
    "changed after its checks, and how Whisper transcribes it since",
    "attempts, seed": "attempts at the side that took most, and the row's seed",
}
"""What each column holds, in the order of the schema."""


def dataset_card(manifest: Mapping[str, Any], *, rerolled: bool = True) -> str:
    """Write the card of a finished dataset.

    Args:
        manifest: content of `dataset.json`.
        rerolled: whether rows that fail the thresholds were given further attempts; a judgement may leave that out.
    """
    recipe = manifest["recipe"]
    splits = {split: rows for split in ("train", "validation", "test") if (rows := manifest["splits"].get(split))}
    return CARD.format(
        front=_front_matter(manifest, splits),
        name=recipe["name"],
        rows=", ".join(f"{split} {rows:,}" for split, rows in splits.items()) or "none",
        hours=manifest["speech_hours"],
        rejected=manifest["rows_rejected"],
        languages=", ".join(f"{tag} {rows:,}" for tag, rows in manifest["rows_by_language"].items()) or "none",
        whispers="".join(f"| Whisper ({use}) | `{model}` |\n" for use, model in whispers_of(recipe)),
        codec=recipe["codec"]["model"],
        split=next(iter(splits), "train"),
        columns="\n".join(_columns(manifest)),
        heard=_heard(recipe["check"], rerolled),
        thresholds="\n".join(_thresholds(recipe["check"])) or "| none | | |",
        gates=_table(table(manifest["gates"])),
        voices="\n".join(voices_table(manifest)),
        texts=_texts(_kinds(recipe["source"])),
        derived=_derived(manifest.get("derived")),
    )


def whispers_of(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What each Whisper that a dataset was made with was of use for, and its name."""
    check, features = recipe["check"], recipe["features"]
    heard = check.get("listen", True) and (check.get("recogniser") or features["model"])
    kept = features["store"] and features["model"]
    if heard and heard == kept:
        return [("features and transcripts", heard)]
    return [(use, model) for use, model in (("features", kept), ("transcripts", heard)) if model]


def _front_matter(manifest: Mapping[str, Any], splits: Mapping[str, int]) -> str:
    """Metadata for the hub, and the files of each split for `load_dataset`."""
    answered = manifest["gates"]["answer"]["rows"] > 0
    tasks = ["automatic-speech-recognition", *(["text-to-speech", "audio-to-audio"] if answered else [])]
    rows = sum(splits.values())
    # Names are written as JSON strings, which YAML reads as they are meant whatever is in them.
    lines = [
        f"pretty_name: {json.dumps(manifest['recipe']['name'])}",
        *listed("license", licences_of(manifest)),
        *listed("language", sorted({json.dumps(primary(tag)) for tag in manifest["rows_by_language"]})),
        *listed("size_categories", [size_category(rows)]),
        *listed("task_categories", tasks),
        *listed("tags", ["anytalk", "spoken-instructions", "snac"]),
    ]
    if splits:
        lines += ["configs:", "- config_name: default", "  data_files:"]
        lines += [line for split in splits for line in (f"  - split: {split}", f"    path: shards/{split}-*.arrow")]
    return "".join(f"{line}\n" for line in lines)


def listed(key: str, values: Sequence[str]) -> list[str]:
    """A key of the front matter with its values, as lines of YAML; none without values."""
    return [f"{key}:", *(f"- {value}" for value in values)] if values else []


def size_category(rows: int) -> str:
    """How the hub names datasets of this size."""
    return next((name for end, name in SIZES if rows < end), "n>10M")


def licences_of(manifest: Mapping[str, Any]) -> list[str]:
    """Licences of the voices that spoke, as the hub calls them."""
    found = set()
    for name in manifest["utterances_by_voice"]:
        if name not in manifest["licences"]:
            found.add("other")  # Recordings and codes of the source, whose licence anytalk does not know.
            continue
        licence = manifest["licences"][name]["licence"]
        own = (licence or "unknown").partition(" (voice)")[0].lower()
        own = own.removesuffix("-or-later").removesuffix("-only")
        found.add(own if own in HUB_LICENCES else "other" if licence else "unknown")
    return sorted(found)


def _columns(manifest: Mapping[str, Any]) -> Iterable[str]:
    recipe, width = manifest["recipe"], manifest["fingerprints"].get("features", {}).get("width")
    for names, content in COLUMNS.items():
        if names == "question_features" and not recipe["features"]["store"]:
            continue
        if names.startswith("question_augmentation") and "augment" not in manifest["fingerprints"]:
            continue
        columns = ", ".join(f"`{name}`" for name in names.split(", "))
        yield f"| {columns} | {content.format(width=width, measures=', '.join(MEASURES))} |"


def _heard(check: Mapping[str, Any], rerolled: bool) -> str:
    if not check.get("listen", True):
        return "Nothing was listened to: all that could be spoken or read was accepted, and no threshold was applied."
    heard = "Every utterance is transcribed and measured."
    if not rerolled:
        return f"{heard} The thresholds were changed after the build, and rows that fail them were not spoken again."
    if (attempts := check["attempts"]) == 1:
        return f"{heard} What failed a check was not spoken again."
    return f"{heard} What failed a check was spoken again, up to {attempts} attempts in all; recordings were not."


def _thresholds(check: Mapping[str, Any]) -> Iterable[str]:
    """A line of the table for each threshold that a side has."""
    for name in check["question"] if check.get("listen", True) else ():
        bounds = [check[side][name] for side in SIDES]
        if any(bound is not None for bound in bounds):
            cells = " | ".join("none" if bound is None else f"{bound:g}" for bound in bounds)
            yield f"| `{name}` | {cells} |"


def voices_table(manifest: Mapping[str, Any]) -> Iterable[str]:
    """Licences: a line of the table for each voice that spoke, and for recordings and codes of the source."""
    kinds = {"recording": "recordings of the source", "codes": "SNAC codes of the source"}
    for name, utterances in manifest["utterances_by_voice"].items():
        terms = manifest["licences"].get(name)
        words = (
            ("not known", kinds[name], "not known")
            if terms is None
            else (terms["licence"] or "**not known**", terms["source"] or "not said", terms["consent"] or "not said")
        )
        # A bar or a line break would end the cell.
        cells = " | ".join(" ".join(word.replace("|", "/").split()) for word in words)
        yield f"| `{name}` | {cells} | {utterances:,} |"


def _derived(derived: Mapping[str, Any] | None) -> str:
    """Which datasets it was made from, and how; nothing for one that was built."""
    if derived is None:
        return ""
    names = ", ".join(
        f"{one['name']} ({one['rows']:,} rows, `{one['checksums_sha256'][:12]}`)" for one in derived["from"]
    )
    how = f"`anytalk filter --where '{derived['where']}'`" if derived["by"] == "filter" else "`anytalk merge`"
    return f"It was made by {how} from: {names}. The recipe above and in `dataset.json` is that of the first.\n\n"


def _kinds(source: Mapping[str, Any]) -> set[str]:
    """Kinds of a source and of its parts."""
    if source["kind"] == "mix":
        return {kind for part in source["parts"] for kind in _kinds(part["source"])}
    return {source["kind"]}


def _texts(kinds: set[str]) -> str:
    if kinds == {"bundled"}:
        return "the texts are anytalk's own corpus, under Apache-2.0."
    if kinds == {"grammar"}:
        return "the texts were drawn from a grammar; that of the package is under Apache-2.0."
    return "the texts have the licence of their source, which anytalk does not know: add it before you publish."


def _table(lines: Sequence[Sequence[str]]) -> str:
    """Cells as a table, the heading first."""
    rule = ["---"] * len(lines[0])
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])

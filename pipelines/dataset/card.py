"""The dataset card: front matter that `datasets.load_dataset` finds the splits by, and what a person should know."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .tally import table

CARD = """\
---
{front}---

# {name}

A spoken-instruction dataset made by [anytalk](https://pypi.org/project/anytalk/): each row is one question and its
answer, as text, as speech, and encoded for training (Whisper encoder states of the question, SNAC codes of the answer).

| | |
|---|---|
| rows | {rows} |
| hours of speech | {hours} |
| rejected rows (in `rejects/`, with reasons) | {rejected} |
| recogniser and features | `{features}` |
| codec | `{codec}` |

## Yield

Every utterance was heard by the recogniser and measured. What failed a gate was spoken again; the rows that failed for
good are in `rejects/`, and the failed attempts at the others in `attempts/`.

{gates}

## Voices

| voice | licence | source | consent of the speaker |
|---|---|---|---|
{voices}

## Load it

```python
from datasets import Audio, load_dataset

rows = load_dataset("{name}", split="train")            # a local folder works too; the rows are copied to the cache
rows = rows.cast_column("question_audio", Audio(decode=False))  # bytes; soundfile opens them without more installs
```

Without a copy, a shard is memory-mapped: `pyarrow.ipc.open_file(pyarrow.memory_map("shards/….arrow")).get_batch(0)`.
Decoding audio with `datasets` itself needs `torchcodec` and FFmpeg's libraries.

How it was made is in `dataset.json`; `sha256sum -c SHA256SUMS` or `anytalk check` verify it.
"""


def dataset_card(manifest: Mapping[str, Any]) -> str:
    """Write the card of a finished dataset.

    Args:
        manifest: content of `dataset.json`.
    """
    splits = {split: rows for split, rows in manifest["splits"].items() if rows}
    files = [f"  - split: {split}\n    path: shards/{split}-*.arrow\n" for split in splits]
    # Names are written as JSON strings, which YAML reads as they are meant whatever is in them.
    front = [
        f"pretty_name: {json.dumps(manifest['recipe']['name'])}\n",
        "task_categories:\n- automatic-speech-recognition\n- text-to-speech\n",
        "tags:\n- anytalk\n- spoken-instructions\n- snac\n",
    ]
    if files:
        front += ["configs:\n- config_name: default\n  data_files:\n", *files]
    return CARD.format(
        front="".join(front),
        name=manifest["recipe"]["name"],
        rows=", ".join(f"{split} {rows:,}" for split, rows in splits.items()) or "none",
        hours=manifest["speech_hours"],
        rejected=manifest["rows_rejected"],
        features=manifest["recipe"]["features"]["model"],
        codec=manifest["fingerprints"]["codec"]["name"],
        gates=_table(table(manifest["gates"])),
        voices="\n".join(_voice(name, terms) for name, terms in manifest["licences"].items()),
    )


def _table(lines: Sequence[Sequence[str]]) -> str:
    """Cells as a table, the heading first."""
    rule = ["---"] * len(lines[0])
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def _voice(name: str, terms: Mapping[str, str | None]) -> str:
    """A line of the table of voices."""
    words = (terms["licence"] or "**not known**", terms["source"] or "not said", terms["consent"] or "not said")
    # A bar or a line break would end the cell.
    return f"| `{name}` | " + " | ".join(" ".join(word.replace("|", "/").split()) for word in words) + " |"

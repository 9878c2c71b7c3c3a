"""LibriSpeech: its sets on the hub, as it is unpacked, and what Mini-Omni's paper says of them.

Source: http://www.openslr.org/12 for the folders (SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt, a line for each
recording); https://huggingface.co/datasets/openslr/librispeech_asr for the configurations and splits.
"""

from collections.abc import Iterator
from pathlib import Path

from .item import BadItem, Item

HUB_ID = "openslr/librispeech_asr"
ON_HUB = {
    "test-clean": ("clean", "test"),
    "test-other": ("other", "test"),
    "dev-clean": ("clean", "validation"),
    "dev-other": ("other", "validation"),
}
"""Configuration and split of each set on the hub."""

PAPER_WER = {"test-clean": 0.045, "test-other": 0.097, "dev-clean": 0.046, "dev-other": 0.092}
"""Word error rates of Mini-Omni (https://arxiv.org/abs/2408.16725, table 2)."""

TRANSCRIPTS = "*.trans.txt"
SUFFIXES = (".flac", ".wav")


def find_sets(folder: Path) -> dict[str, list[Path]]:
    """Find the transcripts of each set in a folder: LibriSpeech itself, one of its sets, or a part of one.

    Returns:
        Transcript files by the set's name, which is the name of the topmost folder that is not `LibriSpeech`; empty
        where there is no LibriSpeech.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob(TRANSCRIPTS)):
        # .../LibriSpeech/SET/SPEAKER/CHAPTER/FILE
        above = [part.name for part in path.resolve().parents]
        name = above[2] if len(above) > 2 else folder.name
        found.setdefault(name, []).append(path)
    return found


def count(transcripts: list[Path]) -> int:
    """Count the recordings of some transcript files."""
    return sum(1 for path in transcripts for line in path.read_bytes().splitlines() if line)


def read_set(transcripts: list[Path]) -> Iterator[Item | BadItem]:
    """Read the recordings of some transcript files."""
    for path in transcripts:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, text = line.partition(" ")
            if not name:
                continue
            recordings = (path.parent / f"{name}{suffix}" for suffix in SUFFIXES)
            recording = next((each for each in recordings if each.is_file()), None)
            if recording is None:
                yield BadItem(name, f"missing_audio: {path.parent / name}{SUFFIXES[0]} does not exist")
            else:
                yield Item(name, text.strip(), audio=recording)

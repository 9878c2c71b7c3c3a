"""Feed damaged files to one reader for some seconds: `python tests/fuzz/targets.py TARGET SECONDS SEED FOLDER`.

Each input is a real file with some of its bytes changed, cut out, doubled, or exchanged with those of another. It is
written to FOLDER before it is read, so that it is there after a crash. The last line of the output is a JSON object. A
reader may raise only what it promises; too much time or memory for one input is a failure as well.
"""

import contextlib
import io
import json
import random
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from anytalk.synth.errors import AnyTalkError

ROOT = Path(__file__).resolve().parents[2]
SLOWEST_S = 20.0
MEMORY_BYTES = 8 * 2**30
"""Of address space, most of which is libraries; it holds for programs that are started too."""

NUMBERS = [0, 1, 7, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
PIECES = [
    *(
        b"\x00",
        b"\xff",
        b"\n",
        b"\r",
        b'"',
        b"'",
        b"{",
        b"[",
        b"]",
        b"}",
        b":",
        b",",
        b";",
        b"\t",
        b"-",
        b"NaN",
        b"1e999",
    ),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"9" * 5000, b"[" * 3000, b"{a: " * 2000, b"&a ", b"*a"),
    *(b"!!python/name:os ", b"2026-99-99", b"null", b"true", b"RIFF", b"data", b"OggS", b"fLaC", b"ID3", b"ftyp"),
]


def mutated(seeds: list[bytes], rng: random.Random) -> bytes:
    """One of the seeds, changed in a few places."""
    content = bytearray(rng.choice(seeds))
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(content) + 1)
        # Most of what decides stands at the start.
        at = min(at, rng.choice([64, 512, len(content)]))
        kind = rng.randrange(7)
        if kind == 0 and at < len(content):
            content[at] = rng.randrange(256)
        elif kind == 1:
            code = rng.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
            size = struct.calcsize(code)
            content[at : at + size] = struct.pack(code, rng.choice(NUMBERS) % 2 ** (8 * size))
        elif kind == 2:
            del content[at : at + rng.choice([1, 4, 64, 1024, len(content)])]
        elif kind == 3:
            content[at:at] = content[at : at + rng.choice([1, 16, 256, 4096])]
        elif kind == 4:
            content[at:at] = rng.choice(PIECES)
        elif kind == 5:
            other = rng.choice(seeds)
            start = rng.randrange(len(other))
            content[at : at + 256] = other[start : start + rng.choice([16, 256, len(other)])]
        else:
            content += rng.choice(seeds)
    return bytes(content[: 2**20])


def audio() -> tuple[list[bytes], str, Callable[[Path], object]]:
    """Recordings of every format whose structure is walked here."""
    from anytalk.synth.audio import read_audio

    rng = np.random.default_rng(1)
    forms = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("FLAC", "PCM_16"), ("MP3", None)]
    forms += [("OGG", "VORBIS"), ("OGG", "OPUS"), ("AIFF", "PCM_24"), ("RF64", "PCM_16"), ("CAF", "PCM_16")]
    seeds = []
    for form, subtype in forms:
        for channels in (1, 2):
            file = io.BytesIO()
            samples = np.tile(0.1 * rng.standard_normal((4000, 1)), channels)
            soundfile.write(file, samples, 16_000, format=form, subtype=subtype)
            seeds.append(file.getvalue())
    return seeds, "bin", lambda path: (read_audio(path, 16_000), read_audio(path.read_bytes(), 16_000))


ROWS = [
    {"question": "What comes after Monday?", "answer": "Tuesday.", "conversation": "a", "turn": 0, "language": "en"},
    {"question": 'Say "Größe"; or\nnot?', "answer": None, "conversation": "a", "turn": 1, "language": "de"},
]


def tables() -> tuple[list[bytes], str, Callable[[Path], object]]:
    """Tables of every kind, each read as every kind."""
    from pydantic import TypeAdapter

    from anytalk.pipelines.recipe import Source
    from anytalk.pipelines.source import Attachments, read_pairs

    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    comma = 'question,answer,turn\n"What, then?",Nothing.,0\nWho?,"I, ""we""",1\n'
    seeds = [lines.encode(), lines.encode("utf-16"), json.dumps(ROWS, indent=1).encode(), comma.encode()]
    seeds += [json.dumps({"data": ROWS}).encode(), comma.replace(",", ";").encode("cp1252"), comma.encode("utf-8-sig")]
    for compression in ("none", "snappy", "gzip"):
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(ROWS * 50), file, row_group_size=30, compression=compression)
        seeds.append(file.getvalue())

    def read(path: Path) -> None:
        for kind in ("jsonl", "csv", "parquet"):
            source = TypeAdapter(Source).validate_python({"kind": kind, "path": str(path)})
            try:
                for row in read_pairs(source, Attachments(None)):
                    row.source.encode()
            except AnyTalkError as error:
                if len(str(error).splitlines()) > 1:
                    raise ValueError("several lines") from error

    return seeds, "table", read


def shards() -> tuple[list[bytes], str, Callable[[Path], object]]:
    """Arrow shards, as training reads them."""
    from anytalk.pipelines.dataset import commit, schema
    from anytalk.recipes.data.rows import Rows

    meta = {"schema": schema.SCHEMA_VERSION, "codec": {"name": "fake"}, "features": {"model": "fake"}}
    layout = schema.row_schema(4, meta)
    codes, features = np.ones((3, 7), np.uint16), np.ones((5, 4), np.float16)
    known = {"split_name": "s", "conversation": "c", "variant": 0, "question": "Who?", "answer": "I.", "language": "en"}
    known |= {"attempts": 1, "seed": 1, "answer_codes": codes, "question_features": features}
    row = dict.fromkeys(layout.names) | known
    table = schema.table([row | {"id": name, "turn": turn} for turn, name in enumerate("abc")], layout)
    seeds = [commit.arrow_bytes(table, 2)]

    def read(path: Path) -> None:
        folder = path.parent / "dataset"
        (folder / "shards").mkdir(parents=True, exist_ok=True)
        (folder / "dataset.json").write_text("{}")
        (folder / "shards" / "train-000000-0.arrow").write_bytes(path.read_bytes())
        rows = Rows([str(folder)], "train", lambda texts: [[len(text)] for text in texts], 4096)
        for number in range(len(rows)):
            rows[number]

    return seeds, "arrow", read


def recipes() -> tuple[list[bytes], str, Callable[[Path], object]]:
    """Recipes of datasets and of training."""
    from anytalk.pipelines.recipe import load_recipe, read_recipe
    from anytalk.recipes.train.recipe import TrainingRecipe

    seeds = [path.read_bytes() for path in sorted((ROOT / "recipes" / "configs").glob("*/*.yaml"))]

    def read(path: Path) -> None:
        for load in (lambda: load_recipe(path), lambda: read_recipe(path, TrainingRecipe)):
            with contextlib.suppress(AnyTalkError):
                load()

    return seeds, "yaml", read


def checkpoints() -> tuple[list[bytes], str, Callable[[Path], object]]:
    """Configs of checkpoints."""
    from anytalk.model import Layout, MiniOmniConfig, read_config

    layout = Layout(text_size=100, codebook_size=64, layers=7)
    backbone = {"model_type": "qwen2", "vocab_size": layout.text_vocabulary, "hidden_size": 16}
    config = MiniOmniConfig(layout=layout, backbone=backbone, feature_width=8)
    seeds = [json.dumps(config.to_dict(), indent=2).encode()]

    def read(path: Path) -> None:
        (path.parent / "config.json").write_bytes(path.read_bytes())
        # `load_model` makes one line of it.
        with contextlib.suppress(ValueError):
            MiniOmniConfig.from_dict(read_config(path.parent))

    return seeds, "json", read


TARGETS = {target.__name__: target for target in (audio, tables, shards, recipes, checkpoints)}


def run(name: str, seconds: float, seed: int, folder: Path) -> Iterator[str]:
    """Read mutated inputs until the time is over. Yields how many were read; raises at the first failure."""
    seeds, suffix, read = TARGETS[name]()
    rng = random.Random(seed)
    path = folder / f"input.{suffix}"
    for content in seeds:
        path.write_bytes(content)
        read(path)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    # By its own time, so that a busy machine tries as much; at most five times as long by the clock.
    until, last = time.process_time() + seconds, time.monotonic() + 5 * seconds
    count = refused = 0
    slowest_s = 0.0
    while time.process_time() < until and time.monotonic() < last:
        path.write_bytes(mutated(seeds, rng))
        start = time.process_time()
        try:
            read(path)
        except AnyTalkError:
            refused += 1
        took_s = time.process_time() - start
        slowest_s = max(slowest_s, took_s)
        assert took_s < SLOWEST_S, f"{path} took {took_s:.1f} s"
        count += 1
    yield json.dumps({"inputs": count, "refused": refused, "slowest_s": round(slowest_s, 2)})


if __name__ == "__main__":
    for line in run(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])):
        sys.stdout.write(line + "\n")

"""`orpheus`: SNAC codes as tokens of a language model, for Orpheus-style finetuning.

Source: the finetuning notebooks of https://github.com/canopyai/Orpheus-TTS and https://github.com/unslothai/notebooks
(`tokenise_audio`, `create_input_ids`). Of a base whose own vocabulary has N tokens, N + 1 and N + 2 begin and end
speech, N + 3 and N + 4 the human's turn, N + 5 and N + 6 the model's, N + 7 pads; code c in slot s of a frame is
N + 10 + 4096 s + c. Slots are the layers of `synth/codec/order.py`. Unlike in the notebooks, every frame is kept, rows
that do not fit are counted, and nothing is cut.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from anytalk.synth.errors import SetupError

from .format import (
    File,
    Format,
    LeaveOut,
    Part,
    Row,
    Source,
    TextForm,
    measure_columns,
    measures_of,
    require_snac,
    speaker_of,
    text_of,
)
from .parquet import parquet_bytes, typed

CODEBOOK_SIZE = 4096
IGNORED = -100
"""Label of a token that carries no loss."""


@dataclasses.dataclass(frozen=True)
class Base:
    """A language model whose vocabulary is extended by speech."""

    tokens: int
    """Its own vocabulary: N above."""
    end_of_text: int
    first_token: int | None = None
    """The token that its tokenizer puts first; None if it puts none."""

    @property
    def start_of_speech(self) -> int:
        """Before the codes; the prompt ends with it."""
        return self.tokens + 1

    @property
    def first_code(self) -> int:
        """Code 0 in slot 0."""
        return self.tokens + 10

    def prompt(self, text_ids: Sequence[int]) -> list[int]:
        """Ids up to the codes."""
        human, end_human, model = self.tokens + 3, self.tokens + 4, self.tokens + 5
        return [human, *text_ids, self.end_of_text, end_human, model, self.start_of_speech]

    def speech(self, codes: np.ndarray) -> list[int]:
        """Ids of the codes of shape (frames, 7) and of the end of the answer."""
        slots = self.first_code + CODEBOOK_SIZE * np.arange(codes.shape[1])
        ids: list[int] = (codes.astype(np.int64) + slots).reshape(-1).tolist()
        return [*ids, self.tokens + 2, self.tokens + 6]

    def codes(self, ids: Sequence[int]) -> np.ndarray:
        """Undo `speech`, wherever in a sequence it stands: codes of shape (frames, 7), uint16."""
        start, end = ids.index(self.start_of_speech) + 1, ids.index(self.tokens + 2)
        frames = np.asarray(ids[start:end]).reshape(-1, 7)
        slots = self.first_code + CODEBOOK_SIZE * np.arange(7)
        codes: np.ndarray = (frames - slots).astype(np.uint16)
        return codes


BASES: Mapping[str, Base] = {
    "orpheus": Base(tokens=128_256, end_of_text=128_009, first_token=128_000),
    "qwen3": Base(tokens=151_669, end_of_text=151_645),
    "lfm2": Base(tokens=64_400, end_of_text=7, first_token=1),
}
"""Orpheus itself (Llama 3), and the bases of https://github.com/Vyvo-Labs/VyvoTTS."""

TOKENS = typed(
    {"input_ids": pa.list_(pa.int32()), "labels": pa.list_(pa.int32()), "attention_mask": pa.list_(pa.int8())}
)


@dataclasses.dataclass(frozen=True)
class Orpheus(Format):
    """See the top of this file.

    Args:
        tokenizer: hub id or folder of the base's tokenizer.
        base: the base's ids.
        source: name of the speaker in all prompts; None for each row's own, empty for none.
        text: which text is in the prompt.
        mask_prompt: whether the prompt carries no loss.
        max_tokens: longer rows are left out; None for no limit.
        any_codec: export codes of another codec than SNAC.
    """

    tokenizer: str
    base: Base = BASES["orpheus"]
    source: str | None = None
    text: TextForm = "spoken"
    mask_prompt: bool = False
    max_tokens: int | None = None
    any_codec: bool = False

    name = "orpheus"
    task_categories = ("text-to-speech",)

    def prepare(self, source: Source) -> None:
        """See `Format.prepare`; loads the tokenizer."""
        require_snac(source, "an Orpheus-style model", any_codec=self.any_codec)
        ids = self._encoder()("Hello")
        first = self.base.first_token
        if first is not None and ids[:1] != [first]:
            raise SetupError(
                f"the tokenizer {self.tokenizer} begins a text with {ids[:1]}, this base's with [{first}]: "
                "name the base's own tokenizer, such as canopylabs/orpheus-3b-0.1-ft, or another --base"
            )
        if max(ids) >= self.base.tokens:
            raise SetupError(
                f"the tokenizer {self.tokenizer} has ids from {self.base.tokens} on, where speech begins: "
                "set --base-offset to the size of its vocabulary"
            )

    def files(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[File]:
        """The tokens, and in the same order what rows they are, with their measures."""
        described: list[Row] = []
        columns = ["id", "answer", "answer_written", "answer_voice", "answer_speaker", "answer_codes"]
        rows = source.rows(part, [*columns, *measure_columns(("answer",))])
        tokens = parquet_bytes(self._tokens(rows, leave_out, described), TOKENS)
        if tokens is not None:
            yield f"data/{part.name}.parquet", tokens
            yield f"rows/{part.name}.parquet", parquet_bytes(described, ROWS) or b""

    def data_files(self, splits: Sequence[str]) -> dict[str, dict[str, str]]:
        """The tokens by default, and what rows they are as `rows`."""
        return {
            "default": {split: f"data/{split}-*.parquet" for split in splits},
            "rows": {split: f"rows/{split}-*.parquet" for split in splits},
        }

    def notes(self) -> str:
        """See `Format.notes`."""
        base = self.base
        return (
            f"`input_ids` are `{base.tokens + 3}`, the text by `{self.tokenizer}`, `{base.end_of_text}`, "
            f"`{base.tokens + 4}`, `{base.tokens + 5}`, `{base.start_of_speech}`, the codes, `{base.tokens + 2}`, "
            f"`{base.tokens + 6}`; code c in slot s is `{base.first_code} + 4096 s + c`; pad with `{base.tokens + 7}`. "
            + ("The prompt's `labels` are -100. " if self.mask_prompt else "`labels` equal `input_ids`. ")
            + "The configuration `rows` has, in the same order, each row's id, text, speaker and measures."
        )

    def _encoder(self) -> Any:
        return _loaded(self.tokenizer).encode

    def _tokens(self, rows: Iterator[Row], leave_out: LeaveOut, described: list[Row]) -> Iterator[Row]:
        encode = self._encoder()
        for row in rows:
            text, codes = text_of(row, "answer", self.text), row["answer_codes"]
            if not text:
                leave_out(row, "no_text", "the row has no answer")
                continue
            if codes is None or not len(codes):
                leave_out(row, "no_codes", "the row has no answer_codes")
                continue
            speaker = speaker_of(row, "answer") if self.source is None else self.source
            prompt = self.base.prompt(encode(f"{speaker}: {text}" if speaker else text))
            if max(prompt) > self.base.tokens + 5:
                leave_out(row, "id_out_of_range", f"the text has the token {max(prompt)}, which stands for speech")
                continue
            ids = prompt + self.base.speech(codes)
            if self.max_tokens is not None and len(ids) > self.max_tokens:
                leave_out(row, "too_many_tokens", f"{len(ids)}, more than {self.max_tokens}")
                continue
            labels = [IGNORED] * len(prompt) + ids[len(prompt) :] if self.mask_prompt else ids
            described.append(
                dict.fromkeys(ROWS.names)
                | {"id": row["id"], "text": text, "source": speaker, "voice": row["answer_voice"], "tokens": len(ids)}
                | measures_of(row, ("answer",))
            )
            yield {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}


ROWS = typed(
    {"id": pa.string(), "text": pa.string(), "source": pa.string(), "voice": pa.string(), "tokens": pa.int32()}
    | dict.fromkeys(measure_columns(("answer",)), pa.float32())
)


@functools.lru_cache(maxsize=1)
def _loaded(name: str) -> Any:
    """A tokenizer from a folder or the hub.

    Raises:
        SetupError: there is none.
    """
    from transformers import AutoTokenizer  # takes seconds

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        told = " ".join(str(error).split())[:200]
        raise SetupError(
            f"the tokenizer {name} cannot be loaded: {told}; name a folder or hub id of the model that you finetune"
        ) from None

"""VoiceAssistant-400K as published: seven columns, answers as SNAC codes written out as text.

Source: https://huggingface.co/datasets/gpt-omni/VoiceAssistant-400K, and `reconstruct_tensors` in
https://github.com/gpt-omni/mini-omni, utils/snac_utils.py at commit 26c31d5, which reads its codes: each frame of 2048
samples is a `#` and seven numbers in the order of `synth/codec/order.py`, 0 to 4095, neither shifted nor delayed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anytalk.pipelines.dataset import CODE_LAYERS
from anytalk.pipelines.recipe import VoiceAssistant
from anytalk.synth.errors import SampleError, SetupError

from .attachment import Attachments, codes_bytes
from .hub import hub_rows, local_copy
from .pair import BadPair, Pair
from .rows import column_names
from .table import ROW_ERRORS, recording_in, text_in, turn_in

COLUMNS = ("split_name", "index", "round", "question", "question_audio", "answer", "answer_snac")
CODEBOOK_SIZE = 4096


def voiceassistant_pairs(source: VoiceAssistant, attachments: Attachments) -> Iterator[Pair | BadPair]:
    """Read the dataset: its questions as they were recorded, its answers as codes, unless they are to be spoken anew.

    Raises:
        SetupError: there is no such dataset, or it lacks columns.
        EngineError: the stream broke off.
    """
    copy = local_copy(source.dataset)
    folder = copy if copy and copy.is_dir() else (copy or Path()).parent
    place, checked = None, False
    for place, row in hub_rows(source):
        if isinstance(row, BadPair):
            yield row
            continue
        if not checked and (missing := [column for column in COLUMNS if column not in row]):
            raise SetupError(
                f"source.dataset: {source.dataset} lacks {', '.join(missing)} of VoiceAssistant-400K's columns; "
                f"it has: {column_names(row)}"
            )
        checked = True
        try:
            yield _pair(source, row, attachments, folder, place)
        except SampleError as error:
            yield BadPair(error.reason, error.detail, place)
        except ROW_ERRORS as error:
            yield BadPair("malformed_row", " ".join(str(error).split())[:300], place)
    if place is None:
        raise SetupError(f"source.dataset: {source.dataset} holds no rows")


def _pair(source: VoiceAssistant, row: Mapping[str, Any], attachments: Attachments, folder: Path, place: str) -> Pair:
    codes = parse_codes(as_text(row.get("answer_snac"))) if source.brings_codes else None
    recording = None
    if "question" not in source.respeak:
        recording = recording_in(row.get("question_audio"), attachments, folder, f"{place} question_audio")
        if recording is None:
            raise SampleError("missing_audio", "question_audio is empty")
    if not (index := text_in(row, "index")):
        raise ValueError("column 'index' is empty")
    return Pair(
        split_name=text_in(row, "split_name") or source.split_name or "VoiceAssistant-400K",
        conversation=index,
        turn=turn_in(row, "round"),
        question=text_in(row, "question") or "",
        answer=text_in(row, "answer") or "",
        language=source.language,
        question_recording=recording,
        answer_recording=None if codes is None else attachments.add(codes_bytes(codes), place, "codes"),
        source=place,
    )


def as_text(codes: Any) -> str:
    """Codes as the dataset writes them, from the other forms in which its copies have them: bytes, and lists.

    Args:
        codes: a text; its bytes; a list of frames; or a flat list of numbers, seven a frame.

    Raises:
        SampleError: `malformed_codes`.

    >>> as_text([1, 2, 3, 4, 5, 6, 7]), as_text([[1, 2], [3]]), as_text(None)
    ('# 1 2 3 4 5 6 7', '# 1 2 # 3', '')
    """
    if codes is None or isinstance(codes, str):
        return codes or ""
    if isinstance(codes, bytes):
        return codes.decode(errors="replace")
    if not isinstance(codes, list | tuple):
        raise SampleError("malformed_codes", f"codes are {type(codes).__name__}, not text")
    frames: Any = codes
    if not any(isinstance(frame, list | tuple) for frame in codes):
        frames = [codes[place : place + CODE_LAYERS] for place in range(0, len(codes), CODE_LAYERS)]
    if not all(isinstance(frame, list | tuple) for frame in frames):
        raise SampleError("malformed_codes", "a list of frames and numbers")
    return " ".join(" ".join(["#", *map(str, frame)]) for frame in frames)


def parse_codes(text: str) -> np.ndarray:
    """Read codes as `answer_snac` writes them.

    Args:
        text: `# a b c d e f g # a ...`, seven codes a frame in layer order.

    Returns:
        Codes of shape (frames, 7), uint16.

    Raises:
        SampleError: `missing_codes`; `malformed_codes`, where a frame has not seven numbers (15 are SNAC at 32 or 44
            kHz); `code_out_of_range`, where a number is no code of SNAC (an id shifted by its layer).

    >>> parse_codes("# 1 2 3 4 5 6 7 # 8 9 10 11 12 13 4095")
    array([[   1,    2,    3,    4,    5,    6,    7],
           [   8,    9,   10,   11,   12,   13, 4095]], dtype=uint16)
    """
    before, *frames = text.split("#")
    if not frames:
        raise SampleError("missing_codes" if not before.strip() else "malformed_codes", f"no frame in {text[:60]!r}")
    if before.strip():
        raise SampleError("malformed_codes", f"{before.strip()[:40]!r} before the first frame")
    numbers = [frame.split() for frame in frames]
    for place, frame in enumerate(numbers):
        if len(frame) != CODE_LAYERS:
            raise SampleError("malformed_codes", f"frame {place} has {len(frame)} codes, not {CODE_LAYERS}")
        # int() reads "-1", "1_0" and other digits than these too.
        if not (joined := "".join(frame)).isdecimal() or not joined.isascii():
            raise SampleError("malformed_codes", f"frame {place} is no row of numbers: {' '.join(frame)[:60]!r}")
    codes = np.array([[int(number) for number in frame] for frame in numbers])
    if codes.max() >= CODEBOOK_SIZE:
        place, layer = np.argwhere(codes >= CODEBOOK_SIZE)[0]
        raise SampleError(
            "code_out_of_range",
            f"frame {place} has {codes[place, layer]} in layer {layer}; codes are below {CODEBOOK_SIZE}",
        )
    return codes.astype(np.uint16)

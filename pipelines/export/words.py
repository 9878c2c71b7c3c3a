"""When each word of a recording is said, by faster-whisper (https://github.com/SYSTRAN/faster-whisper).

Its times come from the attention of Whisper's decoder, as in https://github.com/linto-ai/whisper-timestamped, which
moshi-finetune's own `annotate.py` uses.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing.faster import model_folder
from anytalk.synth.language import primary


class Word(NamedTuple):
    """A word as it was heard, with punctuation."""

    text: str
    start_s: float
    end_s: float


def words_of(waveform_16k: Waveform, language: str, model: str, device: str) -> list[Word]:
    """Hear a recording of any length.

    Args:
        waveform_16k: mono float32 at 16 kHz.
        language: its BCP-47 tag.
        model: see `faster-whisper` in recipes: a size, a folder in CTranslate2's format, or a hub id.
        device: `cpu` or `cuda`.

    Returns:
        Its words in the order of their times; none if nothing is said.
    """
    segments, _ = _loaded(model, device).transcribe(
        waveform_16k,
        language=primary(language),
        word_timestamps=True,
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
    )
    heard = [word for segment in segments for word in segment.words or ()]
    return [Word(word.word.strip(), round(float(word.start), 3), round(float(word.end), 3)) for word in heard]


def require_languages(model: str, device: str, rows_by_language: Mapping[str, int]) -> None:
    """See that a recogniser is there and knows the languages of a dataset.

    Raises:
        SetupError: it does not.
    """
    others = sorted({tag for tag in rows_by_language if primary(tag) != "en"})
    if not _loaded(model, device).model.is_multilingual and others:
        raise SetupError(f"{model} knows English alone, and the dataset has {', '.join(others)}: name another --words")


@functools.lru_cache(maxsize=1)
def _loaded(model: str, device: str) -> Any:
    from faster_whisper import WhisperModel  # takes seconds

    compute_type = "float32" if device == "cpu" else "float16"
    try:
        return WhisperModel(str(model_folder(model)), device=device, compute_type=compute_type, cpu_threads=1)
    except (RuntimeError, ValueError, OSError) as error:
        raise SetupError(f"the recogniser {model} cannot be loaded: {' '.join(str(error).split())[:200]}") from None

"""Asking: how each suite puts a batch of items to a model, and scores what comes back.

asr     A1T1: transcribe a recording
tts     T1A1: read a text aloud; the codec alone, on a recording of the text, is its ceiling
text    T1T2: answer in writing; the backbone alone is its ceiling
speech  A1T2 and A1A2: answer a recording in text, and in text and speech; the ceiling is the text's
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anytalk.model import Task
from anytalk.recipes.talk import Answer, Question, Talker, Text
from anytalk.synth.audio import Waveform, read_audio, resample
from anytalk.synth.batch import raise_first
from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import Whisper
from anytalk.synth.judge import Mos

from .backbone import Backbone
from .item import Item
from .score import contains, is_exact, word_errors

SuiteName = Literal["asr", "tts", "text", "speech"]

CODEC, BACKBONE, IN_TEXT = "codec", "backbone", "T1T2"
"""What a suite's ceiling is called: the codec alone, the language model alone, or the model itself asked in writing."""

TEXT_OF_SPEECH, SPEECH = "A1A2 text", "A1A2 speech"
RATE_HZ = 16_000

Codes = NDArray[np.uint16]


@dataclass(eq=False)
class Said:
    """What one answerer said, and its scores: for each measure what is added to the two sums of its figure."""

    text: str
    """Its text, or what was heard of it."""
    scores: dict[str, tuple[float, float]] = field(default_factory=dict)
    codes: Codes | None = None
    """Of speech."""


@dataclass(eq=False)
class Row:
    """An item, and what was said to it by whom."""

    item: Item
    said: dict[str, Said]


@dataclass(frozen=True, eq=False)
class Engines:
    """What takes part in an evaluation.

    Attributes:
        talker: the model.
        recogniser: listens to speech.
        mos: rates speech.
        mos_name: what it is called.
        backbone: the language model alone, where there is one.
    """

    talker: Talker
    recogniser: Whisper
    mos: Mos | None = None
    mos_name: str = ""
    backbone: Backbone | None = None


Asked = Row | SampleError
Ask = Callable[[Engines, Sequence[Item]], list[Asked]]


def ask(suite: SuiteName, engines: Engines, items: Sequence[Item]) -> list[Asked]:
    """Put a batch of items to a model, as a suite does.

    Returns:
        One entry an item, in order: what was said, or why it could not be asked.
    """
    return _ASK[suite](engines, items)


def ceiling_of(suite: SuiteName, engines: Engines) -> str | None:
    """Name the answerer that is a suite's ceiling."""
    if suite == "asr":
        return None
    if suite == "tts":
        return CODEC
    if suite == "text":
        return BACKBONE if engines.backbone else None
    return BACKBONE if engines.backbone else IN_TEXT


# Suites


def _ask_asr(engines: Engines, items: Sequence[Item]) -> list[Asked]:
    texts = [
        item if item.question else SampleError("no_transcript", "there is nothing to compare with") for item in items
    ]
    heard = _answers(engines, [_recording(item) if isinstance(item, Item) else item for item in texts], Task.A1T1)

    def row(item: Item, answer: Answer) -> Row:
        return Row(item, {"A1T1": Said(answer.text, {"wer": _word_errors(item, item.question, answer.text)})})

    return _rows(row, items, heard)


def _ask_tts(engines: Engines, items: Sequence[Item]) -> list[Asked]:
    texts = [_text_to_read(item) for item in items]
    answers = _answers(engines, [Text(text) for text in texts], Task.T1A1)
    read = _listen(engines, [x.codes if isinstance(x, Answer) else x for x in answers], items, texts)
    alone = _listen(engines, [_ceiling_codes(engines, item) for item in items], items, texts)
    rows: list[Asked] = []
    for item, mine, best in zip(items, read, alone, strict=True):
        if isinstance(mine, SampleError):
            rows.append(mine)
        else:
            rows.append(Row(item, {"T1A1": mine} | ({CODEC: best} if isinstance(best, Said) else {})))
    return rows


def _ask_text(engines: Engines, items: Sequence[Item]) -> list[Asked]:
    answers = _answers(engines, [Text(item.question) for item in items], Task.T1T2)
    alone = engines.backbone.answer([item.question for item in items]) if engines.backbone else None

    def row(item: Item, answer: Answer, best: str | None) -> Row:
        said = {IN_TEXT: _scored(item, answer.text)}
        return Row(item, said if best is None else said | {BACKBONE: _scored(item, best)})

    return _rows(row, items, answers, alone or [None] * len(items))


def _ask_speech(engines: Engines, items: Sequence[Item]) -> list[Asked]:
    recordings = [_recording(item) for item in items]
    in_text = _answers(engines, recordings, Task.A1T2)
    aloud = _answers(engines, recordings, Task.A1A2)
    heard = _transcripts(engines, [x.codes if isinstance(x, Answer) else x for x in aloud], items)
    ceiling: list[str | SampleError | None]
    if engines.backbone:
        name, ceiling = BACKBONE, list(engines.backbone.answer([item.question for item in items]))
    else:
        written = _answers(engines, [Text(item.question) for item in items], Task.T1T2)
        name, ceiling = IN_TEXT, [x.text if isinstance(x, Answer) else None for x in written]

    def row(item: Item, text: Answer, speech: Answer, transcript: str, best: str | None) -> Row:
        spoken = _scored(item, transcript)
        spoken.scores["wer"] = _word_errors(item, speech.text, transcript)
        spoken.codes = speech.codes
        said = {"A1T2": _scored(item, text.text), TEXT_OF_SPEECH: _scored(item, speech.text), SPEECH: spoken}
        # Without a transcript the question cannot be asked in writing.
        return Row(item, said if best is None or not item.question else said | {name: _scored(item, best)})

    return _rows(row, items, in_text, aloud, heard, ceiling)


_ASK: dict[SuiteName, Ask] = {"asr": _ask_asr, "tts": _ask_tts, "text": _ask_text, "speech": _ask_speech}


# Parts of them


def _rows(row: Callable[..., Row], items: Sequence[Item], *columns: Sequence[object]) -> list[Asked]:
    """Make the row of each item, or give the first error among its columns."""
    found: list[Asked] = []
    for item, *values in zip(items, *columns, strict=True):
        error = next((value for value in values if isinstance(value, SampleError)), None)
        found.append(error or row(item, *values))
    return found


def _word_errors(item: Item, wanted: str, heard: str) -> tuple[int, int]:
    return word_errors(item.plain(wanted), item.plain(heard), item.language)


def _scored(item: Item, said: str) -> Said:
    """Compare an answer with the references, where there are some."""
    if not item.references:
        return Said(said)
    plain, references = item.plain(said), [*map(item.plain, item.references)]
    exact = is_exact(plain, references, item.language)
    return Said(
        said,
        {
            "exact": (float(exact), 1.0),
            "contains": (float(exact or contains(plain, references, item.language)), 1.0),
        },
    )


def _recording(item: Item) -> Question | SampleError:
    if item.audio is None:
        return SampleError("missing_audio", "the row has no recording")
    try:
        return read_audio(item.audio, RATE_HZ, max_s=30.0), RATE_HZ
    except SampleError as error:
        return error


def _answers(engines: Engines, questions: "Sequence[Question | SampleError]", task: Task) -> list[Answer | SampleError]:
    """Ask those that can be asked, in one batch."""
    good = [question for question in questions if not isinstance(question, SampleError)]
    answers = iter(engines.talker.answer_all(good, max(1, len(good)), task))
    return [question if isinstance(question, SampleError) else next(answers) for question in questions]


def _text_to_read(item: Item) -> str:
    """An answer whose speech is known, as that is what the model's voice has learned to say; else the question."""
    return item.references[0] if item.codes is not None and item.references else item.question


def _ceiling_codes(engines: Engines, item: Item) -> Codes | SampleError:
    """A recording of the text that is read, as codes."""
    if item.codes is not None:
        return item.codes
    if item.audio is None:
        return SampleError("missing_audio", "the row has no recording")
    codec = engines.talker.codec
    try:
        [codes] = raise_first(codec.encode([read_audio(item.audio, codec.sample_rate_hz, max_s=30.0)]))
    except SampleError as error:
        return error
    return codes


def _sounds(engines: Engines, codes: "Sequence[Codes | SampleError]") -> list[Waveform | SampleError]:
    """Speech at 16 kHz; nothing where nothing was said."""
    codec = engines.talker.codec
    aloud = [each for each in codes if not isinstance(each, SampleError) and len(each)]
    decoded = iter(codec.decode(aloud) if aloud else [])
    silence = np.zeros(0, np.float32)
    sounds: list[Waveform | SampleError] = []
    for each in codes:
        found = each if isinstance(each, SampleError) else next(decoded) if len(each) else silence
        if isinstance(found, SampleError) or not len(found):
            sounds.append(found)
        else:
            sounds.append(resample(found, codec.sample_rate_hz, RATE_HZ))
    return sounds


def _transcripts(
    engines: Engines, codes: "Sequence[Codes | SampleError]", items: Sequence[Item]
) -> list[str | SampleError]:
    return _heard(engines, _sounds(engines, codes), items)


def _heard(
    engines: Engines, sounds: "Sequence[Waveform | SampleError]", items: Sequence[Item]
) -> list[str | SampleError]:
    good = [
        (sound, item.language)
        for sound, item in zip(sounds, items, strict=True)
        if not isinstance(sound, SampleError) and len(sound)
    ]
    waveforms, languages = [sound for sound, _ in good], [language for _, language in good]
    transcripts = iter(engines.recogniser.transcribe(waveforms, languages) if good else [])
    found: list[str | SampleError] = []
    for sound in sounds:
        if isinstance(sound, SampleError):
            found.append(sound)
        else:
            heard = next(transcripts) if len(sound) else None
            found.append("" if heard is None else heard if isinstance(heard, SampleError) else heard.text)
    return found


def _listen(
    engines: Engines, codes: "Sequence[Codes | SampleError]", items: Sequence[Item], texts: Sequence[str]
) -> list[Said | SampleError]:
    """What is heard of speech, and how it sounds."""
    sounds = _sounds(engines, codes)
    heard = _heard(engines, sounds, items)
    rated = iter(engines.mos.score([x for x in sounds if not isinstance(x, SampleError)]) if engines.mos else [])
    found: list[Said | SampleError] = []
    for spoken, sound, item, text, transcript in zip(codes, sounds, items, texts, heard, strict=True):
        rating = next(rated) if engines.mos and not isinstance(sound, SampleError) else None
        if isinstance(spoken, SampleError) or isinstance(transcript, SampleError):
            found.append(spoken if isinstance(spoken, SampleError) else transcript)  # type: ignore[arg-type]
            continue
        said = Said(transcript, {"wer": _word_errors(item, text, transcript)}, spoken)
        if isinstance(rating, float):
            said.scores["mos"] = (rating, 1.0)
        found.append(said)
    return found

"""Talking with a trained model: a question spoken or written; the answer in text and speech, while it is made.

    for piece in talk(model, codec, whisper, "question.wav"):
        print(piece.text, end="")     # what is new of the text
        play(piece.pcm)               # what is new of the sound: float32, mono, at codec.sample_rate_hz

A spoken question is answered by batch-parallel decoding (https://arxiv.org/abs/2408.16725, section 3.3): its text comes
from a second row that asks for text only. A written one takes one row, as in the original's `inference.py`. With
`task`, the same model transcribes a recording (A1T1), reads a text aloud (T1A1), or answers in text only (A1T2, T1T2).
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from anytalk.model import (
    GREEDY,
    ContinuousDecoding,
    End,
    MiniOmni,
    Piece,
    Request,
    Sampling,
    Step,
    StreamingAnswer,
    StreamingDecoder,
    StreamingText,
    Task,
    Turn,
    adapter_positions,
    stream,
)
from anytalk.model import Answer as DecodedAnswer
from anytalk.recipes.data import TOKENIZER, encoder, load_tokenizer
from anytalk.synth.audio import PCM16_SCALE, Waveform, check_waveform, read_audio, resample
from anytalk.synth.batch import raise_first
from anytalk.synth.codec import Codec
from anytalk.synth.codec.order import LAYERS
from anytalk.synth.device import Dtype
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.fingerprint import difference
from anytalk.synth.hearing import Whisper

from .conversation import Conversation, ask
from .load import load_engines, load_model

MAX_QUESTION_S = 30.0
MAX_POSITIONS = 2048
"""Question and answer together, as in the original."""

SILENT_PEAK_DB = -60.0
"""A question is taken for silence if no sample is louder, in dB of full scale."""


@dataclass(frozen=True)
class Text:
    """A question in writing; a plain `str` is the path of a recording."""

    text: str


Question: TypeAlias = str | Path | tuple[Waveform, int] | Text
"""The path of a recording in any common format; a waveform and its rate in Hz; or a text."""


@dataclass(frozen=True, eq=False)
class Answer:
    """A whole answer, and how long it took."""

    text: str
    codes: NDArray[np.uint16]
    """(frames, layers), as a codec takes them."""
    pcm: Waveform
    """The speech, at the codec's rate; empty if the model said nothing aloud."""
    steps: int
    end: End
    speech_s: float
    seconds_to_first_audio: float | None
    """From the question to the first samples; None without speech, and for batches, which give whole answers."""
    real_time_factor: float | None
    """Seconds of work for a second of speech, of the whole batch where there is one; below 1 it keeps up."""


def talk(
    model: MiniOmni,
    codec: Codec,
    whisper: Whisper,
    question: Question,
    *,
    task: Task | None = None,
    tokenizer: Tokenizer | None = None,
    text: Sampling = GREEDY,
    audio: Sampling = GREEDY,
    seed: int = 0,
    max_frames: int | None = None,
) -> Iterator[Piece]:
    """Answer one question, piece by piece; see `Talker` for the arguments and for many questions.

    Raises:
        SetupError: the parts do not belong together, there is no such file, or the task takes the other kind of
            question.
        SampleError: the question is too long, silent, empty, or no recording.
    """
    talker = Talker(
        model, codec, whisper, tokenizer=tokenizer, text=text, audio=audio, seed=seed, max_frames=max_frames
    )
    return talker.talk(question, task)


class Talker:
    """A model with its voice, its ears and its words, which are checked to belong together.

    Args:
        model: in eval mode.
        codec: turns the model's codes into sound.
        whisper: turns spoken questions into features.
        tokenizer: of the model's text; the one in the folder that the model was read from when None.
        text: how text is chosen.
        audio: how codes are chosen.
        seed: where chance comes from; each question draws alone, so that no answer depends on the others.
        max_frames: longest answer in codec frames, of 85.3 ms in SNAC; as long as there is room when None.

    Raises:
        SetupError: codec or recogniser are not those that the model was trained with, or there is no tokenizer.
    """

    def __init__(
        self,
        model: MiniOmni,
        codec: Codec,
        whisper: Whisper,
        *,
        tokenizer: Tokenizer | None = None,
        text: Sampling = GREEDY,
        audio: Sampling = GREEDY,
        seed: int = 0,
        max_frames: int | None = None,
    ) -> None:
        _check_engines(model, codec, whisper)
        self.model, self.codec, self.whisper = model, codec, whisper
        self.tokenizer = tokenizer or _own_tokenizer(model)
        if (words := self.tokenizer.get_vocab_size()) > model.layout.text_size:
            raise SetupError(f"the tokenizer has {words} tokens, more than the model's {model.layout.text_size}")
        self.text_sampling, self.audio_sampling = text, audio
        self.seed, self.max_frames = seed, max_frames
        longest = getattr(model.backbone.config, "max_position_embeddings", MAX_POSITIONS)
        self.max_positions = min(MAX_POSITIONS, longest)
        self._idle: list[ContinuousDecoding] = []

    @classmethod
    def from_pretrained(
        cls,
        run: str | Path,
        *,
        device: str = "cpu",
        dtype: Dtype = "float32",
        int8: bool = False,
        codec: str | None = None,
        whisper: str | None = None,
        text: Sampling = GREEDY,
        audio: Sampling = GREEDY,
        seed: int = 0,
        max_frames: int | None = None,
    ) -> Self:
        """Load a model with the tokenizer, the codec and the Whisper that its checkpoint names.

        Args:
            run: see `load_model`: a folder, or an id of the hub.
            device: see `load_model`.
            dtype: see `load_model`.
            int8: see `load_model`.
            codec: see `load_engines`.
            whisper: see `load_engines`.
            text: see the class, as the rest.
            audio: how codes are chosen.
            seed: where chance comes from.
            max_frames: longest answer in codec frames.

        Raises:
            SetupError: one of them cannot be had, or they do not belong together.
        """
        model = load_model(run, device, dtype, int8=int8)
        engines = load_engines(model, codec, whisper, device)
        return cls(model, *engines, text=text, audio=audio, seed=seed, max_frames=max_frames)

    def talk(
        self, question: Question, task: Task | None = None, conversation: Conversation | None = None
    ) -> Iterator[Piece]:
        """Answer a question, piece by piece. It is read now, and heard when the first piece is asked for.

        Args:
            question: spoken or written.
            task: what is wanted of it; an answer in text and speech when None.
            conversation: what was said before, for a model that was trained with earlier turns; it is told of this
                turn. What the model has read of it is kept and not read again. A question at a time asks in one.

        Raises:
            SetupError: there is no such file, or the task takes the other kind of question.
            SampleError: it is too long, silent, empty, or no recording.
        """
        asked, task = self._read(question), _task_of(question, task)
        return self._speak(asked, task) if conversation is None else self._converse(asked, task, conversation)

    def _speak(self, asked: Waveform | list[int], task: Task) -> Iterator[Piece]:
        request = self._request(asked, task)
        with self._decoding() as decoding, closing(decoding.run([request], parallel=_is_spoken(request))) as steps:
            yield from stream(steps, self.codec, self.tokenizer.decode)

    def _converse(self, asked: Waveform | list[int], task: Task, conversation: Conversation) -> Iterator[Piece]:
        request = self._request(asked, task, conversation)
        with self._decoding() as decoding:
            number = decoding.join(request, parallel=_is_spoken(request), prefix=conversation.prefix)
            pieces = StreamingAnswer(StreamingText(self.tokenizer.decode), StreamingDecoder(self.codec))
            steps: list[Step] = []
            try:
                while not steps or steps[-1].end is None:
                    steps += decoding.step()
                    piece = pieces.push(steps[-1])
                    if piece is not None:
                        yield piece
            finally:  # also where nobody listens any more: what was said is said
                prefix = decoding.leave(number, keep=conversation.context_turns > 0)
                text = [step.text for step in steps if step.text is not None]
                frames = [step.frame for step in steps if step.frame is not None]
                conversation.remember(request, text, frames, prefix)

    def new_decoding(self) -> ContinuousDecoding:
        """Make a batch that questions join and leave.

        Raises:
            SetupError: its backbone is of a kind that cannot be decoded.
        """
        try:
            return ContinuousDecoding(
                self.model, text=self.text_sampling, audio=self.audio_sampling, max_positions=self.max_positions
            )
        except ValueError as error:
            raise SetupError(str(error)) from error

    @contextmanager
    def _decoding(self) -> Iterator[ContinuousDecoding]:
        """Lend an empty batch, one that was used before if there is one: its memory and its CUDA graphs serve again.

        There are more than one only while answers are being made at the same time.
        """
        decoding = self._idle.pop() if self._idle else self.new_decoding()
        yield decoding
        self._idle.append(decoding)  # not after an error, which may have left something in it

    def answer_all(
        self, questions: Sequence[Question], batch: int = 8, task: Task | None = None
    ) -> Iterator[Answer | SampleError]:
        """Answer many questions, some at a time.

        Args:
            questions: spoken and written ones, mixed.
            batch: how many are answered together.
            task: what is wanted of all of them; answers in text and speech when None.

        Returns:
            One entry a question, in order; an error for one that cannot be heard.

        Raises:
            SetupError: there is no such file, or the task takes the other kind of question.
        """
        for first in range(0, len(questions), batch):
            yield from self._answer_batch(questions[first : first + batch], task)

    def _answer_batch(self, questions: Sequence[Question], task: Task | None) -> list[Answer | SampleError]:
        started_s = time.perf_counter()
        requests = [self._request_or_error(question, task) for question in questions]
        decoded = self._decode({n: x for n, x in enumerate(requests) if isinstance(x, Request)})
        aloud = [n for n, answer in decoded.items() if len(answer.codes)]
        sound = dict(zip(aloud, raise_first(self.codec.decode([decoded[n].codes for n in aloud])), strict=True))
        speech_s = sum(map(len, sound.values())) / self.codec.sample_rate_hz
        factor = (time.perf_counter() - started_s) / speech_s if speech_s else None
        return [
            request if isinstance(request, SampleError) else self._answer(decoded[n], sound.get(n), factor)
            for n, request in enumerate(requests)
        ]

    def _decode(self, requests: dict[int, Request]) -> dict[int, DecodedAnswer]:
        decoded: dict[int, DecodedAnswer] = {}
        for spoken in (True, False):
            some = {n: request for n, request in requests.items() if _is_spoken(request) == spoken}
            with self._decoding() as decoding:
                answers = decoding.answer_all(list(some.values()), parallel=spoken)
            decoded |= zip(some, answers, strict=True)
        return decoded

    def _answer(self, decoded: DecodedAnswer, sound: Waveform | None, factor: float | None) -> Answer:
        return Answer(
            text=self.tokenizer.decode(decoded.text),
            codes=decoded.codes,
            pcm=np.zeros(0, np.float32) if sound is None else sound,
            steps=decoded.steps,
            end=decoded.end,
            speech_s=0.0 if sound is None else len(sound) / self.codec.sample_rate_hz,
            seconds_to_first_audio=None,
            real_time_factor=None if sound is None else factor,
        )

    # Questions

    def _request_or_error(self, question: Question, task: Task | None) -> Request | SampleError:
        try:
            return self._request(self._read(question), _task_of(question, task))
        except SampleError as error:
            return error

    def _read(self, question: Question) -> Waveform | list[int]:
        """Give a question's sound at Whisper's rate, or its text tokens."""
        if not isinstance(question, Text):
            return _read_sound(question, self.whisper.sample_rate_hz)
        if not question.text.strip():
            raise SampleError("empty_text", "the question holds no words")
        [tokens] = encoder(self.tokenizer)([question.text])
        return list(tokens)

    def _request(self, asked: Waveform | list[int], task: Task, conversation: Conversation | None = None) -> Request:
        """Put a question as the model takes it; what is spoken is heard now."""
        features = []
        if isinstance(asked, list):
            turn = Turn(task, question=asked)
        else:
            [heard] = raise_first(self.whisper.features([asked]))
            features = [torch.from_numpy(heard)]
            turn = Turn(task, positions=adapter_positions(len(features[0]), self.model.config.stack))
        return ask(
            turn,
            features,
            conversation,
            self.model.layout,
            max_positions=self.max_positions,
            seed=self.seed,
            max_frames=self.max_frames,
        )


def collect(pieces: Iterable[Piece], rate_hz: int) -> Answer:
    """Take an answer's pieces as they come, and time them.

    Args:
        pieces: what `talk` gives.
        rate_hz: the codec's.
    """
    started_s = time.perf_counter()
    first_s = None
    taken = []
    for piece in pieces:
        if first_s is None and len(piece.pcm):
            first_s = time.perf_counter() - started_s
        taken.append(piece)
    seconds = time.perf_counter() - started_s
    pcm = np.concatenate([piece.pcm for piece in taken])
    speech_s = len(pcm) / rate_hz
    end = taken[-1].end
    assert end is not None
    return Answer(
        text="".join(piece.text for piece in taken),
        codes=np.concatenate([piece.codes for piece in taken]),
        pcm=pcm,
        steps=taken[-1].steps,
        end=end,
        speech_s=speech_s,
        seconds_to_first_audio=first_s,
        real_time_factor=seconds / speech_s if speech_s else None,
    )


def pcm16(pcm: Waveform) -> NDArray[np.int16]:
    """Round samples to 16 bits, clipped at full scale."""
    steps = np.rint(pcm * np.float32(PCM16_SCALE))
    return np.clip(steps, -PCM16_SCALE, PCM16_SCALE - 1).astype(np.int16)


def _task_of(question: Question, task: Task | None) -> Task:
    """The task of a question: the one that is asked for, or else an answer in text and speech.

    Raises:
        SetupError: it takes the other kind of question.
    """
    hears = not isinstance(question, Text)
    if task is None:
        return Task.A1A2 if hears else Task.T1A2
    if task.hears != hears:
        takes = "a recording" if task.hears else "a text (Text(...), or --text on the command line)"
        raise SetupError(f"task {task.value} takes {takes}, and got {'a recording' if hears else 'a text'}")
    return task


def _is_spoken(request: Request) -> bool:
    return request.turns[-1].task.hears


def _read_sound(question: str | Path | tuple[Waveform, int], rate_hz: int) -> Waveform:
    if isinstance(question, tuple):
        return _checked_sound(*question, rate_hz)
    path = Path(question)
    if not path.is_file():
        raise SetupError(
            f"{path} is no file; a question is a recording, or in writing Text(...), --text on the command line"
        )
    try:
        return refuse_silence(read_audio(path, rate_hz, max_s=MAX_QUESTION_S))
    except SampleError as error:
        raise SampleError(error.reason, f"{path}: {error.detail}") from error


def _checked_sound(waveform: Waveform, from_hz: int, to_hz: int) -> Waveform:
    check_waveform(waveform)
    if (seconds := len(waveform) / from_hz) > MAX_QUESTION_S:
        raise SampleError("too_long", f"the question lasts {seconds:.1f} s; the limit is {MAX_QUESTION_S:g} s")
    return refuse_silence(resample(waveform, from_hz, to_hz))


def refuse_silence(waveform: Waveform) -> Waveform:
    """Give a question's sound back, unless nobody could hear it.

    Raises:
        SampleError: `silent_audio`, or `empty_audio`.
    """
    check_waveform(waveform)
    if np.abs(waveform).max() < 10.0 ** (SILENT_PEAK_DB / 20.0):
        raise SampleError("silent_audio", f"no sample is louder than {SILENT_PEAK_DB:g} dB of full scale")
    return waveform


# Parts


def _own_tokenizer(model: MiniOmni) -> Tokenizer:
    if model.folder is None:
        raise SetupError("the model was not read from a folder with a tokenizer; pass tokenizer=")
    if not (model.folder / TOKENIZER).is_file():
        raise SetupError(f"{model.folder} has no {TOKENIZER}; put its language model's there")
    return load_tokenizer(model.folder)


def _check_engines(model: MiniOmni, codec: Codec, whisper: Whisper) -> None:
    """Compare what was loaded with what the checkpoint names; one that names nothing must fit in its sizes."""
    config, layout = model.config, model.layout
    problems = []
    heard = {**whisper.fingerprint, "width": whisper.feature_width}
    if config.codec and (what := difference(config.codec, codec.fingerprint)):
        problems.append(f"the codec {codec.name} is not the one that the model was trained with: {what}")
    elif (layout.codebook_size, layout.layers) != (codec.codebook_size, LAYERS):
        problems.append(
            f"the model has {layout.layers} layers of {layout.codebook_size} codes, "
            f"the codec {codec.name} {LAYERS} of {codec.codebook_size}"
        )
    if config.feature and (what := difference(config.feature, heard)):
        problems.append(f"the Whisper {whisper.name} is not the one that the model was trained with: {what}")
    elif config.feature_width != whisper.feature_width:
        problems.append(
            f"the model takes features {config.feature_width} wide, "
            f"the Whisper {whisper.name} gives {whisper.feature_width}"
        )
    if problems:
        raise SetupError("\n".join(problems))

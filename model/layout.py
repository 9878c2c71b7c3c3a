"""Token layouts of Mini-Omni: ids, parallel streams, delays, prompts, answers and labels.

Every position of a sequence is a column of `layers + 1` ids: one per codec layer, then one of text. Each
codec layer has its own block of ids after the text vocabulary, so the ids of all streams are rows of one
table. Who asks for what stands in the last column of the prompt; a chat template or a system prompt may stand
around it (`Chat`). In the answer, layer i is delayed by i + 1 steps behind the text:

    text      a0    a1    ...   a(m-1) eot   pad_t ...
    layer i   pad_a * (i+1), c_i[0] ... c_i[n-1], eoa, pad_a * (layers-1-i)

Source: https://arxiv.org/abs/2408.16725, section 3, and `inference.py`, `litgpt/model.py` of
gpt-omni/mini-omni at 26c31d5. Two things are not public and are decided here. *Labels*: text is supervised up
to and including eot, audio inside its window of n + layers + 1 columns, padding included; this is what
SLAM-Omni does (https://github.com/X-LANCE/SLAM-LLM, examples/s2s). *Text to speech* (T1A1): the prompt of
T1A2, the same text again in the answer's text stream, where it is given and not learned.

Standard library only: streams are lists of ints, so that data tools can build them without torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

IGNORE = -100
"""The label of a position that carries no loss (the default `ignore_index` of torch)."""

FEATURE_RATE_HZ = 50
FEATURE_HOP_SAMPLES = 16_000 // FEATURE_RATE_HZ
MAX_FEATURE_FRAMES = 30 * FEATURE_RATE_HZ  # Whisper's encoder sees 30 seconds

Streams = list[list[int]]
"""One list of ids per stream, all of one length: codec layers first, text last."""


def feature_frames(samples: int) -> int:
    """Count the Whisper frames that stand for a recording of `samples` samples at 16 kHz.

    One frame a 20 ms, one more for the rest, also where there is none: `int(duration_ms / 20) + 1` in the
    original.

    >>> feature_frames(16_000), feature_frames(16_001), feature_frames(60 * 16_000)
    (51, 51, 1500)
    """
    if samples < 0:
        raise ValueError(f"a recording cannot have {samples} samples")
    return min(MAX_FEATURE_FRAMES, samples // FEATURE_HOP_SAMPLES + 1)


def adapter_positions(frames: int, stack: int = 1) -> int:
    """Count the positions that `frames` Whisper frames take when the adapter stacks `stack` of them."""
    return -(-frames // stack)


class Task(Enum):
    """What a turn asks for: A is audio and T is text; 1 is the question and 2 the answer."""

    A1A2 = "A1A2"
    """Speech in, speech and text out."""
    A1T2 = "A1T2"
    """Speech in, text out."""
    A1T1 = "A1T1"
    """Speech in, its transcript out (speech recognition)."""
    T1A2 = "T1A2"
    """Text in, speech and text out."""
    T1T2 = "T1T2"
    """Text in, text out."""
    T1A1 = "T1A1"
    """Text in, the same text spoken (text to speech)."""

    @property
    def hears(self) -> bool:
        """Whether the question is speech."""
        return self.value.startswith("A1")

    @property
    def speaks(self) -> bool:
        """Whether the answer holds speech."""
        return self.value[2] == "A"

    @property
    def writes(self) -> bool:
        """Whether the answer's text is the model's own; it is given in text to speech."""
        return self is not Task.T1A1


@dataclass(frozen=True)
class Turn:
    """One question and, where it is known, its answer.

    Args:
        task: what the question asks for.
        positions: how many positions the question's Whisper features take (tasks that hear).
        question: the question's text tokens (tasks that do not hear).
        answer: the answer's text tokens, without eot.
        codes: the answer's codec frames, each one code per layer, neither delayed nor shifted (tasks that
            speak).
    """

    task: Task
    positions: int = 0
    question: Sequence[int] = ()
    answer: Sequence[int] = ()
    codes: Sequence[Sequence[int]] = ()

    def __post_init__(self) -> None:
        if self.task.hears and (self.positions < 1 or self.question):
            raise ValueError(f"{self.task.value} hears its question: give positions >= 1 and no question text")
        if not self.task.hears and self.positions:
            raise ValueError(f"{self.task.value} reads its question: positions must be 0, not {self.positions}")
        if not self.task.speaks and len(self.codes):
            raise ValueError(f"{self.task.value} does not speak: it takes no codes, and got {len(self.codes)} frames")


@dataclass(frozen=True)
class Prompt:
    """What the model is given before it answers."""

    streams: Streams
    feature_starts: list[int]
    """For each spoken question, the position of its first feature."""


@dataclass(frozen=True)
class Example:
    """One training sequence: `labels[k][t]` is what stream k should say after reading column t."""

    streams: Streams
    labels: Streams
    """Local ids (an audio label counts from 0 in its own layer), or `IGNORE`."""
    feature_starts: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Chat:
    """Text that stands around questions and answers, as token ids: a system prompt, or a whole chat template.

    A template (`end` is given) takes the place of the columns that Mini-Omni puts around a question, so that a
    written question looks to a language model just as it did before it learned to speak.

    Args:
        first: before the first question.
        following: before each later question.
        closing: after each question.
        end: ends an answer; None where only a system prompt stands before Mini-Omni's own columns.
        system: the system prompt, for those who read the config.
    """

    first: tuple[int, ...] = ()
    following: tuple[int, ...] = ()
    closing: tuple[int, ...] = ()
    end: int | None = None
    system: str | None = None

    def __post_init__(self) -> None:
        for name in ("first", "following", "closing"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON gives lists
        if self.end is None and (self.following or self.closing):
            raise ValueError("a chat with text after its first question needs the id that ends an answer")
        if self.end is not None and not (self.first and self.following and self.closing):
            raise ValueError("a chat template needs text before and after each question")

    @property
    def is_template(self) -> bool:
        """Whether it takes the place of Mini-Omni's own columns."""
        return self.end is not None

    def before(self, is_first: bool) -> tuple[int, ...]:
        """Give what stands before a question."""
        return self.first if is_first else self.following


@dataclass(frozen=True)
class Layout:
    """The ids of one codec beside one text vocabulary, and every sequence made of them.

    Args:
        text_size: rows of the backbone's text table, special tokens of this layout not counted.
        codebook_size: codes per codec layer.
        layers: codec layers that run in parallel.
        text_specials: ids kept for special tokens after the text; five are in use.
        audio_specials: ids kept for special tokens after each codebook; five are in use.
        chat: what stands around questions and answers; nothing in Mini-Omni.
    """

    text_size: int
    codebook_size: int
    layers: int
    text_specials: int = 64
    audio_specials: int = 64
    chat: Chat | None = None

    def __post_init__(self) -> None:
        if isinstance(self.chat, Mapping):  # as JSON gives it
            object.__setattr__(self, "chat", Chat(**self.chat))
        if self.chat is not None:
            ends = [] if self.chat.end is None else [self.chat.end]
            self._checked_text([*self.chat.first, *self.chat.following, *self.chat.closing, *ends])
        if min(self.text_size, self.codebook_size, self.layers) < 1:
            raise ValueError(f"a layout needs text, codes and layers; got {self}")
        if min(self.text_specials, self.audio_specials) < 5:
            raise ValueError(f"a layout needs at least 5 special ids of each kind; got {self}")

    # Sizes

    @property
    def streams(self) -> int:
        """Parallel streams: the codec's layers and the text."""
        return self.layers + 1

    @property
    def text_vocabulary(self) -> int:
        """Text ids, special tokens included."""
        return self.text_size + self.text_specials

    @property
    def audio_vocabulary(self) -> int:
        """Ids of one audio stream, special tokens included."""
        return self.codebook_size + self.audio_specials

    @property
    def vocabulary(self) -> int:
        """Ids of all streams together."""
        return self.text_vocabulary + self.layers * self.audio_vocabulary

    # Special tokens. Text ids are global; audio ids are local, `shift` places them in their layer.

    @property
    def eot(self) -> int:
        """End of text."""
        return self.text_size

    @property
    def end(self) -> int:
        """What ends an answer's text: `eot`, or a chat template's own id."""
        return self.eot if self.chat is None or self.chat.end is None else self.chat.end

    @property
    def pad_t(self) -> int:
        """Nothing in the text stream."""
        return self.text_size + 1

    @property
    def input_t(self) -> int:
        """A question begins."""
        return self.text_size + 2

    @property
    def answer_t(self) -> int:
        """An answer is asked for."""
        return self.text_size + 3

    @property
    def asr(self) -> int:
        """A transcript is asked for."""
        return self.text_size + 4

    @property
    def eoa(self) -> int:
        """End of audio (local)."""
        return self.codebook_size

    @property
    def pad_a(self) -> int:
        """Nothing in the audio stream (local). The original's `snac_config.end_of_audio` has this value."""
        return self.codebook_size + 1

    @property
    def input_a(self) -> int:
        """A spoken question begins (local)."""
        return self.codebook_size + 2

    @property
    def answer_a(self) -> int:
        """A spoken answer is asked for (local)."""
        return self.codebook_size + 3

    @property
    def split(self) -> int:
        """Reserved in the original, never used there (local)."""
        return self.codebook_size + 4

    # Layers: local id <-> row of the one table

    def shift(self, local_id: int, layer: int) -> int:
        """Give the global id of a layer's local id."""
        if not 0 <= local_id < self.audio_vocabulary:
            raise ValueError(f"audio id {local_id} is outside 0..{self.audio_vocabulary - 1}")
        if not 0 <= layer < self.layers:
            raise ValueError(f"layer {layer} is outside 0..{self.layers - 1}")
        return self.text_vocabulary + layer * self.audio_vocabulary + local_id

    def unshift(self, global_id: int, layer: int) -> int:
        """Give the local id of a layer's global id."""
        local_id = global_id - self.text_vocabulary - layer * self.audio_vocabulary
        if not 0 <= local_id < self.audio_vocabulary:
            raise ValueError(f"id {global_id} does not belong to layer {layer}")
        return local_id

    # The delay pattern, on local ids

    def delay(self, codes: Sequence[Sequence[int]]) -> Streams:
        """Lay out n codec frames as `layers` streams of n + layers + 1 local ids.

        >>> Layout(text_size=9, codebook_size=4, layers=2).delay([(0, 1), (2, 3)])
        [[5, 0, 2, 4, 5], [5, 5, 1, 3, 4]]
        """
        self._check_codes(codes)
        return [
            [self.pad_a] * (i + 1)
            + [int(frame[i]) for frame in codes]
            + [self.eoa]
            + [self.pad_a] * (self.layers - 1 - i)
            for i in range(self.layers)
        ]

    def undelay(self, streams: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
        """Read the codec frames out of delayed local streams, the inverse of `delay`.

        Speech ends where the last layer says eoa. A frame that holds a special id in any layer is no speech
        and is left out, so that no special id reaches a codec.
        """
        last = list(streams[-1])
        end = last.index(self.eoa) if self.eoa in last else len(last)
        frames = (tuple(int(streams[i][n + i + 1]) for i in range(self.layers)) for n in range(end - self.layers))
        return [frame for frame in frames if max(frame) < self.codebook_size]

    def complete_frame(self, columns: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
        """Read the frame that the newest of the last `layers` columns completes.

        Args:
            columns: local audio ids of the answer's newest steps, oldest first, one id per layer.

        Returns:
            One code per layer, or None where a layer holds a special id.
        """
        frame = tuple(int(columns[i][i]) for i in range(self.layers))
        return frame if max(frame) < self.codebook_size else None

    # Columns and streams

    def column(self, audio_id: int, text_id: int) -> list[int]:
        """Give one column: the same local audio id in every layer, and a text id."""
        return [self.shift(audio_id, i) for i in range(self.layers)] + [text_id]

    @property
    def padding(self) -> list[int]:
        """The column that says nothing; it fills a batch up."""
        return self.column(self.pad_a, self.pad_t)

    def prompt_length(self, turn: Turn, *, is_first: bool = True) -> int:
        """Count the columns of `prompt`."""
        asked = turn.positions if turn.task.hears else len(turn.question)
        return asked + self.around(turn.task, is_first=is_first)

    def around(self, task: Task, *, is_first: bool = True) -> int:
        """Count the columns of a prompt that are none of the question."""
        if self.chat is None:
            return 3
        own = len(self.chat.closing) + (task is Task.A1T1) if self.chat.is_template else 3
        return len(self.chat.before(is_first)) + own

    def question_at(self, *, is_first: bool = True) -> int:
        """Give the column of a prompt where the question begins."""
        before = 0 if self.chat is None else len(self.chat.before(is_first))
        return before if self.chat is not None and self.chat.is_template else before + 1

    def answer_length(self, turn: Turn) -> int:
        """Count the columns of `answer(turn)`."""
        audio = len(turn.codes) + self.layers + 1 if turn.task.speaks else 0
        return max(len(turn.answer) + 1, audio)

    def prompt(self, turn: Turn, *, is_first: bool = True) -> Streams:
        """Lay out a question; its last column asks for the answer."""
        audio, text = self._question(turn, is_first) if self.chat and self.chat.is_template else self._own_prompt(turn)
        if self.chat is not None and not self.chat.is_template:
            before = self.chat.before(is_first)
            audio, text = [self.pad_a] * len(before) + audio, [*before, *text]
        return [*self._shift_all([audio] * self.layers), text]

    def _own_prompt(self, turn: Turn) -> tuple[list[int], list[int]]:
        """One audio stream's local ids and the text, as Mini-Omni has them."""
        asked_a = self.answer_a if turn.task.speaks else self.pad_a
        asked_t = self.asr if turn.task is Task.A1T1 else self.answer_t
        if turn.task.hears:
            audio = [self.input_a] + [self.pad_a] * turn.positions + [self.eoa, asked_a]
            text = [self.input_t] + [self.pad_t] * turn.positions + [self.eot, asked_t]
        else:
            audio = [self.pad_a] * (len(turn.question) + 2) + [asked_a]
            text = [self.input_t, *self._checked_text(turn.question), self.eot, asked_t]
        return audio, text

    def _question(self, turn: Turn, is_first: bool) -> tuple[list[int], list[int]]:
        """The same in a chat template: a spoken question's marks, and what is asked for, stand beside its text."""
        assert self.chat is not None
        before, closing = self.chat.before(is_first), self.chat.closing
        asked = [self.pad_t] * turn.positions if turn.task.hears else self._checked_text(turn.question)
        text = [*before, *asked, *closing, *([self.asr] if turn.task is Task.A1T1 else [])]
        audio = [self.pad_a] * len(text)
        if turn.task.hears:
            audio[len(before) - 1], audio[len(before) + len(asked)] = self.input_a, self.eoa
        if turn.task.speaks:
            audio[-1] = self.answer_a
        return audio, text

    def answer(self, turn: Turn) -> Streams:
        """Lay out an answer, its text and its delayed speech."""
        length = self.answer_length(turn)
        audio = self.delay(turn.codes) if turn.task.speaks else [[]] * self.layers
        text = [*self._checked_text(turn.answer), self.end]
        padded = [stream + [self.pad_a] * (length - len(stream)) for stream in audio]
        return [*self._shift_all(padded), text + [self.pad_t] * (length - len(text))]

    def parse_answer(self, streams: Sequence[Sequence[int]]) -> tuple[list[int], list[tuple[int, ...]]]:
        """Read text tokens and codec frames out of an answer, the inverse of `answer`."""
        local = [[self.unshift(x, i) for x in streams[i]] for i in range(self.layers)]
        text = list(streams[-1])
        end = text.index(self.end) if self.end in text else len(text)
        return [x for x in text[:end] if x < self.text_size], self.undelay(local)

    def answer_labels(self, turn: Turn) -> Streams:
        """Give what each stream of `answer(turn)` should learn to say, local ids, `IGNORE` elsewhere."""
        length = self.answer_length(turn)
        audio = self.delay(turn.codes) if turn.task.speaks else [[]] * self.layers
        text = [*turn.answer, self.end] if turn.task.writes else []
        return [[*stream] + [IGNORE] * (length - len(stream)) for stream in [*audio, text]]

    # Whole sequences

    def request(self, turns: Sequence[Turn]) -> Prompt:
        """Lay out a conversation up to the last turn's question.

        Earlier turns stand as they were learned, question and answer one after the other, their speech
        included. An earlier answer that should take less room is given as a turn of a task that does not
        speak.
        """
        if not turns:
            raise ValueError("a conversation needs at least one turn")
        streams: Streams = [[] for _ in range(self.streams)]
        starts = []
        for index, turn in enumerate(turns):
            if turn.task.hears:
                starts.append(len(streams[0]) + self.question_at(is_first=index == 0))
            _extend(streams, self.prompt(turn, is_first=index == 0))
            if index < len(turns) - 1:
                _extend(streams, self.answer(turn))
        return Prompt(streams, starts)

    def example(self, turns: Sequence[Turn]) -> Example:
        """Lay out a conversation for training.

        Only the last turn's answer is labelled: each earlier turn is the last turn of an example of its own.
        The last column of the answer is a label alone, since nothing is asked after it.
        """
        prompt = self.request(turns)
        context = len(prompt.streams[0]) - 1
        labels = [[IGNORE] * context + stream for stream in self.answer_labels(turns[-1])]
        _extend(prompt.streams, [stream[:-1] for stream in self.answer(turns[-1])])
        return Example(prompt.streams, labels, prompt.feature_starts)

    def _shift_all(self, local: Streams) -> Streams:
        base = [self.shift(0, i) for i in range(self.layers)]
        return [[base[i] + x for x in stream] for i, stream in enumerate(local)]

    def _checked_text(self, tokens: Sequence[int]) -> list[int]:
        if len(tokens) and not (min(tokens) >= 0 and max(tokens) < self.text_size):
            wrong = next(x for x in tokens if not 0 <= x < self.text_size)
            raise ValueError(f"text token {wrong} is outside 0..{self.text_size - 1}")
        return list(tokens)

    def _check_codes(self, codes: Sequence[Sequence[int]]) -> None:
        for n, frame in enumerate(codes):
            if len(frame) != self.layers or not (min(frame) >= 0 and max(frame) < self.codebook_size):
                raise ValueError(
                    f"frame {n} is {list(frame)}; it needs {self.layers} codes in 0..{self.codebook_size - 1}"
                )


def _extend(streams: Streams, more: Streams) -> None:
    for stream, addition in zip(streams, more, strict=True):
        stream.extend(addition)


MINI_OMNI = Layout(text_size=151_936, codebook_size=4096, layers=7)
"""Mini-Omni's own: Qwen2's text table beside SNAC 24 kHz in seven layers."""

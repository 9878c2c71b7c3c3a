"""Speech while it is being made: frames to sound, tokens to text, without seams.

A codec's decoder is convolutional: a frame's samples depend on frames around it. Decoding chunk by chunk,
each on its own, as the original does, leaves a seam every 341 ms. Here each chunk is decoded with the frames
before it, and samples that the next frame may still change are held back, so the chunks put together are the
whole answer decoded at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .batch import End, Step


class Codec(Protocol):
    """What streaming needs to know of a codec."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the sound that it makes."""
        ...

    @property
    def frame_samples(self) -> int:
        """Samples that one frame stands for."""
        ...

    @property
    def decode_left_frames(self) -> int:
        """Frames before a frame that its samples depend on."""
        ...

    @property
    def decode_lookahead_samples(self) -> int:
        """Samples at the end of a decode that change when another frame follows."""
        ...

    @property
    def decode_grid_frames(self) -> int:
        """A decode that stands for a part of an utterance begins at a multiple of this many frames."""
        ...

    def decode(self, codes: list[NDArray[np.uint16]]) -> Sequence[NDArray[np.float32] | Exception]:
        """Decode each (frames, layers) array to frames * frame_samples samples; an error for one that it cannot."""
        ...


class StreamingDecoder:
    """Turns frames into sound as they come. Chunks grow, so that less and less is decoded twice.

    Args:
        codec: decodes.
        first_frames: frames of the first chunk.
        largest_frames: frames of the largest chunk; each chunk is twice the one before, but for the second. It is as
            short as the first, of which the codec holds a part back: so where frames come twice as fast as they are
            played, or faster, each chunk comes before the one before it has been played.
    """

    def __init__(self, codec: Codec, first_frames: int = 1, largest_frames: int = 16) -> None:
        if not 1 <= first_frames <= largest_frames:
            raise ValueError(f"chunks of {first_frames} to {largest_frames} frames; 1 <= first <= largest is needed")
        self.codec = codec
        self.largest_frames = largest_frames
        self.chunk_frames = first_frames
        self._frames: list[Sequence[int]] = []
        self._given_samples = 0

    def push(self, frame: Sequence[int]) -> NDArray[np.float32]:
        """Take one frame; give the samples that it made final, none while a chunk fills."""
        self._frames.append(frame)
        final = len(self._frames) * self.codec.frame_samples - self.codec.decode_lookahead_samples
        wanted = self.chunk_frames * self.codec.frame_samples
        is_first = not self._given_samples
        if is_first:  # it does not wait for what the codec holds back
            wanted = max(1, wanted - self.codec.decode_lookahead_samples)
        if final - self._given_samples < wanted:
            return np.zeros(0, np.float32)
        if not is_first:
            self.chunk_frames = min(2 * self.chunk_frames, self.largest_frames)
        return self._samples_up_to(final)

    def flush(self) -> NDArray[np.float32]:
        """Give what is left once the last frame is in."""
        return self._samples_up_to(len(self._frames) * self.codec.frame_samples)

    def _samples_up_to(self, end: int) -> NDArray[np.float32]:
        start, hop = self._given_samples, self.codec.frame_samples
        if end <= start:
            return np.zeros(0, np.float32)
        first = max(0, start // hop - self.codec.decode_left_frames)
        first -= first % self.codec.decode_grid_frames
        (pcm,) = self.codec.decode([np.array(self._frames[first:], dtype=np.uint16)])
        if isinstance(pcm, Exception):
            raise pcm
        self._given_samples = end
        return pcm[start - first * hop : end - first * hop]


class StreamingText:
    """Turns tokens into text as they come.

    Args:
        detokenise: gives the text of all tokens so far.
    """

    def __init__(self, detokenise: Callable[[list[int]], str]) -> None:
        self.detokenise = detokenise
        self._tokens: list[int] = []
        self._given = ""

    def push(self, token: int) -> str:
        """Take one token; give the text that it completes. Half a character waits for its other half."""
        self._tokens.append(token)
        text = self.detokenise(self._tokens)
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        return self._rest_of(text)

    def flush(self) -> str:
        """Give what is left once the last token is in."""
        return self._rest_of(self.detokenise(self._tokens)) if self._tokens else ""

    def _rest_of(self, text: str) -> str:
        rest, self._given = text[len(self._given) :], text
        return rest


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of an answer: text, sound, or both."""

    text: str
    pcm: NDArray[np.float32]
    """Samples at the codec's rate, nominally in [-1, 1]; may be empty."""
    codes: NDArray[np.uint16]
    """(frames, layers): frames completed since the piece before; their sound may follow later."""
    steps: int
    """Steps done so far."""
    end: End | None = None
    """Set on the last piece."""


class StreamingAnswer:
    """Turns the steps of one request into pieces.

    Args:
        words: makes text of tokens.
        sound: makes sound of frames.
    """

    def __init__(self, words: StreamingText, sound: StreamingDecoder) -> None:
        self._words, self._sound = words, sound
        self._frames: list[tuple[int, ...]] = []
        self._steps = 0

    def push(self, step: Step) -> Piece | None:
        """Take a step; give the piece that it completes, None where there is neither text nor sound yet."""
        self._steps += 1
        said = self._words.push(step.text) if step.text is not None else ""
        pcm = np.zeros(0, np.float32)
        if step.frame is not None:
            self._frames.append(step.frame)
            pcm = self._sound.push(step.frame)
        if step.end is not None:
            said, pcm = said + self._words.flush(), np.concatenate([pcm, self._sound.flush()])
        if not said and not len(pcm) and step.end is None:
            return None
        codes = np.array(self._frames, dtype=np.uint16).reshape(-1, len(step.column) - 1)
        self._frames = []
        return Piece(said, pcm, codes, self._steps, step.end)


def stream(
    steps: Iterable[Step], codec: Codec, detokenise: Callable[[list[int]], str], *, largest_frames: int = 16
) -> Iterator[Piece]:
    """Turn one request's steps into pieces, each as soon as it is there.

    The first sound comes with the first complete frame: after the prompt and as many steps as the codec has
    layers.

    Args:
        steps: what `decode` gives.
        codec: turns frames into sound.
        detokenise: turns text tokens into text.
        largest_frames: see `StreamingDecoder`.
    """
    answer = StreamingAnswer(StreamingText(detokenise), StreamingDecoder(codec, largest_frames=largest_frames))
    for step in steps:
        piece = answer.push(step)
        if piece is not None:
            yield piece

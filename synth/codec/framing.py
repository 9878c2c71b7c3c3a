"""What every codec does before and after its network: check, pad to frames, batch equal lengths, cut long audio.

Only utterances of equal frame counts share a batch: padding the shorter ones would change their last codes. Audio
that is longer than a chunk is run in overlapping chunks whose context covers the network's receptive field, so that
memory stays bounded whatever its length; where the cuts are follows from the utterance alone.

Shapes: B batch, S samples, F frames.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from anytalk.synth.errors import SampleError

from .order import LAYERS

Waveform: TypeAlias = NDArray[np.float32]

CHUNK_FRAMES = 256
"""Frames that run through a network at once (22 s): long enough that the overlap costs little."""


def check_waveforms(waveforms: Sequence[Waveform], sample_rate_hz: int | None, expected_hz: int) -> None:
    """Refuse audio that no codec can encode.

    Raises:
        SampleError: `wrong_rate`, `not_mono`, `not_float`, `empty_audio` or `nan_audio`, with the utterance's number.
    """
    if sample_rate_hz not in (None, expected_hz):
        raise SampleError("wrong_rate", f"audio is at {sample_rate_hz} Hz; this codec wants {expected_hz} Hz")
    for number, waveform in enumerate(waveforms):
        if waveform.ndim != 1:
            raise SampleError(
                "not_mono", f"utterance {number} has shape {waveform.shape}; a mono waveform has one axis"
            )
        if waveform.dtype.kind != "f":
            raise SampleError("not_float", f"utterance {number} is {waveform.dtype}; floats from -1 to 1 are wanted")
        if not len(waveform):
            raise SampleError("empty_audio", f"utterance {number} has no samples")
        if not np.isfinite(waveform).all():
            raise SampleError("nan_audio", f"utterance {number} holds NaN or infinite samples")


def check_codes(codes: Sequence[np.ndarray], codebook_size: int) -> None:
    """Refuse codes that no codec can decode.

    Raises:
        SampleError: `wrong_shape` or `code_out_of_range`, with the utterance's number.
    """
    for number, frames in enumerate(codes):
        if frames.ndim != 2 or frames.shape[1] != LAYERS or frames.dtype.kind not in "iu" or not len(frames):
            raise SampleError(
                "wrong_shape",
                f"utterance {number} has codes {frames.shape} {frames.dtype}; (frames, {LAYERS}) integers are wanted",
            )
        if int(frames.max()) >= codebook_size or int(frames.min()) < 0:
            bad = frames[(frames < 0) | (frames >= codebook_size)][0]
            raise SampleError(
                "code_out_of_range",
                f"utterance {number} holds code {bad}; codes are 0 to {codebook_size - 1}",
            )


def encode_framed(
    waveforms: Sequence[Waveform],
    frame_samples: int,
    context_frames: int,
    encode: Callable[[np.ndarray], np.ndarray],
    batch_frames: int = 4 * CHUNK_FRAMES,
    chunk_frames: int = CHUNK_FRAMES,
) -> list[np.ndarray]:
    """Encode utterances of any lengths with a network that takes equal ones.

    Args:
        waveforms: checked mono waveforms.
        frame_samples: samples of a frame.
        context_frames: frames on either side that a code depends on.
        encode: from audio (B, S), S a multiple of the frame, to codes (B, F, 7).
        batch_frames: frames of a batch, at most.
        chunk_frames: frames that run at once, context apart.
    """
    padded = [np.pad(w.astype(np.float32), (0, -len(w) % frame_samples)) for w in waveforms]

    def run(places: list[int], first: int, last: int) -> np.ndarray:
        window = slice(first * frame_samples, last * frame_samples)
        return encode(np.stack([padded[place][window] for place in places]))

    counts = [len(waveform) // frame_samples for waveform in padded]
    return in_batches(counts, context_frames, context_frames, batch_frames, chunk_frames, run)


def decode_framed(
    codes: Sequence[np.ndarray],
    frame_samples: int,
    left_frames: int,
    right_frames: int,
    decode: Callable[[np.ndarray], np.ndarray],
    batch_frames: int = 4 * CHUNK_FRAMES,
    grid_frames: int = 1,
) -> list[Waveform]:
    """Decode utterances of any lengths with a network that takes equal ones.

    Args:
        codes: checked codes (F, 7).
        frame_samples: samples of a frame.
        left_frames: frames to the left that a sample depends on.
        right_frames: frames to the right that a sample depends on.
        decode: from codes (B, F, 7) to audio (B, F * frame_samples).
        batch_frames: frames of a batch, at most.
        grid_frames: what is decoded begins at a multiple of this.
    """

    def run(places: list[int], first: int, last: int) -> np.ndarray:
        audio_BS = decode(np.stack([codes[place][first:last] for place in places]).astype(np.int64))
        return audio_BS.reshape(len(places), last - first, frame_samples)

    counts = [len(frames) for frames in codes]
    framed = in_batches(counts, left_frames, right_frames, batch_frames, CHUNK_FRAMES, run, grid_frames)
    return [audio.reshape(-1) for audio in framed]


def in_batches(
    counts: Sequence[int],
    left: int,
    right: int,
    batch_frames: int,
    chunk_frames: int,
    run: Callable[[list[int], int, int], np.ndarray],
    grid: int = 1,
) -> list[np.ndarray]:
    """Run utterances of equal frame counts together, and long ones in chunks with context.

    Args:
        counts: frames of each utterance.
        left: frames of context before a chunk.
        right: frames of context after it.
        batch_frames: frames of a batch, at most; an utterance that has more runs alone.
        chunk_frames: frames that run at once, context apart.
        run: from utterances' places, the first frame and the one after the last, to results (B, F, ...).
        grid: the first frame of a run is a multiple of this.

    Returns:
        For each utterance its result, frames first.
    """
    results: list[np.ndarray] = [np.empty(0)] * len(counts)
    places_by_count: dict[int, list[int]] = {}
    for place, count in enumerate(counts):
        places_by_count.setdefault(count, []).append(place)
    for count, same in places_by_count.items():
        width = max(1, batch_frames // min(count, chunk_frames))
        for start in range(0, len(same), width):
            places = same[start : start + width]
            parts = []
            for first in range(0, count, chunk_frames):
                last = min(count, first + chunk_frames)
                outer_first = max(0, first - left) // grid * grid
                outer_last = min(count, last + right)
                part = run(places, outer_first, outer_last)
                parts.append(part[:, first - outer_first : last - outer_first])
            for place, result in zip(places, np.concatenate(parts, axis=1), strict=True):
                results[place] = result
    return results

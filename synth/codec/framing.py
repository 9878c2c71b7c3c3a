"""What every codec does around its network: check each utterance, pad to frames, run in batches.

Long audio is cut into windows whose context covers the network's receptive field, so that memory stays bounded whatever
its length; see `window`.

Shapes: B batch, S samples, F frames.
"""

from collections.abc import Callable, Sequence

import numpy as np

from anytalk.synth.audio import Waveform, as_float32, check_waveform
from anytalk.synth.batch import run_good
from anytalk.synth.errors import SampleError

from .order import LAYERS
from .window import ON_CPU, Cutting, Window, in_batches


def encode_good(
    waveforms: Sequence[Waveform],
    rate_hz: int | None,
    wanted_hz: int,
    encode: Callable[[list[Waveform]], list[np.ndarray]],
) -> list[np.ndarray | SampleError]:
    """Encode what a codec can encode; see `Codec.encode`.

    Args:
        waveforms: as they were given. Floats of another width are taken as float32.
        rate_hz: what the caller says of their rate; None for nothing.
        wanted_hz: the codec's.
        encode: gives the codes of good waveforms.

    Returns:
        One entry a waveform: its codes, or `wrong_rate`, `not_mono`, `not_float`, `empty_audio` or `nan_audio`.
    """

    def check(waveform: Waveform) -> None:
        if rate_hz not in (None, wanted_hz):
            raise SampleError("wrong_rate", f"audio is at {rate_hz} Hz; this codec wants {wanted_hz} Hz")
        check_waveform(waveform)

    return run_good([as_float32(waveform) for waveform in waveforms], check, encode)


def decode_good(
    codes: Sequence[np.ndarray], codebook_size: int, decode: Callable[[list[np.ndarray]], list[Waveform]]
) -> list[Waveform | SampleError]:
    """Decode what a codec can decode; see `Codec.decode`.

    Args:
        codes: as they were given.
        codebook_size: codes are below this.
        decode: gives the audio of good codes.

    Returns:
        One entry an utterance: its audio, or `wrong_shape` or `code_out_of_range`.
    """
    return run_good(codes, lambda frames: check_codes(frames, codebook_size), decode)


def check_codes(frames: np.ndarray, codebook_size: int) -> None:
    """Refuse codes of an utterance that no codec can decode.

    Raises:
        SampleError: `wrong_shape` or `code_out_of_range`.
    """
    if frames.ndim != 2 or frames.shape[1] != LAYERS or frames.dtype.kind not in "iu" or not len(frames):
        raise SampleError(
            "wrong_shape", f"codes are {frames.shape} {frames.dtype}; (frames, {LAYERS}) integers are wanted"
        )
    if int(frames.max()) >= codebook_size or int(frames.min()) < 0:
        bad = frames[(frames < 0) | (frames >= codebook_size)][0]
        raise SampleError("code_out_of_range", f"a code is {bad}; codes are 0 to {codebook_size - 1}")


def encode_framed(
    waveforms: Sequence[Waveform],
    frame_samples: int,
    context_frames: int,
    encode: Callable[[np.ndarray], np.ndarray],
    cutting: Cutting = ON_CPU,
) -> list[np.ndarray]:
    """Encode utterances of any lengths with a network that takes equal ones.

    Args:
        waveforms: checked mono waveforms.
        frame_samples: samples of a frame.
        context_frames: frames on either side that a code depends on.
        encode: from audio (B, S), S a multiple of the frame, to codes (B, F, 7).
        cutting: where they are cut, and what shares a batch.
    """
    padded = [np.pad(waveform, (0, -len(waveform) % frame_samples)) for waveform in waveforms]

    def run(windows: list[Window]) -> np.ndarray:
        return encode(np.stack([padded[w.place][w.start * frame_samples : w.end * frame_samples] for w in windows]))

    counts = [len(waveform) // frame_samples for waveform in padded]
    return in_batches(counts, context_frames, context_frames, cutting, run)


def decode_framed(
    codes: Sequence[np.ndarray],
    frame_samples: int,
    left_frames: int,
    right_frames: int,
    decode: Callable[[np.ndarray], np.ndarray],
    cutting: Cutting = ON_CPU,
    grid_frames: int = 1,
) -> list[Waveform]:
    """Decode utterances of any lengths with a network that takes equal ones.

    Args:
        codes: checked codes (F, 7).
        frame_samples: samples of a frame.
        left_frames: frames to the left that a sample depends on.
        right_frames: frames to the right that a sample depends on.
        decode: from codes (B, F, 7) to audio (B, F * frame_samples).
        cutting: where they are cut, and what shares a batch.
        grid_frames: what is decoded begins at a multiple of this.
    """

    def run(windows: list[Window]) -> np.ndarray:
        audio_BS = decode(np.stack([codes[w.place][w.start : w.end] for w in windows]).astype(np.int64))
        return audio_BS.reshape(len(windows), -1, frame_samples)

    counts = [len(frames) for frames in codes]
    framed = in_batches(counts, left_frames, right_frames, cutting, run, grid_frames)
    return [audio.reshape(-1) for audio in framed]

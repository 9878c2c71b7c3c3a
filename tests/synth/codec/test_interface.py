"""What every codec promises, whichever it is."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anytalk.synth.codec import load_codec
from anytalk.synth.codec.bundled import BundledCodec, weights_bytes
from anytalk.synth.codec.fake import FakeCodec
from anytalk.synth.codec.network import CodecConfig, CodecNetwork
from anytalk.synth.codec.order import to_frames, to_levels
from anytalk.synth.codec.snac import SnacCodec, write_random_snac
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.threads import torch_threads

FRAME = 2048
TINY = CodecConfig(
    mels=20, encoder_width=16, encoder_blocks=1, decoder_width=16, decoder_blocks=1, latent_width=16, codebook_size=4096
)
SHIPPED = resources.files("anytalk.synth.codec") / "weights" / "bundled.safetensors"
KINDS = ["fake", "tiny", "snac", *(["bundled"] if SHIPPED.is_file() else [])]


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("codecs")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = CodecNetwork(TINY)
    (folder / "tiny.safetensors").write_bytes(weights_bytes(network, "tiny", "1"))
    write_random_snac(folder / "snac", 1, encoder_dim=4, decoder_dim=64)
    return {
        "fake": "fake",
        "bundled": "bundled",
        "tiny": str(folder / "tiny.safetensors"),
        "snac": str(folder / "snac"),
    }


@pytest.fixture(scope="module", params=KINDS)
def codec(names, request):
    return load_codec(names[request.param])


def sound(samples: int, seed: int = 0) -> np.ndarray:
    """Noise whose loudness and colour change, so that codes do."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(samples + 8).astype(np.float32)
    smooth = np.convolve(noise, np.ones(9, np.float32) / 3, "valid")
    swell = np.abs(np.sin(np.arange(samples) * (2 * np.pi / 7000)))
    return (0.2 * (swell * smooth + (1 - swell) * noise[:samples])).astype(np.float32)


def random_codes(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4096, (frames, 7)).astype(np.uint16)


def test_a_codec_says_what_it_is(names, codec):
    assert codec.name in names.values()
    assert (codec.sample_rate_hz, codec.frame_samples, codec.codebook_size) == (24_000, FRAME, 4096)
    assert codec.decode_left_frames >= 0
    assert 0 <= codec.decode_lookahead_samples < 4 * FRAME
    assert set(codec.fingerprint) == {"name", "revision", "sha256"}
    assert len(codec.fingerprint["sha256"]) == 64
    assert "/" not in codec.fingerprint["name"]


def test_each_level_has_a_vector_for_each_code(codec):
    assert len(codec.codebooks) == 3
    for vectors in codec.codebooks:
        assert (vectors.dtype, len(vectors), vectors.ndim) == (np.float32, codec.codebook_size, 2)
        assert len(np.unique(vectors, axis=0)) == codec.codebook_size


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.skipif(not SHIPPED.is_file(), reason="a build without weights")
def test_codes_that_are_near_in_the_codebook_sound_alike(level):
    codec = load_codec("bundled")
    whole = to_levels(codec.encode([sound(20 * FRAME)])[0])
    vectors = codec.codebooks[level]
    nearest = np.argsort(vectors[whole[level]] @ -vectors.T, axis=1)
    heard = []
    for rank in (5, 2000):
        changed = [nearest[:, rank] if number == level else codes for number, codes in enumerate(whole)]
        heard.append(codec.decode([to_frames(changed)])[0])
    [original] = codec.decode([to_frames(whole)])
    near, far = (float(np.abs(np.abs(np.fft.rfft(one)) - np.abs(np.fft.rfft(original))).mean()) for one in heard)
    assert near < 0.6 * far


def test_a_name_brings_its_engine(names):
    kinds = {"fake": FakeCodec, "tiny": BundledCodec, "snac": SnacCodec}
    assert {name: type(load_codec(names[name])) for name in kinds} == kinds


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(SetupError, match=r"mine\.safetensors does not exist"):
        load_codec(str(tmp_path / "mine.safetensors"))


def test_frames_are_samples_over_2048_rounded_up(codec):
    lengths = [1, 2047, 2048, 2049, 4096, 10_000, 5 * FRAME]
    codes = codec.encode([sound(samples) for samples in lengths])
    assert [len(frames) for frames in codes] == [1, 1, 1, 2, 2, 5, 5]
    for frames in codes:
        assert frames.dtype == np.uint16
        assert frames.shape[1:] == (7,)
        assert frames.max() < codec.codebook_size


def test_what_shares_a_batch_never_changes_codes(codec):
    # Several frame counts, and one of them more often than the 16 at which torch takes other kernels.
    waveforms = [sound(3 * FRAME - seed, seed) for seed in range(18)] + [sound(n) for n in (1, FRAME, 20 * FRAME, 7000)]
    together = codec.encode(waveforms)
    for waveform, frames in zip(waveforms, together, strict=True):
        np.testing.assert_array_equal(codec.encode([waveform])[0], frames)


def test_codes_follow_the_sound(codec):
    quiet, loud = codec.encode([0.1 * sound(8 * FRAME), 4.0 * sound(8 * FRAME, 1)])
    assert not np.array_equal(quiet, loud)


def test_silence_added_up_to_the_frame_changes_nothing(codec):
    waveform = sound(2 * FRAME - 700)
    padded = np.pad(waveform, (0, 700))
    np.testing.assert_array_equal(codec.encode([waveform])[0], codec.encode([padded])[0])


def test_decoded_speech_is_as_long_as_its_frames(codec):
    decoded = codec.decode([random_codes(frames) for frames in (1, 2, 5, 5)])
    assert [len(audio) for audio in decoded] == [FRAME, 2 * FRAME, 5 * FRAME, 5 * FRAME]
    for audio in decoded:
        assert audio.dtype == np.float32
        assert np.isfinite(audio).all()
        assert np.abs(audio).max() <= 1.0


def test_decoding_repeats_bit_for_bit(codec):
    codes = [random_codes(4)]
    torch.manual_seed(1)
    first = codec.decode(codes)[0]
    torch.manual_seed(2)
    np.testing.assert_array_equal(codec.decode(codes)[0], first)


def test_decoding_leaves_the_global_random_state_alone(codec):
    before = torch.get_rng_state()
    codec.decode(codec.encode([sound(FRAME)]))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_shares_a_batch_does_not_change_decoded_speech(codec):
    codes = [random_codes(3, seed) for seed in range(18)] + [random_codes(1), random_codes(9)]
    together = codec.decode(codes)
    for frames, audio in zip(codes, together, strict=True):
        # Rounding differs between batch sizes, and the running phase of the bundled codec adds it up.
        np.testing.assert_allclose(codec.decode([frames])[0], audio, rtol=0, atol=5e-4)


def test_any_integers_in_range_are_codes(codec):
    codes = random_codes(2)
    expected = codec.decode([codes])[0]
    for dtype in (np.int16, np.int32, np.int64, np.uint32):
        np.testing.assert_array_equal(codec.decode([codes.astype(dtype)])[0], expected)


def test_no_utterances_give_no_codes(codec):
    assert codec.encode([]) == []
    assert codec.decode([]) == []


@pytest.mark.parametrize(
    ("waveform", "reason"),
    [
        (np.zeros(0, np.float32), "empty_audio"),
        (np.zeros((2, 4096), np.float32), "not_mono"),
        (np.zeros((1, 4096), np.float32), "not_mono"),
        (np.zeros(4096, np.int16), "not_float"),
        (np.array([0.0, np.nan, 0.0], np.float32), "nan_audio"),
        (np.array([0.0, np.inf, 0.0], np.float32), "nan_audio"),
    ],
)
def test_audio_that_no_codec_takes_is_an_error_in_its_place(codec, waveform, reason):
    good = [sound(3 * FRAME, seed) for seed in (1, 2)]
    first, bad, last = codec.encode([good[0], waveform, good[1]])
    assert isinstance(bad, SampleError)
    assert bad.reason == reason
    for frames, alone in zip((first, last), good, strict=True):
        np.testing.assert_array_equal(frames, codec.encode([alone])[0])


def test_audio_of_another_rate_is_refused_by_name(codec):
    codec.encode([sound(FRAME)], 24_000)
    refused = codec.encode([sound(FRAME), sound(FRAME)], 16_000)
    assert [error.reason for error in refused] == ["wrong_rate", "wrong_rate"]
    assert "16000 Hz; this codec wants 24000 Hz" in str(refused[0])


def test_floats_of_any_width_are_samples(codec):
    waveform = sound(2 * FRAME)
    np.testing.assert_array_equal(codec.encode([waveform.astype(np.float64)])[0], codec.encode([waveform])[0])
    [refused] = codec.encode([np.array([0.0, 1e300])])
    assert refused.reason == "nan_audio"


@pytest.mark.parametrize(
    ("codes", "reason", "says"),
    [
        (np.full((2, 7), 4096, np.uint16), "code_out_of_range", "a code is 4096; codes are 0 to 4095"),
        (np.full((2, 7), -1, np.int64), "code_out_of_range", "a code is -1"),
        (np.zeros((2, 8), np.uint16), "wrong_shape", "(2, 8)"),
        (np.zeros(7, np.uint16), "wrong_shape", "(7,)"),
        (np.zeros((1, 2, 7), np.uint16), "wrong_shape", "(1, 2, 7)"),
        (np.zeros((0, 7), np.uint16), "wrong_shape", "(0, 7)"),
        (np.zeros((2, 7), np.float32), "wrong_shape", "float32"),
        (np.full((2, 7), np.nan), "wrong_shape", "float64"),
    ],
)
def test_codes_that_no_codec_takes_are_an_error_in_their_place(codec, codes, reason, says):
    good = random_codes(1)
    first, bad, last = codec.decode([good, codes, good])
    assert isinstance(bad, SampleError)
    assert bad.reason == reason
    assert says in str(bad)
    for audio in (first, last):
        # Rounding differs between batch sizes.
        np.testing.assert_allclose(audio, codec.decode([good])[0], rtol=0, atol=5e-4)


def test_long_speech_in_chunks_is_speech_in_one_run(names):
    codec = load_codec(names["tiny"])
    waveform = sound(300 * FRAME)  # Two chunks.
    codes = codec.encode([waveform])[0]
    with torch.inference_mode(), torch_threads(1):
        whole = [level[0].numpy() for level in codec.network.encode(torch.from_numpy(waveform)[None])]
        audio = codec.network.decode([torch.from_numpy(level)[None] for level in to_levels(codes)])[0].clamp(-1, 1)
    assert (to_frames(whole) == codes).mean() > 0.999
    np.testing.assert_allclose(codec.decode([codes])[0], audio.numpy(), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_half_an_hour_of_speech_goes_through_in_chunks(names):
    codec = load_codec(names["tiny"])
    seen: list[int] = []
    hooks = [
        codec.network.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1] // FRAME)),
        codec.network.decoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1] // 4)),
    ]
    minute = 703
    codes = codec.encode([np.tile(sound(minute * FRAME), 31)])[0]
    (audio,) = codec.decode([codes])
    for hook in hooks:
        hook.remove()
    assert len(codes) == 31 * minute
    assert len(audio) == len(codes) * FRAME
    assert max(seen) < 300  # Frames at once, whatever the length: memory stays bounded.
    # Where a chunk begins may change a tie, and nothing else: the same minute sounds the same again.
    middles = codes.reshape(31, minute, 7)[:, 50:-50]
    assert (middles[1:] == middles[0]).mean() > 0.999


def test_a_frame_is_read_depth_first():
    # gpt-omni/mini-omni, utils/snac_utils.py: c0[f], c1[2f], c2[4f], c2[4f+1], c1[2f+1], c2[4f+2], c2[4f+3].
    levels = [np.array([10, 11]), np.array([20, 21, 22, 23]), np.array([30, 31, 32, 33, 34, 35, 36, 37])]
    frames = [[10, 20, 30, 31, 21, 32, 33], [11, 22, 34, 35, 23, 36, 37]]
    assert to_frames(levels).tolist() == frames
    assert [level.tolist() for level in to_levels(np.array(frames))] == [level.tolist() for level in levels]


@given(st.lists(st.lists(st.integers(0, 4095), min_size=7, max_size=7), max_size=20))
def test_levels_and_frames_are_inverse(rows):
    frames = np.array(rows, np.uint16).reshape(-1, 7)
    levels = to_levels(frames)
    assert [len(level) for level in levels] == [len(frames), 2 * len(frames), 4 * len(frames)]
    np.testing.assert_array_equal(to_frames(levels), frames)


@pytest.mark.parametrize("lengths", [(1, 2), (1, 2, 3), (2, 2, 8)])
def test_levels_that_do_not_fit_are_refused(lengths):
    with pytest.raises(ValueError, match="F, 2F and 4F"):
        to_frames([np.zeros(length, np.int64) for length in lengths])


def test_frames_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"\(F, 7\)"):
        to_levels(np.zeros((3, 8), np.int64))

"""Recordings as people have them: all that is in a file is read, or the file is refused by what is wrong with it."""

import io
import re
import struct
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from anytalk.synth.audio import read_audio
from anytalk.synth.errors import SampleError

RATE_HZ = 16_000


def tone(seconds, hz=440.0, rate_hz=RATE_HZ, peak=0.4):
    return (peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def encoded(samples, form="WAV", rate_hz=RATE_HZ, subtype=None):
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=form, subtype=subtype)
    return file.getvalue()


def by_ffmpeg(content, *arguments, piped=False, suffix="wav", folder=None):
    """Convert with the wheel's ffmpeg, into a file or a pipe."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "pipe:0", *arguments]
    if piped:
        return subprocess.run([*command, "pipe:1"], input=content, capture_output=True, check=True).stdout
    path = Path(folder, f"made.{suffix}")
    subprocess.run([*command, "-y", str(path)], input=content, check=True)
    return path.read_bytes()


def made(form, seconds, hz, folder, rate_hz=RATE_HZ):
    wav = encoded(tone(seconds, hz, rate_hz), rate_hz=rate_hz)
    if form in ("WAV", "FLAC", "OGG", "MP3", "AIFF"):
        return encoded(tone(seconds, hz, rate_hz), form, rate_hz)
    arguments = {"vbr.mp3": ("-q:a", "4", "-write_xing", "0"), "opus": ("-c:a", "libopus")}.get(form, ())
    return by_ffmpeg(wav, *arguments, suffix=form, folder=folder)


def loudest_hz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(np.argmax(spectrum)) * RATE_HZ / len(waveform)


def failure(source, **more):
    with pytest.raises(SampleError) as caught:
        read_audio(source, RATE_HZ, **more)
    return caught.value


def both_ways(content, folder):
    """Read bytes, and the same as a file."""
    path = Path(folder, "both.bin")
    path.write_bytes(content)
    waveforms = [read_audio(source, RATE_HZ) for source in (content, path)]
    np.testing.assert_array_equal(*waveforms)
    return waveforms[0]


JOINED = ["WAV", "FLAC", "OGG", "MP3", "vbr.mp3", "opus", "aac", "m4a", "webm", "mka"]


@pytest.mark.parametrize("form", JOINED)
def test_recordings_that_were_joined_are_read_whole_whatever_their_rates(form, tmp_path):
    content = made(form, 1.0, 300, tmp_path) + made(form, 1.5, 700, tmp_path, rate_hz=24_000)
    waveform = both_ways(content, tmp_path)
    assert len(waveform) / RATE_HZ == pytest.approx(2.5, abs=0.2)
    assert loudest_hz(waveform[2000:14_000]) == pytest.approx(300, abs=5)
    assert loudest_hz(waveform[-16_000:-4000]) == pytest.approx(700, abs=5)


BROKEN = ["WAV", "FLAC", "OGG", "MP3", "AIFF", "opus", "m4a", "webm", "mka", "aac", "wma"]


@pytest.mark.parametrize("form", BROKEN)
@pytest.mark.parametrize("share", [0.45, 0.8])
def test_a_recording_that_breaks_off_is_refused(form, share, tmp_path):
    content = made(form, 3.0, 300, tmp_path)
    error = failure(content[: int(share * len(content))])
    # Of an m4a the table of contents stands at the end: without it nothing can be read.
    assert error.reason in ("truncated_audio", "damaged_audio"), error
    path = tmp_path / "cut.bin"
    path.write_bytes(content[: int(share * len(content))])
    assert failure(path).reason == error.reason


def test_a_cut_wav_says_how_much_is_missing():
    content = encoded(tone(1.0))
    assert failure(content[:18_444]).detail == "WAV: the file promises 32,000 bytes of samples, and 18,400 are there"


@pytest.mark.parametrize("sizes", [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFFFFF, 0x7FFFFFFF - 36), (36, 0)])
def test_a_streamed_wav_is_as_long_as_its_samples(sizes, tmp_path):
    content = bytearray(encoded(tone(1.0)))
    struct.pack_into("<I", content, 4, sizes[0])
    struct.pack_into("<I", content, 40, sizes[1])
    assert len(both_ways(bytes(content), tmp_path)) == RATE_HZ
    # A server that sends such a header with each sentence.
    assert len(both_ways(bytes(content) * 2, tmp_path)) == 2 * RATE_HZ


def test_an_empty_wav_is_empty_whatever_follows_it():
    content = encoded(np.zeros(0, np.float32))
    assert failure(content).reason == "empty_audio"
    tagged = bytearray(content + b"LIST" + struct.pack("<I", 4) + b"INFO")
    struct.pack_into("<I", tagged, 4, len(tagged) - 8)
    assert failure(bytes(tagged)).reason == "empty_audio"


@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3", "webm"])
def test_what_ffmpeg_writes_to_a_pipe_is_read_whole(form, tmp_path):
    muxer = {"mp3": ("-q:a", "5")}.get(form, ())
    content = by_ffmpeg(encoded(tone(2.0)), *muxer, "-f", form, piped=True)
    waveform = both_ways(content, tmp_path)
    assert len(waveform) / RATE_HZ == pytest.approx(2.0, abs=0.12)


@pytest.mark.parametrize("promised", [0, 8000, 32_000, 2**36 - 1])
def test_a_flac_is_as_long_as_its_samples(promised, tmp_path):
    content = bytearray(encoded(tone(1.0), "FLAC"))
    content[21] = content[21] & 0xF0 | promised >> 32
    content[22:26] = (promised & 0xFFFFFFFF).to_bytes(4, "big")
    if promised == 32_000:
        assert failure(bytes(content)).detail == "FLAC: the file promises 32,000 samples, and 16,000 are there"
    else:
        assert len(both_ways(bytes(content), tmp_path)) == RATE_HZ


@pytest.mark.parametrize("tail", [bytes(4000), b"TAG" + bytes(125), b"TAG" + b"x" * 125])
def test_what_fills_up_a_flac_is_no_sound(tail, tmp_path):
    assert len(both_ways(encoded(tone(1.0), "FLAC") + tail, tmp_path)) == RATE_HZ


@pytest.mark.parametrize("tail", [bytes(40_000), b"TAG" + bytes(125), b"TAG" + b"x" * 125 + bytes(3000)])
def test_what_fills_up_an_mp3_is_no_sound(tail, tmp_path):
    for form in ("MP3", "vbr.mp3"):
        waveform = both_ways(made(form, 2.0, 300, tmp_path) + tail, tmp_path)
        assert len(waveform) / RATE_HZ == pytest.approx(2.0, abs=0.15)


def test_the_length_of_an_mp3_of_variable_rate_is_counted(tmp_path):
    rng = np.random.default_rng(1)
    # A tone takes few bits and noise takes many, so that the first frames say nothing of the rest.
    samples = np.concatenate([tone(4.0), 0.3 * rng.standard_normal(4 * RATE_HZ).astype(np.float32), tone(4.0)])
    content = by_ffmpeg(encoded(samples), "-q:a", "3", "-write_xing", "0", suffix="mp3", folder=tmp_path)
    assert len(both_ways(content, tmp_path)) / RATE_HZ == pytest.approx(12.0, abs=0.15)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_other_data_behind_a_recording_is_named(form, tmp_path):
    rest = bytes(np.random.default_rng(3).integers(1, 127, 5000, dtype=np.uint8))
    assert failure(made(form, 1.0, 300, tmp_path) + rest).reason in ("trailing_data", "damaged_audio")


@pytest.mark.parametrize(("first", "second"), [("WAV", "FLAC"), ("FLAC", "WAV"), ("OGG", "WAV"), ("MP3", "OGG")])
def test_recordings_of_two_formats_in_one_file_are_named(first, second, tmp_path):
    content = made(first, 1.0, 300, tmp_path) + made(second, 1.0, 700, tmp_path)
    assert failure(content).reason in ("trailing_data", "damaged_audio")


def test_chunks_behind_a_wav_are_no_data():
    content = (
        encoded(tone(1.0)) + b"LIST" + struct.pack("<I", 5) + b"INFOx\x00" + b"id3 " + struct.pack("<I", 3) + b"ID3"
    )
    assert len(read_audio(content, RATE_HZ)) == RATE_HZ


def test_a_missing_page_of_an_ogg_is_named(tmp_path):
    content = made("opus", 6.0, 300, tmp_path)
    pages = [b"OggS" + page for page in content.split(b"OggS")[1:]]
    assert failure(b"".join(pages[:3] + pages[4:])).reason == "damaged_audio"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:5555\nsize 9\n", r"Git LFS pointer.*git lfs pull"),
        (b"\xef\xbb\xbf<!DOCTYPE html>\n<html><body>404</body></html>", r"HTML or XML page"),
        (b'{"error": "no such file"}', r"a text instead of a recording"),
        (b"#EXTM3U\nhttp://localhost/a.ts\n", r"a text instead of a recording"),
        (bytes(5000), r"5,000 bytes of zeros"),
    ],
)
def test_what_is_no_recording_is_called_by_its_name(content, said, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    for source in (content, path):
        error = failure(source)
        assert error.reason == "not_audio"
        assert re.search(said, error.detail)


def test_a_film_without_sound_is_no_recording(tmp_path):
    path = tmp_path / "mute.mp4"
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc=duration=1:size=64x64", path], check=True)
    assert failure(path).detail == "MP4: no sound is in it"


@pytest.mark.parametrize("rate_hz", [1, 4_000_000_000])
def test_a_rate_that_no_recording_has_is_refused(rate_hz):
    content = bytearray(encoded(tone(0.5)))
    struct.pack_into("<I", content, 24, rate_hz)
    assert failure(bytes(content)).reason == "undecodable_audio"


# Channels


def speech(seed, seconds=2.0):
    """Noise in syllables, which is enough like speech for levels and correlation."""
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.uniform(0.0, 1.0, int(seconds * 5)) > 0.3, RATE_HZ // 5)
    return (0.2 * envelope * rng.standard_normal(len(envelope))).astype(np.float32)


def stereo(left, right):
    return encoded(np.stack([left, right], axis=1), subtype="FLOAT")


def test_channels_that_hold_the_same_are_mixed():
    left, right = speech(1), 0.5 * speech(1) + 0.02 * speech(2)
    np.testing.assert_allclose(read_audio(stereo(left, right), RATE_HZ), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("other", [-speech(1), -0.5 * speech(1), np.roll(speech(1), 100), np.zeros(32_000, np.float32)])
def test_a_channel_that_mixing_would_harm_is_left_out(other):
    for pair in ((speech(1), other), (other, speech(1))):
        waveform = read_audio(stereo(*pair), RATE_HZ)
        assert any(np.array_equal(waveform, one) for one in pair)
        assert np.square(waveform).sum() == pytest.approx(np.square(speech(1)).sum(), rel=0.01)


def test_two_talkers_are_refused_unless_the_recipe_chooses():
    left, right = speech(1), speech(2)
    error = failure(stereo(left, right))
    assert error.reason == "channels_differ"
    assert "set channel to left, right, split or mix" in error.detail
    np.testing.assert_array_equal(read_audio(stereo(left, right), RATE_HZ, channel="left"), left)
    np.testing.assert_array_equal(read_audio(stereo(left, right), RATE_HZ, channel="right"), right)
    np.testing.assert_allclose(read_audio(stereo(left, right), RATE_HZ, channel="mix"), (left + right) / 2, atol=1e-6)


def test_two_who_talk_in_turn_are_two_although_each_is_heard_on_the_other_side():
    half = np.arange(64_000) < 32_000
    left, right = speech(1, 4.0) * half, speech(2, 4.0) * ~half
    assert failure(stereo(left + 0.1 * right, right + 0.1 * left)).reason == "channels_differ"


def test_one_channel_has_no_right_side():
    assert failure(encoded(speech(1)), channel="right").reason == "no_such_channel"
    assert len(read_audio(encoded(speech(1)), RATE_HZ, channel="left")) == 32_000

"""Waveforms: reading any file, writing FLAC, rate, loudness and silence."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from anytalk.synth.audio import (
    Waveform,
    check_waveform,
    flac_bytes,
    loudness_lufs,
    read_audio,
    resample,
    set_loudness,
    trim_silence,
)
from anytalk.synth.errors import MissingExtra, SampleError
from anytalk.synth.extra import import_extra

RATE_HZ = 24_000
LSB = 1 / 32768


def tone(duration_s: float, rate_hz: int = RATE_HZ, tone_hz: float = 440.0, peak: float = 0.5) -> Waveform:
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (peak * np.sin(2 * np.pi * tone_hz * time_s)).astype(np.float32)


def encoded(waveform: Waveform, format: str, rate_hz: int = RATE_HZ, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, rate_hz, format=format, subtype=subtype)
    return file.getvalue()


def converted(waveform: Waveform, path: Path) -> Path:
    """Write a file in the format of its name with the wheel's ffmpeg."""
    wav = path.with_suffix(".source.wav")
    wav.write_bytes(encoded(waveform, "WAV"))
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([ffmpeg, "-v", "error", "-y", "-i", str(wav), str(path)], check=True)
    return path


def loudest_hz(waveform: Waveform, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(np.argmax(spectrum)) * rate_hz / len(waveform)


def reason_of(source: bytes | Path, max_s: float = 30.0) -> str:
    with pytest.raises(SampleError) as caught:
        read_audio(source, 16_000, max_s=max_s)
    return caught.value.reason


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_bytes_of_common_formats_are_read_at_the_rate_asked_for(format):
    waveform = read_audio(encoded(tone(1.0), format), 16_000)
    assert waveform.dtype == np.float32
    assert abs(len(waveform) - 16_000) < 1500  # mp3 pads
    assert loudest_hz(waveform, 16_000) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("name", ["a.m4a", "a.mp3", "a.mka", "a.wma"])
def test_files_that_ffmpeg_made_are_read(tmp_path, name):
    path = converted(tone(1.0), tmp_path / name)
    for source in (path, path.read_bytes()):
        waveform = read_audio(source, 16_000)
        assert abs(len(waveform) - 16_000) < 2500
        assert loudest_hz(waveform, 16_000) == pytest.approx(440, abs=2)
        middle = waveform[4000:12_000]  # codecs overshoot where the tone starts
        assert np.max(np.abs(middle)) == pytest.approx(0.5, abs=0.03)


def test_m4a_is_read_without_any_ffmpeg_on_the_path_and_without_warnings(tmp_path):
    path = converted(tone(0.5), tmp_path / "a.m4a")
    script = (
        "import sys; from pathlib import Path; from anytalk.synth.audio import read_audio; "
        "print(len(read_audio(Path(sys.argv[1]), 16000)) > 7000)"
    )
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_the_content_decides_the_format_and_not_the_name(tmp_path):
    path = tmp_path / "misnamed.raw"
    path.write_bytes(encoded(tone(0.5), "FLAC"))
    assert len(read_audio(path, RATE_HZ)) == RATE_HZ // 2


@pytest.mark.parametrize("content", [b"\x00\x01\x02 no audio at all \xff", b"RIFF" + bytes(range(200))])
def test_undecodable_content_says_so(content, tmp_path):
    assert reason_of(content) == "undecodable_audio"
    path = tmp_path / "broken.m4a"
    path.write_bytes(content)
    assert reason_of(path) == "undecodable_audio"


def test_a_missing_file_is_undecodable_and_named(tmp_path):
    with pytest.raises(SampleError, match=r"undecodable_audio: no such file: .*gone\.wav"):
        read_audio(tmp_path / "gone.wav", 16_000)


def test_a_recording_without_samples_is_empty():
    assert reason_of(encoded(np.zeros(0, np.float32), "WAV")) == "empty_audio"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_recording_with_a_broken_sample_is_refused(value):
    waveform = tone(0.5)
    waveform[100] = value
    assert reason_of(encoded(waveform, "WAV", subtype="FLOAT")) == "nan_audio"


def test_a_long_recording_is_refused_without_being_decoded(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(600 * RATE_HZ, np.int16), RATE_HZ)
    started = time.process_time()
    assert reason_of(path) == "too_long"
    assert time.process_time() - started < 0.05


def test_a_long_m4a_is_refused(tmp_path):
    assert reason_of(converted(tone(8.0), tmp_path / "long.m4a"), max_s=2.0) == "too_long"


def test_the_limit_itself_is_accepted():
    assert len(read_audio(encoded(tone(2.0), "WAV"), RATE_HZ, max_s=2.0)) == 2 * RATE_HZ


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(0, np.float32), "empty_audio"),
        (np.zeros((2, 2), np.float32), "not_mono"),
        (np.zeros(2, np.float64), "not_float"),
        (np.array([0, np.nan], np.float32), "nan_audio"),
    ],
)
def test_check_waveform_gives_the_reason(array, reason):
    with pytest.raises(SampleError) as caught:
        check_waveform(array)
    assert caught.value.reason == reason


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=200))
def test_flac_round_trip_is_within_one_step(samples):
    waveform = np.array(samples, np.float32)
    stored = flac_bytes(waveform, 16_000)
    back = read_audio(stored, 16_000)
    assert np.max(np.abs(back - waveform)) <= LSB
    assert flac_bytes(back, 16_000) == stored


def test_flac_is_mono_sixteen_bit_and_clips_what_is_over_full_scale():
    stored = flac_bytes(np.array([2.0, -2.0, 0.0], np.float32), 22_050)
    info = soundfile.info(io.BytesIO(stored))
    assert (info.format, info.subtype, info.channels, info.samplerate) == ("FLAC", "PCM_16", 1, 22_050)
    pcm, _ = soundfile.read(io.BytesIO(stored), dtype="int16")
    assert pcm.tolist() == [32767, -32768, 0]


def test_flac_refuses_what_is_not_a_waveform():
    with pytest.raises(SampleError, match="nan_audio"):
        flac_bytes(np.array([np.nan], np.float32), 16_000)


def test_resampling_keeps_duration_and_pitch():
    waveform = resample(tone(1.0, 22_050), 22_050, 16_000)
    assert waveform.dtype == np.float32
    assert len(waveform) == 16_000
    assert loudest_hz(waveform, 16_000) == pytest.approx(440, abs=1)


def test_equal_rates_return_the_same_samples():
    waveform = tone(0.1)
    assert resample(waveform, RATE_HZ, RATE_HZ) is waveform


@pytest.mark.parametrize("duration_s", [0.0005, 0.03, 0.25, 0.3999, 0.4, 0.4001, 1.0, 5.0])
@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000])
def test_loudness_is_set_at_any_length(duration_s, rate_hz):
    waveform = set_loudness(tone(duration_s, rate_hz, peak=0.01), rate_hz, lufs=-23.0)
    assert waveform.dtype == np.float32
    assert len(waveform) == round(duration_s * rate_hz)
    assert loudness_lufs(waveform, rate_hz) == pytest.approx(-23.0, abs=0.1)


def test_loudness_agrees_with_the_standard_for_a_full_scale_sine():
    # BS.1770: a 997 Hz sine at 0 dB of full scale on one channel reads -3.01 LUFS.
    assert loudness_lufs(tone(3.0, 48_000, 997.0, 1.0), 48_000) == pytest.approx(-3.01, abs=0.05)


def test_the_peak_bounds_the_gain():
    clicks = np.zeros(RATE_HZ, np.float32)
    clicks[::2400] = 0.2
    waveform = set_loudness(clicks, RATE_HZ, lufs=-10.0, peak_db=-3.0)
    assert np.max(np.abs(waveform)) == pytest.approx(10 ** (-3 / 20), rel=1e-5)
    assert loudness_lufs(waveform, RATE_HZ) < -10.0


@pytest.mark.parametrize("peak", [0.0, 1e-5])
def test_silence_keeps_its_level(peak):
    waveform = tone(1.0, peak=peak)
    np.testing.assert_array_equal(set_loudness(waveform, RATE_HZ, lufs=-23.0), waveform)


def test_silence_is_trimmed_to_what_should_stay():
    quiet = np.zeros(RATE_HZ, np.float32)
    waveform = np.concatenate([quiet, tone(0.5), quiet])
    trimmed = trim_silence(waveform, RATE_HZ, keep_s=0.1)
    assert len(trimmed) / RATE_HZ == pytest.approx(0.7, abs=0.011)
    assert not np.any(trimmed[: RATE_HZ // 11])
    assert trim_silence(tone(0.5), RATE_HZ, keep_s=0.1).shape == tone(0.5).shape


def test_quiet_is_measured_against_the_loudest():
    waveform = np.concatenate([tone(0.5, peak=1e-4), tone(0.5, peak=0.1), tone(0.5, peak=0.02)])
    assert len(trim_silence(waveform, RATE_HZ, keep_s=0.0)) / RATE_HZ == pytest.approx(1.0, abs=0.011)
    assert len(trim_silence(waveform, RATE_HZ, 0.0, threshold_db=-10)) / RATE_HZ == pytest.approx(0.5, abs=0.011)
    assert len(trim_silence(waveform, RATE_HZ, 0.0, threshold_db=-80)) == len(waveform)


def test_digital_silence_is_not_trimmed():
    assert len(trim_silence(np.zeros(1000, np.float32), RATE_HZ, keep_s=0.0)) == 1000


def test_a_missing_extra_gives_the_line_to_run():
    with pytest.raises(MissingExtra, match=r'the voice x is not installed; run: pip install "anytalk\[piper\]"'):
        import_extra("no_such_module_here", "the voice x", "piper")


def test_a_broken_module_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "breaks_on_import.py").write_text("import its_missing_part\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="its_missing_part"):
        import_extra("breaks_on_import", "it", "piper")

"""Augmentation: what is written down is what was done, measured on real speech, and the same seed does the same."""

import json
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from anytalk.synth.audio import frame_power, resample
from anytalk.synth.augment import (
    CODINGS,
    Augmentation,
    Coding,
    Gain,
    Noise,
    Room,
    SimulatedRoom,
    SoundFolder,
    Speed,
    Telephone,
    drawn,
    mix,
)
from anytalk.synth.augment.chain import described
from anytalk.synth.augment.coding import rates, through
from anytalk.synth.augment.noise import active_power
from anytalk.synth.augment.room import reverberate, simulated_response
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.judge.dnsmos import Dnsmos
from anytalk.synth.voice import SpeakRequest, load_voice

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def speech():
    voice = load_voice("hibari:heart")
    [waveform] = voice.speak([SpeakRequest("Could you tell me what the weather will be like tomorrow?", seed=1)])
    return resample(waveform, voice.sample_rate_hz, RATE_HZ)


@pytest.fixture
def noises(tmp_path):
    """Recordings of several rates, lengths and formats: hiss, a hum in two channels, and a rumble."""
    rng = np.random.default_rng(0)
    (tmp_path / "noises" / "street").mkdir(parents=True)
    soundfile.write(tmp_path / "noises" / "hiss.wav", 0.1 * rng.standard_normal(30 * 8_000), 8_000)
    hum = np.sin(np.arange(44_100) / 44_100 * 2 * np.pi * 120)
    soundfile.write(tmp_path / "noises" / "street" / "hum.flac", np.stack([0.3 * hum, 0 * hum], 1), 44_100)
    rumble = np.cumsum(rng.standard_normal(20 * RATE_HZ)) / 4000
    soundfile.write(tmp_path / "noises" / "street" / "rumble.mp3", rumble, RATE_HZ)
    (tmp_path / "noises" / "LICENSE").write_text("CC0")
    return tmp_path / "noises"


def generator(seed=3):
    return np.random.default_rng(seed)


def lag(a, b):
    """Samples by which b comes after a."""
    size = len(a) + len(b)
    cross = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    place = int(np.argmax(cross))
    return place if place < size // 2 else place - size


def band_db(waveform, low_hz, high_hz):
    spectrum = np.square(np.abs(np.fft.rfft(waveform)))
    hertz = np.fft.rfftfreq(len(waveform), 1 / RATE_HZ)
    return 10 * np.log10(spectrum[(hertz >= low_hz) & (hertz < high_hz)].sum() + 1e-12)


def test_the_noise_lies_as_far_under_the_speech_as_is_written_down(speech, noises):
    step = Noise(SoundFolder(noises), (3.0, 17.0))
    padded = np.concatenate([np.zeros(RATE_HZ, np.float32), speech])  # A pause does not make speech weaker.
    for seed in range(6):
        noisy, done = step.apply(padded, RATE_HZ, generator(seed))
        noise_power = np.square((noisy - padded).astype(np.float64)).mean()
        power = frame_power(padded, RATE_HZ)
        spoken_power = power[power >= power.max() / 10**4].mean()
        assert 10 * np.log10(spoken_power / noise_power) == pytest.approx(done["snr_db"], abs=0.01)
        assert 3.0 <= done["snr_db"] <= 17.0
        assert done["file"] in {"hiss.wav", "street/hum.flac", "street/rumble.mp3"}


def test_a_long_recording_is_read_from_where_it_says_and_a_short_one_goes_round(noises):
    folder = SoundFolder(noises)
    whole = {sound.name: soundfile.read(sound.path, always_2d=True)[0][:, 0] for sound in folder.sounds}
    seen = set()
    for seed in range(12):
        stretch, name, start_s = folder.excerpt(generator(seed), 5 * RATE_HZ, RATE_HZ)
        assert stretch.shape == (5 * RATE_HZ,)
        [rate_hz] = [sound.rate_hz for sound in folder.sounds if sound.name == name]
        first = int(start_s * rate_hz)
        wanted = np.take(whole[name], range(first, first + 5 * rate_hz), mode="wrap").astype(np.float32)
        middle = slice(RATE_HZ, 4 * RATE_HZ)
        assert np.allclose(stretch[middle], resample(wanted, rate_hz, RATE_HZ)[middle], atol=2e-3)
        seen.add((name, start_s))
    assert len(seen) == 12


def test_silent_stretches_are_drawn_again_and_a_silent_folder_rejects_the_row(speech, noises, tmp_path):
    soundfile.write(noises / "silence.wav", np.zeros(RATE_HZ * 9), RATE_HZ)
    step = Noise(SoundFolder(noises), (5.0, 5.0))
    assert all(step.apply(speech, RATE_HZ, generator(seed))[1]["file"] != "silence.wav" for seed in range(9))
    (tmp_path / "still").mkdir()
    soundfile.write(tmp_path / "still" / "silence.wav", np.zeros(RATE_HZ), RATE_HZ)
    with pytest.raises(SampleError) as caught:
        Noise(SoundFolder(tmp_path / "still"), (5.0, 5.0)).apply(speech, RATE_HZ, generator())
    assert caught.value.reason == "silent_noise"


def test_speech_sounds_worse_the_nearer_the_noise(speech, noises):
    hiss = resample(soundfile.read(noises / "hiss.wav", 40_000, dtype="float32")[0], 8_000, RATE_HZ)[: len(speech)]
    scores = Dnsmos("p808").score([speech, *(mix(speech, hiss, RATE_HZ, snr_db) for snr_db in (20.0, 8.0, -4.0))])
    assert all(better > worse + 0.05 for better, worse in pairwise(scores)), scores


def test_a_folder_is_known_by_the_names_and_the_content_of_its_recordings(noises):
    before = SoundFolder(noises).fingerprint
    (noises / "LICENSE").write_text("CC-BY-4.0")
    assert SoundFolder(noises).fingerprint == before
    content = (noises / "hiss.wav").read_bytes()
    (noises / "hiss.wav").write_bytes(content[:-2] + b"xy")
    assert SoundFolder(noises).fingerprint != before
    (noises / "hiss.wav").write_bytes(content)
    assert SoundFolder(noises).fingerprint == before
    (noises / "hiss.wav").rename(noises / "wind.wav")
    assert SoundFolder(noises).fingerprint != before


def test_folders_that_are_not_in_order_are_refused_by_name(noises, tmp_path):
    with pytest.raises(SetupError, match=r"no folder .*gone"):
        SoundFolder(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing here")
    with pytest.raises(SetupError, match=r"no recordings in .*empty; known: .*\.wav"):
        SoundFolder(tmp_path / "empty")
    (noises / "broken.wav").write_bytes(b"RIFFnonsense")
    soundfile.write(noises / "nothing.wav", np.zeros(0), RATE_HZ)
    with pytest.raises(SetupError) as caught:
        SoundFolder(noises, longest_s=25.0)
    lines = str(caught.value).splitlines()
    assert [line.split()[1].rpartition("/")[2] for line in lines] == ["broken.wav", "hiss.wav", "nothing.wav"]
    assert "at most 25 s" in lines[1]


def test_a_recording_that_does_not_say_its_length_is_refused(noises):
    path = noises / "streamed.flac"
    soundfile.write(path, np.zeros(1000), RATE_HZ)
    content = bytearray(path.read_bytes())
    content[21], content[22:26] = content[21] & 0xF0, bytes(4)
    path.write_bytes(content)
    with pytest.raises(SetupError, match=r"streamed\.flac was streamed and does not say how long it is"):
        SoundFolder(noises)


def test_a_room_keeps_power_place_and_length(speech, tmp_path):
    (tmp_path / "rooms").mkdir()
    response = np.concatenate([np.zeros(400), simulated_response(0.5, 3.0, 48_000, generator())])
    soundfile.write(tmp_path / "rooms" / "hall.wav", response, 48_000, subtype="FLOAT")
    wet, done = Room(SoundFolder(tmp_path / "rooms", 10.0)).apply(speech, RATE_HZ, generator())
    assert done == {"step": "room", "file": "hall.wav"}
    assert (wet.dtype, len(wet)) == (np.float32, len(speech))
    assert abs(lag(speech, wet)) <= 1
    assert active_power(wet, RATE_HZ) == pytest.approx(active_power(speech, RATE_HZ), rel=0.05)
    assert np.abs(wet - speech).max() > 0.02


def test_one_impulse_is_no_room_and_its_delay_is_taken_off(speech):
    response = np.zeros(900, np.float32)
    response[300] = -0.5
    assert np.allclose(reverberate(speech, response, RATE_HZ), -speech, atol=1e-5)


def test_a_simulated_room_decays_by_sixty_decibels_in_its_time():
    for rt60_s, ratio_db in ((0.25, 5.0), (0.8, -3.0)):
        response = simulated_response(rt60_s, ratio_db, RATE_HZ, generator()).astype(np.float64)
        assert len(response) == round(rt60_s * RATE_HZ)
        echo = np.square(response[1:])
        assert 10 * np.log10(response[0] ** 2 / echo.sum()) == pytest.approx(ratio_db, abs=0.01)
        # Schroeder's backward integration, from -5 to -25 dB, as ISO 3382 reads T20 off.
        decay_db = 10 * np.log10(np.cumsum(echo[::-1])[::-1] / echo.sum())
        first, last = (int(np.argmax(decay_db < level)) for level in (-5.0, -25.0))
        assert 3 * (last - first) / RATE_HZ == pytest.approx(rt60_s, rel=0.1)


def test_a_telephone_passes_its_band_and_nothing_else():
    noise = generator().standard_normal(4 * RATE_HZ).astype(np.float32) * 0.1
    passed, _ = Telephone().apply(noise, RATE_HZ, generator())
    assert len(passed) == len(noise)
    assert abs(lag(noise, passed)) == 0
    assert band_db(passed, 500, 3_200) == pytest.approx(band_db(noise, 500, 3_200), abs=0.1)
    assert band_db(passed, 0, 200) < band_db(noise, 0, 200) - 40
    assert band_db(passed, 3_600, 8_000) < band_db(noise, 3_600, 8_000) - 40


@pytest.mark.parametrize("name", CODINGS)
def test_a_codec_changes_speech_and_leaves_it_in_its_place(speech, name):
    form = CODINGS[name]
    there = resample(speech, RATE_HZ, form.rate_hz)
    low = through(there, name, rates(name, None)[0])
    assert len(low) == len(there)
    assert abs(lag(there, low)) <= 2
    assert np.array_equal(through(there, name, rates(name, None)[0]), low)
    error_db = 10 * np.log10(np.square(low - there).mean() / np.square(there).mean())
    assert -45 < error_db < 0
    back, done = Coding((name,)).apply(speech, RATE_HZ, generator())
    assert (len(back), done["codec"]) == (len(speech), name)
    assert done["kbit_s"] in form.kbit_s


def test_a_codec_without_a_bit_rate_in_the_range_is_refused():
    with pytest.raises(ValueError, match=r"amr-nb has no bit rate in \(13, 20\); it has 4\.75, .* 12\.2 kbit/s"):
        Coding(("opus", "amr-nb"), (13, 20))


def test_speed_changes_length_and_pitch_together():
    tone = np.sin(np.arange(RATE_HZ) / RATE_HZ * 2 * np.pi * 400).astype(np.float32)
    faster, done = Speed((1.25, 1.25)).apply(tone, RATE_HZ, generator())
    assert (len(faster), done) == (RATE_HZ * 4 // 5, {"step": "speed", "factor": 1.25})
    assert np.argmax(np.abs(np.fft.rfft(faster))) == 400  # 500 Hz in 0.8 s


def test_nothing_leaves_full_scale_and_what_that_took_is_written_down(speech):
    loud, done = Augmentation([(1.0, Gain((40.0, 40.0)))])(speech, RATE_HZ, seed=1)
    assert np.abs(loud).max() == pytest.approx(1.0)
    assert [what["step"] for what in done] == ["gain", "fit"]
    total_db = sum(what["gain_db"] for what in done)
    assert np.allclose(loud, speech * 10 ** (total_db / 20), atol=1e-3)


def chain(noises):
    return Augmentation(
        [
            (0.5, Speed((0.9, 1.1))),
            (0.5, SimulatedRoom((0.2, 0.6), (0.0, 10.0))),
            (0.7, Noise(SoundFolder(noises), (5.0, 20.0))),
            (0.5, Gain((-12.0, 0.0))),
        ]
    )


def test_the_same_seed_does_the_same_and_another_one_something_else(speech, noises):
    first, again, other = (chain(noises)(speech, RATE_HZ, seed) for seed in (5, 5, 6))
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]
    assert described(first[1]) != described(other[1])
    assert json.loads(described(first[1])) == first[1]


def test_steps_are_drawn_as_often_as_they_should_be_and_known_beforehand(speech, noises):
    steps = chain(noises)
    names = ["speed", "simulated_room", "noise", "gain"]
    for seed in range(4):
        _, done = steps(speech, RATE_HZ, seed)
        expected = [names[place] for place in drawn(steps.probabilities, seed)]
        assert [what["step"] for what in done if what["step"] != "fit"] == expected
    shares = np.mean([[place in drawn(steps.probabilities, seed) for place in range(4)] for seed in range(2000)], 0)
    assert np.allclose(shares, steps.probabilities, atol=0.04)


def test_what_one_step_draws_does_not_shift_the_next(speech):
    noise_free = Augmentation([(1.0, Speed((0.9, 1.1))), (1.0, Gain((-12.0, 0.0)))])
    never = Augmentation([(0.0, Speed((0.9, 1.1))), (1.0, Gain((-12.0, 0.0)))])
    assert noise_free(speech, RATE_HZ, 2)[1][1] == never(speech, RATE_HZ, 2)[1][0]


def test_silence_cannot_be_mixed_nor_put_into_a_room(noises):
    silence = np.zeros(RATE_HZ, np.float32)
    for step in (Noise(SoundFolder(noises), (5.0, 5.0)), SimulatedRoom((0.3, 0.3), (5.0, 5.0))):
        with pytest.raises(SampleError) as caught:
            step.apply(silence, RATE_HZ, generator())
        assert caught.value.reason == "silent_audio"

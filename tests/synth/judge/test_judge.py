"""Judgement: scores equal DNSMOS's, speech is found where it is, words compare as heard, gates name their reason."""

import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from anytalk.synth.audio import Waveform, resample, trim_silence
from anytalk.synth.judge import (
    REASONS,
    Dnsmos,
    FakeMos,
    FakeVad,
    Measures,
    Policy,
    SileroVad,
    measure,
    trim_to_speech,
    verdict,
)
from anytalk.synth.judge.dnsmos import p808_input, scored_windows
from anytalk.synth.judge.measure import clipped_share
from anytalk.synth.judge.vad import spans_of_probabilities
from anytalk.synth.onnx import wheel_file
from anytalk.synth.voice import SpeakRequest, load_voice

RATE_HZ = 16_000
TEXT = "Turn left at the next corner, then walk straight on for about ten minutes."
GOOD = Measures(
    wer=0.0,
    cer=0.0,
    mos=4.0,
    seconds_per_word=0.4,
    leading_silence_s=0.1,
    trailing_silence_s=0.2,
    inner_silence_s=0.3,
    clipped_share=0.0,
    peak_db=-3.0,
)


@pytest.fixture(scope="module")
def spoken() -> Waveform:
    voice = load_voice("hibari:heart")
    [waveform] = voice.speak([SpeakRequest(TEXT, seed=0)])
    return resample(waveform, voice.sample_rate_hz, RATE_HZ)


@pytest.fixture(scope="module")
def noisy(spoken: Waveform) -> Waveform:
    """The same speech under white noise, 5 dB below it."""
    noise = np.random.default_rng(0).standard_normal(len(spoken)).astype(np.float32)
    gain = np.sqrt(np.mean(spoken**2) / np.mean(noise**2) / 10 ** (5 / 10))
    return (spoken + gain * noise).astype(np.float32)


def raw_scores(model: str, model_input: np.ndarray) -> np.ndarray:
    path = wheel_file("speechmos", f"dnsmos_models/{model}")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"input_1": model_input[None]})[0][0]


def test_the_overall_score_equals_the_originals_formula(spoken: Waveform):
    window = np.concatenate([spoken, spoken, spoken])[: int(9.01 * RATE_HZ)]
    overall = raw_scores("sig_bak_ovr.onnx", window)[2]
    expected = -0.06766283 * overall**2 + 1.11546468 * overall + 0.04602535
    assert Dnsmos().score([window]) == pytest.approx([expected], abs=1e-4)


def test_noise_lowers_both_scores(spoken: Waveform, noisy: Waveform):
    for dnsmos in (Dnsmos(max_windows=1), Dnsmos("p808", max_windows=1)):
        clean_mos, noisy_mos = dnsmos.score([spoken, noisy])
        assert clean_mos > 3
        assert noisy_mos < clean_mos - 0.5


def test_the_p808_score_is_the_networks_own(spoken: Waveform):
    raw = [raw_scores("model_v8.onnx", p808_input(window)) for window in scored_windows(spoken)]
    assert Dnsmos("p808").score([spoken]) == pytest.approx([np.mean(raw)])


def test_the_p808_spectrogram_lies_between_minus_one_and_one(spoken: Waveform):
    spectrogram = p808_input(scored_windows(spoken)[0])
    assert spectrogram.shape == (900, 120)
    assert spectrogram.max() == pytest.approx(1)
    assert spectrogram.min() >= -1


@pytest.mark.parametrize(
    ("seconds", "count"),
    # 1 s is doubled to 16 s, 4 s too; 6 s to 12 s.
    [(0, 1), (1, 7), (4, 7), (6, 3), (9.01, 1), (10.5, 1), (11, 2), (12.9, 3), (20, 11), (30, 21)],
)
def test_a_window_starts_every_second_as_in_the_original(seconds: float, count: int):
    windows = scored_windows(np.zeros(int(seconds * RATE_HZ), np.float32))
    assert len(windows) == count
    assert {len(window) for window in windows} == {144_160}


def test_short_speech_is_doubled_until_a_window_is_full():
    sound = np.arange(50_000, dtype=np.float32)
    np.testing.assert_array_equal(scored_windows(sound)[0], np.concatenate([sound] * 4)[:144_160])


def test_a_bound_on_windows_keeps_the_first_and_the_last():
    sound = np.arange(30 * RATE_HZ, dtype=np.float32)
    assert [window[0] / RATE_HZ for window in scored_windows(sound, 3)] == [0, 10, 20]
    assert [window[0] / RATE_HZ for window in scored_windows(sound, 1)] == [10]


def test_dnsmos_refuses_a_scale_or_a_bound_it_does_not_know():
    with pytest.raises(ValueError, match="p835"):
        Dnsmos("p800")
    with pytest.raises(ValueError, match="max_windows"):
        Dnsmos(max_windows=0)


def test_dnsmos_does_without_librosa():
    Dnsmos()
    assert "speechmos.dnsmos" not in sys.modules
    assert "librosa" not in sys.modules


def test_speech_is_found_within_silence(spoken: Waveform):
    loud = np.flatnonzero(np.abs(spoken) > 0.02)
    before = np.zeros(2 * RATE_HZ, np.float32)
    padded = np.concatenate([before, spoken, np.zeros(RATE_HZ, np.float32)])
    spans = SileroVad().speech_spans(padded)
    assert spans[0][0] == pytest.approx(2 + loud[0] / RATE_HZ, abs=0.15)
    assert spans[-1][1] == pytest.approx(2 + loud[-1] / RATE_HZ, abs=0.15)


def test_silence_and_no_sound_hold_no_speech():
    vad = SileroVad()
    assert vad.speech_spans(np.zeros(RATE_HZ, np.float32)) == []
    assert vad.speech_spans(np.zeros(0, np.float32)) == []


def test_long_sound_is_taken_in_blocks_without_a_seam(spoken: Waveform):
    vad = SileroVad()
    long = np.tile(spoken, 5)
    assert len(long) > 16.4 * RATE_HZ
    original = pytest.importorskip("silero_vad")
    model = original.load_silero_vad(sequence=True, max_frames=100)
    np.testing.assert_allclose(vad.probabilities(long), model.audio_forward(long), atol=1e-6)


def test_spans_equal_silero_vads_own():
    original = pytest.importorskip("silero_vad")
    rng = np.random.default_rng(0)
    for _ in range(50):
        smooth = np.convolve(rng.standard_normal(300), np.ones(rng.integers(3, 15)), mode="same")
        probabilities = (1 / (1 + np.exp(-smooth))).astype(np.float32)
        samples = 300 * 512 - int(rng.integers(0, 512))
        theirs = original.get_speech_timestamps_from_probs(probabilities.tolist(), audio_length_samples=samples)
        ours = spans_of_probabilities(probabilities, samples)
        assert len(ours) == len(theirs)
        for (start, end), span in zip(ours, theirs, strict=True):
            assert (start * RATE_HZ, end * RATE_HZ) == pytest.approx((span["start"], span["end"]), abs=1)


def measured(text: str, transcript: str, language: str = "en") -> Measures:
    return measure(
        text=text,
        transcript=transcript,
        language=language,
        waveform=np.full(RATE_HZ, 0.5, np.float32),
        rate_hz=RATE_HZ,
        spans=[(0.1, 0.9)],
        mos=3.123456,
    )


@pytest.mark.parametrize(
    ("text", "transcript"),
    [
        ("I have twenty apples.", "I have 20 apples"),
        ("The colour is grey, isn't it?", "the color is gray is not it"),
        ("Doctor Smith", "Dr. Smith"),
        ("Well... yes.", "Well, yes!"),
    ],
)
def test_the_same_words_written_otherwise_are_no_error(text: str, transcript: str):
    assert measured(text, transcript).wer == 0
    assert measured(text, transcript, "en-GB").cer == 0


def test_errors_are_counted_against_the_text():
    assert measured("one cat sat here", "one dog sat").wer == 0.5
    assert measured("abcd", "abed").cer == 0.25


def test_words_that_loop_are_counted_beyond_what_the_text_repeats():
    looped = measured("Please turn left here.", "Please turn left. Turn left. Turn left here.")
    assert looped.repetition == 0.5
    assert measured("Bye bye, my dear.", "bye bye my dear").repetition == 0
    assert measured("My dear, bye.", "My dear, my dear, bye bye").repetition == 0.5
    assert measured("hello", "").repetition == 0


def test_other_languages_keep_their_words_and_their_marks():
    assert measured("Grüß Gott, Welt!", "grüß gott welt", "de").wer == 0
    assert measured("यह किताब है", "यह कताब है", "hi-IN").wer > 0


def test_an_empty_text_is_wrong_only_if_something_is_heard():
    assert measured("", "").wer == 0
    assert (measured("...", "hello").wer, measured("...", "hello").cer) == (1, 1)
    assert measured("hello", "").wer == 1


def test_silences_and_pace_come_from_the_spans():
    waveform = np.zeros(5 * RATE_HZ, np.float32)
    waveform[RATE_HZ] = 0.5
    found = measure(
        text="one two three four",
        transcript="one two three four",
        language="en",
        waveform=waveform,
        rate_hz=RATE_HZ,
        spans=[(0.5, 1.5), (2.5, 3.0), (3.25, 4.5)],
        mos=3.123456,
    )
    assert found == Measures(
        wer=0.0,
        cer=0.0,
        mos=3.1235,
        seconds_per_word=1.0,
        leading_silence_s=0.5,
        trailing_silence_s=0.5,
        inner_silence_s=1.0,
        clipped_share=0.0,
        peak_db=-6.0206,
        end_drop_db=67.5449,  # One sample of 0.5 in 2.75 s of speech, against silence.
        missing_end_words=0.0,
    )


def test_a_word_that_is_cut_off_stops_at_the_level_of_speech(spoken: Waveform):
    spans = SileroVad().speech_spans(spoken)
    last_word = spoken[-RATE_HZ:]
    loudest = int(np.argmax(np.convolve(last_word**2, np.ones(int(0.06 * RATE_HZ)), mode="valid")))
    cut = spoken[: len(spoken) - RATE_HZ + loudest + int(0.06 * RATE_HZ)]
    drops = []
    for sound in (spoken, cut):
        inside = [(start, min(end, len(sound) / RATE_HZ)) for start, end in spans]
        found = measure(
            text=TEXT, transcript=TEXT, language="en", waveform=sound, rate_hz=RATE_HZ, spans=inside, mos=4.0
        )
        drops.append((verdict(found, Policy()), found.end_drop_db is not None and found.end_drop_db > 30))
    assert drops == [(None, True), ("cut_off", False)]


def test_without_speech_all_is_silence():
    waveform = np.zeros(2 * RATE_HZ, np.float32)
    found = measure(text="hello", transcript="", language="en", waveform=waveform, rate_hz=RATE_HZ, spans=[], mos=1.0)
    assert (found.leading_silence_s, found.trailing_silence_s, found.inner_silence_s) == (2, 2, 0)
    assert (found.seconds_per_word, found.peak_db) == (0, -120)


def test_only_runs_at_full_scale_are_clipped():
    peaks = np.zeros(100, np.float32)
    peaks[[10, 20, 21]] = 1
    assert clipped_share(peaks) == 0
    peaks[30:35] = -1
    peaks[97:] = 0.9995
    assert clipped_share(peaks) == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("high_wer", {"wer": 0.5}),
        ("low_mos", {"mos": 1.5}),
        ("too_fast", {"seconds_per_word": 0.05}),
        ("too_slow", {"seconds_per_word": 3.0}),
        ("leading_silence", {"leading_silence_s": 2.0}),
        ("trailing_silence", {"trailing_silence_s": 2.0}),
        ("inner_silence", {"inner_silence_s": 4.0}),
        ("clipped", {"clipped_share": 0.01}),
        ("repetition", {"repetition": 0.5}),
        ("missing_end", {"missing_end_words": 1.0}),
        ("cut_off", {"end_drop_db": 4.0}),
        ("high_wer", {"wer": float("nan")}),
        ("low_mos", {"mos": float("nan")}),
        ("high_wer", {"wer": 0.5, "mos": 1.0, "clipped_share": 0.5}),
        ("too_fast", {"seconds_per_word": 0.05, "leading_silence_s": 9.0}),
    ],
)
def test_the_first_failed_gate_gives_the_reason(reason: str, change: dict[str, float]):
    assert verdict(replace(GOOD, **change), Policy()) == reason
    assert reason in REASONS


def test_a_good_utterance_passes_and_bounds_are_included():
    assert verdict(GOOD, Policy()) is None
    assert verdict(replace(GOOD, wer=0.2), Policy(max_wer=0.2)) is None


def test_a_gate_set_to_none_is_open():
    assert verdict(replace(GOOD, wer=9.0, mos=0.0), Policy(max_wer=None, min_mos=None)) is None


@pytest.mark.parametrize("bounds", [{"max_wer": -1.0}, {"min_mos": float("nan")}, {"min_seconds_per_word": 2.0}])
def test_a_policy_that_nothing_could_mean_is_refused(bounds: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(bounds))):
        Policy(**bounds)


def test_real_speech_passes_the_default_policy_and_noise_does_not(spoken: Waveform, noisy: Waveform):
    vad, dnsmos = SileroVad(), Dnsmos("p808")
    reasons = []
    for waveform in (spoken, noisy):
        [mos] = dnsmos.score([waveform])
        found = measure(
            text=TEXT,
            transcript=TEXT,
            language="en",
            waveform=waveform,
            rate_hz=RATE_HZ,
            spans=vad.speech_spans(waveform),
            mos=mos,
        )
        reasons.append(verdict(found, Policy()))
    assert reasons == [None, "low_mos"]


def test_fingerprints_tell_engines_and_settings_apart():
    engines = (Dnsmos(), Dnsmos("p808"), Dnsmos(max_windows=2), SileroVad(), FakeMos(), FakeVad())
    prints = [tuple(sorted(engine.fingerprint.items())) for engine in engines]
    assert len(set(prints)) == len(prints)


def test_the_fakes_answer_like_the_engines():
    sound = np.zeros(RATE_HZ, np.float32)
    sound[4_000:8_000] = 0.5
    assert FakeMos(3.5).score([sound, sound]) == [3.5, 3.5]
    assert FakeVad().speech_spans(sound) == [(0.25, 0.5)]
    assert FakeVad().speech_spans(np.zeros(10, np.float32)) == []


@pytest.mark.parametrize("noise_db", [-90, -35, -25])
def test_a_recording_is_trimmed_to_its_speech_whatever_the_room(spoken, noise_db):
    """Of real rooms, the noise is often less than 40 dB below the loudest sound."""
    speech = trim_silence(spoken, RATE_HZ, keep_s=0.0)
    pause = np.zeros(RATE_HZ, np.float32)
    noise = np.random.default_rng(1).standard_normal(len(speech) + 2 * RATE_HZ).astype(np.float32)
    recording = np.concatenate([pause, speech, pause]) + noise * np.abs(speech).max() * np.float32(
        10 ** (noise_db / 20)
    )
    trimmed = trim_to_speech(recording, RATE_HZ, SileroVad(), keep_s=0.1)
    # A margin of 0.2 s at each end, and 0.1 s for what the detector hears late or long.
    assert 0.1 < (len(trimmed) - len(speech)) / RATE_HZ < 0.65
    start = next(at for at in range(len(recording)) if np.array_equal(recording[at : at + 50], trimmed[:50]))
    assert start < RATE_HZ
    assert start + len(trimmed) > RATE_HZ + len(speech)


def test_what_holds_no_speech_is_not_trimmed():
    silence = np.zeros(RATE_HZ, np.float32)
    assert trim_to_speech(silence, RATE_HZ, SileroVad(), keep_s=0.1) is silence

"""Turns in sound that comes in pieces: against Silero on the whole, and with probabilities that are made up."""

import numpy as np
import pytest

from anytalk.recipes.serve.realtime.ear import Ear
from anytalk.recipes.serve.realtime.protocol import Detection
from anytalk.recipes.serve.realtime.turns import Paused, Started, Stopped, TurnDetector, TurnSettings
from anytalk.recipes.serve.sound import Incoming
from anytalk.synth.audio import resample
from anytalk.synth.judge.vad import FRAME_SAMPLES, SileroVad


@pytest.fixture(scope="module")
def vad():
    return SileroVad()


def in_pieces(wave, seed=0):
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, len(wave), 40))
    return np.split(wave, cuts)


def test_pieces_have_the_probabilities_of_the_whole(vad, speech_24k):
    wave = resample(speech_24k, 24_000, 16_000)
    stream = vad.stream()
    pieces = [stream.push(piece) for piece in in_pieces(wave)]
    whole = vad.probabilities(wave)
    pieces.append(stream.push(wave[:0], last=True))
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)


def test_pieces_are_resampled_without_seams(speech_24k):
    incoming = Incoming()
    pieces = [incoming.push(piece) for piece in in_pieces(speech_24k)]
    resampled = np.concatenate([*pieces, incoming.push(speech_24k[:0], last=True)])
    whole = resample(speech_24k, 24_000, 16_000)
    assert abs(len(resampled) - len(whole)) <= 1
    np.testing.assert_allclose(resampled[: len(whole)], whole[: len(resampled)], atol=1e-4)


def test_a_turn_is_the_speech_with_its_margins(vad, speech_24k):
    ear = Ear(vad, 30.0)
    ear.detect(Detection(TurnSettings(prefix_padding_s=0.2, silence_s=0.5)))
    found = [event for piece in in_pieces(speech_24k) for event in ear.append(piece)]
    assert [type(event) for event in found] == [Started, Paused, Stopped]
    [(start_s, end_s)] = vad.speech_spans(resample(speech_24k, 24_000, 16_000))
    started, paused, stopped = found
    assert started.at_s == pytest.approx(start_s - 0.2, abs=0.1)
    assert stopped.at_s == pytest.approx(end_s + 0.2, abs=0.1)
    np.testing.assert_array_equal(paused.sound, stopped.sound)  # so what was heard early is the turn
    assert len(stopped.sound) / 16_000 == pytest.approx(stopped.at_s - started.at_s, abs=1e-3)
    whole = resample(speech_24k, 24_000, 16_000)[round(16_000 * started.at_s) :][: len(stopped.sound)]
    np.testing.assert_allclose(stopped.sound, whole, atol=1e-4)


class Scripted:
    """Says what the test wants it to."""

    def __init__(self, probabilities):
        self.probabilities, self.left = iter(probabilities), 0

    def push(self, waveform, *, last=False):
        count, self.left = divmod(self.left + len(waveform), FRAME_SAMPLES)
        return np.array([next(self.probabilities) for _ in range(count)], np.float32)


def detected(probabilities, **settings):
    """Frames at which something was found, for a frame of 32 ms each."""
    detector = TurnDetector(Scripted(probabilities), TurnSettings(**settings))
    found = []
    for n in range(len(probabilities)):
        found += [(n, type(event).__name__) for event in detector.push(np.full(FRAME_SAMPLES, n, np.float32))]
    return found


def test_a_click_is_no_turn_and_a_short_pause_no_end():
    assert detected([0.9, 0.9, 0.1] * 20) == []
    paused = [0.1] * 3 + [0.9] * 10 + [0.1] * 10 + [0.9] * 10 + [0.1] * 16
    assert detected(paused) == [(5, "Started"), (19, "Paused"), (39, "Paused"), (48, "Stopped")]


def test_threshold_and_silence_are_the_clients():
    quiet = [0.4] * 10 + [0.0] * 40
    assert detected(quiet) == []
    assert [name for _, name in detected(quiet, threshold=0.3)] == ["Started", "Paused", "Stopped"]
    (_, _), (_, _), (short, _) = detected([0.9] * 10 + [0.0] * 60, silence_s=0.3)
    (_, _), (_, _), (long, _) = detected([0.9] * 10 + [0.0] * 60, silence_s=1.5)
    assert (short, long) == (19, 56)


def test_a_turn_without_end_is_cut_and_the_next_begins():
    found = detected([0.9] * 200, longest_s=2.0, prefix_padding_s=0.0)
    assert [name for _, name in found] == ["Started", "Stopped"] * 3 + ["Started"]


def test_what_no_turn_can_hold_is_let_go(vad):
    detector = TurnDetector(vad.stream(), TurnSettings())
    for _ in range(100):
        detector.push(np.zeros(16_000, np.float32))
    assert len(detector._sound) < 16_000

"""What every engine promises of a batch, as checks that any engine can be put to."""

import json
import pickle

import numpy as np

from anytalk.synth.errors import SampleError
from anytalk.synth.hearing import Heard
from anytalk.synth.voice import SpeakRequest


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


BAD = {
    "not_float": np.zeros(4096, np.int16),
    "not_mono": np.zeros((2, 4096), np.float32),
    "nan_audio": np.array([0.0, np.nan, 0.0], np.float32),
}
"""What is no waveform, by the reason that it is refused for."""
GOOD = [noise(8_000, 1), noise(6_000, 2)]


def is_same(one, other):
    if isinstance(one, Heard):
        return one.text == other.text and is_same(one.features, other.features)
    return one is other if one is None else np.array_equal(one, other)


def in_place(call, good, bad):
    """Put bad items between good ones; give their errors. The good ones must come out as they do alone."""
    items = [good[0], *bad, good[1]]
    results = call(items)
    assert len(results) == len(items)
    first, *errors, last = results
    assert is_same(first, call([good[0]])[0])
    assert is_same(last, call([good[1]])[0])
    assert all(isinstance(error, SampleError) for error in errors)
    assert call([]) == []
    assert isinstance(call(bad[:1])[0], SampleError)
    assert pickle.loads(pickle.dumps(errors[0])).reason == errors[0].reason
    return [error.reason for error in errors]


def assert_fingerprint(engine):
    """One shape for all: names to texts, the same each time."""
    assert dict(engine.fingerprint) == json.loads(json.dumps(dict(engine.fingerprint)))
    assert all(isinstance(value, str) for pair in engine.fingerprint.items() for value in pair)
    assert len(engine.fingerprint) >= 2


def speaks_what_it_can(voice):
    good = [SpeakRequest("Hello.", seed=1), SpeakRequest("Good day.", seed=2)]
    bad = [SpeakRequest("...", seed=1), SpeakRequest("", seed=1)]
    assert in_place(voice.speak, good, bad) == ["unspeakable_text"] * 2
    assert all(isinstance(waveform, np.ndarray) for waveform in voice.speak(good))
    assert_fingerprint(voice)


def encodes_what_it_can(codec):
    bad = BAD | {"empty_audio": np.zeros(0, np.float32)}
    assert in_place(codec.encode, GOOD, list(bad.values())) == list(bad)
    frames = [-(-len(waveform) // codec.frame_samples) for waveform in GOOD]
    assert [codes.shape for codes in codec.encode(GOOD)] == [(count, 7) for count in frames]
    assert_fingerprint(codec)


def decodes_what_it_can(codec):
    # Of other lengths each, since what shares a batch may change the last bits of decoded speech.
    good = [np.full((2, 7), 5, np.uint16), np.full((3, 7), 9, np.uint16)]
    bad = {"wrong_shape": np.zeros((4, 8), np.uint16), "code_out_of_range": np.full((4, 7), 4096, np.uint16)}
    assert in_place(codec.decode, good, list(bad.values())) == list(bad)
    assert [len(audio) for audio in codec.decode(good)] == [2 * codec.frame_samples, 3 * codec.frame_samples]


def hears_what_it_can(whisper):
    long = BAD | {"too_long": noise(31 * 16_000)}
    for method in (whisper.listen, whisper.features):
        assert in_place(method, GOOD, list(long.values())) == list(long)
    assert in_place(whisper.transcribe, GOOD, list(BAD.values())) == list(BAD)
    assert isinstance(whisper.transcribe([noise(31 * 16_000)])[0], Heard)
    shapes = [features.shape for features in whisper.features(GOOD)]
    assert shapes == [(len(waveform) // 320 + 1, whisper.feature_width) for waveform in GOOD]
    assert_fingerprint(whisper)


def scores_what_it_can(scorer):
    assert in_place(scorer.score, GOOD, list(BAD.values())) == list(BAD)
    assert isinstance(scorer.score([np.zeros(0, np.float32)])[0], float)
    assert_fingerprint(scorer)

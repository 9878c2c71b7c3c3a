"""What every engine promises of a batch, whichever it is: a bad sample is an error in its place, and nobody else's."""

import json
import pickle

import numpy as np
import pytest
import torch
from support.random_whisper import convert_to_ctranslate2, write_random_pt

from anytalk.synth.batch import raise_first, run_good
from anytalk.synth.codec import catalogue as codecs
from anytalk.synth.codec import known_codecs, load_codec
from anytalk.synth.codec.bundled import weights_bytes
from anytalk.synth.codec.network import CodecConfig, CodecNetwork
from anytalk.synth.codec.snac import write_random_snac
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.hearing import Heard, known_whispers, load_whisper
from anytalk.synth.hearing import catalogue as whispers
from anytalk.synth.judge import (
    Dnsmos,
    FakeMos,
    FakeVad,
    SileroVad,
    known_judges,
    load_judge,
    load_mos,
    load_vad,
)
from anytalk.synth.voice import SpeakRequest, load_voice

TINY = CodecConfig(mels=20, encoder_width=16, encoder_blocks=1, decoder_width=16, decoder_blocks=1, latent_width=16)
VOICES = ["fake:ann", "hibari:heart", "piper:joe", "espeak:en-gb"]
CODECS = ["fake", "bundled", "tiny", "snac"]
WHISPERS = ["fake", "ctranslate2", "openai"]
SCORERS = {"fake": FakeMos, "p808": lambda: Dnsmos("p808")}
DETECTORS = {"fake": FakeVad, "silero": SileroVad}

# openai-whisper does not close the file of its tokenizer.
pytestmark = pytest.mark.filterwarnings("ignore:.*tiktoken:pytest.PytestUnraisableExceptionWarning")


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


BAD = {
    "not_float": np.zeros(4096, np.int16),
    "not_mono": np.zeros((2, 4096), np.float32),
    "nan_audio": np.array([0.0, np.nan, 0.0], np.float32),
}
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module", params=CODECS)
def codec(folder, request):
    if request.param == "tiny":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            (folder / "tiny.safetensors").write_bytes(weights_bytes(CodecNetwork(TINY), "tiny", "1"))
        return load_codec(str(folder / "tiny.safetensors"))
    if request.param == "snac":
        write_random_snac(folder / "snac", 1, encoder_dim=4, decoder_dim=64)
        return load_codec(str(folder / "snac"))
    return load_codec(request.param)


@pytest.fixture(scope="module", params=WHISPERS)
def whisper(folder, request):
    if request.param == "fake":
        return load_whisper("fake")
    pt = folder / "whisper.pt"
    if not pt.exists():
        write_random_pt(pt)
    if request.param == "openai":
        return load_whisper(str(pt))
    return load_whisper(str(convert_to_ctranslate2(pt, folder / "whisper")))


@pytest.mark.parametrize("name", VOICES)
def test_a_voice_speaks_what_it_can(name):
    voice = load_voice(name)
    good = [SpeakRequest("Hello.", seed=1), SpeakRequest("Good day.", seed=2)]
    bad = [SpeakRequest("...", seed=1), SpeakRequest("", seed=1)]
    assert in_place(voice.speak, good, bad) == ["unspeakable_text"] * 2


def test_a_codec_encodes_what_it_can(codec):
    bad = BAD | {"empty_audio": np.zeros(0, np.float32)}
    assert in_place(codec.encode, GOOD, list(bad.values())) == list(bad)


def test_a_codec_decodes_what_it_can(codec):
    # Of other lengths each, since what shares a batch may change the last bits of decoded speech.
    good = [np.full((2, 7), 5, np.uint16), np.full((3, 7), 9, np.uint16)]
    bad = {"wrong_shape": np.zeros((4, 8), np.uint16), "code_out_of_range": np.full((4, 7), 4096, np.uint16)}
    assert in_place(codec.decode, good, list(bad.values())) == list(bad)


@pytest.mark.parametrize("method", ["listen", "features"])
def test_a_recogniser_hears_what_it_can(whisper, method):
    bad = BAD | {"too_long": noise(31 * 16_000)}
    assert in_place(getattr(whisper, method), GOOD, list(bad.values())) == list(bad)


def test_a_recogniser_transcribes_what_it_can_at_any_length(whisper):
    assert in_place(whisper.transcribe, GOOD, list(BAD.values())) == list(BAD)
    assert isinstance(whisper.transcribe([noise(31 * 16_000)])[0], Heard)


def test_a_recogniser_hears_nothing_in_no_samples(whisper):
    [listened], [transcribed] = whisper.listen([np.zeros(0, np.float32)]), whisper.transcribe([np.zeros(0, np.float32)])
    assert listened.features.shape == (1, whisper.feature_width)
    assert transcribed.features is None


def test_languages_belong_to_their_waveforms_whatever_stands_between(whisper):
    tags = ["en", "en", "en-GB"]
    [first, bad, last] = whisper.listen([GOOD[0], BAD["nan_audio"], GOOD[1]], tags)
    assert (first.text, bad.reason) == (whisper.listen(GOOD)[0].text, "nan_audio")
    assert last.text == whisper.listen(GOOD)[1].text


@pytest.mark.parametrize("kind", SCORERS)
def test_a_judge_scores_what_it_can(kind):
    scorer = SCORERS[kind]()
    assert in_place(scorer.score, GOOD, list(BAD.values())) == list(BAD)
    assert isinstance(scorer.score([np.zeros(0, np.float32)])[0], float)


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize("reason", BAD)
def test_a_detector_of_speech_refuses_what_it_cannot_judge(kind, reason):
    detector = DETECTORS[kind]()
    with pytest.raises(SampleError) as caught:
        detector.speech_spans(BAD[reason])
    assert caught.value.reason == reason
    assert detector.speech_spans(np.zeros(0, np.float32)) == []


@pytest.mark.parametrize("take", ["encode", "listen", "score"])
def test_floats_of_any_width_are_samples(take):
    engine = {"encode": load_codec("fake"), "listen": load_whisper("fake"), "score": FakeMos()}[take]
    call = getattr(engine, take)
    assert is_same(call([GOOD[0].astype(np.float64)])[0], call([GOOD[0]])[0])


@pytest.mark.parametrize("name", VOICES)
def test_a_voice_s_fingerprint_is_names_and_texts(name):
    assert_fingerprint(load_voice(name))


def test_a_codec_s_fingerprint_is_names_and_texts(codec):
    assert_fingerprint(codec)


def test_a_recogniser_s_fingerprint_is_names_and_texts(whisper):
    assert_fingerprint(whisper)


@pytest.mark.parametrize("make", [*SCORERS.values(), *DETECTORS.values()])
def test_a_judge_s_fingerprint_is_names_and_texts(make):
    assert_fingerprint(make())


def test_every_engine_that_is_listed_stands_in_a_table():
    tables = {known_codecs: codecs.ENGINES, known_whispers: whispers.ENGINES}
    for known, table in tables.items():
        assert {info.engine for info in known()} <= set(table)
    assert {info.name for info in known_judges()} == {"p808", "p835", "silero"}
    assert all(info.licence and info.note for known in (*tables, known_judges) for info in known())


def test_an_engine_may_be_named_before_the_colon():
    assert load_codec("bundled:").fingerprint == load_codec("bundled").fingerprint
    assert (
        load_whisper("faster-whisper:tiny.en").fingerprint["weights_sha256"]
        == (load_whisper("tiny.en").fingerprint["weights_sha256"])
    )


def test_a_judge_is_loaded_by_its_name():
    assert load_mos("p835").fingerprint["model"] == "dnsmos p835"
    assert load_vad().fingerprint["model"] == "silero-vad"
    assert load_judge("silero").fingerprint == load_vad().fingerprint
    for load, name in ((load_mos, "p809"), (load_vad, "silera"), (load_judge, "p809")):
        with pytest.raises(SetupError, match="did you mean"):
            load(name)


def test_a_batch_that_must_be_good_raises_its_first_error():
    assert raise_first([1, 2]) == [1, 2]
    first, second = SampleError("one", "x"), SampleError("two", "x")
    with pytest.raises(SampleError, match="one: x"):
        raise_first([1, first, second])


def test_a_batch_without_a_good_item_is_not_run():
    def check(item):
        raise SampleError("bad", str(item))

    def run(items):
        raise AssertionError(items)

    assert [error.detail for error in run_good([1, 2], check, run)] == ["1", "2"]
    assert run_good([], check, run) == []

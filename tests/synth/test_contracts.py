"""What every engine promises of a batch, whichever it is: a bad sample is an error in its place, and nobody else's."""

import numpy as np
import pytest
import torch
from support.contracts import (
    BAD,
    GOOD,
    assert_fingerprint,
    decodes_what_it_can,
    encodes_what_it_can,
    hears_what_it_can,
    is_same,
    scores_what_it_can,
    speaks_what_it_can,
)
from support.random_whisper import convert_to_ctranslate2, convert_to_transformers, write_random_pt

from anytalk.synth.batch import raise_first, run_good
from anytalk.synth.codec import catalogue as codecs
from anytalk.synth.codec import known_codecs, load_codec
from anytalk.synth.codec.bundled import weights_bytes
from anytalk.synth.codec.network import CodecConfig, CodecNetwork
from anytalk.synth.codec.snac import write_random_snac
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.hearing import catalogue as whispers
from anytalk.synth.hearing import known_whispers, load_whisper
from anytalk.synth.judge import (
    FakeMos,
    known_judges,
    load_judge,
    load_mos,
    load_vad,
)
from anytalk.synth.judge import catalogue as judges
from anytalk.synth.voice import load_voice

TINY = CodecConfig(mels=20, encoder_width=16, encoder_blocks=1, decoder_width=16, decoder_blocks=1, latent_width=16)
VOICES = ["fake:ann", "hibari:heart", "piper:joe", "espeak:en-gb"]
CODECS = ["fake", "bundled", "tiny", "snac"]
WHISPERS = ["fake", "ctranslate2", "openai", "transformers"]
SCORERS = ["fake", "p808", "p835"]
DETECTORS = ["fake", "silero"]

# openai-whisper does not close the file of its tokenizer.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tiktoken:pytest.PytestUnraisableExceptionWarning")]


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
    if request.param not in ("ctranslate2", "openai", "transformers"):
        return load_whisper(request.param)
    pt = folder / "whisper.pt"
    if not pt.exists():
        write_random_pt(pt)
    if request.param == "openai":
        return load_whisper(str(pt))
    if request.param == "transformers":
        return load_whisper(str(convert_to_transformers(pt, folder / "transformers")))
    return load_whisper(str(convert_to_ctranslate2(pt, folder / "whisper")))


@pytest.mark.parametrize("name", VOICES)
def test_a_voice_speaks_what_it_can(name):
    speaks_what_it_can(load_voice(name))


def test_a_codec_encodes_what_it_can(codec):
    encodes_what_it_can(codec)


def test_a_codec_decodes_what_it_can(codec):
    decodes_what_it_can(codec)


def test_a_recogniser_hears_what_it_can_and_transcribes_any_length(whisper):
    hears_what_it_can(whisper)


def test_a_recogniser_hears_nothing_in_no_samples(whisper):
    [listened], [transcribed] = whisper.listen([np.zeros(0, np.float32)]), whisper.transcribe([np.zeros(0, np.float32)])
    assert listened.features.shape == (1, whisper.feature_width)
    assert transcribed.features is None


def test_languages_belong_to_their_waveforms_whatever_stands_between(whisper):
    tags = ["en", "en", "en-GB"]
    [first, bad, last] = whisper.listen([GOOD[0], BAD["nan_audio"], GOOD[1]], tags)
    assert (first.text, bad.reason) == (whisper.listen(GOOD)[0].text, "nan_audio")
    assert last.text == whisper.listen(GOOD)[1].text


@pytest.mark.parametrize("name", SCORERS)
def test_a_judge_scores_what_it_can(name):
    scores_what_it_can(load_mos(name))


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("reason", BAD)
def test_a_judge_of_where_speech_is_refuses_what_it_cannot_judge(name, reason):
    detector = load_vad(name)
    with pytest.raises(SampleError) as caught:
        detector.speech_spans(BAD[reason])
    assert caught.value.reason == reason
    assert detector.speech_spans(np.zeros(0, np.float32)) == []
    assert_fingerprint(detector)


@pytest.mark.parametrize("take", ["encode", "listen", "score"])
def test_floats_of_any_width_are_samples(take):
    engine = {"encode": load_codec("fake"), "listen": load_whisper("fake"), "score": FakeMos()}[take]
    call = getattr(engine, take)
    assert is_same(call([GOOD[0].astype(np.float64)])[0], call([GOOD[0]])[0])


def test_every_engine_that_is_listed_stands_in_a_table():
    tables = {known_codecs: codecs.ENGINES, known_whispers: whispers.ENGINES}
    for known, table in tables.items():
        assert {info.engine for info in known()} <= set(table)
    assert {info.name for info in known_judges()} <= {*judges.SCORERS, *judges.DETECTORS}
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

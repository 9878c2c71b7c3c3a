"""Whisper through transformers: the original's features and words from the same weights, alone or in batches."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.gpus import pretend_gpus
from support.random_whisper import convert_to_transformers, write_random_pt

from anytalk.pipelines.recipe import Features
from anytalk.pipelines.speech.engine import RecogniserEngine
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import load_whisper, only_english_by_name, recogniser
from anytalk.synth.hearing import transformers as engine
from anytalk.synth.hearing.recogniser import ON_GPU

# openai-whisper does not close the file of its tokenizer.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*tiktoken:pytest.PytestUnraisableExceptionWarning")]

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def pt(tmp_path_factory):
    return write_random_pt(tmp_path_factory.mktemp("whisper") / "multilingual.pt", multilingual=True)


@pytest.fixture(scope="module")
def folder(pt, tmp_path_factory):
    return convert_to_transformers(pt, tmp_path_factory.mktemp("transformers"))


@pytest.fixture(scope="module")
def sounds():
    """Of windows of 8 and 16 seconds."""
    rng = np.random.default_rng(0)
    return [rng.uniform(-0.3, 0.3, int(seconds * RATE_HZ)).astype(np.float32) for seconds in (0.5, 6.1, 0.2, 0.3)]


@pytest.fixture(autouse=True)
def few_words(monkeypatch):
    """What has learned nothing speaks on as long as it may."""
    monkeypatch.setattr(recogniser, "TOKENS_PER_SECOND", 2)


LANGUAGES = ["en", "de", "de", "zh"]


def texts(heard):
    return [each.text for each in heard]


@pytest.mark.parametrize("context", ["full", "short"])
def test_features_and_words_are_the_originals_on_the_same_weights(pt, folder, sounds, context):
    original = load_whisper(str(pt), context=context).listen(sounds[:2], LANGUAGES[:2])
    ours = load_whisper(f"transformers:{folder}", context=context).listen(sounds[:2], LANGUAGES[:2])
    for theirs, heard in zip(original, ours, strict=True):
        difference = np.abs(heard.features.astype(np.float32) - theirs.features.astype(np.float32))
        assert heard.features.dtype == np.float16
        assert difference.max() < 1e-3 + np.abs(theirs.features).max() * 2**-10  # which float16 may round apart
        assert heard.language_probability == pytest.approx(theirs.language_probability, rel=1e-3)
    assert texts(original) == texts(ours)
    assert any(texts(original))


def test_states_differ_from_the_originals_by_less_than_a_thousandth(pt, folder):
    from anytalk.synth.hearing.openai import OpenaiNetwork

    mels = np.random.default_rng(1).uniform(-1, 1.5, (2, 80, 3000)).astype(np.float32)
    theirs, ours = OpenaiNetwork(str(pt)).encode(mels), engine.TransformersNetwork(folder).encode(mels)
    assert (theirs - ours).abs().max() < 1e-3


def test_a_batch_hears_what_each_hears_alone_each_in_its_language(folder, sounds, monkeypatch):
    alone = load_whisper(str(folder))
    monkeypatch.setattr(engine, "batching_on", lambda device: ON_GPU)
    together = load_whisper(str(folder))
    passes = []
    monkeypatch.setattr(
        engine, "_states", lambda encoder, mels, real=engine._states: passes.append(len(mels)) or real(encoder, mels)
    )
    for one, other in zip(together.listen(sounds, LANGUAGES), alone.listen(sounds, LANGUAGES), strict=True):
        np.testing.assert_allclose(one.features.astype(np.float32), other.features.astype(np.float32), atol=2e-3)
        assert one.text == other.text
        assert one.language_probability == pytest.approx(other.language_probability, rel=1e-3)
    # Three in windows of 8 s in one pass, whatever their languages; the other one's window differs.
    assert passes == [3, 1, *[1] * 4]
    assert texts(together.transcribe(sounds, LANGUAGES)) == texts(alone.transcribe(sounds, LANGUAGES))
    assert [x.shape for x in together.features(sounds)] == [x.shape for x in alone.features(sounds)]


def test_a_folder_of_safetensors_needs_no_engines_name(folder):
    assert (
        load_whisper(str(folder)).fingerprint["weights_sha256"]
        == (load_whisper(f"transformers:{folder}").fingerprint["weights_sha256"])
    )
    assert only_english_by_name("transformers:openai/whisper-tiny.en")


def test_half_precision_is_near_and_stands_in_the_fingerprint(folder, sounds):
    exact = load_whisper(str(folder))
    half = load_whisper(str(folder), compute_type="bfloat16")
    assert {x.dtype for x in half._network._model.parameters()} == {torch.bfloat16}
    [one], [other] = exact.features(sounds[:1]), half.features(sounds[:1])
    cosine = (one.astype(np.float64) * other).sum() / np.sqrt(
        np.square(one, dtype=np.float64).sum() * np.square(other, dtype=np.float64).sum()
    )
    assert cosine > 0.999
    assert (half.fingerprint["compute_type"], exact.fingerprint["compute_type"]) == ("bfloat16", "float32")


def test_text_may_be_made_in_another_precision_than_features(folder, sounds):
    whisper = load_whisper(str(folder), text_compute_type="bfloat16")
    [heard], [alone] = whisper.listen(sounds[:1]), load_whisper(str(folder)).features(sounds[:1])
    np.testing.assert_array_equal(heard.features, alone)
    assert whisper._network._text_model.dtype == torch.bfloat16
    assert len(whisper.transcribe(sounds[:1])) == 1


def test_weights_in_several_files_are_the_same_weights(folder, sounds, tmp_path):
    shutil.copytree(folder, tmp_path / "cut")
    tensors = load_file(tmp_path / "cut" / "model.safetensors")
    names = sorted(tensors)
    places = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(names)}
    for file in {*places.values()}:
        save_file({name: tensors[name] for name in names if places[name] == file}, tmp_path / "cut" / file)
    (tmp_path / "cut" / "model.safetensors").unlink()
    (tmp_path / "cut" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    [whole], [cut] = (load_whisper(str(place)).features(sounds[:1]) for place in (folder, tmp_path / "cut"))
    np.testing.assert_array_equal(whole, cut)
    (tmp_path / "cut" / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(SetupError, match="holds no Whisper of transformers"):
        load_whisper(f"transformers:{tmp_path / 'cut'}")


def test_a_recipe_names_it_and_the_usual_int8_is_not_for_it(folder):
    heard = RecogniserEngine(Features(model=f"transformers:{folder}"), "de").fingerprint()
    assert (heard["compute_type"], heard["text_compute_type"], heard["width"]) == ("float32", "float32", 64)


def break_weights(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.encoder.conv1.weight"]
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "options", "says"),
    [
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            {},
            "holds no Whisper of transformers",
        ),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"{}"), {}, "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").unlink(), {}, "holds no tokenizer.json"),
        (lambda folder: (folder / "config.json").write_text("{"), {}, "cannot be read"),
        (break_weights, {}, "model.encoder.conv1.weight is missing or too much"),
        (lambda folder: None, {"compute_type": "int8"}, "transformers computes in float32, float16, bfloat16; it was"),
        (lambda folder: None, {"compute_type": "float16"}, "float16 is for a GPU, and the device is cpu"),
        (lambda folder: None, {"language": "tlh"}, "Whisper knows no language 'tlh'"),
    ],
)
def test_what_is_wrong_is_one_line(folder, tmp_path, spoil, options, says):
    shutil.copytree(folder, tmp_path / "spoilt")
    spoil(tmp_path / "spoilt")
    with pytest.raises(SetupError, match=says) as e:
        load_whisper(f"transformers:{tmp_path / 'spoilt'}", **options)
    assert "\n" not in str(e.value)


def test_a_hub_id_that_nobody_has_says_what_to_do():
    with pytest.raises(SetupError, match="is no folder, and the hub did not give it either"):
        load_whisper("transformers:anytalk/no-such-whisper")


def test_weights_are_read_onto_the_device_in_the_precision_asked_for(folder, monkeypatch):
    pretend_gpus(monkeypatch, 2)
    read = []
    monkeypatch.setattr(engine, "load_file", lambda file, device: read.append(device) or load_file(file))
    network = engine.TransformersNetwork(folder, compute_type="float16", device="cuda:1")
    assert (read, network.batching) == (["cuda:1"], ON_GPU)
    assert {x.dtype for x in network._model.parameters()} == {torch.float16}
    assert network.fingerprint["device"] == "NVIDIA Pretend sm_90"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-3), ("float16", 0.05), ("bfloat16", 0.3)])
def test_a_gpu_hears_in_batches_what_a_cpu_hears(folder, sounds, dtype, tolerance):
    here = load_whisper(str(folder)).listen(sounds, LANGUAGES)
    there = load_whisper(str(folder), device="cuda", compute_type=dtype).listen(sounds, LANGUAGES)
    for one, other in zip(here, there, strict=True):
        assert np.abs(one.features.astype(np.float32) - other.features.astype(np.float32)).max() < tolerance
    if dtype == "float32":
        assert texts(here) == texts(there)

"""Speakers: networks of both kinds tell voices apart, their measure is a column, and null passes its gate."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from anytalk.pipelines import build, check, rejudge
from anytalk.synth.audio import resample
from anytalk.synth.errors import SetupError
from anytalk.synth.judge import Measures, Policy, SpeakerNetwork, similarity, verdict
from anytalk.synth.judge.speaker import kaldi_bands
from anytalk.synth.voice import SpeakRequest, load_voice

onnx = pytest.importorskip("onnx")


def save(path, nodes, shape, weights=()):
    """Write a network of one input to a file."""
    value = onnx.helper.make_tensor_value_info
    taken, given = value("x", onnx.TensorProto.FLOAT, shape), value("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "speaker", [taken], [given], list(weights))
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def of_bands(tmp_path_factory):
    """Mean of each band where it is loud: crude, but a function of the voice."""
    node = onnx.helper.make_node
    nodes = [node("Relu", ["x"], ["loud"]), node("ReduceMean", ["loud"], ["y"], axes=[1], keepdims=0)]
    return save(tmp_path_factory.mktemp("speaker") / "bands.onnx", nodes, ["B", "N", 80])


@pytest.fixture(scope="module")
def of_waveforms(tmp_path_factory):
    """Energy behind each of 32 filters."""
    time = np.arange(256)
    tones = np.sin(2 * np.pi * np.geomspace(80, 4000, 32)[:, None] * time / 16_000) * np.hanning(256)
    node = onnx.helper.make_node
    kernel = onnx.numpy_helper.from_array(tones[:, None].astype(np.float32), "kernel")
    axis = onnx.numpy_helper.from_array(np.array([1]), "axis")
    nodes = [
        node("Unsqueeze", ["x", "axis"], ["channel"]),
        node("Conv", ["channel", "kernel"], ["filtered"]),
        node("Abs", ["filtered"], ["size"]),
        node("ReduceMean", ["size"], ["y"], axes=[2], keepdims=0),
    ]
    return save(tmp_path_factory.mktemp("speaker") / "waves.onnx", nodes, ["B", "T"], [kernel, axis])


@pytest.fixture(scope="module")
def said():
    """Two sentences of one voice, and one of them a fifth lower."""
    voice = load_voice("hibari:heart")
    texts = ("The kettle is on the stove.", "Nobody knows where the train has gone.")
    requests = [SpeakRequest(text, 0) for text in texts] + [SpeakRequest(texts[0], 0, pitch=0.8)]
    return [resample(sound, voice.sample_rate_hz, 16_000) for sound in voice.speak(requests)]


def test_bands_are_kaldis_in_shape_and_centred(said):
    bands = kaldi_bands(said[0])
    assert bands.shape == (1 + (len(said[0]) - 400) // 160, 80)
    assert bands.dtype == np.float32
    assert np.abs(bands.mean(axis=0)).max() < 1e-4
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    change = kaldi_bands(np.concatenate([noise, tone]).astype(np.float32))
    # 80 bands evenly spaced in Kaldi's mel from 20 to 8000 Hz: 1000 Hz lies at the centre of the 28th.
    assert int((change[120:].mean(axis=0) - change[:80].mean(axis=0)).argmax()) == 27


@pytest.mark.parametrize("kind", ["of_bands", "of_waveforms"])
def test_a_voice_is_more_like_itself_than_like_another(kind, said, request):
    network = SpeakerNetwork(request.getfixturevalue(kind))
    same, other, lower = map(network.embed, said)
    assert np.linalg.norm(same) == pytest.approx(1, abs=1e-5)
    assert similarity(same, same) == pytest.approx(1, abs=1e-5)
    assert similarity(same, other) > similarity(other, lower)
    assert network.embed(np.zeros(10, np.float32)).shape == same.shape


def test_what_is_no_speaker_network_is_refused(tmp_path):
    with pytest.raises(SetupError, match="does not exist"):
        SpeakerNetwork(tmp_path / "gone.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(SetupError, match="cannot be opened"):
        SpeakerNetwork(tmp_path / "broken.onnx")
    wrong = save(tmp_path / "wrong.onnx", [onnx.helper.make_node("Abs", ["x"], ["y"])], ["B", "N", 40])
    with pytest.raises(SetupError, match=r"x \['B', 'N', 40\]; it must take one input"):
        SpeakerNetwork(wrong)


def test_a_similarity_that_is_not_known_passes_its_gate():
    good = Measures(0.0, 0.0, 4.0, 0.4, 0.1, 0.1, 0.2, 0.0, -3.0)
    assert verdict(good, Policy(min_similarity=0.5)) is None
    assert verdict(replace(good, similarity=0.4), Policy(min_similarity=0.5)) == "other_speaker"


def test_a_build_measures_speakers_with_a_reference_and_judges_by_it(
    fake_recipe, write_jsonl, anything, of_waveforms, tmp_path
):
    soundfile.write(tmp_path / "ann.wav", 0.3 * np.sin(np.arange(16_000) / 9), 16_000)
    recipe = fake_recipe(
        source=str(write_jsonl([{"question": f"Number {n}?", "answer": "Yes."} for n in range(3)])),
        voices={"question": [{"voice": "fake:ann", "reference": str(tmp_path / "ann.wav")}], "answer": "fake:eve"},
        check={"speaker": str(of_waveforms), "question": anything, "answer": anything},
    )
    build(recipe, tmp_path / "out", local=True)
    tables = [pa.ipc.open_file(path).read_all() for path in (tmp_path / "out" / "shards").iterdir()]
    rows = [row for table in tables for row in table.to_pylist()]
    assert all(-1 <= row["question_similarity"] < 1 and row["answer_similarity"] is None for row in rows)
    prints = json.loads((tmp_path / "out" / "dataset.json").read_text())["fingerprints"]["judges"]
    assert prints["references_sha256"].keys() == {"fake:ann"}
    judged = rejudge(tmp_path / "out", {"check.min_similarity": 1.0, "check.attempts": 1})
    assert judged.reasons == {"other_speaker": 3}
    assert check(tmp_path / "out").problems == []


def test_missing_references_are_named(fake_recipe, write_jsonl, of_waveforms, tmp_path):
    voice = {"voice": "fake:ann", "reference": "gone.wav"}
    recipe = fake_recipe(
        source=str(write_jsonl([{"question": "Who?", "answer": "Me."}])),
        voices={"question": [voice], "answer": "fake:eve"},
        check={"speaker": str(of_waveforms)},
    )
    with pytest.raises(SetupError, match=r"reference gone\.wav of fake:ann"):
        build(recipe, tmp_path / "out", local=True)

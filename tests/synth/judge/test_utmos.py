"""UTMOS from a user's file: one utterance at a time, and anything else refused in one line."""

import numpy as np
import pytest

from anytalk.pipelines import build
from anytalk.pipelines.recipe import load_recipe
from anytalk.synth.errors import SetupError
from anytalk.synth.judge import load_mos

RATE_HZ = 16_000


def write_scorer(path, shape=("batch", "time"), outputs=1, kind=None):
    """A network with UTMOS's input and output: the louder, the better."""
    from onnx import TensorProto, helper, save

    kind = kind or TensorProto.FLOAT
    wave = helper.make_tensor_value_info("wave", kind, list(shape))
    names = ["mos", "other"][:outputs]
    scores = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in names]
    nodes = [
        helper.make_node("Cast", ["wave"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("ReduceMean", ["size"], ["level"], axes=[1], keepdims=0),
        *(helper.make_node("Exp", ["level"], [name]) for name in names),
    ]
    graph = helper.make_graph(nodes, "scorer", [wave], scores)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def test_utmos_scores_an_utterance_alone_by_a_file_of_the_users(tmp_path):
    spoken = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE_HZ).astype(np.float32)
    path = write_scorer(tmp_path / "utmos.onnx")
    judge = load_mos(f"utmos:{path}")
    first, second = judge.score([spoken, spoken[: len(spoken) // 2]])
    assert first == pytest.approx(np.exp(np.abs(spoken).mean()), rel=1e-5)
    assert [second] == judge.score([spoken[: len(spoken) // 2]])
    [short, empty] = judge.score([np.ones(10, np.float32), np.zeros(0, np.float32)])
    assert short == pytest.approx(np.exp(10 / RATE_HZ), rel=1e-5)
    assert empty == 1.0
    assert judge.fingerprint == load_mos(f"utmos:{tmp_path}").fingerprint
    assert judge.fingerprint["model"] == "utmos"
    assert "weights_sha256" in judge.fingerprint


def test_what_is_no_utmos_is_refused_in_one_line(tmp_path):
    from onnx import TensorProto

    (tmp_path / "weights.pt").write_bytes(b"PK")
    (tmp_path / "broken.onnx").write_bytes(b"\0" * 100)
    bands = write_scorer(tmp_path / "bands.onnx", shape=("batch", "time", 80))
    whole = write_scorer(tmp_path / "whole.onnx", kind=TensorProto.INT16)
    two = write_scorer(tmp_path / "two.onnx", outputs=2)
    for name, message in (
        ("utmos", "comes with no weights; name its ONNX file"),
        (f"utmos:{tmp_path / 'none.onnx'}", "does not exist"),
        (f"utmos:{tmp_path}", "holds 4 ONNX files"),
        (f"utmos:{tmp_path / 'weights.pt'}", "is no ONNX file"),
        (f"utmos:{tmp_path / 'broken.onnx'}", "cannot be opened"),
        (f"utmos:{bands}", "it must take one input, waveforms"),
        (f"utmos:{whole}", "it must take one input, waveforms"),
        (f"utmos:{two}", "gives 2 outputs"),
        ("utmo:x.onnx", "did you mean utmos"),
    ):
        with pytest.raises(SetupError, match=message) as caught:
            load_mos(name)
        assert "\n" not in str(caught.value)


def test_a_recipe_names_utmos(fake_recipe, tmp_path):
    path = write_scorer(tmp_path / "utmos.onnx")
    recipe = fake_recipe(
        check={"mos": f"utmos:{path}", "question": {}, "answer": {}}, source={"kind": "bundled", "limit": 2}
    )
    assert load_recipe(recipe).check.mos == f"utmos:{path}"
    summary = build(recipe, tmp_path / "set", local=True)
    assert summary.rows_accepted + summary.rows_rejected == 2

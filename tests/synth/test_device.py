"""The device that is asked for is the one that each library is called with, or the run stops in one line."""

import types

import ctranslate2
import numpy as np
import onnxruntime
import pytest
import torch
from support.gpus import pretend_gpus

from anytalk.synth.codec import load_codec
from anytalk.synth.codec.snac import write_random_snac
from anytalk.synth.device import check_dtype, gpu_fingerprint, resolve, torch_device
from anytalk.synth.errors import SetupError
from anytalk.synth.fingerprint import difference
from anytalk.synth.hearing import load_whisper
from anytalk.synth.judge import load_mos, load_vad
from anytalk.synth.judge.speaker import SpeakerNetwork

LIBRARIES = ("torch", "ctranslate2", "onnxruntime")
CPU_ONLY = pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")


@pytest.fixture
def gpus(monkeypatch):
    pretend_gpus(monkeypatch, 2)


@CPU_ONLY
@pytest.mark.parametrize("library", LIBRARIES)
def test_without_a_gpu_auto_is_the_cpu_and_a_gpu_is_refused_in_one_line(library):
    assert resolve("auto", library) == resolve("cpu", library) == "cpu"
    for asked in ("cuda", "cuda:1"):
        with pytest.raises(
            SetupError, match=rf"^device {asked}: there is no GPU in this process.*name cpu, or auto"
        ) as e:
            resolve(asked, library)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CUDA", "mps", ""])
def test_what_names_no_device_is_refused(name):
    with pytest.raises(SetupError, match=r"there is no device .*; name auto, cpu, cuda, or cuda:N"):
        resolve(name)


@pytest.mark.parametrize("library", LIBRARIES)
def test_auto_is_the_first_gpu_of_the_process(gpus, library):
    assert [resolve(asked, library) for asked in ("auto", "cuda", "cuda:1", "cpu")] == [
        "cuda:0",
        "cuda:0",
        "cuda:1",
        "cpu",
    ]
    with pytest.raises(SetupError, match="device cuda:2: there is no such GPU here, cuda:0 to cuda:1"):
        resolve("cuda:2", library)


def test_a_library_that_cannot_use_the_gpu_stays_on_the_cpu_unless_it_was_asked_for(gpus, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    for library, said in (("onnxruntime", "pip install onnxruntime-gpu"), ("ctranslate2", "CTranslate2 finds no GPU")):
        assert resolve("auto", library) == "cpu"
        with pytest.raises(SetupError, match=f"device cuda: .*{said}"):
            resolve("cuda", library)
    assert resolve("auto", "torch") == "cuda:0"


def test_half_precision_on_a_cpu_is_refused():
    check_dtype("bfloat16", "cpu")
    check_dtype("float16", "cuda:0")
    with pytest.raises(SetupError, match="float16 is for a GPU"):
        check_dtype("float16", "cpu")


def test_a_gpu_stands_in_the_fingerprint_and_a_cpu_does_not(gpus):
    assert gpu_fingerprint("cpu") == {}
    assert gpu_fingerprint("cuda:1") == {"device": "NVIDIA Pretend sm_90"}
    on_cpu, on_gpu = {"sha256": "1"}, {"sha256": "1", "device": "NVIDIA Pretend sm_90", "dtype": "float16"}
    assert difference(on_cpu, on_gpu) == difference(on_gpu, on_cpu) == ""


def test_torch_convolves_on_a_gpu_in_the_precision_of_its_tensors(gpus, monkeypatch):
    for flag, before in (("allow_tf32", True), ("benchmark", True), ("deterministic", False)):
        monkeypatch.setattr(torch.backends.cudnn, flag, before)
    assert torch_device("cpu").type == "cpu"
    assert torch.backends.cudnn.allow_tf32
    assert torch_device("cuda:1") == torch.device("cuda:1")
    cudnn = torch.backends.cudnn
    assert (cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic) == (False, False, True)


def test_ctranslate2_is_called_with_the_device(gpus, monkeypatch):
    called = []
    real = ctranslate2.models.Whisper

    def opened(folder, **options):
        called.append((options["device"], options["device_index"], options["compute_type"]))
        return real(folder, compute_type="float32")

    monkeypatch.setattr(ctranslate2.models, "Whisper", opened)
    whisper = load_whisper("tiny.en", device="cuda:1", compute_type="float16", text_compute_type="int8_float16")
    assert called == [("cuda", 1, "float16"), ("cuda", 1, "int8_float16")]
    assert whisper.fingerprint["device"] == "NVIDIA Pretend sm_90"
    called.clear()
    assert "device" not in load_whisper("tiny.en").fingerprint
    assert called == [("cpu", 0, "float32")]


def test_torch_codecs_are_sent_to_the_device(gpus, monkeypatch, tmp_path):
    sent = []

    def to(module, *arguments, **options):
        sent.extend(map(str, arguments))
        return module

    write_random_snac(tmp_path, seed=0, encoder_dim=8, decoder_dim=64)
    monkeypatch.setattr(torch.nn.Module, "to", to)
    snac = load_codec(str(tmp_path), device="cuda:1", dtype="float16", compiled=True)
    assert sent == ["cuda:1", "torch.float16"]
    assert (snac.fingerprint["device"], snac.fingerprint["dtype"]) == ("NVIDIA Pretend sm_90", "float16")
    sent.clear()
    assert load_codec("bundled", device="auto").device == torch.device("cuda:0")
    assert sent == ["cuda:0"]


def test_openai_whisper_is_loaded_onto_the_device(gpus, monkeypatch):
    whisper = pytest.importorskip("whisper")
    called = []

    def loaded(source, device):
        called.append((source, str(device)))
        raise RuntimeError("that is all that was wanted")

    monkeypatch.setattr(whisper, "load_model", loaded)
    with pytest.raises(SetupError, match="that is all"):
        load_whisper("openai:small", device="cuda:1")
    assert called == [("small", "cuda:1")]


@pytest.fixture
def sessions(monkeypatch):
    """What onnxruntime is asked to open sessions with; it opens them on the CPU, and says what `runs_on` says."""
    real, seen = onnxruntime.InferenceSession, types.SimpleNamespace(providers=[], runs_on="CUDAExecutionProvider")

    def opened(source, options, providers):
        seen.providers.append(providers)
        session = real(source, options, providers=["CPUExecutionProvider"])
        session.get_providers = lambda: [seen.runs_on]
        return session

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    return seen


def networks(tmp_path):
    """The networks that run in onnxruntime, by what opens them."""
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], keepdims=1)],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    save(model, tmp_path / "mean.onnx")
    return {
        "mos": lambda device: load_mos("p808", device),
        "vad": lambda device: load_vad(device=device),
        "speaker": lambda device: SpeakerNetwork(tmp_path / "mean.onnx", device=device),
    }


@pytest.mark.parametrize("name", ["mos", "vad", "speaker"])
def test_onnxruntime_is_given_the_provider_and_falling_back_is_an_error(gpus, sessions, tmp_path, name):
    network = networks(tmp_path)[name]
    assert network("cuda:1").fingerprint["device"] == "NVIDIA Pretend sm_90"
    [[(provider, options), after]] = sessions.providers
    assert (provider, options["device_id"], after) == ("CUDAExecutionProvider", "1", "CPUExecutionProvider")
    sessions.runs_on = "CPUExecutionProvider"
    with pytest.raises(SetupError, match="could not start on cuda:1: its CUDA or cuDNN libraries"):
        network("cuda:1")
    assert "device" not in network("cpu").fingerprint
    assert sessions.providers[-1] == ["CPUExecutionProvider"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_engines_on_a_gpu_give_what_they_give_on_a_cpu():
    sound = (0.1 * np.random.default_rng(0).standard_normal(5 * 16_000)).astype(np.float32)
    for name in ("tiny.en",):
        [here], [there] = (load_whisper(name, device=device).features([sound]) for device in ("cpu", "cuda"))
        assert np.abs(here.astype(np.float32) - there.astype(np.float32)).max() < 0.02
    [here], [there] = (load_codec("bundled", device=device).encode([sound]) for device in ("cpu", "cuda"))
    assert (here == there).mean() > 0.99

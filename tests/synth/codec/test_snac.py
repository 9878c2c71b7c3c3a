"""SNAC is the package's SNAC: its codes, its samples, and its weights or none."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anytalk.synth.codec import load_codec
from anytalk.synth.codec.order import to_frames, to_levels
from anytalk.synth.codec.snac import CONFIG, load_snac, read_network, write_random_snac
from anytalk.synth.codec.snac_layers import set_precision, speed_up
from anytalk.synth.codec.window import ON_GPU, Cutting
from anytalk.synth.errors import SetupError
from anytalk.synth.threads import torch_threads

FRAME = 2048


@pytest.fixture(scope="module")
def real_size(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("snac")
    write_random_snac(folder, seed=3)
    return folder


@pytest.fixture
def small(tmp_path) -> Path:
    folder = tmp_path / "small"
    write_random_snac(folder, seed=3, encoder_dim=4, decoder_dim=64)
    return folder


@pytest.fixture(autouse=True)
def _offline_on_one_thread(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with torch_threads(1):
        yield


def sound(samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    swell = np.abs(np.sin(np.arange(samples) * (2 * np.pi / 9000)))
    return (0.1 * swell * rng.standard_normal(samples)).astype(np.float32)


def random_codes(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4096, (frames, 7)).astype(np.uint16)


@torch.inference_mode()
def package_codes(folder: Path, waveform: np.ndarray) -> np.ndarray:
    """What the package gives for one utterance."""
    levels = read_network(folder).encode(torch.from_numpy(waveform)[None, None])
    return to_frames([level[0].numpy() for level in levels])


@torch.inference_mode()
def package_audio(folder: Path, codes: np.ndarray, seed: int) -> np.ndarray:
    network = read_network(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        audio: np.ndarray = network.decode([torch.from_numpy(level)[None] for level in to_levels(codes)])[0, 0].numpy()
    return audio


def test_codes_at_the_real_size_are_the_packages(real_size):
    codec = load_snac(str(real_size))
    waveforms = [sound(4 * FRAME - 700), sound(1), sound(4 * FRAME, 1)]
    for waveform, codes in zip(waveforms, codec.encode(waveforms), strict=True):
        np.testing.assert_array_equal(package_codes(real_size, waveform), codes)
    assert len(np.unique(codes)) > 10  # They say something.


def test_samples_at_the_real_size_are_the_packages_under_the_same_noise_seed(real_size):
    codec = load_snac(str(real_size), noise_seed=5)
    codes = [random_codes(2), random_codes(3, 1), random_codes(2, 2)]
    for frames, audio in zip(codes, codec.decode(codes), strict=True):
        np.testing.assert_allclose(audio, package_audio(real_size, frames, seed=5), rtol=0, atol=1e-6)


def test_the_noise_is_there_and_follows_its_seed(small):
    codes = random_codes(3)
    first, again, other = (load_snac(str(small), noise_seed=seed).decode([codes])[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6


def test_long_speech_in_chunks_is_the_packages_in_one_run(small):
    waveform = sound(70 * FRAME)
    codec = load_snac(str(small))
    assert codec.cutting.frames < 60
    codes = codec.encode([waveform])[0]
    assert (package_codes(small, waveform) == codes).mean() > 0.999
    np.testing.assert_allclose(codec.decode([codes])[0], package_audio(small, codes, seed=0), rtol=0, atol=1e-6)


def test_alphas_of_any_size_give_the_packages_codes(small):
    tensors = load_file(small / "model.safetensors")
    for number, key in enumerate(key for key in tensors if key.endswith("alpha")):
        alphas = torch.tensor([0.0, 1e-20, 1e-5, -0.5, 3.0, 20.0]).roll(number)
        tensors[key] = alphas.repeat(-(-tensors[key].numel() // 6))[: tensors[key].numel()].reshape(tensors[key].shape)
    save_file(tensors, small / "model.safetensors")
    waveform, codes = sound(12 * FRAME), random_codes(5)
    assert (load_snac(str(small)).encode([waveform])[0] == package_codes(small, waveform)).mean() > 0.999
    decoded = load_snac(str(small)).decode([codes])[0]
    np.testing.assert_allclose(decoded, package_audio(small, codes, seed=0), rtol=0, atol=1e-5)


def test_where_long_speech_is_cut_does_not_matter(small):
    codec, waveform, codes = load_snac(str(small)), sound(23 * FRAME), random_codes(23)
    whole_codes, whole_audio = codec.encode([waveform])[0], codec.decode([codes])[0]
    for codec.cutting in (Cutting(1, 1, equal=False), Cutting(7, 1, equal=False), Cutting(20, 1, equal=True)):
        assert (codec.encode([waveform])[0] == whole_codes).mean() > 0.999
        np.testing.assert_allclose(codec.decode([codes])[0], whole_audio, rtol=0, atol=1e-6)


def test_the_decoder_reaches_as_far_as_the_codec_says(small):
    codec, network = load_snac(str(small)), read_network(small)
    steps, at = 40, 20
    latent_BCT = torch.zeros(1, codec.network.latent_dim, steps)
    latent_BCT[..., at] = torch.nan  # NaN reaches all that depends on it, however little.
    with torch.inference_mode():
        touched = network.decoder(latent_BCT)[0, 0].isnan().nonzero()[:, 0]
    assert at * 512 - int(touched[0]) == codec.decode_lookahead_samples
    last_step_of_frame = 3 * 512
    assert (last_step_of_frame + int(touched[-1]) - at * 512) // FRAME == codec.decode_left_frames


def test_the_encoder_reaches_as_far_as_its_context(small):
    codec, network = load_snac(str(small)), read_network(small)
    frames, at = 12, 6
    touched = set()
    for sample in (at * FRAME, (at + 1) * FRAME - 1):
        audio_B1S = torch.zeros(1, 1, frames * FRAME)
        audio_B1S[..., sample] = torch.nan
        with torch.inference_mode():
            touched |= {int(step) // 4 for step in network.encoder(audio_B1S)[0].isnan().any(0).nonzero()[:, 0]}
    assert touched == set(range(at - codec.encoder_context_frames, at + codec.encoder_context_frames + 1))


def test_without_noise_a_part_of_the_frames_gives_the_same_final_samples(tmp_path):
    write_random_snac(tmp_path, seed=3, encoder_dim=4, decoder_dim=64, noise=False)
    codec, codes = load_snac(str(tmp_path)), random_codes(20)
    whole = codec.decode([codes])[0]
    left = codec.decode_left_frames
    part = codec.decode([codes[8 - left : 15]])[0]
    final = 15 * FRAME - codec.decode_lookahead_samples
    np.testing.assert_allclose(part[left * FRAME :][: final - 8 * FRAME], whole[8 * FRAME : final], rtol=0, atol=1e-6)


def test_what_it_is_is_in_its_fingerprint(small):
    codec = load_codec(str(small))
    assert codec.fingerprint["name"] == "small"
    assert codec.fingerprint["revision"] == "folder"
    assert codec.weights_bytes == (small / "model.safetensors").stat().st_size
    other = small.with_name("other")
    write_random_snac(other, seed=4, encoder_dim=4, decoder_dim=64)
    assert load_codec(str(other)).fingerprint["sha256"] != codec.fingerprint["sha256"]


def test_pytorch_model_bin_is_as_good_as_safetensors(small):
    codes = load_snac(str(small)).encode([sound(FRAME)])[0]
    torch.save(load_file(small / "model.safetensors"), small / "pytorch_model.bin")
    (small / "model.safetensors").unlink()
    np.testing.assert_array_equal(load_snac(str(small)).encode([sound(FRAME)])[0], codes)


class Trap:
    """What a hostile file would hold: unpickled, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_file_with_code_in_it_is_refused_and_not_run(small, tmp_path):
    (small / "model.safetensors").unlink()
    torch.save({"encoder.block.0.bias": Trap(tmp_path / "sprung")}, small / "pytorch_model.bin")
    with pytest.raises(SetupError, match="damaged or holds more than tensors"):
        load_snac(str(small))
    (small / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol=2))
    with pytest.raises(SetupError, match="damaged or holds more than tensors"):
        load_snac(str(small))
    assert not (tmp_path / "sprung").exists()


def test_missing_and_extra_tensors_are_named(small):
    tensors = load_file(small / "model.safetensors")
    del tensors["decoder.model.0.bias"]
    save_file(tensors | {"surplus": torch.zeros(1)}, small / "model.safetensors")
    with pytest.raises(SetupError, match=r"missing 1 \(decoder\.model\.0\.bias\); extra 1 \(surplus\)"):
        load_snac(str(small))


def test_tensors_of_other_sizes_are_named(small):
    tensors = load_file(small / "model.safetensors")
    tensors["decoder.model.0.bias"] = torch.zeros(5)
    save_file(tensors, small / "model.safetensors")
    with pytest.raises(SetupError, match=r"does not fit its config\.json: size mismatch for decoder\.model\.0\.bias"):
        load_snac(str(small))


@pytest.mark.parametrize("content", [b"", b"\x00" * 100])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_damaged_file_is_named(small, name, content):
    (small / "model.safetensors").unlink()
    (small / name).write_bytes(content)
    with pytest.raises(SetupError, match=rf"{name} is damaged"):
        load_snac(str(small))


def test_a_folder_without_weights_says_what_is_missing(small):
    (small / "model.safetensors").unlink()
    with pytest.raises(SetupError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load_snac(str(small))


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"vq_strides": [8, 4, 2, 1]}, r"vq_strides is \[8, 4, 2, 1\], not \[4, 2, 1\]"),
        ({"sampling_rate": 44_100}, "sampling_rate is 44100, not 24000"),
        ({"codebook_size": 1024}, "codebook_size is 1024, not 4096"),
        ({"attn_window_size": 32}, "attn_window_size is 32, not None"),
        ({"encoder_rates": [3, 3, 7, 7]}, r"encoder_rates is \[3, 3, 7, 7\], whose product is not 512"),
        ({"decoder_rates": None}, "decoder_rates is None, whose product is not 512"),
        ({"surprise": 1}, "cannot be built from its config.json.*surprise"),
    ],
)
def test_a_snac_of_another_geometry_is_refused_by_name(small, sizes, says):
    (small / "config.json").write_text(json.dumps(json.loads((small / "config.json").read_text()) | sizes))
    with pytest.raises(SetupError, match=says):
        load_snac(str(small))


@pytest.mark.parametrize(("content", "says"), [(None, "holds no config"), ("{", "cannot be read"), ("[]", "no sizes")])
def test_a_config_that_is_none_is_refused(small, content, says):
    (small / "config.json").unlink()
    if content is not None:
        (small / "config.json").write_text(content)
    with pytest.raises(SetupError, match=says):
        load_snac(str(small))


@pytest.mark.parametrize("name", ["hubertsiuzdak/snac_24khz_that_no_one_has", "out/no/such/folder"])
def test_a_name_that_neither_disk_nor_hub_knows_says_what_to_do(name):
    with pytest.raises(
        SetupError, match=r"is no folder, and the hub did not give it.*name a folder with config\.json"
    ) as e:
        load_codec(name)
    assert "\n" not in str(e.value)


def test_a_compiled_codec_needs_a_compiler(small, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SetupError, match=r"needs a C\+\+ compiler"):
        load_snac(str(small), compiled=True)


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"dtype": "float16"}, "float16 is for a GPU, and the device is cpu"),
        ({"dtype": "bfloat16", "device": "auto"}, "bfloat16 is for a GPU"),
        ({"device": "cuda:99"}, "device cuda:99: there is no GPU in this process"),
    ],
)
def test_what_only_a_gpu_can_do_is_refused_without_one(small, monkeypatch, choice, says):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SetupError, match=says):
        load_snac(str(small), **choice)


def test_batches_as_on_a_gpu_give_the_same(small):
    codec = load_snac(str(small))
    waveforms, codes = [sound(3 * FRAME, seed) for seed in range(5)], [random_codes(3, seed) for seed in range(5)]
    alone = codec.encode(waveforms), codec.decode(codes)
    codec.cutting = Cutting(256, 1024, equal=False)
    assert np.mean(np.array(codec.encode(waveforms)) == np.array(alone[0])) > 0.99
    np.testing.assert_allclose(codec.decode(codes), alone[1], rtol=0, atol=1e-6)


def test_windows_of_equal_length_share_batches_and_give_the_codes_of_each_alone(small, monkeypatch):
    codec = load_snac(str(small))
    waveforms = [sound(frames * FRAME - 5, seed) for seed, frames in enumerate((30, 49, 61, 140, 49, 3))]
    alone = codec.encode(waveforms)
    audio = codec.decode(alone)
    codec.cutting = ON_GPU
    encode, decode, shapes = codec._encode, codec._decode, {"encode": [], "decode": []}
    monkeypatch.setattr(codec, "_encode", lambda x: shapes["encode"].append((len(x), x.shape[1] // FRAME)) or encode(x))
    monkeypatch.setattr(codec, "_decode", lambda x, noise: shapes["decode"].append(x.shape[:2]) or decode(x, noise))
    for one, other in zip(alone, codec.encode(waveforms), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(audio, codec.decode(alone), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    # 49 and 61 frames take two windows each, 140 four; 30 and 3 are shorter than a window.
    assert {key: sorted(found) for key, found in shapes.items()} == {key: [(1, 3), (1, 30), (10, 48)] for key in shapes}


def test_batches_on_a_gpu_are_not_larger_than_they_may_be(small, monkeypatch):
    codec = load_snac(str(small))
    codec.cutting = Cutting(48, 100, equal=True)
    encode, sizes = codec._encode, []
    monkeypatch.setattr(codec, "_encode", lambda x: sizes.append(len(x)) or encode(x))
    codec.encode([sound(100 * FRAME)])
    assert sizes == [2, 1]


def test_half_precision_keeps_snakes_and_quantiser_exact(small, monkeypatch):
    network = read_network(small)
    speed_up(network, in_cache=False)
    audio_B1S = torch.from_numpy(sound(20 * FRAME))[None, None]
    with torch.inference_mode():
        exact = network.quantizer(network.encoder(audio_B1S))[1]
        set_precision(network.encoder, torch.float16)
        kinds = {type(layer).__name__: {x.dtype for x in layer.buffers()} for layer in network.encoder.modules()}
        assert kinds["_Snake"] == {torch.float32}
        assert {x.dtype for x in network.encoder.parameters()} == {torch.float16}
        half = network.quantizer(network.encoder(audio_B1S.half()).float())[1]
    assert torch.cat([(x == y).flatten() for x, y in zip(exact, half, strict=True)]).float().mean() > 0.97


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_codes_of_a_cpu(real_size):
    waveforms = [sound(frames * FRAME, seed) for seed, frames in enumerate((30, 49, 61, 140))]
    here = np.concatenate(load_snac(str(real_size)).encode(waveforms))
    for dtype in ("float32", "float16"):
        there = np.concatenate(load_snac(str(real_size), device="cuda", dtype=dtype).encode(waveforms))
        assert (here == there).mean() >= 0.999


def test_the_sizes_are_those_of_the_published_snac(real_size):
    network = read_network(real_size)
    assert sum(parameter.numel() for parameter in network.parameters()) == 19_842_914
    assert json.loads((real_size / "config.json").read_text()) == CONFIG


@pytest.mark.slow
# Inductor's own imports.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_codec_gives_the_same_codes_and_sound(small):
    waveforms = [sound(1), sound(3 * FRAME), sound(5 * FRAME - 7)]
    plain, compiled = load_snac(str(small)), load_snac(str(small), compiled=True)
    codes = plain.encode(waveforms)
    for wanted, found in zip(codes, compiled.encode(waveforms), strict=True):
        assert (wanted == found).mean() > 0.999
    for wanted, found in zip(plain.decode(codes), compiled.decode(codes), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)

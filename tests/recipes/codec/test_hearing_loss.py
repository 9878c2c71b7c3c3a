"""What a recogniser hears as a loss: Whisper's own states, and sounds that are other words are further apart."""

import struct

import numpy as np
import pytest
import torch

from anytalk.pipelines.recipe import Audio
from anytalk.pipelines.speech import Utterance, VoiceEngine
from anytalk.recipes.codec.ctranslate2_weights import read_weights
from anytalk.recipes.codec.hearing_loss import HearingLoss, read_encoder
from anytalk.synth.audio import resample
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing.faster import FasterNetwork, model_folder
from anytalk.synth.hearing.mel import log_mel

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def spoken():
    """Two words that are all but alike and one that is not, spoken at 24 kHz and padded to one length: (3, S)."""
    texts = ["A bad day.", "A mad day.", "Over there."]
    speaking = VoiceEngine(["piper:joe"], Audio())
    waveforms = speaking.speak([Utterance(text, "piper:joe", 1, 1.0, 1.0, 24_000, 9.0) for text in texts])
    longest = -(-max(map(len, waveforms)) // 480) * 480
    return torch.from_numpy(np.stack([np.pad(w, (0, longest - len(w))) for w in waveforms]))


@pytest.fixture(scope="module")
def encoder():
    """Encoder of tiny.en."""
    return read_encoder("tiny.en")


@pytest.fixture(scope="module")
def hearing(encoder):
    """The loss for waveforms at 24 kHz."""
    return HearingLoss(encoder, 24_000)


def draws():
    """The same noise and size again."""
    return np.random.default_rng(3)


def test_the_states_are_those_of_the_recogniser(spoken, hearing):
    # 24 kHz and 16 kHz put the same bins at the same frequencies: what differs is the resampling.
    audio_BS = torch.nn.functional.pad(spoken[:1], (0, 24_000))[:, : 480 * 70]
    network = FasterNetwork(model_folder("tiny.en"))
    [theirs] = network.encode(hearing.log_mel(audio_BS)[:1].numpy())
    assert np.abs(hearing.states(audio_BS)[-1][0].numpy() - theirs).max() < 1e-3
    audio_16k = resample(audio_BS[0].numpy(), 24_000, 16_000)[: 320 * 70]
    mel_MN = log_mel(audio_16k, window_samples=len(audio_16k), band_count=80)
    assert np.abs(hearing.log_mel(audio_BS)[0].numpy() - mel_MN).mean() < 0.02
    assert np.abs(network.encode(mel_MN[None])[0] - theirs).mean() < 0.05 * np.abs(theirs).mean()


def test_a_listener_of_another_size_hears_a_higher_and_shorter_voice(hearing):
    time_s = torch.arange(24_000) / 24_000
    tone_BS = torch.sin(2 * torch.pi * 1_000 * time_s)[None]
    higher_BS = torch.sin(2 * torch.pi * 1_100 * time_s)[None]
    heard = hearing.log_mel(tone_BS, 1.1)
    assert heard.shape[2] == 90
    assert torch.equal(heard.mean(2).argmax(1), hearing.log_mel(higher_BS).mean(2).argmax(1))


def test_other_words_are_further_than_the_same_a_little_louder(spoken, hearing):
    bad, mad, there = spoken[:, None]
    assert hearing(bad, bad, draws()) == 0
    assert hearing(1.1 * bad, bad, draws()) < 0.5 * hearing(mad, bad, draws())
    assert hearing(mad, bad, draws()) < hearing(there, bad, draws())
    other = hearing(mad, bad, np.random.default_rng(4))
    assert hearing(mad, bad, draws()) == hearing(mad, bad, draws()) != other


def test_it_teaches_the_sound_and_not_the_recogniser(spoken, hearing):
    made_BS = (0.9 * spoken[1:2]).requires_grad_(True)
    (before := hearing(made_BS, spoken[:1], draws())).backward()
    assert not any(tensor.requires_grad for tensor in hearing.weights.values())
    with torch.no_grad():
        step_BS = made_BS - 1e-3 * made_BS.grad / made_BS.grad.abs().max()
    assert hearing(step_BS, spoken[:1], draws()) < before


def test_what_cannot_be_heard_is_refused_by_name(encoder, hearing):
    with pytest.raises(SetupError, match="not 16000"):
        HearingLoss(encoder, 16_000)
    with pytest.raises(ValueError, match="30 s"):
        hearing.states(torch.zeros(1, 31 * 24_000))


def _model(*tensors: tuple[str, np.ndarray, int]) -> bytes:
    """A file in CTranslate2's format."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    parts = [struct.pack("<I", 6), string("WhisperSpec"), struct.pack("<II", 3, len(tensors))]
    for name, values, kind in tensors:
        shape = struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        parts += [string(name), shape, struct.pack("<BI", kind, values.nbytes), values.tobytes()]
    return b"".join(parts)


def test_tensors_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "model.bin"
    half, whole = np.arange(6, dtype=np.float16).reshape(2, 3) / 7, np.array(6, np.int16)
    path.write_bytes(_model(("encoder/a", half, 4), ("decoder/b", half, 4), ("encoder/num_heads", whole, 2)))
    tensors = read_weights(path, "encoder/")
    assert list(tensors) == ["a", "num_heads"]
    assert torch.equal(tensors["a"], torch.from_numpy(half.astype(np.float32)))
    assert int(tensors["num_heads"]) == 6


def test_a_model_that_is_damaged_or_another_is_refused_by_name(tmp_path):
    path = tmp_path / "model.bin"
    rounded = ("encoder/layer_0/self_attention/linear_0/weight_scale", np.ones(2, np.float32), 0)
    kernel = ("encoder/conv1/weight", np.ones((2, 2), np.float32), 0)
    for content, why in (
        (_model(kernel)[:-3], "cannot be read"),
        (b"", "cannot be read"),
        (_model(("encoder/a", np.ones(2, np.int16), 5)), "type 5"),
        (_model(("decoder/a", np.ones(2, np.float32), 0)), "no Whisper"),
        (_model(kernel, rounded), "rounded to integers"),
    ):
        path.write_bytes(content)
        with pytest.raises(SetupError, match=why) as caught:
            read_encoder(str(tmp_path))
        assert str(path) in str(caught.value)

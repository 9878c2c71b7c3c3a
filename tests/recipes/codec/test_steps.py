"""Training a codec: a run that was stopped goes on to the same weights, and every part of it learns."""

import numpy as np
import pytest
import torch

from anytalk.recipes.codec.steps import CodecTrainer, CodecTraining, Round, Speech, load_checkpoint, save_checkpoint
from anytalk.synth.codec import load_codec
from anytalk.synth.codec.bundled import weights_bytes
from anytalk.synth.codec.network import CodecConfig, CodecNetwork

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = CodecConfig(
    encoder_width=8, encoder_blocks=1, decoder_width=8, decoder_blocks=1, latent_width=8, codebook_size=16
)
SHORT = CodecTraining(
    rounds=(Round(4, adversarial_from=2), Round(2, hearing_weight=1.0)),
    batch=2,
    crop_frames=2,
    warmup_steps=1,
    decay_steps=2,
    checkpoint_every=3,
)


@pytest.fixture(scope="module")
def speech():
    """Two utterances of pulses, one high and one low."""
    time_s = np.arange(24_000) / 24_000
    sounds = [np.sin(2 * np.pi * hz * time_s) ** 9 * 8_000 for hz in (110, 220)]
    return Speech(np.concatenate(sounds).astype(np.int16), np.array([24_000, 48_000]))


def nothing(trainer):
    """Save nothing."""


def test_a_stopped_run_goes_on_to_the_same_weights(speech, tmp_path):
    whole = CodecTrainer(TINY, SHORT, speech)
    every = [metrics["loss"] for metrics in whole.run(nothing)]
    assert len(every) == 6

    (tmp_path / "metrics.jsonl").write_text("")
    first = CodecTrainer(TINY, SHORT, speech)
    for metrics in first.run(lambda trainer: save_checkpoint(trainer, tmp_path)):
        if metrics["step"] == 3:
            break
    second = CodecTrainer(TINY, SHORT, speech)
    assert load_checkpoint(second, tmp_path)
    assert [metrics["loss"] for metrics in second.run(nothing)] == every[3:]
    for name, tensor in whole.average.state_dict().items():
        assert torch.equal(tensor, second.average.state_dict()[name]), name


def test_every_part_learns(speech):
    trainer = CodecTrainer(TINY, SHORT, speech)
    before = {name: tensor.clone() for name, tensor in trainer.state()["network"].items()}
    seen = list(trainer.run(nothing))
    after = trainer.state()["network"]
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert ["critic" in metrics for metrics in seen] == [False, False, True, True, True, True]
    assert ["hearing" in metrics for metrics in seen] == [False, False, False, False, True, True]
    assert seen[-1]["learning_rate"] < seen[-2]["learning_rate"] == SHORT.learning_rate


def test_the_pitch_that_the_decoder_says_is_learnt(speech):
    rounds = (Round(60, adversarial_from=60),)
    settings = CodecTraining(rounds=rounds, batch=2, crop_frames=4, warmup_steps=1, decay_steps=1, ema=0.0)
    losses = [metrics["pitch"] for metrics in CodecTrainer(TINY, settings, speech).run(nothing)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_the_learning_rate_begins_anew_in_every_round_and_ends_at_nothing(speech):
    settings = CodecTraining(rounds=(Round(5), Round(4)), warmup_steps=2, decay_steps=2, learning_rate=1.0)
    trainer = CodecTrainer(TINY, settings, speech)
    rates = []
    for trainer.step in range(settings.steps):
        rates.append(trainer.learning_rate())
    assert rates == [0.5, 1.0, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.5]


@pytest.mark.parametrize("rounds", [(), (Round(5), Round(0))])
def test_rounds_without_a_step_are_refused(rounds):
    with pytest.raises(ValueError, match="each with a step"):
        CodecTraining(rounds=rounds)


def test_the_same_network_is_written_as_the_same_bytes_whatever_its_name(tmp_path):
    network = CodecNetwork(TINY)
    # The library alone writes the header's keys in a random order.
    files = {weights_bytes(network, 'stimme "süß"', "1") for _ in range(20)}
    assert len(files) == 1
    path = tmp_path / "codec.safetensors"
    path.write_bytes(files.pop())
    codec = load_codec(str(path))
    assert codec.fingerprint["name"] == 'stimme "süß"'
    saved = codec.network.state_dict()
    assert all(torch.equal(saved[name], value.half().float()) for name, value in network.state_dict().items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_codec_learns_on_a_gpu_and_is_saved_for_a_processor(speech, tmp_path):
    trainer = CodecTrainer(TINY, SHORT, speech, torch.device("cuda"))
    assert all(np.isfinite(metrics["loss"]) for metrics in trainer.run(nothing))
    save_checkpoint(trainer, tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    assert load_checkpoint(CodecTrainer(TINY, SHORT, speech, torch.device("cpu")), tmp_path)
    assert weights_bytes(trainer.average, "tiny", "1")

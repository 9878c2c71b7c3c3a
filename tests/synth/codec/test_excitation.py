"""The codec's voiced source: at the pitch that is asked for, without a seam, and the same from any stretch on."""

import numpy as np
import pytest
import torch

from anytalk.recipes.codec.pitch import pitch
from anytalk.synth.codec.excitation import GRID_FRAMES, excite, tied_phase

RATE_HZ, HOP = 24_000, 256
STRETCH_HOPS = GRID_FRAMES * 2048 // HOP


def gliding(hops, seed=0):
    """A pitch that wanders between 80 and 300 Hz."""
    steps = np.random.default_rng(seed).normal(0, 0.02, hops).cumsum()
    return torch.from_numpy(np.clip(150 * np.exp2(steps), 80, 300).astype(np.float32))[None]


def mouthed(pulses_BS):
    """Pulses through a resonance at 570 Hz, as wide as a vowel's; no voice has pulses as sharp as they are made."""
    t = torch.arange(400)
    resonance = torch.exp(-t / 30) * torch.sin(0.15 * t)
    padded = torch.nn.functional.pad(pulses_BS, (len(t) - 1, 0))
    return torch.nn.functional.conv1d(padded[:, None], resonance.flip(0)[None, None])[:, 0]


@pytest.mark.parametrize("pitch_hz", [80.0, 110.0, 200.0, 310.0])
def test_pulses_have_the_pitch_that_was_asked_for(pitch_hz):
    hops = 2 * STRETCH_HOPS
    asked = torch.full((1, hops), pitch_hz)
    audio = excite(asked, torch.ones(1, hops), HOP, STRETCH_HOPS, RATE_HZ)
    heard, voiced = pitch(0.1 * mouthed(audio), RATE_HZ, HOP)
    assert voiced[0, 8:-8].mean() > 0.95
    # Tying the phase down shifts the pitch by up to 0.73 Hz.
    assert (heard - pitch_hz)[0, 8:-8].abs().median() < 1.5


def test_phase_is_continuous_over_stretches():
    cycles = gliding(4 * STRETCH_HOPS)[:, :, None].expand(-1, -1, HOP).flatten(1) / RATE_HZ
    phase = tied_phase(cycles, STRETCH_HOPS * HOP)
    step = (phase[:, 1:] - phase[:, :-1]) % 1.0
    shift_hz = (step - cycles[:, 1:]).abs() * RATE_HZ
    assert shift_hz.max() < 0.5 / (STRETCH_HOPS * HOP) * RATE_HZ + 0.2  # half a cycle a stretch, and rounding


def test_pulses_depend_on_two_stretches_at_most():
    asked, voiced = gliding(6 * STRETCH_HOPS), torch.ones(1, 6 * STRETCH_HOPS)
    whole = excite(asked, voiced, HOP, STRETCH_HOPS, RATE_HZ)
    part = excite(asked[:, STRETCH_HOPS:], voiced[:, STRETCH_HOPS:], HOP, STRETCH_HOPS, RATE_HZ)
    same = whole[:, STRETCH_HOPS * HOP :]
    # The first hop has none before it to run from, so that its stretch and the next are not final.
    final = 2 * STRETCH_HOPS * HOP
    torch.testing.assert_close(part[:, final:], same[:, final:], atol=5e-3, rtol=0)
    assert (part - same)[:, : final // 2].abs().max() > 0.1


def test_nothing_voiced_is_silence():
    assert not excite(torch.full((1, 64), 100.0), torch.zeros(1, 64), HOP, STRETCH_HOPS, RATE_HZ).any()


def test_noise_and_silence_have_no_pitch():
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(1, 200 * HOP, generator=generator)
    assert pitch(noise, RATE_HZ, HOP)[1].mean() < 0.05
    silence_hz, voiced = pitch(torch.zeros(1, 100 * HOP), RATE_HZ, HOP)
    assert not voiced.any()
    assert torch.isfinite(silence_hz).all()


def test_half_a_period_is_not_taken_for_a_whole_one():
    """A strong second harmonic makes half a period look like a whole one."""
    time_s = torch.arange(200 * HOP) / RATE_HZ
    sound = torch.cos(2 * torch.pi * 100 * time_s) * 0.05 + torch.cos(2 * torch.pi * 200 * time_s) * 0.1
    heard, voiced = pitch(sound[None], RATE_HZ, HOP)
    assert voiced.mean() > 0.9
    assert (heard[0, 5:-5] - 100).abs().max() < 2


def test_a_voice_that_creaks_keeps_a_pitch_without_jumps():
    generator = torch.Generator().manual_seed(3)
    hops = 150
    periods = (RATE_HZ / 85 * (1 + 0.01 * torch.randn(2 * hops, generator=generator))).round().long()
    at = periods.cumsum(0)
    at = at[at < hops * HOP]
    creak = torch.zeros(hops * HOP)
    # Every other pulse is weaker: hop by hop the voice might as well be an octave lower.
    creak[at] = torch.where(torch.arange(len(at)) % 2 == 0, 1.0, 0.7)
    heard, voiced = pitch(0.3 * mouthed(creak[None]), RATE_HZ, HOP)
    assert voiced.mean() > 0.7
    both = (voiced[:, 1:] * voiced[:, :-1]) > 0
    assert (heard[:, 1:] / heard[:, :-1]).log2().abs()[both].max() < 0.1
    assert (heard / 85).log2()[voiced > 0].abs().median() < 0.06

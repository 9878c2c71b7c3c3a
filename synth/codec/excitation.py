"""The voiced source of the bundled codec: a pulse train whose phase is a function of the pitch around it.

A vocoder that guesses the phase of every frame by itself makes voices rough: harmonics jump between frames. So the
decoder only says how high the voice is, and the phase follows by adding up, as in harmonic-plus-noise and
source-filter vocoders (NSF, arXiv 1904.12088; HiFTNet, arXiv 2309.09493).

Adding up from the beginning of an utterance would need all of it. Here phase is tied down every `GRID_FRAMES` frames
to what the last stretch alone adds up to, and the difference is spread over the next stretch, as a shift of the pitch
by at most 0.73 Hz. So the source depends on two stretches at most, and a stream may be decoded from any multiple of
`GRID_FRAMES` on.

Shapes: B batch, H hops, S samples.
"""

import torch
from torch import Tensor

GRID_FRAMES = 8
"""Frames of a stretch; 8 of 2048 samples at 24 kHz are 683 ms."""
HIGHEST_HZ = 5_000.0
"""Harmonics above this are left out."""


def excite(pitch_BH_hz: Tensor, voiced_BH: Tensor, hop_samples: int, stretch_hops: int, rate_hz: int) -> Tensor:
    """Pulses at the given pitch, of unit power where fully voiced.

    Args:
        pitch_BH_hz: pitch of each hop, positive also where nothing is voiced.
        voiced_BH: how voiced each hop is, 0 to 1.
        hop_samples: samples of a hop.
        stretch_hops: hops after which the phase is tied down; the first hop begins a stretch.
        rate_hz: sample rate.

    Returns:
        Audio (B, H * hop_samples).
    """
    pitch_BS_hz, voiced_BS = ramps(pitch_BH_hz, hop_samples), ramps(voiced_BH, hop_samples)
    cycles_BS = tied_phase(pitch_BS_hz / rate_hz, stretch_hops * hop_samples)
    harmonics_BS = HIGHEST_HZ / pitch_BS_hz
    whole_BS = harmonics_BS.floor()
    half_BS = torch.pi * cycles_BS
    # Dirichlet's kernel adds all cosines up at once; the one on the way in fades in by the fraction.
    sine_BS = half_BS.sin()
    near_BS = sine_BS.abs() < 1e-4
    kernel_BS = (whole_BS * half_BS).sin() * ((whole_BS + 1) * half_BS).cos() / sine_BS.masked_fill(near_BS, 1.0)
    kernel_BS = torch.where(near_BS, whole_BS, kernel_BS)
    next_BS = (harmonics_BS - whole_BS) * (2 * (whole_BS + 1) * half_BS).cos()
    return voiced_BS * (kernel_BS + next_BS) * (2 / harmonics_BS).sqrt()


def ramps(values_BH: Tensor, hop_samples: int) -> Tensor:
    """Values that run through each hop from the last hop's to its own: (B, H * hop_samples)."""
    last_BH = torch.cat([values_BH[:, :1], values_BH[:, :-1]], dim=1)
    weight_S = torch.arange(1, hop_samples + 1, device=values_BH.device) / hop_samples
    return torch.lerp(last_BH[:, :, None], values_BH[:, :, None], weight_S).flatten(1)


def tied_phase(cycles_a_sample_BS: Tensor, stretch_samples: int) -> Tensor:
    """Phase in cycles, 0 to 1, of a running frequency; see the module's text for how it is tied down.

    Args:
        cycles_a_sample_BS: frequency over sample rate.
        stretch_samples: samples of a stretch; the first sample begins one.
    """
    batch, samples = cycles_a_sample_BS.shape
    padding = -samples % stretch_samples
    steps_BNS = torch.nn.functional.pad(cycles_a_sample_BS, (0, padding)).reshape(batch, -1, stretch_samples)
    inside_BNS = steps_BNS.cumsum(-1)
    excess_BN = inside_BNS[..., -1] - inside_BNS[..., -1].round()
    carried_BN = torch.nn.functional.pad(excess_BN, (1, 0))[:, :-1]
    left_S = 1 - torch.arange(1, stretch_samples + 1, device=inside_BNS.device) / stretch_samples
    phase_BNS = inside_BNS + carried_BN[..., None] * left_S
    return (phase_BNS - phase_BNS.floor()).reshape(batch, -1)[:, :samples]

"""How high a voice is: the pitch that the codec's decoder is taught to say.

YIN (de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for speech and music", 2002): the smallest lag
at which a stretch of sound repeats itself, with its cumulative mean normalised difference and parabolic interpolation;
a median over five hops then removes single jumps by an octave.

Shapes: B batch, S samples, H hops, W window, L lags.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

LOWEST_HZ, HIGHEST_HZ = 60.0, 420.0
WINDOW_S = 0.04
THRESHOLD = 0.35
"""A hop whose sound does not repeat itself within this share of its power is not voiced."""
MARGIN = 0.1
"""Nor is a dip taken that is shallower than the deepest one by this: half a period often looks like a whole one."""
SILENCE = 1e-3
"""Root mean square below which nothing is voiced: -60 dB of full scale."""


@torch.no_grad()
def pitch(audio_BS: Tensor, rate_hz: int, hop_samples: int) -> tuple[Tensor, Tensor]:
    """Pitch of every hop, and whether it is voiced.

    Args:
        audio_BS: mono audio, a whole number of hops.
        rate_hz: its sample rate.
        hop_samples: samples of a hop.

    Returns:
        Pitch in Hz (B, H), where nothing is voiced that of the nearest voiced hop before (or after, at the
        beginning; 150 Hz where there is none at all); and 1.0 or 0.0 for voiced or not, (B, H).
    """
    shortest, longest = int(rate_hz / HIGHEST_HZ), int(rate_hz / LOWEST_HZ) + 1
    window = int(WINDOW_S * rate_hz)
    reach = window + longest
    left = (reach - hop_samples) // 2
    frames_BHW = F.pad(audio_BS, (left, reach - hop_samples - left)).unfold(1, reach, hop_samples)
    difference_BHL = _normalised_difference(frames_BHW, window, longest)
    dip = difference_BHL[..., 1:-1]
    best_BH1 = difference_BHL[..., shortest:].amin(-1, keepdim=True)
    candidate = (
        (dip < (best_BH1 + MARGIN).clamp(max=THRESHOLD))
        & (dip <= difference_BHL[..., :-2])
        & (dip < difference_BHL[..., 2:])
    )
    candidate[..., : shortest - 1] = False
    lag_BH = candidate.float().argmax(-1) + 1
    loud_BH = frames_BHW.square().mean(-1).sqrt() > SILENCE
    voiced_BH = candidate.any(-1) & loud_BH
    pitch_BH_hz = rate_hz / _refined(difference_BHL, lag_BH)
    filled = _fill(pitch_BH_hz, voiced_BH)
    smooth = F.pad(filled[:, None], (2, 2), mode="replicate")[:, 0].unfold(1, 5, 1).median(-1).values
    return smooth, voiced_BH.to(audio_BS.dtype)


def _normalised_difference(frames_BHW: Tensor, window: int, longest: int) -> Tensor:
    """Equation 8 of the paper, (B, H, L) for lags 0 to `longest`."""
    size = 1 << (frames_BHW.shape[-1] - 1).bit_length()
    spectrum = torch.fft.rfft(frames_BHW, size)
    head = torch.fft.rfft(frames_BHW[..., :window], size)
    correlation_BHL = torch.fft.irfft(spectrum * head.conj(), size)[..., : longest + 1]
    energy = F.pad(frames_BHW.square().cumsum(-1), (1, 0))
    energy_BHL = energy[..., window : window + longest + 1] - energy[..., : longest + 1]
    difference_BHL = (energy_BHL[..., :1] + energy_BHL - 2 * correlation_BHL).clamp(min=0)
    lags_L = torch.arange(longest + 1, device=frames_BHW.device)
    mean_BHL = difference_BHL.cumsum(-1) / lags_L.clamp(min=1)
    normalised: Tensor = torch.where(lags_L == 0, 1.0, difference_BHL / mean_BHL.clamp(min=1e-9))
    return normalised


def _refined(difference_BHL: Tensor, lag_BH: Tensor) -> Tensor:
    """Lags between whole samples: the lowest point of the parabola through three values."""
    before, at, after = (difference_BHL.gather(-1, lag_BH[..., None] + step)[..., 0] for step in (-1, 0, 1))
    curvature = before - 2 * at + after
    shift = 0.5 * (before - after) / torch.where(curvature.abs() < 1e-9, torch.ones_like(curvature), curvature)
    return lag_BH + shift.clamp(-1, 1)


def _fill(pitch_BH_hz: Tensor, voiced_BH: Tensor) -> Tensor:
    """The pitch of the nearest voiced hop before each, else after."""
    hops = pitch_BH_hz.shape[1]
    place_H = torch.arange(hops, device=pitch_BH_hz.device)
    before = torch.where(voiced_BH, place_H, -1).cummax(1).values
    after = torch.where(voiced_BH, place_H, hops).flip(1).cummin(1).values.flip(1)
    nearest = torch.where(before >= 0, before, after)
    held = pitch_BH_hz.gather(1, nearest.clamp(max=hops - 1))
    return torch.where(nearest < hops, held, torch.full_like(held, 150.0))

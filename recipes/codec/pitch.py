"""How high a voice is: the pitch that the codec's decoder is taught to say.

How badly a stretch of sound repeats itself at each lag is the cumulative mean normalised difference of YIN (de
Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for speech and music", 2002). The path through these
differences that jumps least is found by dynamic programming, with a state for what is not voiced, as in Boersma's
"Accurate short-term analysis of the fundamental frequency" (1993): a voice that creaks has a pitch that jumps where
each hop is taken by itself, and pulses at a pitch that jumps are rough.

Shapes: B batch, S samples, H hops, W window, L lags, N notes.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LOWEST_HZ, HIGHEST_HZ = 60.0, 420.0
NOTES_AN_OCTAVE = 48
WINDOW_S = 0.04
UNVOICED_COST = 0.4
"""A stretch whose difference stays above this share of its power is not voiced."""
OCTAVE_COST = 0.06
"""Of a pitch an octave lower: two periods repeat themselves as well as one."""
JUMP_COST = 3.0
"""Of a jump by an octave from one hop to the next."""
TURN_COST = 0.3
"""Of a voice that begins or ends."""
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
    longest = int(rate_hz / LOWEST_HZ) + 1
    window = int(WINDOW_S * rate_hz)
    reach = window + longest
    left = (reach - hop_samples) // 2
    frames_BHW = F.pad(audio_BS, (left, reach - hop_samples - left)).unfold(1, reach, hop_samples)
    difference_BHL = _normalised_difference(frames_BHW, window, longest)
    notes = int(NOTES_AN_OCTAVE * math.log2(HIGHEST_HZ / LOWEST_HZ)) + 1
    octaves_N = torch.arange(notes, device=audio_BS.device) / NOTES_AN_OCTAVE
    lags_N = (rate_hz / LOWEST_HZ * torch.exp2(-octaves_N)).round().long()
    cost_BHN = difference_BHL[..., lags_N] - OCTAVE_COST * octaves_N
    silent_BH = frames_BHW.square().mean(-1).sqrt() <= SILENCE
    cost_BHN = cost_BHN.masked_fill(silent_BH[..., None], 10.0)
    note_BH = _best_path(cost_BHN)
    voiced_BH = note_BH >= 0
    pitch_BH_hz = rate_hz / _refined(difference_BHL, lags_N[note_BH.clamp(min=0)])
    filled = _fill(pitch_BH_hz, voiced_BH)
    smooth = F.pad(filled[:, None], (2, 2), mode="replicate")[:, 0].unfold(1, 5, 1).median(-1).values
    return smooth, voiced_BH.to(audio_BS.dtype)


def _best_path(cost_BHN: Tensor) -> Tensor:
    """The note of each hop on the cheapest path, or -1 where it is not voiced: int64 (B, H)."""
    _, hops, notes = cost_BHN.shape
    ramp_N = torch.arange(notes, device=cost_BHN.device) * (JUMP_COST / NOTES_AN_OCTAVE)
    voiced_BN, unvoiced_B = cost_BHN[:, 0], torch.full_like(cost_BHN[:, 0, 0], UNVOICED_COST)
    from_note, from_unvoiced = [], []
    for hop in range(1, hops):
        # The cheapest note before each: the smaller of the best one below it and the best one above it.
        below, below_at = (voiced_BN - ramp_N).cummin(1)
        above, above_at = (voiced_BN + ramp_N).flip(1).cummin(1)
        below, above = below + ramp_N, above.flip(1) - ramp_N
        best_BN = torch.minimum(below, above)
        at_BN = torch.where(below <= above, below_at, notes - 1 - above_at.flip(1))
        begun_B1 = unvoiced_B[:, None] + TURN_COST
        at_BN = torch.where(begun_B1 < best_BN, -1, at_BN)
        cheapest_B, cheapest_at_B = voiced_BN.min(1)
        stopped_B = cheapest_B + TURN_COST
        from_note.append(at_BN)
        from_unvoiced.append(torch.where(stopped_B < unvoiced_B, cheapest_at_B, -1))
        voiced_BN = torch.minimum(best_BN, begun_B1) + cost_BHN[:, hop]
        unvoiced_B = torch.minimum(unvoiced_B, stopped_B) + UNVOICED_COST
    last_B, note_B = voiced_BN.min(1)
    note_B = torch.where(unvoiced_B <= last_B, -1, note_B)
    path = [note_B]
    for at_BN, at_B in zip(reversed(from_note), reversed(from_unvoiced), strict=True):
        before_B = at_BN.gather(1, note_B.clamp(min=0)[:, None])[:, 0]
        note_B = torch.where(note_B >= 0, before_B, at_B)
        path.append(note_B)
    return torch.stack(path[::-1], dim=1)


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

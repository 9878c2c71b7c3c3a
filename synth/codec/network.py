"""The network of the bundled codec: SNAC's token geometry, cheap enough to train and run on a CPU.

Encoder: log-mels at two frames a finest code, and the lowest bins of a longer window, in which single harmonics stand
apart -> ConvNeXt blocks -> residual vector quantisation at strides 4, 2 and 1.
Decoder: causal ConvNeXt blocks at the finest code rate -> pitch, a filter for the pulses of that pitch
(excitation.py), and magnitude and phase of all that is not voiced -> an inverse STFT of the sum.

Sources: strides, codebook size and factorised 8-dimensional codebooks of SNAC (hubertsiuzdak/snac @f49016a); a
frame-rate decoder with an iSTFT head, Vocos (arXiv 2306.00814); the block, ConvNeXt (arXiv 2201.03545); codebooks as
running means, VQ-VAE (arXiv 1711.00937, appendix A.1), with dead codes re-seeded as in SoundStream (arXiv 2107.03312,
section III-C).

The decoder looks only backwards, so that a stream may be decoded frame by frame: of N frames all but the last
`lookahead_samples` samples are final, whatever comes after. The encoder, which nobody has to stream, looks both ways.

Shapes: B batch, S samples, M mels, T finest steps (46.875 Hz at 24 kHz), C channels, N vectors, K codebook size, L
levels.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .excitation import GRID_FRAMES, HIGHEST_HZ, excite
from .order import LEVEL_STRIDES


@dataclass(frozen=True)
class CodecConfig:
    """Sizes of the bundled codec. Every field is stored beside the weights."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # how a recipe reads it

    sample_rate_hz: int = 24_000
    hop_samples: int = 256
    """STFT hop of analysis and synthesis; one finest code spans two hops."""
    fft_samples: int = 1024
    mels: int = 100
    pitch_bins: int = 96
    """Bins, from 0 Hz, of a window twice as long as the mels'."""
    encoder_width: int = 192
    encoder_blocks: int = 4
    decoder_width: int = 320
    decoder_blocks: int = 5
    latent_width: int = 192
    codebook_size: int = 4096
    codebook_width: int = 8
    kernel: int = 7

    @property
    def step_samples(self) -> int:
        """Samples that one finest code spans."""
        return 2 * self.hop_samples

    @property
    def frame_samples(self) -> int:
        """Samples that one frame of seven codes spans."""
        return LEVEL_STRIDES[0] * self.step_samples

    @property
    def decoder_left_frames(self) -> int:
        """Frames of left context after which a decoded sample no longer changes."""
        steps = (self.decoder_blocks + 1) * (self.kernel - 1) + self.fft_samples // self.step_samples
        # The pulses of a frame depend on the pitch from the beginning of the stretch before its own.
        return -(-steps // LEVEL_STRIDES[0]) + 2 * GRID_FRAMES

    @property
    def encoder_context_frames(self) -> int:
        """Frames of context, on either side, after which a code no longer changes."""
        steps = (self.encoder_blocks + 1) * (self.kernel // 2) + self.fft_samples // self.step_samples + 1
        return -(-steps // LEVEL_STRIDES[0])

    @property
    def lookahead_samples(self) -> int:
        """Trailing samples of a decode that the next frame still changes.

        Its inverse STFT overlaps half a window of them, and so do the windows in which the pulses are filtered.
        """
        return self.fft_samples

    @property
    def filter_bins(self) -> int:
        """Bins that the pulses reach."""
        return int(HIGHEST_HZ / self.sample_rate_hz * self.fft_samples) + 2


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer perceptron a step, added to the input."""

    def __init__(self, width: int, kernel: int, causal: bool, blocks: int) -> None:
        super().__init__()
        self.left = kernel - 1 if causal else kernel // 2
        self.right = kernel - 1 - self.left
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 3 * width)
        self.contract = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1.0 / blocks))

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Add what the block makes of (B, T, C)."""
        y_BCT = self.depthwise(F.pad(x_BTC.transpose(1, 2), (self.left, self.right)))
        y_BTC = self.contract(F.gelu(self.expand(self.norm(y_BCT.transpose(1, 2)))))
        out_BTC: Tensor = x_BTC + self.scale * y_BTC
        return out_BTC


class Encoder(nn.Module):
    """Log-mels and low bins to latents at the finest code rate."""

    window: Tensor
    long_window: Tensor
    mel_filters: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.encoder_width
        self.config = config
        inputs = 2 * config.mels + config.pitch_bins
        self.stem = nn.Conv1d(inputs, width, config.kernel, padding=config.kernel // 2)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(width, config.kernel, causal=False, blocks=config.encoder_blocks)
            for _ in range(config.encoder_blocks)
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.latent_width))
        self.register_buffer("window", torch.hann_window(config.fft_samples), persistent=False)
        self.register_buffer("long_window", torch.hann_window(2 * config.fft_samples), persistent=False)
        self.register_buffer("mel_filters", mel_filters(config), persistent=False)

    def log_mel(self, audio_BS: Tensor) -> Tensor:
        """Log-mels of whole frames of audio, (B, 2T, M); frame t is centred on samples [t*hop, (t+1)*hop)."""
        magnitude_BFT = _magnitudes(audio_BS, self.window, self.config.hop_samples)
        return _log(self.mel_filters @ magnitude_BFT).transpose(1, 2)

    def low_bins(self, audio_BS: Tensor) -> Tensor:
        """Log-magnitudes of the lowest bins of a long window, (B, T, F); step t is centred on its own samples."""
        magnitude_BFT = _magnitudes(audio_BS, self.long_window, self.config.step_samples)
        return _log(magnitude_BFT[:, : self.config.pitch_bins]).transpose(1, 2)

    def forward(self, audio_BS: Tensor) -> Tensor:
        """Latents (B, T, C) of whole frames of audio."""
        mel_BTM = self.log_mel(audio_BS)
        batch, frames, mels = mel_BTM.shape
        heard_BTC = torch.cat([mel_BTM.reshape(batch, frames // 2, 2 * mels), self.low_bins(audio_BS)], dim=2)
        x_BTC = self.norm(self.stem(heard_BTC.transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x_BTC = block(x_BTC)
        latent_BTC: Tensor = self.out(x_BTC)
        return latent_BTC


def _magnitudes(audio_BS: Tensor, window: Tensor, hop_samples: int) -> Tensor:
    """STFT magnitudes (B, F, T) of whole hops; frame t is centred on samples [t*hop, (t+1)*hop)."""
    return _spectrum(audio_BS, window, hop_samples).abs()


def _spectrum(audio_BS: Tensor, window: Tensor, hop_samples: int) -> Tensor:
    pad = (len(window) - hop_samples) // 2
    return torch.stft(
        F.pad(audio_BS, (pad, pad)), len(window), hop_samples, window=window, center=False, return_complex=True
    )


def _log(x: Tensor) -> Tensor:
    return torch.log(x.clamp(min=1e-5))


class Quantiser(nn.Module):
    """One level: mean over `stride` steps, a projection to the unit sphere, the nearest code, and the way back."""

    codebook: Tensor
    """Unit vectors of the codes, (K, D)."""

    def __init__(self, config: CodecConfig, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.project_in = nn.Linear(config.latent_width, config.codebook_width)
        self.project_out = nn.Linear(config.codebook_width, config.latent_width)
        codes = F.normalize(torch.randn(config.codebook_size, config.codebook_width), dim=1)
        self.register_buffer("codebook", codes)

    def vectors(self, residual_BTC: Tensor) -> Tensor:
        """Unit vectors to be quantised, (B, T/stride, D)."""
        batch, steps, width = residual_BTC.shape
        pooled = residual_BTC.reshape(batch, steps // self.stride, self.stride, width).mean(2)
        return F.normalize(self.project_in(pooled), dim=-1)

    def nearest(self, vectors_BTD: Tensor) -> Tensor:
        """Index of the code with the largest cosine, int64 (B, T/stride)."""
        return (vectors_BTD @ self.codebook.T).argmax(-1)

    def latents(self, vectors_BTD: Tensor) -> Tensor:
        """Latents of code vectors, back at the finest rate: (B, T, C)."""
        latents: Tensor = self.project_out(vectors_BTD).repeat_interleave(self.stride, dim=1)
        return latents


@dataclass(frozen=True)
class Said:
    """What the decoder reads off the codes, at two hops a step."""

    pitch_BH_hz: Tensor
    voicing_BH: Tensor
    """Log-odds that the hop is voiced."""
    filter_BHF: Tensor
    """Complex gain of the pulses' lowest bins."""
    rest_BHF: Tensor
    """Complex spectrum of all else."""


class Decoder(nn.Module):
    """Latents at the finest code rate to audio; causal but for an STFT window."""

    window: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.config = config
        self.stem = nn.Conv1d(config.latent_width, width, config.kernel)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(width, config.kernel, causal=True, blocks=config.decoder_blocks)
            for _ in range(config.decoder_blocks)
        )
        self.out_norm = nn.LayerNorm(width)
        self.sizes = (2, 2 * config.filter_bins, config.fft_samples + 2)
        self.head = nn.Linear(width, 2 * sum(self.sizes))
        # Whatever is louder in a bin at first gets most of the gradient there: pulses should win over the rest.
        with torch.no_grad():
            _, filter_, rest = self.head.bias.view(2, -1).split(self.sizes, dim=1)
            filter_[:, : config.filter_bins] -= 3.0
            rest[:, : config.fft_samples // 2 + 1] -= 3.0
        self.register_buffer("window", torch.hann_window(config.fft_samples), persistent=False)

    def say(self, latent_BTC: Tensor) -> Said:
        """Read everything off the latents."""
        padded = F.pad(latent_BTC.transpose(1, 2), (self.config.kernel - 1, 0))
        x_BTC = self.norm(self.stem(padded).transpose(1, 2))
        for block in self.blocks:
            x_BTC = block(x_BTC)
        batch, steps, _ = x_BTC.shape
        out = self.head(self.out_norm(x_BTC)).reshape(batch, 2 * steps, -1)
        voice, filter_, rest = out.split(self.sizes, dim=-1)
        # Octaves around 150 Hz; the clamp keeps a wild guess from making harmonics without number.
        pitch_BH_hz = 150.0 * torch.exp2(voice[..., 0].clamp(-1.5, 1.5))
        return Said(pitch_BH_hz, voice[..., 1], _polar(filter_), _polar(rest))

    def forward(self, latent_BTC: Tensor) -> Tensor:
        """Audio (B, S) of latents."""
        said = self.say(latent_BTC)
        return self.sound(said, said.pitch_BH_hz, torch.sigmoid(said.voicing_BH))

    def sound(self, said: Said, pitch_BH_hz: Tensor, voiced_BH: Tensor) -> Tensor:
        """Audio (B, S) of what was said, at a pitch that may be another."""
        config = self.config
        stretch_hops = GRID_FRAMES * config.frame_samples // config.hop_samples
        pulses_BS = excite(pitch_BH_hz, voiced_BH, config.hop_samples, stretch_hops, config.sample_rate_hz)
        pulses_BHF = _spectrum(pulses_BS, self.window, config.hop_samples).transpose(1, 2)
        voiced_BHF = said.filter_BHF * pulses_BHF[..., : config.filter_bins]
        silent_bins = said.rest_BHF.shape[-1] - config.filter_bins
        return self.overlap_add(said.rest_BHF + F.pad(voiced_BHF, (0, silent_bins)))

    def overlap_add(self, spectrum_BTF: Tensor) -> Tensor:
        """Inverse STFT whose frame t is centred on samples [t*hop, (t+1)*hop): (B, S)."""
        config = self.config
        frames_BTW = torch.fft.irfft(spectrum_BTF, n=config.fft_samples) * self.window
        batch, count, width = frames_BTW.shape
        hops = width // config.hop_samples
        padded = F.pad(frames_BTW.reshape(batch, count, hops, config.hop_samples), (0, 0, 0, 0, 0, hops - 1))
        total = torch.stack([padded[:, :, k].roll(k, dims=1) for k in range(hops)]).sum(0)
        pad = (config.fft_samples - config.hop_samples) // 2
        # Squared Hann windows a quarter apart add up to 3/2 everywhere but at the very ends, which fade.
        audio_BS: Tensor = total.reshape(batch, -1)[:, pad : pad + count * config.hop_samples] / 1.5
        return audio_BS


def _polar(out: Tensor) -> Tensor:
    log_magnitude, phase = out.chunk(2, dim=-1)
    return torch.polar(torch.exp(log_magnitude.clamp(max=6.0)), phase)


class CodecNetwork(nn.Module):
    """Encoder, three residual quantisers and decoder."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantisers = nn.ModuleList(Quantiser(config, stride) for stride in LEVEL_STRIDES)
        self.decoder = Decoder(config)

    def levels(self) -> list[Quantiser]:
        """The quantisers, coarsest first."""
        return [quantiser for quantiser in self.quantisers if isinstance(quantiser, Quantiser)]

    def encode(self, audio_BS: Tensor) -> list[Tensor]:
        """Codes of whole frames of audio: int64 of shape (B, F), (B, 2F), (B, 4F)."""
        residual_BTC = self.encoder(audio_BS)
        levels = []
        for quantiser in self.levels():
            codes = quantiser.nearest(quantiser.vectors(residual_BTC))
            residual_BTC = residual_BTC - quantiser.latents(quantiser.codebook[codes])
            levels.append(codes)
        return levels

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Audio (B, S) of the codes of `encode`."""
        latents = [q.latents(q.codebook[codes]) for q, codes in zip(self.levels(), levels, strict=True)]
        audio_BS: Tensor = self.decoder(torch.stack(latents).sum(0))
        return audio_BS


def mel_filters(config: CodecConfig) -> Tensor:
    """Triangular mel filters of equal height, (M, F): HTK's scale, from 0 Hz to half the sample rate."""

    def to_mel(hz: Tensor) -> Tensor:
        return 2595.0 * torch.log10(1.0 + hz / 700.0)

    half_hz = config.sample_rate_hz / 2
    edges_mel = torch.linspace(0.0, float(to_mel(torch.tensor(half_hz))), config.mels + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins_hz = torch.linspace(0.0, half_hz, config.fft_samples // 2 + 1)
    rising = (bins_hz[None] - edges_hz[:-2, None]) / (edges_hz[1:-1] - edges_hz[:-2])[:, None]
    falling = (edges_hz[2:, None] - bins_hz[None]) / (edges_hz[2:] - edges_hz[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0.0)

"""What the codec is trained to minimise: spectra that match, and spectra that a discriminator takes for real.

Sources: log-mel and complex-spectrum distances at several resolutions as in Vocos (arXiv 2306.00814) and DAC (arXiv
2306.06546); the complex multi-resolution STFT discriminator of EnCodec (arXiv 2210.13438, section 3.4) at an eighth
of its width; least-squares adversarial loss and feature matching of HiFi-GAN (arXiv 2010.05646, section 2.3). Shapes:
B batch, S samples, F bins, T STFT frames, M mels, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anytalk.synth.codec.network import CodecConfig, mel_filters

FFT_SIZES = (256, 512, 1024, 2048)


class SpectralLoss(nn.Module):
    """Mean distance between two waveforms over several STFT sizes: log-mels, and compressed magnitudes.

    No phases: those of the decoder's pulses are its own.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        for size in FFT_SIZES:
            mels = min(100, size // 12)
            filters = mel_filters(CodecConfig(config.sample_rate_hz, fft_samples=size, mels=mels))
            self.register_buffer(f"mel_{size}", filters, persistent=False)
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, made_BS: Tensor, real_BS: Tensor, sizes: Sequence[int] = FFT_SIZES) -> tuple[Tensor, Tensor]:
        """Log-mel L1 in nats and compressed-magnitude L1, each the mean over some of the sizes."""
        mel, magnitude = made_BS.new_zeros(()), made_BS.new_zeros(())
        for size in sizes:
            window, filters = self.get_buffer(f"window_{size}"), self.get_buffer(f"mel_{size}")
            made_BFT, real_BFT = (
                torch.stft(x, size, size // 4, window=window, return_complex=True).abs() for x in (made_BS, real_BS)
            )
            mel = mel + F.l1_loss(_log(filters @ made_BFT), _log(filters @ real_BFT))
            # |X|^0.3 shows the valleys between harmonics, which mels smooth over, and keeps weak bands in sight.
            magnitude = magnitude + F.l1_loss((made_BFT + 1e-4) ** 0.3, (real_BFT + 1e-4) ** 0.3)
        return mel / len(sizes), magnitude / len(sizes)


def _log(x: Tensor) -> Tensor:
    return torch.log(x.clamp(min=1e-5))


class StftDiscriminator(nn.Module):
    """Judges complex spectrograms of three resolutions, a score a patch."""

    SIZES = (2048, 1024, 512)

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stacks = nn.ModuleList(_stack(width) for _ in self.SIZES)
        for size in self.SIZES:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, audio_BS: Tensor) -> list[list[Tensor]]:
        """For each resolution the outputs of every layer, the last one being the scores."""
        outputs = []
        for size, stack in zip(self.SIZES, self.stacks, strict=True):
            window = self.get_buffer(f"window_{size}")
            spectrum_BFT = torch.stft(audio_BS, size, size // 4, window=window, normalized=True, return_complex=True)
            # Plain spectra are all but zero nearly everywhere; on them the discriminator learnt nothing.
            compressed_BFT = spectrum_BFT * (spectrum_BFT.abs() + 1e-4) ** -0.7
            x = torch.view_as_real(compressed_BFT).permute(0, 3, 2, 1)  # (B, 2, T, F)
            layers = []
            for layer in stack.children():
                x = layer(x)
                layers.append(x)
            outputs.append(layers)
        return outputs


def _stack(width: int) -> nn.Sequential:
    def conv(source: int, target: int, stride: int) -> nn.Module:
        layer: nn.Module = nn.Conv2d(source, target, (3, 7), stride=(1, stride), padding=(1, 3))
        nn.utils.parametrizations.weight_norm(layer)
        return layer

    return nn.Sequential(
        nn.Sequential(conv(2, width, 2), nn.LeakyReLU(0.1)),
        nn.Sequential(conv(width, width, 2), nn.LeakyReLU(0.1)),
        nn.Sequential(conv(width, width, 2), nn.LeakyReLU(0.1)),
        nn.Sequential(conv(width, 2 * width, 2), nn.LeakyReLU(0.1)),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(2 * width, 1, 3, padding=1)),
    )


def discriminator_loss(real: list[list[Tensor]], made: list[list[Tensor]]) -> Tensor:
    """Least squares: scores of real audio to one, of made audio to zero."""
    losses = [(r[-1] - 1).square().mean() + m[-1].square().mean() for r, m in zip(real, made, strict=True)]
    return torch.stack(losses).mean()


def adversarial_loss(made: list[list[Tensor]]) -> Tensor:
    """Least squares: scores of made audio to one."""
    return torch.stack([(m[-1] - 1).square().mean() for m in made]).mean()


def feature_loss(real: list[list[Tensor]], made: list[list[Tensor]]) -> Tensor:
    """L1 distance of the discriminator's hidden layers, relative to their mean size."""
    losses = [
        F.l1_loss(m, r.detach()) / r.detach().abs().mean()
        for real_layers, made_layers in zip(real, made, strict=True)
        for r, m in zip(real_layers[:-1], made_layers[:-1], strict=True)
    ]
    return torch.stack(losses).mean()

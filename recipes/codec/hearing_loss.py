"""How a recogniser hears two waveforms: the distance of its encoder's states.

Spectra that are close may be heard as different words, as those of nasals and stops are; a recogniser's encoder tells
words apart by construction. Its states are compared as those of an image classifier are in "Perceptual Losses for
Real-Time Style Transfer" (arXiv 1603.08155, section 3.2).

What was made is heard in noise, by a listener of another size in every step. Heard as it is, it became what this one
encoder takes for the right word: the recogniser made fewer errors, and another one (Moonshine tiny) made more.

The encoder is Whisper's (https://github.com/openai/whisper, whisper/model.py, v20250625), shown the sound alone
instead of 30 seconds with silence behind it.

Shapes: B batch, S samples, M mel bands, F FFT bins, T encoder positions of 20 ms, C channels, H heads, D of a head.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anytalk.synth.errors import SetupError
from anytalk.synth.hearing.faster import model_folder
from anytalk.synth.hearing.mel import FFT_SAMPLES, mel_filters

from .ctranslate2_weights import read_weights

SIZES = (0.85, 1.15)
"""Range of the factor by which frequencies and durations are scaled, as by a voice of another size."""
NOISE_DB = (0.0, 30.0)
"""Range of the ratio of sound to white noise."""


def read_encoder(name: str) -> dict[str, Tensor]:
    """Read the encoder of a Whisper in CTranslate2's format.

    Args:
        name: `tiny.en`, a folder, a size or a hub id; see `load_whisper`.

    Returns:
        Float32 tensors by CTranslate2's names.

    Raises:
        SetupError: there is no such model, it is no Whisper, or its weights are rounded to integers.
    """
    path = model_folder(name) / "model.bin"
    tensors = read_weights(path, "encoder/")
    if "conv1/weight" not in tensors:
        raise SetupError(f"{path} is no Whisper: it has no encoder/conv1/weight")
    if not tensors["conv1/weight"].is_floating_point() or "layer_0/self_attention/linear_0/weight_scale" in tensors:
        raise SetupError(f"the weights in {path} are rounded to integers; give a Whisper in float32 or float16")
    return tensors


class HearingLoss:
    """Distance of what a Whisper encoder makes of two waveforms.

    Args:
        encoder: tensors of `read_encoder`.
        sample_rate_hz: of the waveforms, 20 kHz or more, so that a scaled voice still has all that Whisper hears.
        device: where it computes.

    Raises:
        SetupError: the sample rate is lower.
    """

    def __init__(self, encoder: dict[str, Tensor], sample_rate_hz: int, device: torch.device | None = None) -> None:
        if sample_rate_hz < 20_000:
            raise SetupError(f"a recogniser hears from 20,000 Hz on, not {sample_rate_hz}; leave hearing_weight at 0")
        self.weights = {name: tensor.to(device) for name, tensor in encoder.items()}
        self.heads = int(encoder["num_heads"])
        self.layers = sum(name.endswith("ffn/linear_0/weight") for name in encoder)
        self.sample_rate_hz, self.device = sample_rate_hz, device
        self.filters_MF = torch.from_numpy(mel_filters(encoder["conv1/weight"].shape[1])).to(device)

    def __call__(self, made_BS: Tensor, real_BS: Tensor, rng: np.random.Generator) -> Tensor:
        """Mean L1 distance of the states after each layer, in spreads of each channel over the real sound.

        Some channels are a hundred times as large as others and say least; hence the spreads.

        Args:
            made_BS: float32 audio that learns, up to 25 seconds.
            real_BS: float32 audio that it should sound like.
            rng: draws the noise, which both get, and the size of the listener.
        """
        size = float(rng.uniform(*SIZES))
        gain_B1 = 10.0 ** (-rng.uniform(*NOISE_DB, (len(real_BS), 1)) / 20.0)
        white_BS = (rng.standard_normal(real_BS.shape, np.float32) * gain_B1).astype(np.float32)
        loudness_B1 = real_BS.square().mean(1, keepdim=True).sqrt()
        noise_BS = loudness_B1 * torch.from_numpy(white_BS).to(self.device)
        with torch.no_grad():
            real = self.states(real_BS + noise_BS, size)
        distances = [
            ((made_BTC - real_BTC).abs() / real_BTC.std((0, 1)).clamp(min=1e-3)).mean()
            for made_BTC, real_BTC in zip(self.states(made_BS + noise_BS, size), real, strict=True)
        ]
        return torch.stack(distances).mean()

    def log_mel(self, audio_BS: Tensor, size: float = 1.0) -> Tensor:
        """Whisper's log-mels, (B, M, 2T), differentiable and at the sound's own rate.

        Args:
            audio_BS: float32 audio.
            size: windows and hops are so many times as long, and what is heard is as much shorter and higher.
        """
        # Windows of 25 ms at any rate, so that bins stand where Whisper's do; there are more of them above.
        window_samples, hop_samples = round(self.sample_rate_hz / 40 * size), round(self.sample_rate_hz / 100 * size)
        window = torch.hann_window(window_samples, device=self.device)
        spectrum_BFT = torch.stft(audio_BS, window_samples, hop_samples, window=window, return_complex=True)
        magnitude_BFT = spectrum_BFT[:, : self.filters_MF.shape[1], :-1].abs() * (FFT_SAMPLES / window_samples)
        log_BMT = torch.log10((self.filters_MF @ magnitude_BFT.square()).clamp(min=1e-10))
        return (torch.maximum(log_BMT, log_BMT.amax((1, 2), keepdim=True) - 8.0) + 4.0) / 4.0

    def states(self, audio_BS: Tensor, size: float = 1.0) -> list[Tensor]:
        """States (B, T, C) after each layer, and after the last norm; see `log_mel` for the arguments.

        Raises:
            ValueError: the audio is longer than 30 seconds, divided by the size.
        """
        x_BCT = F.gelu(self._convolve(self.log_mel(audio_BS, size), "conv1", stride=1))
        x_BTC = F.gelu(self._convolve(x_BCT, "conv2", stride=2)).transpose(1, 2)
        positions_TC = self.weights["position_encodings/encodings"]
        if x_BTC.shape[1] > len(positions_TC):
            raise ValueError(f"Whisper hears up to {len(positions_TC) // 50} s at once, not {x_BTC.shape[1] / 50} s")
        x_BTC = x_BTC + positions_TC[: x_BTC.shape[1]]
        states = []
        for layer in range(self.layers):
            x_BTC = x_BTC + self._attend(x_BTC, f"layer_{layer}/self_attention")
            x_BTC = x_BTC + self._feed_forward(x_BTC, f"layer_{layer}/ffn")
            states.append(x_BTC)
        return [*states, self._norm(x_BTC, "layer_norm")]

    def _convolve(self, x_BCT: Tensor, name: str, stride: int) -> Tensor:
        return F.conv1d(x_BCT, self.weights[f"{name}/weight"], self.weights[f"{name}/bias"], stride, padding=1)

    def _attend(self, x_BTC: Tensor, name: str) -> Tensor:
        parts = self._linear(self._norm(x_BTC, f"{name}/layer_norm"), f"{name}/linear_0").chunk(3, dim=2)
        query_BHTD, key_BHTD, value_BHTD = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        heard_BHTD = F.scaled_dot_product_attention(query_BHTD, key_BHTD, value_BHTD)
        return self._linear(heard_BHTD.transpose(1, 2).flatten(2), f"{name}/linear_1")

    def _feed_forward(self, x_BTC: Tensor, name: str) -> Tensor:
        wide = F.gelu(self._linear(self._norm(x_BTC, f"{name}/layer_norm"), f"{name}/linear_0"))
        return self._linear(wide, f"{name}/linear_1")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}/weight"], self.weights[f"{name}/bias"])

    def _norm(self, x_BTC: Tensor, name: str) -> Tensor:
        gain, bias = self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"]
        return F.layer_norm(x_BTC, x_BTC.shape[-1:], gain, bias)

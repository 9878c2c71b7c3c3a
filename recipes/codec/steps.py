"""Train the bundled codec, or one for your own voice: the steps, from waveforms to weights.

The run is a function of its settings and its speech: crops, gains and re-seeded codes come from (seed, step), so a
run that was killed and started again ends with the same weights as one that was not (one processor, one thread count;
a GPU adds codes up in any order).

Shapes: B batch, S samples, T finest steps, D codebook width, K codebook size, N vectors.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anytalk.synth.codec.network import CodecConfig, CodecNetwork, Quantiser
from anytalk.synth.errors import AnyTalkError

from .hearing_loss import HearingLoss, read_encoder
from .loss import FFT_SIZES, SpectralLoss, StftDiscriminator, adversarial_loss, discriminator_loss, feature_loss
from .pitch import pitch


@dataclasses.dataclass(frozen=True)
class Round:
    """Steps from one warm-up of the learning rate to its end, and what they are taught besides spectra."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # how a recipe reads it

    steps: int
    adversarial_from: int = 0
    """Step of the round from which the discriminator takes part."""
    hearing_weight: float = 0.0
    """Of what the recogniser's encoder makes of the sound; see codec_hearing.py."""
    pitch_weight: float = 3.0
    """So much teaches a new network its pitch. To one that has it, the sign of an error of a hundredth is noise, and
    the encoder's gradient was six parts of it to one of the spectra's."""


@dataclasses.dataclass(frozen=True)
class CodecTraining:
    """Settings of the optimiser.

    In each round the learning rate warms up, holds, and falls linearly over the last `decay_steps` (warm restarts,
    SGDR, arXiv 1608.03983).

    Raises:
        ValueError: there is no round, or one without steps.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # how a recipe reads it

    rounds: tuple[Round, ...] = (
        Round(7_300, adversarial_from=5_400),
        Round(4_300),
        Round(2_400, hearing_weight=6.0, pitch_weight=0.5),
    )
    batch: int = 8
    crop_frames: int = 16
    learning_rate: float = 5e-4
    warmup_steps: int = 200
    decay_steps: int = 2_600
    adversarial_crops: int = 4
    """How many crops of a batch, each cut in half, the discriminator sees: it costs more than the codec itself."""
    recogniser: str = "tiny.en"
    """Whose encoder hears what was made: a Whisper in CTranslate2's format; see `load_whisper`."""
    commitment_weight: float = 0.25
    magnitude_weight: float = 2.0
    voicing_weight: float = 0.2
    adversarial_weight: float = 0.1
    feature_weight: float = 1.0
    """Three times as much made voices smooth and words less clear."""
    ema: float = 0.999
    """Decay of the averaged weights that are kept in the end."""
    code_decay: float = 0.99
    """Decay of the running means that the codebooks are."""
    gain_db: float = 6.0
    """Crops are scaled by a gain drawn from plus or minus this."""
    checkpoint_every: int = 100
    threads: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.rounds or min(part.steps for part in self.rounds) < 1:
            raise ValueError("rounds needs one round at least, each with a step at least")

    @property
    def steps(self) -> int:
        """Steps of all rounds."""
        return sum(part.steps for part in self.rounds)

    def at(self, step: int) -> tuple[Round, int]:
        """The round that a step belongs to, and how many of the round's steps came before it."""
        for part in self.rounds:
            if step < part.steps:
                return part, step
            step -= part.steps
        raise ValueError(f"step {step + self.steps} is beyond the last of {self.steps}")


class Speech:
    """All training speech in one int16 array, cut into utterances.

    Args:
        samples: int16 mono at the codec's rate.
        ends: exclusive end of each utterance, in samples, increasing.
    """

    def __init__(self, samples: np.ndarray, ends: np.ndarray) -> None:
        self.samples = samples
        self.starts = np.concatenate([[0], ends[:-1]])
        self.ends = ends

    def crops(self, rng: np.random.Generator, count: int, length: int) -> np.ndarray:
        """Random crops, float32 (count, length): utterances by length, short ones padded with silence."""
        lengths = (self.ends - self.starts).astype(np.float64)
        picked = rng.choice(len(lengths), count, p=lengths / lengths.sum())
        out = np.zeros((count, length), np.float32)
        for row, index in enumerate(picked):
            start, end = int(self.starts[index]), int(self.ends[index])
            # Some crops begin before the utterance or end after it, so that edges and silence are learnt too.
            offset = int(rng.integers(-length // 8, max(1, end - start - length + length // 8)))
            source = self.samples[max(start, start + offset) : min(end, start + offset + length)]
            place = max(0, -offset)
            out[row, place : place + len(source)] = source.astype(np.float32)[: length - place] / 32768.0
        return out


class CodeStatistics(nn.Module):
    """Running means of the vectors assigned to each code of one level; dead codes are re-seeded."""

    counts: Tensor
    """Running count of each code, (K,)."""
    sums: Tensor
    """Running sum of the vectors assigned to each code, (K, D)."""

    def __init__(self, config: CodecConfig, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("counts", torch.zeros(config.codebook_size))
        self.register_buffer("sums", torch.zeros(config.codebook_size, config.codebook_width))

    @torch.no_grad()
    def update(self, quantiser: Quantiser, vectors_ND: Tensor, codes_N: Tensor, reseed: torch.Generator | None) -> None:
        """Move the codebook towards the vectors; with a generator, replace codes that are hardly used."""
        counts_K = torch.bincount(codes_N, minlength=len(self.counts)).to(vectors_ND.dtype)
        sums_KD = torch.zeros_like(self.sums).index_add_(0, codes_N, vectors_ND)
        self.counts.lerp_(counts_K, 1 - self.decay)
        self.sums.lerp_(sums_KD, 1 - self.decay)
        if reseed is not None:
            even = len(vectors_ND) / len(counts_K)
            dead = (self.counts < 0.05 * even).nonzero().flatten()
            # No more than half a batch at once: the same vector in many codes would only die again.
            dead = dead[torch.randperm(len(dead), generator=reseed)[: len(vectors_ND) // 2].to(dead.device)]
            chosen = vectors_ND[torch.randperm(len(vectors_ND), generator=reseed)[: len(dead)].to(dead.device)]
            self.counts[dead] = even
            self.sums[dead] = chosen * even
        quantiser.codebook.copy_(
            torch.where(self.counts[:, None] > 1e-8, F.normalize(self.sums, dim=1), quantiser.codebook)
        )


class CodecTrainer:
    """The networks, the optimisers and the step that they are at.

    Args:
        config: sizes of the codec.
        training: settings of the optimiser.
        speech: what it learns from.
        device: where it computes; the first GPU by default, else the CPU.

    Raises:
        SetupError: a round takes the recogniser, and there is none of that name, or the sample rate is too low for it.
    """

    def __init__(
        self, config: CodecConfig, training: CodecTraining, speech: Speech, device: torch.device | None = None
    ) -> None:
        torch.manual_seed(training.seed)
        self.config, self.training, self.speech = config, training, speech
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = CodecNetwork(config).to(self.device)
        self.average = CodecNetwork(config).to(self.device)
        self.average.load_state_dict(self.network.state_dict())
        self.discriminator = StftDiscriminator().to(self.device)
        self.spectral = SpectralLoss(config).to(self.device)
        self.hearing: HearingLoss | None = None
        if any(part.hearing_weight for part in training.rounds):
            self.hearing = HearingLoss(read_encoder(training.recogniser), config.sample_rate_hz, self.device)
        self.code_statistics = [CodeStatistics(config, training.code_decay) for _ in self.network.levels()]
        self.statistics = nn.ModuleList(self.code_statistics).to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=training.learning_rate, betas=(0.8, 0.99), weight_decay=1e-3
        )
        self.critic = torch.optim.AdamW(
            self.discriminator.parameters(), lr=training.learning_rate, betas=(0.8, 0.99), weight_decay=1e-3
        )
        self.step = 0

    def run(self, save: Callable[["CodecTrainer"], None]) -> Iterator[dict[str, float]]:
        """Train to the end; yields the metrics of every step and calls `save` at checkpoints."""
        while self.step < self.training.steps:
            started = time.perf_counter()
            metrics = self.one_step()
            self.step += 1
            metrics |= {"step": self.step, "seconds": time.perf_counter() - started}
            if self.step % self.training.checkpoint_every == 0 or self.step == self.training.steps:
                save(self)
            yield metrics

    def learning_rate(self) -> float:
        """Of the current step: warm-up, plateau, linear decay, in each round."""
        t = self.training
        part, done = t.at(self.step)
        return t.learning_rate * min(1.0, (done + 1) / t.warmup_steps, (part.steps - done) / max(1, t.decay_steps))

    def one_step(self) -> dict[str, float]:
        """One update of the codec and, once it takes part, of the discriminator."""
        t = self.training
        part, done = t.at(self.step)
        rng = np.random.default_rng([t.seed, self.step])
        crops = self.speech.crops(rng, t.batch, t.crop_frames * self.config.frame_samples)
        crops *= 10.0 ** (rng.uniform(-t.gain_db, t.gain_db, (t.batch, 1)).astype(np.float32) / 20.0)
        real_BS = torch.from_numpy(np.clip(crops, -1.0, 1.0)).to(self.device)
        rate = self.learning_rate()
        for group in (*self.optimiser.param_groups, *self.critic.param_groups):
            group["lr"] = rate

        made_BS, terms, perplexities = self.forward(real_BS)
        # Two resolutions a step, drawn anew, cost half of all four and teach the same.
        mel, magnitude = self.spectral(made_BS, real_BS, sorted(rng.choice(FFT_SIZES, 2, replace=False).tolist()))
        terms |= {"mel": mel, "magnitude": magnitude}
        weights = {
            "mel": 1.0,
            "magnitude": t.magnitude_weight,
            "pitch": part.pitch_weight,
            "voicing": t.voicing_weight,
            "commitment": t.commitment_weight,
        }
        if self.hearing is not None and part.hearing_weight:
            terms["hearing"] = self.hearing(made_BS, real_BS, rng)
            weights["hearing"] = part.hearing_weight
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        metrics = {name: term.item() for name, term in terms.items()} | perplexities
        if done >= part.adversarial_from:
            seen = (slice(t.adversarial_crops), slice(real_BS.shape[1] // 2, None))
            metrics["critic"] = self.train_critic(real_BS[seen], made_BS[seen].detach())
            self.discriminator.requires_grad_(False)
            with torch.no_grad():
                real_layers = self.discriminator(real_BS[seen])
            made_layers = self.discriminator(made_BS[seen])
            adversarial = adversarial_loss(made_layers)
            feature = feature_loss(real_layers, made_layers)
            loss = loss + t.adversarial_weight * adversarial + t.feature_weight * feature
            metrics |= {"adversarial": adversarial.item(), "feature": feature.item()}
        if not torch.isfinite(loss):
            raise AnyTalkError(f"the loss is {loss.item()} at step {self.step}; a lower learning_rate may help")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.average_weights()
        return metrics | {"loss": loss.item(), "gradient": float(norm), "learning_rate": rate}

    def forward(self, real_BS: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, float]]:
        """Audio through the quantised bottleneck, losses of what is on the way, and how evenly codes were used."""
        residual_BTC = self.network.encoder(real_BS)
        latent_BTC = torch.zeros_like(residual_BTC)
        commitment = residual_BTC.new_zeros(())
        perplexities = {}
        early = self.step < 1_000
        reseed = None
        if self.step % (10 if early else 50) == 0:
            reseed = torch.Generator().manual_seed(self.training.seed * 1_000_003 + self.step)
        levels = zip(self.network.levels(), self.code_statistics, strict=True)
        for number, (quantiser, statistics) in enumerate(levels):
            vectors_BTD = quantiser.vectors(residual_BTC)
            codes_BT = quantiser.nearest(vectors_BTD.detach())
            coded_BTD = quantiser.codebook[codes_BT]
            commitment = commitment + (vectors_BTD - coded_BTD).square().sum(-1).mean()
            statistics.update(quantiser, vectors_BTD.detach().flatten(0, 1), codes_BT.flatten(), reseed)
            # Straight through: the gradient of the code is that of the vector.
            level_BTC = quantiser.latents(vectors_BTD + (coded_BTD - vectors_BTD).detach())
            latent_BTC = latent_BTC + level_BTC
            residual_BTC = residual_BTC - level_BTC
            perplexities[f"perplexity_{number}"] = perplexity(statistics.counts)
        made_BS, losses = self.say(latent_BTC, real_BS)
        return made_BS, losses | {"commitment": commitment}, perplexities

    def say(self, latent_BTC: Tensor, real_BS: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Decode at the true pitch, so that harmonics fall where they belong, and compare it with the one said."""
        config, decoder = self.config, self.network.decoder
        pitch_BH_hz, voiced_BH = pitch(real_BS, config.sample_rate_hz, config.hop_samples)
        said = decoder.say(latent_BTC)
        octaves_BH = (said.pitch_BH_hz / pitch_BH_hz).log2().abs()
        losses = {
            "pitch": (octaves_BH * voiced_BH).sum() / voiced_BH.sum().clamp(min=1),
            "voicing": F.binary_cross_entropy_with_logits(said.voicing_BH, voiced_BH),
        }
        return decoder.sound(said, pitch_BH_hz, voiced_BH), losses

    def train_critic(self, real_BS: Tensor, made_BS: Tensor) -> float:
        """One update of the discriminator."""
        self.discriminator.requires_grad_(True)
        loss = discriminator_loss(self.discriminator(real_BS), self.discriminator(made_BS))
        self.critic.zero_grad(set_to_none=True)
        loss.backward()
        self.critic.step()
        return loss.item()

    @torch.no_grad()
    def average_weights(self) -> None:
        """Move the averaged weights towards the current ones; codebooks are copied, being averages already."""
        # Early on the average would hold mostly the random start.
        weight = 1.0 - min(self.training.ema, (self.step + 1) / (self.step + 10))
        for mean, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(now, weight)
        for mean_buffer, buffer in zip(self.average.buffers(), self.network.buffers(), strict=True):
            mean_buffer.copy_(buffer)

    def state(self) -> dict[str, object]:
        """Everything that the next step depends on; tensors, numbers and containers of them only."""
        parts = ("network", "average", "discriminator", "statistics", "optimiser", "critic")
        return {"step": self.step} | {name: getattr(self, name).state_dict() for name in parts}

    def load(self, state: dict[str, object]) -> None:
        """Undo `state`."""
        for name, value in state.items():
            if name == "step":
                assert isinstance(value, int)
                self.step = value
            else:
                getattr(self, name).load_state_dict(value)


def perplexity(counts: Tensor) -> float:
    """How many codes are used, as the exponential of the entropy of their shares."""
    shares = counts / counts.sum().clamp(min=1e-9)
    return float(torch.exp(-(shares * torch.log(shares.clamp(min=1e-12))).sum()))


def save_checkpoint(trainer: CodecTrainer, folder: Path) -> None:
    """Write `checkpoint.pt` whole or not at all."""
    temporary = folder / "checkpoint.pt.part"
    torch.save(trainer.state(), temporary)
    temporary.replace(folder / "checkpoint.pt")


def load_checkpoint(trainer: CodecTrainer, folder: Path) -> bool:
    """Continue from `checkpoint.pt` if there is one, and cut the metrics that came after it."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return False
    trainer.load(torch.load(path, map_location=trainer.device, weights_only=True))
    metrics = folder / "metrics.jsonl"
    kept = [line for line in metrics.read_text().splitlines() if json.loads(line)["step"] <= trainer.step]
    metrics.write_text("".join(f"{line}\n" for line in kept))
    return True

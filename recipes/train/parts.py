"""What a stage trains: parts of the model, the new rows of a frozen table, the optimiser, the learning rate.

    whisper_adapter   what turns Whisper frames into positions
    tts_adapter       the decoder blocks in front of the audio head (paper variant)
    audio_head        the audio head
    audio_embedding   what the seven audio streams say, as input
    new_text_rows     the special tokens' rows of the text table and the text head, and no other row of them
    text_embedding    the text table
    text_head         the text head; the text table itself where the backbone ties them
    backbone          the backbone's blocks and its final norm
    lora              the thin matrices of LoRA beside those of the backbone

Why `new_text_rows` exists, and how it keeps the other rows: docs/decisions/0004-new-rows-while-frozen.md.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from anytalk.model import Layout, MiniOmni
from anytalk.synth.errors import SetupError

from .lora import is_lora
from .recipe import Optim, Part, Stage


def parts(model: MiniOmni) -> dict[Part, list[nn.Parameter]]:
    """Name the model's parameters by part; a shared tensor stands in each part that it belongs to."""
    table, head = text_table(model), text_head(model)
    thin = [x for name, x in model.named_parameters() if is_lora(name)]
    others = {id(x) for x in (table, head, *thin)}
    rest = [x for x in model.backbone.parameters() if id(x) not in others]
    return {
        "whisper_adapter": list(model.whisper_adapter.parameters()),
        "tts_adapter": list(model.tts_adapter.parameters()) if model.tts_adapter is not None else [],
        "audio_head": list(model.audio_head.parameters()),
        "audio_embedding": list(model.audio_embedding.parameters()),
        "new_text_rows": [table, head],
        "text_embedding": [table],
        "text_head": [head],
        "backbone": [*rest, *model.final_norm.parameters()],
        "lora": thin,
    }


def text_table(model: MiniOmni) -> nn.Parameter:
    """Give the weight of the text embeddings."""
    return cast(nn.Parameter, cast(nn.Embedding, model.backbone.get_input_embeddings()).weight)


def text_head(model: MiniOmni) -> nn.Parameter:
    """Give the weight of the text head; the text table where they are tied."""
    head = cast(nn.Linear, model.backbone.get_output_embeddings())
    return cast(nn.Parameter, head.weight)


@dataclass(frozen=True)
class Trainable:
    """The parameters of a stage by name, and those of which only the new rows learn."""

    named: dict[str, nn.Parameter]
    new_rows_only: list[nn.Parameter]
    first_new_row: int

    def keep_new_rows(self) -> None:
        """Zero the gradient of the old rows; Adam then leaves them exactly as they are."""
        for x in self.new_rows_only:
            if x.grad is not None:
                _zero_rows(x.grad, self.first_new_row)


def choose(model: MiniOmni, stage: Stage) -> Trainable:
    """Freeze everything but what a stage trains.

    Raises:
        SetupError: the stage names a part that this model does not have.
    """
    by_part = parts(model)
    wanted: set[Part] = set(by_part) if stage.train == "all" else set(stage.train)
    if stage.train != "all" and (missing := sorted(part for part in wanted if not by_part[part])):
        raise SetupError(f"stage {stage.name} trains {', '.join(missing)}, which this model does not have")
    whole = {id(x) for part in wanted - {"new_text_rows"} for x in by_part[part]}
    partly = {id(x) for x in by_part["new_text_rows"]} - whole if "new_text_rows" in wanted else set()
    named = {}
    for name, x in model.named_parameters():
        x.requires_grad_(id(x) in whole | partly)
        if x.requires_grad:
            named[name] = x
    return Trainable(named, [x for x in named.values() if id(x) in partly], model.layout.text_size)


def _zero_rows(grad: Tensor, end: int) -> None:
    if isinstance(grad, DTensor):
        keep = torch.ones(grad.shape[0], 1, device=grad.device)
        keep[:end] = 0.0
        grad.mul_(distribute_tensor(keep, grad.device_mesh, grad.placements))
    else:
        grad[:end] = 0.0


def make_optimiser(model: MiniOmni, trainable: Trainable, optim: Optim, stage: Stage) -> torch.optim.AdamW:
    """Make AdamW, fused where the device has it; matrices of blocks and adapters decay, tables and norms do not."""
    decay = optim.weight_decay if stage.weight_decay is None else stage.weight_decay
    tables = (text_table(model), text_head(model), model.audio_embedding.weight, model.audio_head.weight)
    undecayed = {id(x) for x in tables}
    decayed = [x for x in trainable.named.values() if x.ndim >= 2 and id(x) not in undecayed]
    others = [x for x in trainable.named.values() if x.ndim < 2 or id(x) in undecayed]
    groups = [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    try:
        return torch.optim.AdamW(groups, betas=optim.betas, eps=optim.epsilon, fused=True)
    except RuntimeError:  # this device has no fused kernel
        return torch.optim.AdamW(groups, betas=optim.betas, eps=optim.epsilon)


def drop_codes(streams_BKT: Tensor, layout: Layout, share: float) -> Tensor:
    """Put padding in place of the codes of some positions, in all layers of a position alike.

    Word dropout (https://arxiv.org/abs/1511.06349, section 3.1), for speech: a decoder that sees all that it said
    before knows a sentence of the training set by its first codes, and need not read the text.

    Args:
        streams_BKT: shifted ids, int64, text last.
        layout: of the streams.
        share: probability that a position's codes are dropped, by torch's generator.
    """
    B, _, T = streams_BKT.shape
    dropped_BLT = _is_code(streams_BKT, layout) & (torch.rand(B, 1, T) < share)
    padding_L1 = torch.tensor(layout.padding[:-1])[:, None]
    return torch.cat([torch.where(dropped_BLT, padding_L1, streams_BKT[:, :-1]), streams_BKT[:, -1:]], dim=1)


def replace_codes(streams_BKT: Tensor, layout: Layout, share: float) -> Tensor:
    """Put another code of the same layer in place of some codes, each by itself.

    Unigram noising (https://arxiv.org/abs/1703.02573, section 3.2), for speech: the codes that a model says itself are
    not those of a recording, and a model that has only ever read right ones goes astray after its first wrong one.

    Args:
        streams_BKT: shifted ids, int64, text last.
        layout: of the streams.
        share: probability that a code is replaced by one that is drawn from its layer in this batch, by torch's
            generator.
    """
    replaced_BKT, is_code_BLT = streams_BKT.clone(), _is_code(streams_BKT, layout)
    for layer, is_code_BT in enumerate(is_code_BLT.unbind(1)):
        codes_N = streams_BKT[:, layer][is_code_BT]
        if len(codes_N):
            others_N = codes_N[torch.randint(len(codes_N), codes_N.shape)]
            replaced_BKT[:, layer][is_code_BT] = torch.where(torch.rand(len(codes_N)) < share, others_N, codes_N)
    return replaced_BKT


def _is_code(streams_BKT: Tensor, layout: Layout) -> Tensor:
    """Where audio streams hold codes, and no special ids: (B, L, T)."""
    local_BLT = streams_BKT[:, :-1] - torch.tensor([layout.shift(0, layer) for layer in range(layout.layers)])[:, None]
    return (local_BLT >= 0) & (local_BLT < layout.codebook_size)


def learning_rate(stage: Stage, step: int) -> float:
    """Give the rate of a stage's step: linear warm-up, then a cosine that ends at the minimum.

    >>> stage = Stage(name="s", train="all", tasks={"A1T1": 1}, steps=5, learning_rate=1.0, minimum=0.5, warmup_steps=2)
    >>> [round(learning_rate(stage, step), 3) for step in range(5)]
    [0.5, 1.0, 1.0, 0.75, 0.5]
    """
    if step < stage.warmup_steps:
        return stage.learning_rate * (step + 1) / stage.warmup_steps
    done = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps - 1)
    return stage.minimum + (stage.learning_rate - stage.minimum) * 0.5 * (1.0 + math.cos(math.pi * done))


def optimiser_state(optimiser: torch.optim.Optimizer, named: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Give AdamW's tensors by parameter name, such as `audio_head.weight/exp_avg`."""
    return {f"{name}/{key}": value for name, x in named.items() for key, value in optimiser.state[x].items()}


def load_optimiser_state(
    optimiser: torch.optim.Optimizer, named: Mapping[str, nn.Parameter], state: Mapping[str, Tensor]
) -> None:
    """Undo `optimiser_state`, sharding what the parameters shard."""
    fused = bool(optimiser.defaults.get("fused"))
    for key, value in state.items():
        name, _, field = key.rpartition("/")
        x = named[name]
        if field == "step":
            optimiser.state[x][field] = value.to(x.device) if fused else value
        elif isinstance(x, DTensor):
            optimiser.state[x][field] = distribute_tensor(value.to(x.device), x.device_mesh, x.placements)
        else:
            optimiser.state[x][field] = value.to(x.device)


def clipped_step(
    optimiser: torch.optim.AdamW, parameters: Collection[nn.Parameter], clip: float, loss: Tensor
) -> Tensor:
    """Clip the gradients and update the weights; leave all as it is where the loss or a gradient is no finite number.

    Both are decided where the gradients are, so that nobody waits for a GPU: a fused AdamW takes what to divide
    gradients by, and whether to do nothing, from tensors, as `torch.amp.GradScaler` gives them.

    Args:
        optimiser: of the parameters.
        parameters: those with gradients.
        clip: largest norm of all gradients together.
        loss: a scalar on their device.

    Returns:
        The norm before clipping, a scalar on their device.
    """
    norm = nn.utils.get_total_norm([x.grad for x in parameters if x.grad is not None])
    norm = (norm.full_tensor() if isinstance(norm, DTensor) else norm).to(loss.device)
    unsound = ~(loss.isfinite() & norm.isfinite())
    divisor = (norm / clip).clamp(min=1.0)
    if optimiser.defaults["fused"]:
        optimiser.grad_scale, optimiser.found_inf = divisor, unsound.float()  # type: ignore[attr-defined]
        optimiser.step()
        del optimiser.grad_scale, optimiser.found_inf  # type: ignore[attr-defined]
    elif not unsound:
        for x in parameters:
            if x.grad is not None:
                x.grad.div_(divisor)
        optimiser.step()
    return norm

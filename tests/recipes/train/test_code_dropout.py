"""Codes that are not read: which positions lose them, and that only training does that."""

import torch

from anytalk.model.layout import MINI_OMNI, Task, Turn
from anytalk.recipes.train.parts import drop_codes


def streams(frames=200):
    rng = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 4096, (frames, 7), generator=rng).tolist()
    example = MINI_OMNI.example([Turn(Task.A1A2, 5, (), [7, 8, 9], codes)])
    return torch.tensor(example.streams)[None]


def test_codes_of_some_positions_become_padding_in_all_layers_and_nothing_else_changes():
    streams_BKT = streams()
    torch.manual_seed(0)
    dropped_BKT = drop_codes(streams_BKT, MINI_OMNI, 0.3)
    changed_BKT = dropped_BKT != streams_BKT
    padding_K1 = torch.tensor(MINI_OMNI.padding)[:, None]
    assert (dropped_BKT == padding_K1)[changed_BKT].all()
    assert not changed_BKT[:, -1].any()
    first_K1 = torch.tensor([MINI_OMNI.shift(0, layer) for layer in range(7)])[:, None]
    is_code_BLT = (streams_BKT[:, :-1] >= first_K1) & (streams_BKT[:, :-1] < first_K1 + MINI_OMNI.codebook_size)
    assert not (changed_BKT[:, :-1] & ~is_code_BLT).any()
    whole_T = is_code_BLT[0].all(0)
    assert set(changed_BKT[0, :-1][:, whole_T].sum(0).tolist()) == {0, 7}
    assert 0.2 < changed_BKT[0, 0][is_code_BLT[0, 0]].float().mean() < 0.4


def test_the_draws_are_those_of_the_seed():
    torch.manual_seed(3)
    first = drop_codes(streams(), MINI_OMNI, 0.5)
    torch.manual_seed(3)
    assert torch.equal(first, drop_codes(streams(), MINI_OMNI, 0.5))
    assert not torch.equal(first, drop_codes(streams(), MINI_OMNI, 0.5))

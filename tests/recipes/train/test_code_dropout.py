"""Codes that are not read, or read as others: which ones they are, and that the rest stays as it is."""

import pytest
import torch

from anytalk.model.layout import MINI_OMNI, Task, Turn
from anytalk.recipes.train.parts import drop_codes, replace_codes


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


def test_some_codes_become_others_of_their_layer_and_nothing_else_changes():
    streams_BKT = streams(2000)
    torch.manual_seed(0)
    noisy_BKT = replace_codes(streams_BKT, MINI_OMNI, 0.3)
    changed_BKT = noisy_BKT != streams_BKT
    assert not changed_BKT[:, -1].any()
    for layer in range(7):
        first = MINI_OMNI.shift(0, layer)
        own_T, noisy_T = streams_BKT[0, layer], noisy_BKT[0, layer]
        is_code_T = (own_T >= first) & (own_T < first + MINI_OMNI.codebook_size)
        assert not changed_BKT[0, layer][~is_code_T].any()
        assert set(noisy_T[is_code_T].tolist()) <= set(own_T[is_code_T].tolist())
        assert 0.27 < changed_BKT[0, layer][is_code_T].float().mean() < 0.33
    together_T = changed_BKT[0, :-1].sum(0)
    assert ((together_T > 0) & (together_T < 7)).any(), "each code by itself"


def test_text_alone_has_no_codes_to_replace():
    example = MINI_OMNI.example([Turn(Task.T1T2, 0, [1, 2], [7, 8, 9])])
    streams_BKT = torch.tensor(example.streams)[None]
    assert torch.equal(replace_codes(streams_BKT, MINI_OMNI, 0.9), streams_BKT)


@pytest.mark.parametrize("change", [drop_codes, replace_codes])
def test_the_draws_are_those_of_the_seed(change):
    torch.manual_seed(3)
    first = change(streams(), MINI_OMNI, 0.5)
    torch.manual_seed(3)
    assert torch.equal(first, change(streams(), MINI_OMNI, 0.5))
    assert not torch.equal(first, change(streams(), MINI_OMNI, 0.5))

"""Codes that begin alike: what rows of near and of far codes have in common, and what is left as it was."""

import pytest
import torch
from torch.nn import functional
from transformers import Qwen2Config

from anytalk.model import Layout, MiniOmni, MiniOmniConfig, backbone_fields, draw_from_codebook

CODES, LAYERS = 512, 7


def small(**options) -> MiniOmni:
    torch.manual_seed(0)
    layout = Layout(60, CODES, LAYERS)
    shape = Qwen2Config(hidden_size=256, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4)
    return MiniOmni(MiniOmniConfig(layout, backbone_fields(shape, layout), 8, adapter_hidden=20, **options))


def codebooks(seed=1) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    levels = [functional.normalize(torch.randn(CODES, 8, generator=rng), dim=1) for _ in range(3)]
    return [levels[level] for level in (0, 1, 2, 2, 1, 2, 2)]


def tables(model):
    return [model.audio_embedding.weight.unflatten(0, (LAYERS, -1)), model.audio_head.weight.unflatten(0, (LAYERS, -1))]


def drawn(model, seed=5, **options):
    torch.manual_seed(seed)
    draw_from_codebook(model, codebooks(), **options)
    return model


def test_rows_are_as_alike_as_a_gaussian_of_their_codes_distance_says():
    distances = torch.cdist(codebooks()[3], codebooks()[3])
    expected = torch.exp(-0.5 * (distances / (0.5 * distances[distances > 0].mean())) ** 2)
    expected = expected - expected.mean(0) - expected.mean(1, keepdim=True) + expected.mean()  # rows have a mean of 0
    for table in tables(drawn(small(), bandwidth=0.5)):
        rows = table[3, :CODES].detach()
        found = rows @ rows.T / rows.square().sum(1).mean() * expected.diagonal().mean()
        assert float((found - expected).abs().mean()) < 0.06
        assert float(torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1]) > 0.85


def test_special_ids_stay_and_each_table_keeps_its_spread():
    before, after = small(), drawn(small())
    for old, new in zip(tables(before), tables(after), strict=True):
        assert torch.equal(old[:, CODES:], new[:, CODES:])
        assert not (old[:, :CODES] == new[:, :CODES]).any()
        torch.testing.assert_close(old[:, :CODES].std((1, 2)), new[:, :CODES].std((1, 2)), rtol=0.05, atol=0.0)


def test_layers_of_one_codebook_can_be_told_apart():
    rows = tables(drawn(small()))[0][:, :CODES].flatten(1)
    assert (torch.corrcoef(rows) - torch.eye(LAYERS)).abs().max() < 0.1


def test_a_tied_head_is_still_tied_and_draws_repeat():
    tied = drawn(small(tie_audio_head=True))
    assert tied.audio_head.weight is tied.audio_embedding.weight
    assert all(map(torch.equal, tables(drawn(small())), tables(drawn(small()))))
    assert not torch.equal(tables(drawn(small()))[0], tables(drawn(small(), seed=6))[0])


def test_a_codebook_of_another_size_is_refused():
    with pytest.raises(ValueError, match="the model has 7 layers of 512 codes; the codec's have 512, 512, 512"):
        draw_from_codebook(small(), codebooks()[:3])

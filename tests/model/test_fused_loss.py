"""The fused loss of linear heads equals a product and PyTorch's cross-entropy."""

import pytest
import torch
from torch.nn import functional

from anytalk.model.fused_loss import linear_cross_entropy
from anytalk.model.layout import IGNORE

HEADS, ROWS, WIDTH, POSITIONS = 3, 50, 16, 21


def given(seed=0):
    rng = torch.Generator().manual_seed(seed)
    states_ND = torch.randn(POSITIONS, WIDTH, generator=rng, requires_grad=True)
    weight_HVD = torch.randn(HEADS, ROWS, WIDTH, generator=rng, requires_grad=True)
    labels_NH = torch.randint(0, ROWS, (POSITIONS, HEADS), generator=rng)
    labels_NH[::4, 0] = IGNORE
    labels_NH[:, 2] = IGNORE
    return states_ND, weight_HVD, labels_NH


def product(states_ND, weight_HVD, labels_NH):
    """The sums of each head, the plain way."""
    sums = [
        functional.cross_entropy((states_ND @ rows.T).float(), labels, ignore_index=IGNORE, reduction="sum")
        for rows, labels in zip(weight_HVD, labels_NH.T, strict=True)
    ]
    return torch.stack(sums)


@pytest.mark.parametrize("chunk", [0, 1, 8, POSITIONS, 1000])
def test_sums_and_gradients_equal_those_of_a_product(chunk):
    weights_H = torch.tensor([0.5, 2.0, 1.0])
    states_ND, weight_HVD, labels_NH = given()
    expected = product(states_ND, weight_HVD, labels_NH)
    by_hand = torch.autograd.grad((expected * weights_H).sum(), (states_ND, weight_HVD))
    sums = linear_cross_entropy(states_ND, weight_HVD, labels_NH, chunk)
    torch.testing.assert_close(sums, expected)
    assert sums[2] == 0
    found = torch.autograd.grad((sums * weights_H).sum(), (states_ND, weight_HVD))
    torch.testing.assert_close(found, by_hand)


@pytest.mark.parametrize("chunk", [0, 8])
def test_bfloat16_is_that_of_autocast(chunk):
    states_ND, weight_HVD, labels_NH = given()
    with torch.autocast("cpu", torch.bfloat16):
        expected, sums = product(*given()), linear_cross_entropy(states_ND, weight_HVD, labels_NH, chunk)
    assert sums.dtype == torch.float32
    torch.testing.assert_close(sums, expected, rtol=2e-3, atol=0.0)
    sums.sum().backward()
    assert states_ND.grad.dtype == weight_HVD.grad.dtype == torch.float32
    exact_states, exact_weight, _ = given()
    product(exact_states, exact_weight, labels_NH).sum().backward()
    for grad, exact in ((states_ND.grad, exact_states.grad), (weight_HVD.grad, exact_weight.grad)):
        assert functional.cosine_similarity(grad.flatten(), exact.flatten(), dim=0) > 0.999


def test_what_is_frozen_gets_no_gradient():
    states_ND, weight_HVD, labels_NH = given()
    linear_cross_entropy(states_ND, weight_HVD.detach(), labels_NH).sum().backward()
    assert states_ND.grad is not None
    states_ND.grad = None
    linear_cross_entropy(states_ND.detach(), weight_HVD, labels_NH).sum().backward()
    assert weight_HVD.grad is not None
    assert states_ND.grad is None
    with torch.no_grad():
        assert not linear_cross_entropy(states_ND, weight_HVD, labels_NH).requires_grad


def test_large_logits_do_not_overflow():
    states_ND, weight_HVD, labels_NH = given()
    sums = linear_cross_entropy(states_ND * 1e4, weight_HVD, labels_NH)
    torch.testing.assert_close(sums, product(states_ND * 1e4, weight_HVD, labels_NH))

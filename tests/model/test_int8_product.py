"""Products in int8: our own kernel and FBGEMM's."""

import pytest
import torch
from torch import nn
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from anytalk.model.int8 import int8_kernel, native, product


@pytest.fixture
def compiled_anew():
    """Let the kernel be compiled in the test, and again after it."""
    native._compiled.cache_clear()
    yield
    native._compiled.cache_clear()


def products(*linears, norm=None):
    """The same product by our kernel and by FBGEMM's."""
    if reason := native.why_not():
        pytest.skip(reason)
    ours = product.Product(*linears, norm=norm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "why_not", lambda: "this one is FBGEMM's")
        return ours, product.Product(*linears, norm=norm)


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 32), (50, 37), (7, 3), (448, 200)])
@pytest.mark.parametrize("rows", [1, 2, 3, 8])
@pytest.mark.parametrize("biased", [False, True])
def test_both_kernels_give_the_same(inputs, outputs, rows, biased):
    torch.manual_seed(inputs + rows)
    ours, fbgemm = products(nn.Linear(inputs, outputs, biased), nn.Linear(inputs, 5, biased))
    x_ND = torch.randn(rows, inputs) * torch.logspace(-3, 3, rows)[:, None]
    plus_NV = torch.randn(rows, outputs + 5)
    for more in (None, plus_NV):
        expected_NV = fbgemm.rows(x_ND, more)
        assert ((ours.rows(x_ND, more) - expected_NV).abs() <= 1e-4 * expected_NV.abs().amax(-1, keepdim=True)).all()


def test_a_norm_before_a_product_is_part_of_it():
    linear, norm = nn.Linear(96, 40, bias=False), Qwen2RMSNorm(96, eps=1e-6)
    nn.init.normal_(norm.weight)
    x_ND = torch.randn(3, 96) * 20
    with torch.inference_mode():
        for kind in products(linear, norm=norm):
            expected = linear(norm(x_ND))
            assert (kind.rows(x_ND) - expected).std() < 0.02 * expected.std()


def test_rows_of_another_width_are_refused():
    ours, _ = products(nn.Linear(64, 32))
    with pytest.raises(ValueError, match="takes rows of 64 numbers, not of 60"):
        ours.rows(torch.ones(2, 60))


def test_more_threads_change_nothing():
    ours, _ = products(nn.Linear(64, 300))
    x_ND, threads = torch.randn(5, 64), torch.get_num_threads()
    alone = ours.rows(x_ND)
    try:
        torch.set_num_threads(2)
        assert ours.rows(x_ND).equal(alone)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.usefixtures("compiled_anew")
def test_without_a_compiler_products_are_fbgemms(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "_has_vnni", lambda: True)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert int8_kernel() == "FBGEMM: there is no C compiler"
    assert product.Product(nn.Linear(4, 4)).rows(torch.ones(1, 4)).shape == (1, 4)


@pytest.mark.usefixtures("compiled_anew")
def test_a_compiler_that_fails_is_named(monkeypatch):
    monkeypatch.setattr(native, "_has_vnni", lambda: True)
    monkeypatch.setenv("CC", "false")
    assert int8_kernel().startswith("FBGEMM: ")
    assert "false: failed" in int8_kernel()


@pytest.mark.usefixtures("compiled_anew")
def test_a_processor_without_the_instructions_is_named(monkeypatch):
    monkeypatch.setattr(native, "_has_vnni", lambda: False)
    assert int8_kernel() == "FBGEMM: the processor has no AVX512-VNNI"

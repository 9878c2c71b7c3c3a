"""Products in int8: our own kernel and FBGEMM's; and attention of our own."""

import pytest
import torch
from torch import nn
from transformers import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2RMSNorm, Qwen2RotaryEmbedding

from anytalk.model.cache import RowsCache
from anytalk.model.int8 import block, int8_kernel, native, product


@pytest.fixture
def compiled_anew():
    """Let the kernel be compiled in the test, and again after it."""
    native._compiled.cache_clear()
    yield
    native._compiled.cache_clear()


def blocks(width, queries=6, keys=2):
    """The same block with functions of our own, and without."""
    if reason := native.why_not():
        pytest.skip(reason)
    torch.manual_seed(0)
    shape = Qwen2Config(
        hidden_size=48, intermediate_size=80, num_attention_heads=queries, num_key_value_heads=keys, head_dim=width
    )
    layer = Qwen2DecoderLayer(shape, 0).eval()
    layer.requires_grad_(False)
    ours = block.QuantisedBlock(layer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "why_not", lambda: "this one is PyTorch's")
        return shape, ours, block.QuantisedBlock(layer)


@pytest.mark.parametrize(("width", "queries", "keys"), [(64, 6, 2), (16, 4, 4), (48, 3, 1), (128, 2, 1)])
def test_attention_of_our_own_gives_what_pytorchs_does(width, queries, keys):
    shape, ours, theirs = blocks(width, queries, keys)
    rotary, rows = Qwen2RotaryEmbedding(shape), 3
    caches = [RowsCache(1, 0, 40) for _ in range(2)]
    filled = [torch.randn(2, keys, length, width) for length in (5, 17, 33)]
    for cache in caches:
        for memory in filled:
            cache.add([(memory[0], memory[1])], memory.shape[2])
    for _ in range(3):
        x_B1D, at_B = torch.randn(rows, 1, 48), torch.tensor(caches[0].filled)
        cos_sin, out = rotary(x_B1D, at_B[:, None]), []
        for one, cache in zip((ours, theirs), caches, strict=True):
            cache.count_column()
            positions = max(cache.filled)
            mask = torch.zeros(rows, positions).masked_fill(torch.arange(positions) > at_B[:, None], -torch.inf)
            cache.read_together(at_B, positions)
            out.append(one(x_B1D, mask[:, None, None], cache.backbone, cos_sin))
        torch.testing.assert_close(*out, rtol=1e-3, atol=1e-4)
    for row in range(rows):
        kept, same = (cache.memory_of(row)[0] for cache in caches)
        torch.testing.assert_close(kept, same, rtol=1e-4, atol=1e-5)
    assert ours._native_attention is not None
    assert theirs._native_attention is None


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

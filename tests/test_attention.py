"""What the rows of the suite cannot say of attention: memory, fully hidden queries, NaN, dropout, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as twin
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import manual_backprop.functional as F
from manual_backprop.engine import node
from manual_backprop.rules import Heads


def qkv(*shape: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for _ in range(3)]


def run(function: Any, inputs: list[Tensor], *args: Any, **options: Any) -> tuple[Tensor, ...]:
    output = function(*inputs, *args, **options)
    delta = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return output.detach(), *torch.autograd.grad(output, inputs, delta)


class Largest(TorchDispatchMode):
    """The largest tensor that any operator has made."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else (result,):
            if isinstance(part, Tensor):
                self.elements = max(self.elements, part.numel())
        return result


@pytest.mark.parametrize("is_causal", [False, True])
def test_long_sequences_in_runs_of_queries(is_causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manual_backprop.kernels.attention.BLOCK", 2**17)
    inputs = qkv(1, 1, 2048, 8)
    with Largest() as seen:
        ours = run(F.scaled_dot_product_attention, inputs, is_causal=is_causal)
    assert seen.elements <= 2**17 < 2048**2 / 16
    for a, b in zip(ours, run(twin.scaled_dot_product_attention, inputs, is_causal=is_causal), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)  # float64, sums of 2048 terms


def test_causal_where_queries_and_keys_differ_in_number() -> None:
    for queries, keys in ((5, 9), (9, 5)):
        q, k, v = qkv(2, 9, 4)
        inputs = [q[:, :queries].detach().requires_grad_(), *(t[:, :keys].detach().requires_grad_() for t in (k, v))]
        ours = run(F.scaled_dot_product_attention, inputs, is_causal=True)
        for a, b in zip(ours, run(twin.scaled_dot_product_attention, inputs, is_causal=True), strict=True):
            torch.testing.assert_close(a, b)


def test_queries_that_see_no_key_give_zero() -> None:
    inputs = qkv(2, 3, 4)
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    ours = run(F.scaled_dot_product_attention, inputs, mask)
    assert torch.equal(ours[0][:, 1], torch.zeros(2, 4, dtype=torch.float64))
    assert torch.equal(ours[1][:, 1], torch.zeros(2, 4, dtype=torch.float64))
    assert all(t.isfinite().all() for t in ours)
    added = torch.zeros(3, 3, dtype=torch.float64).masked_fill(~mask, float("-inf"))
    for a, b in zip(ours, run(F.scaled_dot_product_attention, inputs, added), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_do_not_vanish(which: int, value: float) -> None:
    inputs = qkv(1, 3, 4)
    with torch.no_grad():
        inputs[which][0, 0, 0] = value
    ours, theirs = F.scaled_dot_product_attention(*inputs), twin.scaled_dot_product_attention(*inputs)
    assert torch.equal(ours.isfinite(), theirs.isfinite())  # torch's kernel takes a NaN query for one that sees no key
    assert which == 0 or not ours.isfinite().all()


def test_dropout_keeps_the_mean_and_has_the_right_gradient() -> None:
    inputs = qkv(1, 6, 4)
    torch.manual_seed(0)
    mean = sum(F.scaled_dot_product_attention(*inputs, dropout_p=0.3).detach() for _ in range(3000)) / 3000
    # weights of at most 1 dropped with 0.3: the mean of 3000 is known to 0.012 |v|, five times that
    torch.testing.assert_close(mean, F.scaled_dot_product_attention(*inputs).detach(), rtol=0, atol=0.15)

    def seeded(*inputs: Tensor) -> Tensor:
        torch.manual_seed(1)
        return F.scaled_dot_product_attention(*inputs, dropout_p=0.3, is_causal=True)

    assert torch.autograd.gradcheck(seeded, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_numbers(dtype: torch.dtype) -> None:
    inputs = qkv(2, 2, 16, 8)
    exact = run(twin.scaled_dot_product_attention, inputs)
    low = [t.detach().to(dtype).requires_grad_() for t in inputs]
    ours, theirs = run(F.scaled_dot_product_attention, low), run(twin.scaled_dot_product_attention, low)
    for a, b, c in zip(ours, theirs, exact, strict=True):
        assert a.dtype == dtype
        assert (a - c).norm() <= 1.5 * (b - c).norm() + 1e-6


def test_errors() -> None:
    q, k, v = qkv(2, 3, 4)
    with pytest.raises(RuntimeError, match="attn_mask should not be set when is_causal"):
        F.scaled_dot_product_attention(q, k, v, torch.ones(3, 3, dtype=torch.bool), is_causal=True)
    with pytest.raises(RuntimeError, match="same dtype"):
        F.scaled_dot_product_attention(q.float(), k, v)
    with pytest.raises(RuntimeError, match="must divide the number of heads"):
        F.scaled_dot_product_attention(torch.ones(1, 4, 2, 2), *[torch.ones(1, 3, 2, 2)] * 2, enable_gqa=True)


def test_without_any_key_the_gradients_are_zero() -> None:
    """An empty memory: nothing may come from memory that nobody has written."""
    query = torch.ones(2, 3, 4, dtype=torch.float64, requires_grad=True)
    key, value = (torch.ones(2, 0, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    torch.use_deterministic_algorithms(True)  # fills what torch.empty returns with NaN
    try:
        output = F.scaled_dot_product_attention(query, key, value)
        found = torch.autograd.grad(output.sum(), (query, key, value))
    finally:
        torch.use_deterministic_algorithms(False)
    assert [output.abs().sum().item(), *(g.abs().sum().item() for g in found)] == [0.0] * 4
    assert [g.shape for g in found] == [query.shape, key.shape, value.shape]


def test_heads_of_which_some_have_no_delta() -> None:
    node.wait()
    x = torch.randn(3, 2, 12, requires_grad=True)
    for _ in range(5):  # in Python, then by the native node
        _, key, _ = F.call(Heads, x, 3, 2)
        (found,) = torch.autograd.grad(key.sum(), x)
        assert torch.equal(found, torch.tensor([0.0, 1.0, 0.0]).repeat_interleave(4).expand_as(x))

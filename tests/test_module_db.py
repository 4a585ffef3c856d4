"""Every module of torch's own test database that `mb.nn` has, on every sample of the database: forward and backward as
torch's, in float64. Two samples of each unless `slow` tests run."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing._internal.common_modules import module_db

import manual_backprop as mb
from manual_backprop.engine.torch_private import tree_flatten

INFOS = {info.module_cls.__name__: info for info in module_db if info.module_cls.__module__.startswith("torch.nn.")}
OURS = sorted(name for name in INFOS if name in mb.nn._LAYERS)

MISSING: set[str] = set()
"""What the database has, and `mb.nn` has not."""

TOLERANCE = 1e-10
"""Of float64: sums in another order."""


def samples(name: str, training: bool) -> list[Any]:
    info = INFOS[name]
    if torch.float64 not in info.dtypes:
        return []
    found = info.module_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=True, training=training)
    return [sample for sample in found if sample.forward_input is not None]


def outcome(module: torch.nn.Module, sample: Any) -> tuple[list[Tensor], list[Tensor | None]]:
    """What the module returns, and the gradients of its parameters and inputs."""
    inputs = sample.forward_input
    flat, tree = tree_flatten((inputs.args, inputs.kwargs))
    flat = [v.detach().clone().requires_grad_(v.requires_grad) if isinstance(v, Tensor) else v for v in flat]
    args, kwargs = torch.utils._pytree.tree_unflatten(flat, tree)
    torch.manual_seed(0)
    outputs = [v for v in tree_flatten(module(*args, **kwargs))[0] if isinstance(v, Tensor)]
    leaves = [v for v in (*module.parameters(), *flat) if isinstance(v, Tensor) and v.requires_grad]
    reached = [output for output in outputs if output.requires_grad]
    if not reached or not leaves:
        return outputs, []
    generator = torch.Generator().manual_seed(1)
    deltas = [torch.randn(v.shape, dtype=v.dtype, generator=generator) for v in reached]
    return outputs, list(torch.autograd.grad(reached, leaves, deltas, allow_unused=True))


def built(cls: type, sample: Any, training: bool) -> torch.nn.Module:
    given = sample.constructor_input
    kwargs = dict(given.kwargs)
    takes = inspect.signature(cls).parameters
    kwargs |= {name: value for name, value in (("dtype", torch.float64), ("device", "cpu")) if name in takes}
    torch.manual_seed(0)
    module = cls(*given.args, **kwargs)
    return module.double().train(training)


def compare(name: str, count: int | None) -> int:
    """Run the samples both ways; how many ran."""
    ran = 0
    for training in (True, False):
        for sample in samples(name, training)[:count]:
            theirs = built(INFOS[name].module_cls, sample, training)
            ours = built(getattr(mb.nn, name), sample, training)
            assert type(ours).__module__.startswith("manual_backprop.")
            ours.load_state_dict(theirs.state_dict())
            expected, found = outcome(theirs, sample), outcome(ours, sample)
            for ones, others in zip(expected, found, strict=True):
                assert len(ones) == len(others)
                for one, other in zip(ones, others, strict=True):
                    same(one, other)
            ran += 1
    return ran


def same(one: Tensor | None, other: Tensor | None) -> None:
    if one is None or other is None:
        some = other if one is None else one
        assert some is None or not some.any()
    else:
        torch.testing.assert_close(other, one, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


@functools.cache
def ran_quickly(name: str) -> int:
    return compare(name, 2)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.filterwarnings("ignore")
def test_two_samples_of_each_module(name: str) -> None:
    assert ran_quickly(name) > 0 or not samples(name, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
@pytest.mark.filterwarnings("ignore")
def test_all_samples_of_each_module(name: str) -> None:
    assert compare(name, None) > 0 or not samples(name, True)


def test_what_is_missing_is_known() -> None:
    assert INFOS.keys() - set(OURS) == MISSING

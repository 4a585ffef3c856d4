"""explicit: torch calls run on rules; same numbers, nothing else changed, and what has no rule is visible."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as tF
from torch import Tensor

import manual_backprop as mb
from manual_backprop._nodes import is_view, rule_of
from manual_backprop._observe import graph
from manual_backprop.explicit import TABLE, _named_alike
from manual_backprop.testing import Case, Subject
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.subject import differentiable, gradients

Function = Callable[..., Tensor]


def inputs(*shape: int, count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(count)]


def autograds(*outputs: Tensor) -> list[str]:
    return [node.name() for node in graph(outputs) if rule_of(node) is None and not is_view(node)]


def compare(function: Function, *tensors: Tensor) -> Tensor:
    """The function's value and gradients inside the context against autograd's, float64 rounding apart; its output."""
    torch.manual_seed(0)
    expected = function(*tensors)
    torch.manual_seed(0)
    with mb.explicit():
        found = function(*tensors)
    assert torch.equal(found, expected), "the same forward operations"
    deltas = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, tensors, deltas), torch.autograd.grad(expected, tensors, deltas), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)  # float64, sums in another order
    return found


def many(x: Tensor, y: Tensor) -> Tensor:
    a = 1 - (x + y)
    a = 2 / (a * a + 3) - 1
    a = a @ y
    b = torch.relu(x).relu() + 0
    b += a
    b *= y
    b -= x
    b /= 3
    b.mul_(2).add_(1, alpha=3)
    c = torch.softmax(b, 1) + b.softmax(0) + tF.softmax(b, -1)
    d = torch.cat([c, a], 1).flatten(1).view(2, -1).unsqueeze(0).squeeze()
    e = d.mean(0, keepdim=True) + d.sum(axis=0, keepdims=True)
    e = -torch.stack([e, e * 2], 1)
    e = (e.sigmoid() + 0).tanh_() * 1
    f = torch.mm(x, y).reshape(-1).view(4, 4).log_softmax(1)
    f = tF.dropout(torch.dropout(torch.special.expit(f), 0.5, True), 0.2)
    f = (
        torch.layer_norm(f, (4,))
        + torch.group_norm(f, 2)
        + torch.batch_norm(f, None, None, None, None, True, 0.1, 1e-5, True)
    )
    g = tF.relu_(tF.gelu(x) + 0) + tF.elu(y * 1, inplace=True)
    return e.sum() + f.mean() + g.sum() + tF.mse_loss(x, y) + tF.cross_entropy(x, torch.arange(4))


def test_many_operations_in_one_function() -> None:
    assert autograds(compare(many, *inputs(4, 4))) == []


def twin_cases() -> list[Case]:
    first: dict[tuple[str, str], Case] = {}
    for case in CASES:
        if case.twin is not None and case.covers != "CrossMapLRN2d":  # a Function of torch's, with its own backward
            first.setdefault((case.covers, case.name.split("-")[-1]), case)
    return list(first.values())


@pytest.mark.parametrize("case", twin_cases(), ids=lambda case: case.name)
def test_every_layer_and_function_of_torch_runs_on_our_rule(case: Case) -> None:
    problem = Subject(case).problem(torch.float64)
    _, ours = gradients(problem.ours, problem.leaves())
    leaves = problem.leaves()
    with mb.explicit():
        outputs = [output for output in differentiable(problem.twin(*leaves)) if output.requires_grad]
        assert autograds(*outputs) == []
        _, found = gradients(problem.twin, problem.leaves())
    for a, b in zip(found, ours, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12, equal_nan=True)  # float64, sums in another order


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: torch.add(x, y, alpha=2) - torch.sub(x, y, alpha=3),
        lambda x, y: torch.rsub(x, y, alpha=2) + torch.subtract(x, y) * torch.multiply(x, 2),
        lambda x, y: torch.true_divide(x, 3 + y * y) / torch.divide(2, 3 + x * x),
        lambda x, y: x.negative() + torch.neg(y),
        lambda x, y: torch.mv(x, y.sum(0)),
        lambda x, y: torch.bmm(x.unsqueeze(0), y.unsqueeze(0)).squeeze(0),
        lambda x, y: torch.linalg.matmul(x, y),
        lambda x, y: torch.concat([x, y], axis=1) + torch.concatenate((y, x), -1),
        lambda x, y: x.reshape(2, 8) + torch.reshape(y, (2, -1)) + x.reshape_as(y).view_as(x).ravel().view([2, 8]),
        lambda x, y: torch.unflatten(x, 0, (2, 2)) + y.unflatten(0, (2, 2)),
        lambda x, y: torch.sum(x, (0, 1)) + x.mean() + torch.mean(y, dim=0, keepdim=True) + y.sum(dtype=torch.float64),
        lambda x, y: torch.special.softmax(x, 0) + torch.special.log_softmax(y, 1),
        lambda x, y: torch.prelu(x, y.mean().view(1)) + torch.selu(x) + torch.celu(y, 2.0) + tF.hardtanh(x),
        lambda x, y: tF.leaky_relu_(x * 1, 0.1) + torch.threshold(y, 0.2, 0.1) + tF.threshold_(x * 1, 0.1, 0.3),
        lambda x, y: torch.alpha_dropout(x, 0.3, True) + torch.dropout_(y * 1, 0.5, True),
        lambda x, y: torch.sigmoid_(x * 1) + (y * 1).tanh_(),
        lambda x, y: torch.conv1d(x, y.unsqueeze(-1)),
        lambda x, y: torch.addmm(x, x, y, beta=2, alpha=3) + x.addmm(y, y),
        lambda x, y: torch.addmv(x[0], x, y[0]) + torch.addr(x, y[0], y[1], alpha=2),
        lambda x, y: torch.baddbmm(x[None], x[None], y[None])[0] + torch.addbmm(x, x[None], y[None], beta=0.5),
        lambda x, y: x.var() + x.var(False) + torch.var(y, 0) + y.var(dim=1, correction=0) + y.std(0, False, True),
        lambda x, y: x.std(unbiased=False) + torch.std(y, dim=(0, 1), keepdim=True) + y.var([0], unbiased=False),
        lambda x, y: x.flip(0) + torch.flip(y, (0, 1)) + x.flip(0, 1) + y.flip(dims=[1]) + x.flip([0]),
        lambda x, y: x.roll(1) + torch.roll(y, (1, 2), (0, 1)) + x.roll(2, 1) + y.roll(shifts=1, dims=0),
        lambda x, y: x.repeat(2, 1) + y.repeat([2, 1]) + x.repeat(repeats=(2, 1)),
        lambda x, y: torch.where(x > 0, x, y) + x.where(y > 0, 0.5) + torch.where(y > 0, 1.0, y),
        lambda x, y: x.square() + torch.square(y) + x.amax(0) + torch.amin(y, dim=1, keepdim=True) + x.cumsum(axis=0),
        lambda x, y: x.topk(4).values + torch.topk(y, 4, dim=0)[0] + torch.tril(x, 1) + y.triu(),
        lambda x, y: x.index_select(0, torch.tensor([2, 0, 2, 1])) + torch.logsumexp(y, (0, 1)) + x.logsumexp(1),
        lambda x, y: tF.l1_loss(x, y.detach(), weight=y.detach().abs()) + tF.l1_loss(x, y),
    ],
)  # fmt: skip
def test_spellings(function: Function) -> None:
    x, y = inputs(4, 4)
    with mb.explicit():
        assert autograds(function(x, y)) == []
    compare(lambda x, y: function(x, y) + 0 * (x.sum() + y.sum()), x, y)


@pytest.mark.filterwarnings("ignore:This overload of addmm is deprecated")
def test_the_old_form_of_addmm_with_its_numbers_in_front() -> None:
    x, y = inputs(4, 4)
    compare(lambda x, y: torch.addmm(2, x, 3, x, y) + x.addmm(2, x, y), x, y)


def test_in_place_stays_in_place() -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        kept = x * 1
        alias = kept
        alias += y
        assert alias is kept
        row = kept.detach()
        kept *= 2
        assert torch.equal(row, kept), "the same memory"
        return kept

    compare(function, *inputs(3, 2))
    with mb.explicit():
        x = inputs(3)[0]
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            x += 1
        buffer = torch.zeros(3, dtype=torch.int64)
        with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
            buffer += x
        with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
            (x * 1).add_(torch.zeros(2, 3))
        y = x.sigmoid()
        z = y * y
        y += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()


def test_writing_into_a_view() -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        base = x * 2
        view = base.view(-1)
        view += y.view(-1)
        return view * view + base.view(-1)

    compare(function, *inputs(3, 2))

    def clamped(x: Tensor, y: Tensor) -> Tensor:
        base = x * y
        base.view(-1).clamp_(0)
        return base

    compare(clamped, *inputs(3, 2))


def without_rule(x: Tensor) -> Tensor:
    """An operator that no table will ever have: sparse."""
    return torch.sparse.sum(x.to_sparse(), 0).to_dense()


def test_what_has_no_rule_passes_through_visibly() -> None:
    x, y = inputs(4, 4)
    found = compare(lambda x, y: without_rule(x) + torch.einsum("ij,ij->j", x, y), x, y)
    assert "SparseSumBackward0" in autograds(found)
    with mb.explicit():
        report = mb.audit(lambda x: without_rule(x) + x, x)
    assert ("SparseSumBackward0", "autograd") in [(row.node, row.kind) for row in report.rows]
    assert ("AddBackward", "rule") in [(row.node, row.kind) for row in report.rows]


def test_strict_refuses_what_has_no_rule() -> None:
    x, _ = inputs(4, 4)
    with mb.explicit(strict=True):
        torch.einsum("ij,ij->j", x, x.roll(1, 0)[0:4]).exp()
        with pytest.raises(NotImplementedError, match=r"aten\._sparse_sum.* has no rule"):
            without_rule(x)


def test_operators_inside_of_composed_functions_run_on_rules() -> None:
    x, y = inputs(4, 4)
    for function in (
        lambda x, y: torch.einsum("ij,kj->ik", x, y),
        lambda x, y: torch.tensordot(x, y, 1),
        lambda x, y: torch.kron(x, y),
        lambda x, y: (x + y).roll((1, 2), (0, 1)).exp_(),
    ):
        assert not autograds(compare(function, x, y))


def test_overloads_that_ours_does_not_have_pass_through() -> None:
    x, y = inputs(3)
    compare(lambda x, y: torch.div(x, y, rounding_mode="floor") + x + y, x, y)
    with mb.explicit():
        assert x.view(torch.int64).dtype == torch.int64
        assert not x.view(torch.float64).requires_grad, "as in torch"
        with pytest.raises(RuntimeError, match=r"must be a matrix|matrices"):
            torch.mm(x, y)
        with torch.no_grad():
            out = torch.empty(3, dtype=torch.float64)
            assert torch.add(x, y, out=out) is out


def test_without_a_gradient_nothing_is_recorded() -> None:
    x = torch.randn(3)
    with mb.explicit():
        assert torch.relu(x).grad_fn is None
        with torch.no_grad():
            assert (x.requires_grad_() + 1).grad_fn is None
        assert (x.argmax() + 1).dtype == torch.int64


def test_the_context_ends_also_after_an_error_and_nests() -> None:
    (x,) = inputs(3, count=1)

    def fail() -> None:
        with mb.explicit():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert autograds(x.relu()) == ["ReluBackward0"]
    with mb.explicit(), mb.explicit():
        assert autograds(x.relu() + 1) == []


def test_backward_inside_and_outside_of_the_context() -> None:
    x, y = inputs(3, 3)
    with mb.explicit():
        loss = (x @ y).relu().sum()
        loss.backward(retain_graph=True)
    inside = x.grad.clone()
    x.grad = None
    loss.backward()
    assert torch.equal(x.grad, inside)
    with mb.explicit():
        (first,) = torch.autograd.grad((x * x * y).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(second, 2 * y.detach(), rtol=1e-15, atol=0)  # exact: a product by two


class Marked(Tensor):
    """A tensor subclass with a meaning of its own."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.relu:
            return "its own"
        return super().__torch_function__(func, types, args, kwargs or {})


def test_tensor_subclasses_keep_their_own_meaning() -> None:
    with mb.explicit():
        assert torch.relu(torch.randn(3).as_subclass(Marked).requires_grad_()) == "its own"


def test_transforms() -> None:
    x, y = inputs(3, 3)

    def function(x: Tensor, y: Tensor) -> Tensor:
        return ((torch.relu(x @ y) * 2 + x).softmax(1) * x).sum()

    expected = torch.autograd.grad(function(x, y), (x, y))
    x, y = x.detach(), y.detach()
    hessian = torch.func.hessian(function)(x, y)
    with mb.explicit():
        found = torch.func.grad(function, argnums=(0, 1))(x, y)
        ours = torch.func.hessian(function)(x, y)
        batched = torch.func.vmap(torch.func.grad(function), (0, None))(torch.stack([x, 2 * x]), y)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)  # float64 rounding
    torch.testing.assert_close(ours, hessian, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(batched[0], expected[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_compile(where: str) -> None:
    x, y = inputs(3, 3)

    def function(x: Tensor, y: Tensor) -> Tensor:
        return ((torch.relu(x @ y) * 2 + x).softmax(1) * x).sum()

    def with_context(x: Tensor, y: Tensor) -> Tensor:
        with mb.explicit():
            return function(x, y)

    torch._dynamo.reset()
    compiled = torch.compile(function if where == "outside" else with_context, backend="eager", fullgraph=True)
    with mb.explicit():
        loss = compiled(x, y)
    # matmul, relu, mul, add, softmax, mul, sum: each a Function of ours, which dynamo calls through a template
    assert [node.name() for node in graph([loss])] == ["ApplyTemplateBackward"] * 7
    found, expected = torch.autograd.grad(loss, (x, y)), torch.autograd.grad(function(x, y), (x, y))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)  # float64 rounding


def in_place(x: Tensor, y: Tensor) -> Tensor:
    z = x * 2.0
    z += 1.0
    z *= 2.0
    z -= y
    z /= 3
    z *= y
    z += x
    z -= 1
    z /= y.abs() + 1
    return z.add_(y, alpha=2).sub_(x, alpha=3).mul_(x).div_(2.0)


COMPILED: dict[str, Function] = {
    "numbers on the left": lambda x, y: (1 - x) * (2 / (x.abs() + 1)) - (3 - y) / (4.0 + x) + 2 * y,
    "reflected": lambda x, y: torch.rsub(x, y, alpha=2) + torch.rsub(y, 1.0),
    "on the right": lambda x, y: (x + 2) * 3 - y / 2 + x / y - (x - 1) * y,
    "matrices": lambda x, y: (x @ y).mm(x) + torch.bmm(x[None], y[None])[0] + torch.mv(x, y[0]),
    "in place": in_place,
    "in place, activations": lambda x, y: torch.relu_((x * 1.0).add_(y)) + (y * 2.0).tanh_() + (x * 3.0).sigmoid_(),
    "the same twice": lambda x, y: torch.stack([x, x]) * torch.cat([y, y])[:3] + x * x + y @ y + (x + x) / (y / y),
    "the same twice, in place": lambda x, y: (lambda z: z.add_(z))(x * y),
    "negated": lambda x, y: -x + torch.neg(y) - x.negative(),
}


@pytest.mark.parametrize("where", ["outside", "inside"])
@pytest.mark.parametrize("which", COMPILED)
def test_operators_under_compile(which: str, where: str) -> None:
    """torch.compile tells what the table leads to apart, in one graph, and finds what stands in it."""
    function, tensors = COMPILED[which], inputs(3, 3)

    def with_context(x: Tensor, y: Tensor) -> Tensor:
        with mb.explicit():
            return function(x, y)

    torch._dynamo.reset()
    compiled = torch.compile(function if where == "outside" else with_context, backend="aot_eager", fullgraph=True)
    with mb.explicit():
        found = compiled(*tensors)
    expected = function(*tensors)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)  # float64, sums in another order
    deltas = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, tensors, deltas), torch.autograd.grad(expected, tensors, deltas), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_autocast_leaves_in_place_arithmetic_alone_as_torch_does() -> None:
    x, y = torch.randn(3, requires_grad=True), torch.randn(3).bfloat16()
    with mb.explicit(), torch.autocast("cpu", torch.bfloat16):
        z = (x * 1).bfloat16()
        alias = z
        z += x
        assert z is alias
        assert z.dtype == torch.bfloat16
        assert (x + y).dtype == torch.float32
        assert tF.linear(x, torch.randn(2, 3)).dtype == torch.bfloat16


def test_the_table_follows_from_the_names() -> None:
    for function in (tF.relu, torch.relu, Tensor.relu):
        assert TABLE[function] is mb.functional.relu
    for name in mb.functional.__all__:
        if hasattr(tF, name) and _named_alike(getattr(mb.functional, name)):
            assert TABLE[getattr(tF, name)] is getattr(mb.functional, name), name

"""What losses do beyond the rows: sizes that differ, mixed dtypes, deprecated arguments, refusals, what is saved."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
from manual_backprop.testing import CHECKS, Subject
from manual_backprop.testing.case import Case, constant, normal, uniform
from manual_backprop.testing.report import run_check

F = torch.nn.functional
ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


def run(function: Callable, *args: Any, **kwargs: Any) -> tuple[Tensor, list[Tensor | None], list[str]]:
    """Loss, gradients by the arguments that are leaves, and warnings."""
    leaves = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loss = function(*args, **kwargs)
        grads = torch.autograd.grad(loss.sum(), leaves, allow_unused=True) if leaves else ()
    return loss, list(grads), [f"{w.category.__name__} {w.message}" for w in caught]


def as_twin(name: str, *args: Any, rtol: float = 1e-12, **kwargs: Any) -> None:
    """Ours and the twin: equal losses, gradients, dtypes and warnings; rtol: gradients round in another order."""
    ours, our_gradients, our_warnings = run(getattr(mb.functional, name), *args, **kwargs)
    twin, their_gradients, their_warnings = run(getattr(F, name), *args, **kwargs)
    torch.testing.assert_close(ours, twin, rtol=0, atol=0, equal_nan=True)
    for a, b in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol, equal_nan=True)
    assert our_warnings == their_warnings


def leaf(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0, low: float = -2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator, dtype=torch.float64) * (2 - low) + low
    return values.to(dtype).requires_grad_()


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shapes", [((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (3,)), ((3, 4), (3, 4))])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_sizes_that_differ_broadcast_and_warn_as_in_the_twin(name: str, shapes: tuple, reduction: str) -> None:
    as_twin(name, leaf(*shapes[0]), leaf(*shapes[1], seed=1), reduction=reduction)


@pytest.mark.parametrize("name", [*ELEMENTWISE, "kl_div"])
def test_the_backward_of_a_broadcast_is_a_rule(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = getattr(mb.functional, name)(leaf(3, 4), leaf(4, low=0.1), reduction="sum")
    assert type(loss.grad_fn).__name__.endswith("LossBackward")
    assert type(loss.grad_fn.next_functions[1][0]).__name__ == "ExpandBackward"
    assert issubclass(loss.grad_fn.next_functions[1][0]._forward_cls, mb.rules.Rule)


TARGET = torch.tensor([[1, 2, 0], [0, -1, 3]])


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name != "huber_loss"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_targets_of_another_dtype(name: str, dtype: torch.dtype, reduction: str) -> None:
    # float32 gradients of float64 sums: one rounding
    as_twin(name, leaf(2, 3, dtype=torch.float32), TARGET.to(dtype), rtol=2.0**-23, reduction=reduction)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_a_target_of_another_dtype_of_huber_loss(dtype: torch.dtype) -> None:
    x = leaf(2, 3, dtype=torch.float32)
    _, [ours], _ = run(mb.functional.huber_loss, x, TARGET.to(dtype))
    _, [twin], _ = run(F.huber_loss, x, TARGET.float())  # with another dtype the twin's backward raises
    torch.testing.assert_close(ours, twin, rtol=2.0**-23, atol=0)  # rounding


@pytest.mark.parametrize("kwargs", [{}, {"reduction": "sum"}, {"reduction": "none"}])
def test_kl_div_with_a_target_of_another_dtype(kwargs: dict) -> None:
    as_twin("kl_div", leaf(2, 3, dtype=torch.float32), leaf(2, 3, low=0.1), rtol=2.0**-23, **kwargs)


@pytest.mark.parametrize("kinds", [(torch.complex128, torch.complex128), (torch.float64, torch.complex128),
                                   (torch.complex128, torch.float64)])  # fmt: skip
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_l1_loss_of_complex_numbers(kinds: tuple, reduction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(3, 4, generator=generator, dtype=kind).requires_grad_() for kind in kinds)
    as_twin("l1_loss", x, y, reduction=reduction)
    assert torch.autograd.gradcheck(
        lambda a, b: mb.functional.l1_loss(a, b, reduction=reduction), (x, y), check_forward_ad=True
    )


def test_bce_with_logits_takes_a_target_of_another_dtype() -> None:
    x, y = leaf(2, 3, dtype=torch.float32), leaf(2, 3, low=0.0)
    as_twin("binary_cross_entropy_with_logits", x, y, rtol=2.0**-23)  # one rounding to float32


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_class_probabilities_of_another_dtype(smoothing: float) -> None:
    x, y = leaf(2, 3, dtype=torch.float32), leaf(2, 3, low=0.0)
    as_twin("cross_entropy", x, y, rtol=2.0**-23, label_smoothing=smoothing)  # one rounding to float32


@pytest.mark.parametrize("size_average", [None, True, False])
@pytest.mark.parametrize("reduce", [None, True, False])
@pytest.mark.parametrize(
    ("name", "target"),
    [*((n, leaf(3, 4, seed=1)) for n in ELEMENTWISE[:3]), ("kl_div", leaf(3, 4, seed=1, low=0.1)),
     ("nll_loss", torch.tensor([0, 3, 1])), ("cross_entropy", torch.tensor([0, 3, 1])),
     ("binary_cross_entropy_with_logits", leaf(3, 4, seed=1, low=0.0))],
)  # fmt: skip
def test_deprecated_arguments(name: str, target: Tensor, size_average: bool | None, reduce: bool | None) -> None:
    as_twin(name, leaf(3, 4), target, size_average=size_average, reduce=reduce)
    as_twin(name, leaf(3, 4), target, size_average=size_average, reduce=reduce, reduction="sum")
    if name == "kl_div":
        as_twin(name, leaf(3, 4), target, size_average=size_average, reduce=reduce, reduction="batchmean")


@pytest.mark.parametrize("loss", ["MSELoss", "CrossEntropyLoss", "KLDivLoss", "BCEWithLogitsLoss"])
def test_deprecated_arguments_of_modules(loss: str) -> None:
    with pytest.warns(UserWarning, match="will be deprecated"):
        ours = getattr(mb.nn, loss)(size_average=False)
    assert ours.reduction == "sum"


def test_elementwise_mean_is_a_deprecated_name_of_mean() -> None:
    as_twin("mse_loss", leaf(3), leaf(3, seed=1), reduction="elementwise_mean")


def test_a_mean_divergence_warns() -> None:
    as_twin("kl_div", leaf(3, 4), leaf(3, 4, low=0.1, seed=1))
    with pytest.warns(UserWarning, match="batchmean"):
        mb.nn.KLDivLoss()(leaf(3, 4), leaf(3, 4, low=0.1, seed=1))


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
def test_rows_that_warn(name: str) -> None:
    pairs: list[tuple[str, tuple, dict]] = [
        ("kl_div", (normal(3, 4), uniform(3, 4, low=0.1)), {}),
        ("mse_loss", (normal(3, 4), normal(4)), {}),
        ("smooth_l1_loss", (normal(3, 1), normal(4)), {"beta": 0.5}),
        ("huber_loss", (normal(4), normal(3, 4), constant("mean"), constant(1.0)), {}),
    ]
    for function, inputs, kwargs in pairs:
        ours, twin = getattr(mb.functional, function), getattr(F, function)

        def builder(f: Callable, kwargs: dict = kwargs) -> Callable:
            return lambda: lambda *args: f(*args, **kwargs)

        result = run_check(Subject(Case(function, builder(ours), builder(twin), inputs)), name)
        assert result.outcome in ("pass", "n/a"), result.detail


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_with_all_rows_ignored(smoothing: float, weight: Tensor | None, reduction: str) -> None:
    target = torch.full((3,), -100)
    as_twin("cross_entropy", leaf(3, 4), target, weight, reduction=reduction, label_smoothing=smoothing)
    if not smoothing:
        as_twin("nll_loss", leaf(3, 4), target, weight, reduction=reduction)


def test_a_weight_of_zero_for_every_label_that_counts() -> None:
    weight = torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    as_twin("cross_entropy", leaf(3, 4), torch.zeros(3, dtype=torch.long), weight)
    as_twin("nll_loss", leaf(3, 4), torch.zeros(3, dtype=torch.long), weight)


@pytest.mark.parametrize("low", [-5.0, -1e30])
def test_impossible_classes(low: float) -> None:
    """Logits of -inf, as masks make them: rows whose label is possible, and one whose label is not."""
    x = leaf(4, 3)
    masked = torch.where(torch.eye(4, 3, dtype=torch.bool), -torch.inf if low < -10 else low, x.detach())
    as_twin("cross_entropy", masked.requires_grad_(), torch.tensor([1, 2, 0, 0]))
    as_twin("cross_entropy", masked.detach().requires_grad_(), torch.tensor([0, 2, 0, 0]))


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda f, x, w: f.cross_entropy(x, torch.tensor([0, 1, 2]), w), "weight"),
        (lambda f, x, w: f.cross_entropy(x, torch.tensor([0, 1, 2]), w, label_smoothing=0.1), "weight"),
        (lambda f, x, w: f.nll_loss(x, torch.tensor([0, 1, 2]), w), "weight"),
        (lambda f, x, w: f.binary_cross_entropy(x.sigmoid(), x.detach().sigmoid(), w), "weight"),
        (lambda f, x, w: f.binary_cross_entropy_with_logits(x, x.detach().sigmoid(), w), "weight"),
        (lambda f, x, w: f.binary_cross_entropy_with_logits(x, x.detach().sigmoid(), pos_weight=w), "pos_weight"),
    ],
)
def test_gradients_by_weights_that_the_twin_refuses_are_refused(call: Callable, names: str) -> None:
    x, w = leaf(3, 4), leaf(4, low=0.5)
    for functional in (mb.functional, F):
        with pytest.raises(RuntimeError, match=f"not differentiable with respect to argument '{names}'"):
            call(functional, x, w)
    with torch.no_grad():
        torch.testing.assert_close(
            call(mb.functional, x, w), call(F, x, w), rtol=1e-15, atol=0
        )  # another order of sums


def saved_bytes(function: Callable, *args: Any) -> int:
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = function(*args)
    assert kept.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("cross_entropy", torch.arange(64)),
        ("cross_entropy", torch.rand(64, 100)),
        ("mse_loss", torch.rand(64, 100)),
        ("l1_loss", torch.rand(64, 100)),
        ("smooth_l1_loss", torch.rand(64, 100)),
        ("huber_loss", torch.rand(64, 100)),
        ("binary_cross_entropy_with_logits", torch.rand(64, 100)),
        ("nll_loss", torch.arange(64)),
    ],
)
def test_no_more_is_saved_than_by_the_twin(name: str, target: Tensor) -> None:
    x = torch.randn(64, 100, requires_grad=True)
    assert saved_bytes(getattr(mb.functional, name), x, target) <= saved_bytes(getattr(F, name), x, target)


def test_cross_entropy_keeps_one_tensor_of_the_size_of_the_logits_and_nll_none() -> None:
    x, target = torch.randn(64, 100, requires_grad=True), torch.arange(64)
    assert saved_bytes(mb.functional.cross_entropy, x, target) == 4 * 64 * 100 + 8 * 64
    assert saved_bytes(mb.functional.nll_loss, x, target) == 8 * 64


def test_second_derivatives_through_a_checkpoint() -> None:
    x, target = leaf(3, 4), torch.tensor([0, 3, 1])

    def second(function: Callable) -> Tensor:
        loss = checkpoint(function, x * x, target, use_reentrant=False)
        [first] = torch.autograd.grad(loss, x, create_graph=True)
        [found] = torch.autograd.grad((first * first).sum(), x)
        return found

    torch.testing.assert_close(second(mb.functional.cross_entropy), second(F.cross_entropy), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_weighted_losses_under_autocast_have_the_twins_dtype(name: str, reduction: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x, y = leaf(3, 4, dtype=dtype), leaf(3, 4, dtype=dtype, seed=1)
        weight = leaf(3, 4, dtype=dtype, seed=2, low=0.5).detach()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ours = getattr(mb.functional, name)(x, y, reduction=reduction, weight=weight)
            twin = getattr(F, name)(x, y, reduction=reduction, weight=weight)
        assert ours.dtype == twin.dtype
        # a few roundings to bfloat16 in another order, 2^-8 each
        torch.testing.assert_close(ours, twin, rtol=2.0**-7, atol=2.0**-7)


def test_binary_cross_entropy_is_refused_under_cuda_autocast() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        x = torch.empty(3, device="cuda")
        was = torch.is_autocast_enabled("cuda")
        torch.set_autocast_enabled("cuda", True)
        try:
            with pytest.raises(RuntimeError, match="unsafe to autocast"):
                mb.functional.binary_cross_entropy(x, x)
        finally:
            torch.set_autocast_enabled("cuda", was)


@pytest.mark.gpu
def test_binary_cross_entropy_is_refused_under_cuda_autocast_as_by_the_twin() -> None:
    x = torch.rand(3, device="cuda", requires_grad=True)
    with torch.autocast("cuda"):
        for functional in (mb.functional, F):
            with pytest.raises(RuntimeError, match="unsafe to autocast"):
                functional.binary_cross_entropy(x, x.detach())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("soft", [False, True])
def test_smoothing_over_no_classes_is_the_twin_s(soft: bool, reduction: str) -> None:
    """Refused by neither: a sum of nothing, or a mean of it."""
    results = []
    for functions in (mb.functional, torch.nn.functional):
        x = torch.zeros(0, 0, requires_grad=True)
        target = torch.zeros(0, 0) if soft else torch.zeros(0, dtype=torch.int64)
        loss = functions.cross_entropy(x, target, reduction=reduction, label_smoothing=0.1)
        results.append([loss.detach(), *torch.autograd.grad(loss.sum(), x)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def complex_leaf(seed: int) -> Tensor:
    return torch.complex(*(leaf(3, seed=seed + i).detach() for i in range(2))).requires_grad_()


TWICE: list[tuple[str, Tensor, Tensor, dict[str, Any]]] = [
    ("l1_loss", complex_leaf(0), complex_leaf(2), {}),
    ("cross_entropy", leaf(3, 4), torch.tensor([0, 3, 1]), {"label_smoothing": 0.1}),
    ("cross_entropy", leaf(3, 4), leaf(3, 4, low=0.1, seed=1), {"label_smoothing": 0.1}),
    ("kl_div", leaf(3, 4), leaf(3, 4, seed=1), {"log_target": True, "reduction": "sum"}),
]


@pytest.mark.parametrize(("name", "input", "target", "options"), TWICE)
def test_second_derivatives_under_torch_func(name: str, input: Tensor, target: Tensor, options: dict) -> None:
    """What a loss keeps has a delta of its own there."""
    given = input.detach(), target.detach()
    places = (0, 1) if target.requires_grad else (0,)

    def twice(functional: Any) -> Any:
        def loss(x: Tensor, y: Tensor) -> Tensor:
            return getattr(functional, name)(x, y, **options)

        def curved(x: Tensor, y: Tensor) -> Tensor:
            gradients = torch.func.grad(loss, argnums=places)(x, y)
            return sum((g.square() * (1 + 2j)).real.sum() for g in gradients)  # type: ignore[return-value]

        return torch.func.grad(curved, argnums=places)(*given)

    torch.testing.assert_close(twice(mb.functional), twice(F))

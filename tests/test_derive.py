"""What `engine.derive` writes from the parameter names of formulas."""

from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.functional._call import call
from manual_backprop.rules import Rule


class Scaled(Rule):
    """y = x w s, s = 1 / mean of x^2"""

    results = "output", "scale"

    def forward(input: Tensor, weight: Tensor, power: int, unused: float) -> tuple[Tensor, Tensor]:
        scale = Scaled.scale(input, power)
        return input * weight * scale, scale

    def scale(input: Tensor, power: int) -> Tensor:
        return 1 / input.pow(power).mean()

    def weighted(delta: Tensor, weight: Tensor) -> Tensor:
        return delta * weight

    def delta_input(weighted: Tensor, input: Tensor, scale: Tensor, power: int) -> Tensor:
        along = (weighted * input).sum() * power / input.numel()
        return weighted * scale - along * scale**2 * input.pow(power - 1)

    def grad_weight(delta: Tensor, input: Tensor, scale: Tensor, weight_shape: torch.Size) -> Tensor:
        return (delta * input * scale).sum_to_size(weight_shape)


SOURCE = """def setup_context(ctx, inputs, output):
    input, weight, power, unused = inputs
    needs_input, needs_weight, _, _ = ctx.needs_input_grad
    output, scale = output
    not_differentiated(ctx, scale)
    ctx.power = power
    ctx.weight_shape = weight.shape
    ctx.save_for_backward(weight if needs_input else None, input, scale)

def backward(ctx, delta, _scale):
    weight, input, scale = ctx.saved_tensors
    needs_input, needs_weight, _, _ = ctx.needs_input_grad
    if differentiated_again():
        scale = choose(Scaled.scale)(input, ctx.power)
    needs = needs_input, needs_weight
    delta_input, grad_weight = choose(Scaled.derivatives)(
        delta,
        weight,
        input,
        scale,
        ctx.power,
        ctx.weight_shape,
        needs,
    )
    return (delta_input, grad_weight, None, None)

def derivatives(delta, weight, input, scale, power, weight_shape, needs):
    needs_input, needs_weight = needs
    weighted = choose(Scaled.weighted)(delta, weight) if needs_input else None
    delta_input = choose(Scaled.delta_input)(weighted, input, scale, power) if needs_input else None
    grad_weight = choose(Scaled.grad_weight)(delta, input, scale, weight_shape) if needs_weight else None
    return delta_input, grad_weight
"""


def scaled(x: Tensor, w: Tensor) -> Tensor:
    return call(Scaled, x, w, 2, 0.0)[0]


def test_the_source_is_what_the_names_say() -> None:
    assert Scaled.source == SOURCE


def test_statistics_shared_terms_and_facts_give_the_right_derivatives() -> None:
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scaled, (x, w))
    assert torch.autograd.gradgradcheck(scaled, (x, w))


def test_what_no_needed_formula_reads_is_not_saved() -> None:
    x, w = torch.randn(3, 4, requires_grad=True), torch.randn(4, requires_grad=True)
    y, z = scaled(x, w.detach()), scaled(x.detach(), w)
    assert [v is not None for v in y.grad_fn.saved_tensors] == [True, True, True]
    assert [v is not None for v in z.grad_fn.saved_tensors] == [False, True, True]
    y = mb.functional.linear(x.detach(), torch.ones(1, 4), torch.zeros(1, requires_grad=True))
    assert y.grad_fn.saved_tensors == (None, None)


def test_torch_compile_and_vmap_run_the_derived_backward() -> None:
    class Doubled(Rule):
        """y = x; a wrong formula, to see that it runs"""

        def forward(input: Tensor) -> Tensor:
            return input.clone()

        def delta_input(delta: Tensor) -> Tensor:
            return 2 * delta

    x = torch.randn(3, requires_grad=True)
    compiled = torch.compile(lambda x: call(Doubled, x).sum(), fullgraph=True, backend="aot_eager")
    assert torch.equal(torch.autograd.grad(compiled(x), x)[0], torch.full((3,), 2.0))
    one = torch.func.vmap(torch.func.grad(lambda x: call(Doubled, x)))(x.detach())
    assert torch.equal(one, torch.full((3,), 2.0))


def test_a_subclass_that_overrides_a_formula_runs_it() -> None:
    class Halved(mb.rules.Linear):
        """A Linear whose weight learns half as fast."""

        def grad_weight(delta: Tensor, input: Tensor) -> Tensor:
            return mb.rules.Linear.grad_weight(delta, input) / 2

    x, w = torch.randn(5, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    d_x, d_w = torch.autograd.grad(torch.nn.functional.linear(x, w).square().sum(), (x, w))
    delta_x, grad_w = torch.autograd.grad(call(Halved, x, w, None).square().sum(), (x, w))
    torch.testing.assert_close(delta_x, d_x)
    torch.testing.assert_close(grad_w, d_w / 2)


def formula(text: str) -> Any:
    names: dict[str, Any] = {"Tensor": Tensor}
    exec(f"def forward(input: Tensor, n: int) -> Tensor: return input\ndef delta_input({text}): return delta", names)
    return {"forward": names["forward"], "delta_input": names["delta_input"]}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("delta, inptu", r"Wrong\.delta_input has a parameter .* got: 'inptu'. expected: delta, .*input, n"),
        ("delta, weight_shape", "got: 'weight_shape'"),
        ("delta, *inputs", r"Wrong\.delta_input's parameters .* got: \*inputs"),
        ("delta_input", "got: 'delta_input'"),
    ],
)
def test_a_parameter_that_names_nothing_is_refused(parameters: str, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        type("Wrong", (Rule,), formula(parameters) | {"__module__": __name__})


def test_a_number_may_stand_in_place_of_a_tensor() -> None:
    class Times(Rule):
        """y = a b"""

        broadcasts = True

        def forward(input: Any, other: Any) -> Tensor:
            return input * other

        def delta_input(delta: Tensor, other: Any) -> Tensor:
            return delta * other

        def delta_other(delta: Tensor, input: Any) -> Tensor:
            return delta * input

    x, y = torch.randn(3, 1, requires_grad=True), torch.randn(4, requires_grad=True)
    for a, b in ((x, y), (x, 3.0), (2.0, y)):
        leaves = [v for v in (a, b) if isinstance(v, Tensor)]
        ours = torch.autograd.grad(call(Times, a, b).square().sum(), leaves)
        theirs = torch.autograd.grad((a * b).square().sum(), leaves)
        torch.testing.assert_close(ours, theirs)


class Squared(Rule):
    """y = x^2 / 2, or its sum; keeps a copy of x that has a delta of its own"""

    results = "output", "kept"
    upcast = True

    def forward(input: Tensor, other: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
        kept = input * other
        half = kept.square() / 2
        return half.sum() if reduction == "sum" else half, kept

    def along(delta: Tensor, kept: Tensor) -> Tensor:
        return delta * kept

    def delta_input(along: Tensor, other: Tensor) -> Tensor:
        return along * other

    def delta_other(along: Tensor, input: Tensor) -> Tensor:
        return along * input

    def delta_input_from_kept(delta_kept: Tensor, other: Tensor) -> Tensor:
        return delta_kept * other

    def delta_other_from_kept(delta_kept: Tensor, input: Tensor) -> Tensor:
        return delta_kept * input


def test_a_result_with_a_delta_of_its_own() -> None:
    x, y = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    for reduction in ("none", "sum"):
        product = lambda x, y, how=reduction: call(Squared, x, y, how)[0]  # noqa: E731
        assert torch.autograd.gradcheck(product, (x, y))
        assert torch.autograd.gradgradcheck(product, (x, y))
    both = lambda x, y: sum(part.sum() for part in call(Squared, x, y, "none"))  # noqa: E731
    assert torch.autograd.gradcheck(both, (x, y))
    assert torch.autograd.gradcheck(lambda x, y: call(Squared, x, y, "sum")[1], (x, y))
    assert torch.autograd.gradcheck(lambda x: both(x, y.detach()), (x,))


class Halves(Rule):
    """y = x^2, z = w x, and how many they are"""

    results = "square", "product", "count"

    def forward(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return input * input, input * weight, torch.tensor(input.numel())

    def joined(delta_square: Tensor | None, delta_product: Tensor | None, input: Tensor, weight: Tensor) -> Tensor:
        terms = 0 * input
        terms = terms if delta_square is None else terms + 2 * input * delta_square
        return terms if delta_product is None else terms + weight * delta_product

    def delta_input(joined: Tensor) -> Tensor:
        return joined

    def grad_weight(delta_product: Tensor | None, input: Tensor) -> Tensor:
        return torch.zeros_like(input) if delta_product is None else input * delta_product


def test_formulas_that_need_the_deltas_of_several_results_together() -> None:
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert not call(Halves, x, w)[2].requires_grad
    for chosen in (slice(0, 2), slice(0, 1), slice(1, 2)):
        assert torch.autograd.gradcheck(lambda x, w, c=chosen: call(Halves, x, w)[c], (x, w))
        assert torch.autograd.gradgradcheck(lambda x, w, c=chosen: call(Halves, x, w)[c], (x, w))
    assert "def backward(ctx, delta_square, delta_product, _count):" in Halves.source


def test_the_tangent_of_a_loss_is_that_of_its_single_losses_reduced() -> None:
    assert mb.rules.MSELoss.source.endswith(
        """
    moved = total(
        None if t_input is None else widened(MSELoss.delta_input, t_input, input, target, "none"),
        None if t_target is None else widened(MSELoss.delta_target, t_target, input, target, "none"),
    )
    return reduced(moved, reduction).to(output.dtype)
"""
    )


def test_the_tangent_of_an_elementwise_rule_has_facts_and_shared_terms_too() -> None:
    class Scaled16(Rule):
        """y = x c, c rounded to the dtype of x; and a second result"""

        results = "output", "kept"
        elementwise = True
        upcast = True

        def forward(input: Tensor, c: float) -> tuple[Tensor, Tensor]:
            return input * Scaled16.rounded(c, input.dtype), input > 0

        def rounded(c: float, input_dtype: torch.dtype) -> float:
            return torch.tensor(c, dtype=input_dtype).item()

        def scaled(delta: Tensor, rounded: float) -> Tensor:
            assert delta.dtype == torch.float32
            return delta * rounded

        def delta_input(scaled: Tensor) -> Tensor:
            return scaled

    assert Scaled16.returns_more
    assert not Scaled16.keeps_input
    assert Scaled16.tangent_reads == ()
    x, t = torch.randn(2, 5).bfloat16()
    _, moved = torch.func.jvp(lambda x: call(Scaled16, x, 0.3)[0], (x,), (t,))
    assert torch.equal(moved, t * torch.tensor(0.3).bfloat16())


def test_a_tangent_moves_by_the_derivative_where_a_delta_is_multiplied_by_its_conjugate() -> None:
    x, t = torch.randn(2, 3, dtype=torch.complex128)
    factor = torch.tensor(2.0 - 1.0j, dtype=torch.complex128)
    for name in ("mul", "div"):
        function = getattr(mb.functional, name)
        moved = torch.func.jvp(lambda x: function(x, factor), (x,), (t,))[1]  # noqa: B023
        torch.testing.assert_close(moved, getattr(torch, name)(t, factor))
    moved = torch.func.jvp(lambda x: mb.functional.add(x, x, alpha=1j), (x,), (t,))[1]
    torch.testing.assert_close(moved, t + 1j * t)

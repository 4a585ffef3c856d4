"""What wrong formulas could do and no row asks: refusals and their words, tolerances, statistics that are kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.rules.grouped import aligned
from manual_backprop.testing.nodes import graph
from tests.limits import large


def matrix(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(5))


def test_qr_says_of_which_matrix_it_has_no_derivative() -> None:
    A = matrix(2, 5, 3).requires_grad_()
    with pytest.raises(RuntimeError, match="nrows > ncols") as raised:
        mb.functional.linalg_qr(A, "complete")[1].sum().backward()
    assert "got: 5 rows, 3 columns" in str(raised.value)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_all_singular_vectors_of_a_matrix_that_is_not_square_have_no_tangent(shape: tuple[int, int]) -> None:
    A = matrix(*shape)
    torch.func.jvp(lambda X: mb.functional.linalg_svd(X, full_matrices=False), (A,), (A,))
    with pytest.raises(NotImplementedError, match="full_matrices=True") as raised:
        torch.func.jvp(mb.functional.linalg_svd, (A,), (A,))
    assert f"got: {shape[0]} rows, {shape[1]} columns" in str(raised.value)


@pytest.mark.parametrize(("change", "refused"), [(0.009, False), (0.0105, True)])
@pytest.mark.parametrize("space", [torch.linalg, None], ids=["torch", "ours"])
def test_how_much_a_loss_may_depend_on_a_phase(space: object, change: float, refused: bool) -> None:
    """Turned by e^{i phi}, a vector v changes Im(c^H v) by phi Re(c^H v): with c a multiple of v, by that multiple."""
    eigh = torch.linalg.eigh if space else mb.functional.linalg_eigh
    A = matrix(3, 3, dtype=torch.complex128)
    A = (A + A.mH).requires_grad_()
    V = eigh(A)[1]
    loss = change * (V.detach()[:, 0].conj() * V[:, 0]).sum().imag
    if refused:
        with pytest.raises(RuntimeError, match="ill-defined"):
            loss.backward()
    else:
        loss.backward()
        assert A.grad is not None


@pytest.mark.parametrize("affine", [False, True])
def test_what_instance_norm_recomputes_is_its_output(affine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch, 1)
    torch.manual_seed(0)
    net = mb.nn.Sequential(
        mb.nn.InstanceNorm1d(3, affine=affine, track_running_stats=True), mb.nn.SiLU(), mb.nn.Linear(8, 2)
    )
    x, found = torch.randn(4, 3, 8, requires_grad=True), []
    for mode in ("off", "exact"):
        with mb.saving(mode):
            output = net(x)
            before = [buffer.clone() for buffer in net.buffers()]
            found.append(torch.autograd.grad(output.square().sum(), [x, *net.parameters()]))
        assert all(map(torch.equal, before, net.buffers()))
    recomputed = [n.recipe for n in graph(output) if getattr(n, "recipe", None) is not None]
    assert len(recomputed) >= 2
    assert all(map(torch.equal, *found))


def test_sync_batch_norm_of_one_process_moves_its_statistics_as_batch_norm() -> None:
    x, momentum = matrix(5, 3, 4), 0.3
    statistics = [[torch.zeros(3, dtype=x.dtype), torch.ones(3, dtype=x.dtype)] for _ in range(2)]
    mb.functional.call(mb.rules.SyncBatchNorm, x, None, None, *statistics[0], momentum, 1e-5, None)
    torch.nn.functional.batch_norm(x, *statistics[1], training=True, momentum=momentum)
    for one, other in zip(*statistics, strict=True):
        torch.testing.assert_close(one, other)


def test_the_square_root_of_a_hermitian_matrix_has_hermitian_derivatives_whatever_they_come_from() -> None:
    A, other = matrix(3, 3), matrix(2, 3, 3)[1]
    A = (A @ A.mT + torch.eye(3, dtype=A.dtype)).requires_grad_()
    root = mb.functional.linalg_matrix_sqrth(A)
    (found,) = torch.autograd.grad(root, A, other)
    (expected,) = torch.autograd.grad(torch.linalg.matrix_sqrth(A), A, other)
    torch.testing.assert_close(found, expected)
    _, moved = torch.func.jvp(mb.functional.linalg_matrix_sqrth, (A.detach(),), (other,))
    torch.testing.assert_close(moved @ root + root @ moved, (other + other.mT) / 2)


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e10])
def test_the_cofactors_of_a_singular_matrix_of_small_or_large_numbers(scale: float) -> None:
    A = (scale * torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64)).requires_grad_()
    (found,) = torch.autograd.grad(mb.functional.linalg_det(A), A)
    torch.testing.assert_close(found / scale, torch.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=torch.float64))


def group_by_group(A: Tensor, B: Tensor, offs: Tensor | None) -> Tensor:
    """What `grouped_mm` computes, one product at a time; zeros behind the last group."""
    if offs is None:
        return torch.stack([a @ b for a, b in zip(A, B, strict=True)])
    ends = offs.tolist()
    groups = [slice(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    if A.dim() == B.dim():
        return torch.stack([A[:, group] @ B[group] for group in groups])
    if A.dim() == 2:
        products = [A[group] @ b for group, b in zip(groups, B, strict=True)]
        return torch.cat([*products, A.new_zeros(len(A) - ends[-1], B.shape[-1])])
    products = [a @ B[:, group] for group, a in zip(groups, A, strict=True)]
    return torch.cat([*products, A.new_zeros(A.shape[1], B.shape[1] - ends[-1])], -1)


GROUPS = torch.tensor([3, 4, 8], dtype=torch.int32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("A", "B", "offs"),
    [
        ((8, 4), (3, 4, 8), GROUPS),
        ((12, 4), (3, 4, 8), GROUPS),
        ((8, 3), (3, 3, 5), GROUPS),
        ((8, 3), (3, 3, 4), GROUPS),
        ((10, 3), (3, 3, 5), GROUPS),
        ((3, 4, 8), (8, 8), GROUPS),
        ((3, 4, 8), (8, 12), GROUPS),
        ((3, 4, 5), (5, 11), GROUPS),
        ((4, 8), (8, 4), GROUPS),
        ((5, 8), (8, 7), GROUPS),
        ((4, 12), (12, 4), GROUPS),
        ((3, 4, 2), (3, 2, 5), None),
    ],
)
def test_products_of_groups_are_those_of_each_group(
    A: tuple[int, ...], B: tuple[int, ...], offs: Tensor | None, dtype: torch.dtype
) -> None:
    """In float32 torch's own product serves where it takes the sizes; in float64, which it has not, ours."""
    factors = [matrix(*shape).to(dtype).requires_grad_() for shape in (A, B)]
    exact = [factor.detach().double().requires_grad_() for factor in factors]
    found = mb.functional.call(mb.rules.GroupedMM, *factors, offs, None)
    expected = group_by_group(*exact, offs)
    delta = matrix(*expected.shape)
    results = [found, *torch.autograd.grad(found, factors, delta.to(dtype))]
    truth = [expected, *torch.autograd.grad(expected, exact, delta)]
    for one, other in zip(results, truth, strict=True):
        torch.testing.assert_close(one, other.to(dtype))


@pytest.mark.parametrize(
    ("tensor", "served"),
    [
        (torch.zeros(5, 8), True),
        (torch.zeros(8, 5).mT, False),
        (torch.zeros(5, 8).mT, True),
        (torch.zeros(2, 5, 4), True),
        (torch.zeros(5, 8, dtype=torch.bfloat16), True),
        (torch.zeros(5, 4, dtype=torch.bfloat16), False),
        (torch.zeros(5, 17), False),
        (torch.zeros(5, 8)[:, ::2], False),
        (torch.zeros(5, 8, dtype=torch.float64), False),
    ],
)
def test_which_products_of_groups_torch_serves(tensor: Tensor, served: bool) -> None:
    assert aligned(tensor) == served


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_a_recurrent_layer_computes_in_one_dtype(name: str) -> None:
    """Also of the state, which the layer itself does not ask for its dtype."""
    layer = getattr(mb.nn, name)(3, 4)
    state = torch.zeros(1, 2, 4, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"computes in one dtype\. got: torch\.float32, torch\.float64"):
        layer(torch.randn(5, 2, 3), (state, state) if name == "LSTM" else state)

"""Linear algebra inside `mb.explicit()`: phases, ranks, modes and conjugates that the rows do not reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.testing.nodes import graph, is_rule


def complex_matrix(*shape: int, hermitian: bool = False) -> Tensor:
    X = torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    return (X + X.mH if hermitian else X).requires_grad_()


def real_matrix(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).requires_grad_()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda A: torch.linalg.eigh(A)[1], "eigenvectors"),
        (lambda A: torch.linalg.eig(A)[1], "eigenvectors"),
        (lambda A: torch.linalg.svd(A)[0], "singular vectors"),
    ],
)
def test_a_loss_that_depends_on_a_phase_is_refused_as_by_torch(function: Callable, words: str) -> None:
    A = complex_matrix(3, 3, hermitian=True)
    weights = complex_matrix(3, 3).detach()
    with pytest.raises(RuntimeError, match="ill-defined"):
        (function(A) * weights).sum().abs().backward()
    with mb.explicit():
        loss = (function(A) * weights).sum()
    with pytest.raises(RuntimeError, match=f"The {words} in the complex case .* ill-defined") as raised:
        (loss * loss.conj()).real.backward()
    assert "got:" in str(raised.value)
    assert "expected:" in str(raised.value)


def test_singular_values_that_are_equal_have_a_gradient_as_long_as_no_vector_is_used() -> None:
    A = torch.eye(3, dtype=torch.float64, requires_grad=True)
    with mb.explicit():
        values = torch.linalg.svdvals(A)
    (found,) = torch.autograd.grad(values.sum(), A)
    torch.testing.assert_close(found, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("shape", "mode", "words"), [((3, 3), "r", "mode='r'"), ((4, 2), "complete", "mode='complete' and nrows > ncols")]
)
def test_what_qr_does_not_tell_is_refused(shape: tuple[int, int], mode: str, words: str) -> None:
    A = real_matrix(*shape)
    with mb.explicit():
        R = torch.linalg.qr(A, mode)[1]
    with pytest.raises(RuntimeError, match=words) as raised:
        R.sum().backward()
    assert "expected: mode='reduced'" in str(raised.value)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_determinant_of_a_singular_matrix_has_its_cofactors_for_a_gradient(n: int) -> None:
    factor = torch.arange(1.0, n + 1, dtype=torch.float64)
    A = torch.zeros(1, 1, dtype=torch.float64) if n == 1 else torch.outer(factor, factor)
    if n == 3:
        A[2] = torch.tensor([1.0, 0.0, 2.0])
    A.requires_grad_()
    det = mb.functional.linalg_det(A)
    assert det.item() == 0
    (found,) = torch.autograd.grad(det, A)
    minors = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            rest = A.detach()[[k for k in range(n) if k != i]][:, [k for k in range(n) if k != j]]
            minors[i, j] = (-1) ** (i + j) * torch.linalg.det(rest)
    torch.testing.assert_close(found, minors)


def test_conjugates_that_torch_leaves_open_are_resolved_inside_of_its_functions() -> None:
    x, y = complex_matrix(2, 3), complex_matrix(3)
    expected = torch.linalg.vecdot(x, y)
    with mb.explicit():
        found = torch.linalg.vecdot(x, y)
    assert torch.equal(found, expected)
    for one, other in zip(*(torch.autograd.grad(o.abs().sum(), (x, y)) for o in (found, expected)), strict=True):
        torch.testing.assert_close(one, other)


def test_the_pivots_alone_of_a_factorization_have_no_gradient() -> None:
    A = real_matrix(3, 3)
    with mb.explicit():
        LU, pivots = torch.linalg.lu_factor(A)
        P, L, U = torch.lu_unpack(LU, pivots, unpack_data=False)
    assert not P.requires_grad
    assert L.numel() == U.numel() == 0
    torch.testing.assert_close(P, torch.linalg.lu(A)[0])


@pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated")
@pytest.mark.parametrize("transpose", [False, True])
def test_the_older_function_for_triangles(transpose: bool) -> None:
    A, B = real_matrix(3, 3), real_matrix(3, 2)
    expected = torch.triangular_solve(B, A, upper=True, transpose=transpose)
    with mb.explicit():
        found = torch.triangular_solve(B, A, upper=True, transpose=transpose)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    deltas = [torch.ones_like(t) for t in expected]
    pairs = zip(*(torch.autograd.grad(o, (A, B), deltas) for o in (found, expected)), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, float("inf")])
def test_distances_in_parts_are_those_at_once(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = real_matrix(4, 5), real_matrix(3, 5)
    whole = torch.autograd.grad(mb.functional.cdist(x, y, p).sum() + mb.functional.pdist(x, p).sum(), (x, y))
    monkeypatch.setitem(mb.rules.Cdist.deltas.__globals__, "ENOUGH", 24)
    parts = torch.autograd.grad(mb.functional.cdist(x, y, p).sum() + mb.functional.pdist(x, p).sum(), (x, y))
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "function",
    [
        lambda A: torch.einsum("ij,jk->ik", A, A),
        lambda A: torch.kron(A, A),
        lambda A: torch.tensordot(A, A, 2),
        lambda A: torch.outer(A[0], A[1]),
        lambda A: torch.linalg.matrix_power(A, -3),
        lambda A: torch.linalg.cond(A, 2),
        lambda A: torch.slogdet(A @ A.mT)[1],
        lambda A: torch.linalg.multi_dot([A, A, A]),
        lambda A: torch.linalg.norm(A, "nuc"),
        lambda A: torch.fft.irfft(torch.fft.rfft(A, norm="ortho")),
        lambda A: torch.fft.hfft2(A.to(torch.complex128)),
        lambda A: torch.svd_lowrank(A, 2, M=torch.ones_like(A))[1],
    ],
)
def test_what_is_composed_runs_on_rules_alone(function: Callable) -> None:
    A = real_matrix(3, 3)
    torch.manual_seed(0)
    expected = function(A)
    torch.manual_seed(0)
    with mb.explicit(strict=True):
        found = function(A)
    torch.testing.assert_close(found, expected)
    assert any(is_rule(node) for node in graph(found))
    delta = torch.ones_like(expected)
    torch.testing.assert_close(torch.autograd.grad(found, A, delta), torch.autograd.grad(expected, A, delta))

"""Every row of the suite, each of its tensors frozen in turn: ours keeps no more than the twin, leaves included."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

import manual_backprop as mb
import manual_backprop.nn as nn
from manual_backprop.testing import Subject
from manual_backprop.testing.case import Case
from manual_backprop.testing.cases import CASES
from tests.limits import large
from tests.older_torch import marks

HELD = "keeps tensors that the caller made and holds, where the twin keeps fewer bytes that it made itself"

EXCEPT = {
    "scaled_dot_product_attention": "keeps query, key, value and output, and recomputes the weights (L, T); the twin, "
    "where it takes its unfused path, keeps the weights, which are few for the few tokens of the rows alone",
    "MultiheadAttention": "is that attention, with what its projections keep for weights that need gradients",
    "LinearCrossEntropyLoss": "recomputes the logits, also for the gradient of the bias alone, for which the twin "
    "keeps the logarithms (N, V)",
    "cross_entropy-soft-weight": "the gradient of the class weights alone is made of two tensors of which the twin "
    "keeps the product",
    **dict.fromkeys(
        (
            "CTCLoss",
            "ctc_loss",
            "GaussianNLLLoss",
            "gaussian_nll_loss",
            "PoissonNLLLoss",
            "multilabel_soft_margin_loss",
            "TripletMarginLoss",
            "triplet_margin_loss",
            "TripletMarginWithDistanceLoss",
            "triplet_margin_with_distance_loss",
            "heaviside",
            "PairwiseDistance",
            "pairwise_distance",
            "SyncBatchNorm",
        ),
        HELD,
    ),
    "bias_activation": "keeps the input and the bias, a parameter that lives anyway, where the twin keeps their sum",
    **dict.fromkeys(
        ("LSTM", "GRU", "LSTMCell", "GRUCell", "lstm", "gru", "lstm_cell", "gru_cell"),
        "keeps input, weights and biases, whatever is frozen: a backward that is itself differentiated makes the gates "
        "from them again",
    ),
}
"""Public name, or beginning and end of it, to the reason why more may be kept."""


def excepted(case: Case) -> bool:
    soft = case.covers == "cross_entropy" and "soft-weight" in case.name
    return soft or case.covers in EXCEPT


def kept(run: Callable, leaves: list[Tensor]) -> int:
    """Bytes of all storages that one forward saves."""
    found = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.layout == torch.strided:
            found[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = run(*leaves)  # noqa: F841 (alive, with all that it keeps, until the count is made)
    return sum(storage.nbytes() for storage in found.values())


@pytest.fixture
def small_tensors_count(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    large(monkeypatch, 1)
    with mb.saving("exact"):
        yield


def subsets(count: int) -> set[tuple[int, ...]]:
    """Nothing frozen, each tensor alone, all but each, all."""
    each = range(count)
    return {(), tuple(each), *((i,) for i in each), *(tuple(j for j in each if j != i) for i in each)}


def too_much(case: Case) -> list[str]:
    """Which of the frozen sets leave us with more bytes than the twin."""
    subject = Subject(case)
    if subject.twin is None or subject.refused:
        return []
    problem = subject.problem(torch.float32)
    assert problem.twin is not None
    found = []
    for frozen in subsets(len(problem.tensors)):
        ours, twin = (kept(run, problem.leaves(frozen)) for run in (problem.ours, problem.twin))
        if ours > twin:
            found.append(f"frozen {[problem.names[i] for i in frozen]}: {ours} bytes, the twin {twin}")
    return found


@pytest.mark.usefixtures("small_tensors_count")
@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=marks(case.name)) for case in CASES if not excepted(case)]
)
def test_no_more_than_the_twin_whatever_is_frozen(case: Case) -> None:
    assert not too_much(case)


@pytest.mark.usefixtures("small_tensors_count")
@pytest.mark.parametrize("name", EXCEPT)
def test_the_exceptions_are_needed(name: str) -> None:
    public, _, rest = name.partition("-")
    rows = [case for case in CASES if excepted(case) and case.covers == public and rest in case.name]
    assert any(too_much(case) for case in rows), f"no row of {name} keeps more than its twin any longer"


@pytest.mark.usefixtures("small_tensors_count")
def test_the_count_sees_what_a_wrong_rule_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep_all(ctx: object, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])  # type: ignore[attr-defined]

    monkeypatch.setattr(mb.rules.Linear, "setup_context", staticmethod(keep_all))
    from manual_backprop.engine import rule as _rule

    _rule.plain.cache_clear()
    try:
        case = next(case for case in CASES if case.covers == "Linear")
        assert too_much(case)
    finally:
        monkeypatch.undo()
        _rule.plain.cache_clear()


@pytest.mark.parametrize(
    ("layer", "shape", "bytes_"),
    [
        (nn.MaxPool2d(2), (4, 8, 64, 64), 4 * 8 * 32 * 32),  # a byte for each window
        (nn.MaxPool3d(2), (2, 8, 16, 32, 32), 2 * 8 * 8 * 16 * 16),  # of whatever width
        (nn.Dropout(0.3), (64, 4096), 64 * 4096 // 8),  # a bit for each element
        (nn.AlphaDropout(0.3), (64, 4096), 64 * 4096 // 8),
        (nn.Dropout2d(0.3), (64, 32, 16, 16), 64 * 32),  # a byte for each channel: a small mask is not packed
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_positions_and_masks_are_small(layer: torch.nn.Module, shape: tuple[int, ...], bytes_: int) -> None:
    found = mb.saved_bytes(layer.train(), torch.randn(shape, requires_grad=True))
    assert found.ours == bytes_
    assert found.twin >= 4 * bytes_

"""What DeltaFlow counts as a saturated output, one layer at a time."""

import pytest
import torch
from torch import nn

from manual_backprop.training.callbacks import _layers as L


@pytest.mark.parametrize(
    "module",
    [
        nn.Sigmoid(), nn.Tanh(), nn.Softsign(), nn.Hardtanh(-0.5, 2.0), nn.ReLU6(), nn.Hardsigmoid(), nn.ELU(1.7),
        nn.CELU(0.6), nn.SELU(), nn.Softplus(2.0), nn.LogSigmoid(),
    ],
    ids=lambda module: type(module).__name__,
)  # fmt: skip
def test_saturated_counts_where_the_derivative_is_below_one_percent(module: nn.Module) -> None:
    z = torch.linspace(-20, 20, 4001, dtype=torch.float64, requires_grad=True)
    output = module(z)
    (slope,) = torch.autograd.grad(output.sum(), z)
    if isinstance(module, nn.ReLU6):
        slope = torch.where(z < 0, 1, slope)  # its flat part at zero counts as dead, not as saturated
    expected = (slope < 0.01 * slope.max()).sum().item()
    counted = L.saturated(module, output)
    assert expected > 0
    assert counted is not None
    assert abs(counted.item() - expected) <= 2  # float32 may see the two ends of the region one point off

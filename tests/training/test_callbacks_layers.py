"""What DeltaFlow counts as a layer, a dead unit and a saturated output, one layer at a time."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

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


def test_a_unit_is_a_channel_after_a_conv_and_a_feature_after_a_linear() -> None:
    relu, output = nn.ReLU(), torch.ones(2, 3, 4, 5)
    output[:, 1] = 0
    output[0, 2] = 0  # at rest in one image only
    at_rest = L.at_rest(relu, output, last=False)
    assert at_rest is not None
    assert at_rest.tolist() == [False, True, False]
    output[..., 4] = 0
    at_rest = L.at_rest(relu, output, last=True)
    assert at_rest is not None
    assert at_rest.tolist() == [False, False, False, False, True]
    at_rest = L.at_rest(nn.Threshold(0.5, -7.0), torch.tensor([[-7.0, 0.0], [-7.0, -7.0]]), last=True)
    assert at_rest is not None
    assert at_rest.tolist() == [True, False]
    assert L.at_rest(nn.GELU(), output, last=True) is None


def test_small_deltas_do_not_underflow_and_sparse_and_complex_values_count() -> None:
    assert L.square_sum(torch.full((4,), 1e-30)).item() == pytest.approx(4e-60, rel=1e-6)
    sparse = torch.sparse_coo_tensor([[0, 0, 2]], [1.0, 2.0, 4.0], (3,), check_invariants=True)
    assert L.square_sum(sparse).item() == pytest.approx(25.0)
    assert L.square_sum(torch.tensor([3 + 4j])).item() == pytest.approx(25.0)


def test_layers_are_leaves_with_parameters_and_activations() -> None:
    attention = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.GELU())
    net = nn.Sequential(weight_norm(nn.Linear(3, 8)), nn.Dropout(), attention)
    kinds = {name: type(module).__name__ for name, module in L.layers(net).items()}
    assert kinds["0"] == "ParametrizedLinear"
    assert set(kinds) == {
        "0", "2.self_attn.out_proj", "2.linear1", "2.linear2", "2.norm1", "2.norm2", "2.activation",
    }  # fmt: skip
    assert list(L.layers(nn.Linear(2, 2))) == ["model"]


def test_a_compiled_wrapper_does_not_change_names() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Module())
    net[1].add_module("_orig_mod", nn.Linear(2, 2))
    assert list(L.layers(net)) == ["0", "1"]

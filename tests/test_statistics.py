"""What counts as a layer and as a dead unit, one layer at a time."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from manual_backprop import _statistics as S


def test_a_unit_is_a_channel_after_a_conv_and_a_feature_after_a_linear() -> None:
    relu, output = nn.ReLU(), torch.ones(2, 3, 4, 5)
    output[:, 1] = 0
    output[0, 2] = 0  # at rest in one image only
    at_rest = S.at_rest(relu, output, last=False)
    assert at_rest is not None
    assert at_rest.tolist() == [False, True, False]
    output[..., 4] = 0
    at_rest = S.at_rest(relu, output, last=True)
    assert at_rest is not None
    assert at_rest.tolist() == [False, False, False, False, True]
    at_rest = S.at_rest(nn.Threshold(0.5, -7.0), torch.tensor([[-7.0, 0.0], [-7.0, -7.0]]), last=True)
    assert at_rest is not None
    assert at_rest.tolist() == [True, False]
    assert S.at_rest(nn.GELU(), output, last=True) is None


def test_small_deltas_do_not_underflow_and_sparse_and_complex_values_count() -> None:
    assert S.square_sum(torch.full((4,), 1e-30)).item() == pytest.approx(4e-60, rel=1e-6)
    sparse = torch.sparse_coo_tensor([[0, 0, 2]], [1.0, 2.0, 4.0], (3,), check_invariants=True)
    assert S.square_sum(sparse).item() == pytest.approx(25.0)
    assert S.square_sum(torch.tensor([3 + 4j])).item() == pytest.approx(25.0)


def test_layers_are_leaves_with_parameters_and_activations() -> None:
    attention = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.GELU())
    net = nn.Sequential(weight_norm(nn.Linear(3, 8)), nn.Dropout(), attention)
    kinds = {name: type(module).__name__ for name, module in S.layers(net).items()}
    assert kinds["0"] == "ParametrizedLinear"
    assert set(kinds) == {
        "0", "2.self_attn.out_proj", "2.linear1", "2.linear2", "2.norm1", "2.norm2", "2.activation",
    }  # fmt: skip
    assert list(S.layers(nn.Linear(2, 2))) == ["model"]


def test_a_compiled_wrapper_does_not_change_names() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Module())
    net[1].add_module("_orig_mod", nn.Linear(2, 2))
    assert list(S.layers(net)) == ["0", "1"]

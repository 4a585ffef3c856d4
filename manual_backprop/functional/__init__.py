"""torch.nn.functional's signatures over the rules: argument checks, autocast, forward mode, in-place.

A differentiable function of torch.nn.functional that has no rule yet is not here: asking for it raises AttributeError.
`call` applies any rule, one of your own as well.
"""

from __future__ import annotations

import torch
import torch.fx

from ._call import call
from .arithmetic import add, cat, div, matmul, mean, mul, sub, sum
from .attention import scaled_dot_product_attention
from .batchnorm import batch_norm
from .bias_activation import bias_activation
from .convolution import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from .cross_entropy import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    linear_cross_entropy,
    nll_loss,
)
from .dropout import alpha_dropout, dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout
from .embedding import embedding
from .exponential import celu, celu_, elu, elu_, selu, selu_
from .gated import gelu, glu
from .linear import bilinear, linear
from .loss import huber_loss, kl_div, l1_loss, mse_loss, smooth_l1_loss
from .multihead import multi_head_attention_forward
from .normalization import group_norm, layer_norm, rms_norm
from .padding import pad
from .piecewise import hardshrink, hardsigmoid, hardswish, hardtanh, hardtanh_, relu6, softshrink
from .pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool2d_with_indices,
    max_pool3d,
    max_pool3d_with_indices,
)
from .rectifiers import leaky_relu, leaky_relu_, prelu, relu, relu_, rrelu, rrelu_, threshold, threshold_
from .residual import add_layer_norm, add_rms_norm
from .shape import flatten, permute, reshape, transpose, unflatten
from .smooth import logsigmoid, mish, sigmoid, silu, softplus, softsign, tanh, tanhshrink
from .softmax import log_softmax, softmax, softmin

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "add",
    "add_layer_norm",
    "add_rms_norm",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bias_activation",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "call",
    "cat",
    "celu",
    "celu_",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "div",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "feature_alpha_dropout",
    "flatten",
    "gelu",
    "glu",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "linear_cross_entropy",
    "log_softmax",
    "logsigmoid",
    "matmul",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "mean",
    "mish",
    "mse_loss",
    "mul",
    "multi_head_attention_forward",
    "nll_loss",
    "pad",
    "permute",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "reshape",
    "rms_norm",
    "rrelu",
    "rrelu_",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "sub",
    "sum",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "transpose",
    "unflatten",
]

for _name in __all__:
    torch.fx.wrap(_name)  # a leaf of a graph that torch.fx traces; costs nothing outside of tracing


def __getattr__(name: str) -> object:
    if hasattr(torch.nn.functional, name):
        raise AttributeError(
            f"manual_backprop.functional has no rule for {name!r} yet; "
            f"torch.nn.functional.{name} computes it with autograd's own backward"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

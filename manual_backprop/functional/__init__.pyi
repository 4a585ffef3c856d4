# what manual_backprop.functional exports: written by make docs

from manual_backprop.functional._call import call as call
from manual_backprop.functional.arithmetic import add as add
from manual_backprop.functional.arithmetic import cat as cat
from manual_backprop.functional.arithmetic import div as div
from manual_backprop.functional.arithmetic import matmul as matmul
from manual_backprop.functional.arithmetic import mean as mean
from manual_backprop.functional.arithmetic import mul as mul
from manual_backprop.functional.arithmetic import sub as sub
from manual_backprop.functional.arithmetic import sum as sum
from manual_backprop.functional.attention import scaled_dot_product_attention as scaled_dot_product_attention
from manual_backprop.functional.batchnorm import batch_norm as batch_norm
from manual_backprop.functional.bias_activation import bias_activation as bias_activation
from manual_backprop.functional.convolution import conv1d as conv1d
from manual_backprop.functional.convolution import conv2d as conv2d
from manual_backprop.functional.convolution import conv3d as conv3d
from manual_backprop.functional.convolution import conv_transpose1d as conv_transpose1d
from manual_backprop.functional.convolution import conv_transpose2d as conv_transpose2d
from manual_backprop.functional.convolution import conv_transpose3d as conv_transpose3d
from manual_backprop.functional.cross_entropy import binary_cross_entropy as binary_cross_entropy
from manual_backprop.functional.cross_entropy import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from manual_backprop.functional.cross_entropy import cross_entropy as cross_entropy
from manual_backprop.functional.cross_entropy import linear_cross_entropy as linear_cross_entropy
from manual_backprop.functional.cross_entropy import nll_loss as nll_loss
from manual_backprop.functional.dropout import alpha_dropout as alpha_dropout
from manual_backprop.functional.dropout import dropout as dropout
from manual_backprop.functional.dropout import dropout1d as dropout1d
from manual_backprop.functional.dropout import dropout2d as dropout2d
from manual_backprop.functional.dropout import dropout3d as dropout3d
from manual_backprop.functional.dropout import feature_alpha_dropout as feature_alpha_dropout
from manual_backprop.functional.embedding import embedding as embedding
from manual_backprop.functional.gated import gelu as gelu
from manual_backprop.functional.gated import glu as glu
from manual_backprop.functional.linear import bilinear as bilinear
from manual_backprop.functional.linear import linear as linear
from manual_backprop.functional.loss import huber_loss as huber_loss
from manual_backprop.functional.loss import kl_div as kl_div
from manual_backprop.functional.loss import l1_loss as l1_loss
from manual_backprop.functional.loss import mse_loss as mse_loss
from manual_backprop.functional.loss import smooth_l1_loss as smooth_l1_loss
from manual_backprop.functional.multihead import multi_head_attention_forward as multi_head_attention_forward
from manual_backprop.functional.normalization import group_norm as group_norm
from manual_backprop.functional.normalization import layer_norm as layer_norm
from manual_backprop.functional.normalization import rms_norm as rms_norm
from manual_backprop.functional.padding import pad as pad
from manual_backprop.functional.piecewise import hardtanh as hardtanh
from manual_backprop.functional.piecewise import hardtanh_ as hardtanh_
from manual_backprop.functional.piecewise import relu6 as relu6
from manual_backprop.functional.pooling import adaptive_avg_pool1d as adaptive_avg_pool1d
from manual_backprop.functional.pooling import adaptive_avg_pool2d as adaptive_avg_pool2d
from manual_backprop.functional.pooling import adaptive_avg_pool3d as adaptive_avg_pool3d
from manual_backprop.functional.pooling import avg_pool1d as avg_pool1d
from manual_backprop.functional.pooling import avg_pool2d as avg_pool2d
from manual_backprop.functional.pooling import avg_pool3d as avg_pool3d
from manual_backprop.functional.pooling import max_pool1d as max_pool1d
from manual_backprop.functional.pooling import max_pool1d_with_indices as max_pool1d_with_indices
from manual_backprop.functional.pooling import max_pool2d as max_pool2d
from manual_backprop.functional.pooling import max_pool2d_with_indices as max_pool2d_with_indices
from manual_backprop.functional.pooling import max_pool3d as max_pool3d
from manual_backprop.functional.pooling import max_pool3d_with_indices as max_pool3d_with_indices
from manual_backprop.functional.rectifiers import rrelu as rrelu
from manual_backprop.functional.rectifiers import rrelu_ as rrelu_
from manual_backprop.functional.residual import add_layer_norm as add_layer_norm
from manual_backprop.functional.residual import add_rms_norm as add_rms_norm
from manual_backprop.functional.shape import flatten as flatten
from manual_backprop.functional.shape import permute as permute
from manual_backprop.functional.shape import reshape as reshape
from manual_backprop.functional.shape import transpose as transpose
from manual_backprop.functional.shape import unflatten as unflatten
from manual_backprop.functional.softmax import log_softmax as log_softmax
from manual_backprop.functional.softmax import softmax as softmax
from manual_backprop.functional.softmax import softmin as softmin
from torch import Tensor
from typing import Any

__all__: list[str]

def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """y = x where x > 0, else alpha (e^(x / alpha) - 1)

    As torch.nn.functional.celu; rule: `mb.rules.CELU`.
    """

def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """y = x where x > 0, else alpha (e^(x / alpha) - 1)

    As torch.nn.functional.celu_; rule: `mb.rules.CELU`.
    """

def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """y = x where x > 0, else alpha (e^x - 1)

    As torch.nn.functional.elu; rule: `mb.rules.ELU`.
    """

def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """y = x where x > 0, else alpha (e^x - 1)

    As torch.nn.functional.elu_; rule: `mb.rules.ELU`.
    """

def exp(input: Tensor) -> Tensor:
    """y = e^x

    As torch.exp; rule: `mb.rules.Exp`.
    """

def flip(input: Tensor, dims: list) -> Tensor:
    """y = x with axes reversed

    As torch.flip; rule: `mb.rules.Flip`.
    """

def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """y = x where |x| > lambd, else 0

    As torch.nn.functional.hardshrink; rule: `mb.rules.Hardshrink`.
    """

def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """y = min(max(x / 6 + 1/2, 0), 1)

    As torch.nn.functional.hardsigmoid; rule: `mb.rules.Hardsigmoid`.
    """

def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """y = x min(max(x + 3, 0), 6) / 6

    As torch.nn.functional.hardswish; rule: `mb.rules.Hardswish`.
    """

def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """y = max(0, x) + s min(0, x), s = negative_slope

    As torch.nn.functional.leaky_relu; rule: `mb.rules.LeakyReLU`.
    """

def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """y = max(0, x) + s min(0, x), s = negative_slope

    As torch.nn.functional.leaky_relu_; rule: `mb.rules.LeakyReLU`.
    """

def log(input: Tensor) -> Tensor:
    """y = ln x

    As torch.log; rule: `mb.rules.Log`.
    """

def logsigmoid(input: Tensor) -> Tensor:
    """y = log sigma(x) = -log(1 + e^-x)

    As torch.nn.functional.logsigmoid; rule: `mb.rules.LogSigmoid`.
    """

def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """y = x w,   w = tanh(log(1 + e^x)) = n / (n + 2),   n = e^2x + 2 e^x

    As torch.nn.functional.mish; rule: `mb.rules.Mish`.
    """

def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """y = max(0, x) + w min(0, x), w learned: one for all or one for each channel

    As torch.nn.functional.prelu; rule: `mb.rules.PReLU`.
    """

def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = max(0, x)

    As torch.nn.functional.relu; rule: `mb.rules.ReLU`.
    """

def relu_(input: Tensor) -> Tensor:
    """y = max(0, x)

    As torch.nn.functional.relu_; rule: `mb.rules.ReLU`.
    """

def roll(input: Tensor, shifts: list, dims: list) -> Tensor:
    """y = x moved along axes, around their ends

    As torch.roll; rule: `mb.rules.Roll`.
    """

def rsqrt(input: Tensor) -> Tensor:
    """y = 1 / sqrt(x)

    As torch.rsqrt; rule: `mb.rules.Rsqrt`.
    """

def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = scale x where x > 0, else scale alpha (e^x - 1); scale = 1.0507..., alpha = 1.6732...

    As torch.nn.functional.selu; rule: `mb.rules.SELU`.
    """

def selu_(input: Tensor) -> Tensor:
    """y = scale x where x > 0, else scale alpha (e^x - 1); scale = 1.0507..., alpha = 1.6732...

    As torch.nn.functional.selu_; rule: `mb.rules.SELU`.
    """

def sigmoid(input: Tensor) -> Tensor:
    """y = sigma(x) = 1 / (1 + e^-x), the logistic function

    As torch.nn.functional.sigmoid; rule: `mb.rules.Sigmoid`.
    """

def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = x sigma(x)      (Swish)

    As torch.nn.functional.silu; rule: `mb.rules.SiLU`.
    """

def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """y = log(1 + e^(beta x)) / beta, and x itself where beta x > threshold

    As torch.nn.functional.softplus; rule: `mb.rules.Softplus`.
    """

def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """y = x - lambd where x > lambd, x + lambd where x < -lambd, else 0

    As torch.nn.functional.softshrink; rule: `mb.rules.Softshrink`.
    """

def softsign(input: Tensor) -> Tensor:
    """y = x / (1 + |x|)

    As torch.nn.functional.softsign; rule: `mb.rules.Softsign`.
    """

def tanh(input: Tensor) -> Tensor:
    """y = tanh(x)

    As torch.nn.functional.tanh; rule: `mb.rules.Tanh`.
    """

def tanhshrink(input: Tensor) -> Tensor:
    """y = x - tanh(x)

    As torch.nn.functional.tanhshrink; rule: `mb.rules.Tanhshrink`.
    """

def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """y = x where x > threshold, else value

    As torch.nn.functional.threshold; rule: `mb.rules.Threshold`.
    """

def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """y = x where x > threshold, else value

    As torch.nn.functional.threshold_; rule: `mb.rules.Threshold`.
    """

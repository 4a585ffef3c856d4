"""The mathematics: one class per operation, one file per family."""

from ..engine.rule import RULES, Rule, backend
from .arithmetic import Add, Div, Matmul, Mul, Sub
from .attention import ScaledDotProductAttention
from .batchnorm import BatchNorm, BatchNormEval
from .bias_activation import BiasActivation
from .binary_cross_entropy import BCELoss, BCEWithLogitsLoss
from .convolution import Conv, ConvTranspose
from .copying import Cast, Copy, Write
from .cross_entropy import CrossEntropyLoss, NLLLoss
from .divergence import KLDivLogTargetLoss, KLDivLoss, LabelSmoothing, SoftCrossEntropyLoss
from .dropout import AlphaDropout, Dropout
from .embedding import Embedding
from .exponential import CELU, ELU, SELU
from .gated import GELU, GLU
from .heads import AttentionScores, Heads
from .linear import Bilinear, Linear
from .linear_cross_entropy import LinearCrossEntropyLoss
from .loss import HuberLoss, L1Loss, MSELoss, SmoothL1Loss
from .normalization import GroupNorm, LayerNorm, RMSNorm
from .padding import Pad
from .piecewise import Hardshrink, Hardsigmoid, Hardswish, Hardtanh, Softshrink
from .pooling import AdaptiveAvgPool, AvgPool, MaxPool
from .rectifiers import LeakyReLU, PReLU, ReLU, RReLU, Threshold
from .reduction import Cat, Mean, Sum
from .residual import AddLayerNorm, AddRMSNorm
from .shape import Expand
from .smooth import LogSigmoid, Mish, Sigmoid, SiLU, Softplus, Softsign, Tanh, Tanhshrink
from .softmax import LogSoftmax, Softmax, Softmin

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "RULES",
    "SELU",
    "AdaptiveAvgPool",
    "Add",
    "AddLayerNorm",
    "AddRMSNorm",
    "AlphaDropout",
    "AttentionScores",
    "AvgPool",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm",
    "BatchNormEval",
    "BiasActivation",
    "Bilinear",
    "Cast",
    "Cat",
    "Conv",
    "ConvTranspose",
    "Copy",
    "CrossEntropyLoss",
    "Div",
    "Dropout",
    "Embedding",
    "Expand",
    "GroupNorm",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Heads",
    "HuberLoss",
    "KLDivLogTargetLoss",
    "KLDivLoss",
    "L1Loss",
    "LabelSmoothing",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LinearCrossEntropyLoss",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "Matmul",
    "MaxPool",
    "Mean",
    "Mish",
    "Mul",
    "NLLLoss",
    "PReLU",
    "Pad",
    "RMSNorm",
    "RReLU",
    "ReLU",
    "Rule",
    "ScaledDotProductAttention",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "SoftCrossEntropyLoss",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Sub",
    "Sum",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "Write",
    "backend",
]

# what manual_backprop.nn exports: written by make stubs

from .. import functional as functional
from manual_backprop.nn.adaptive import AdaptiveLogSoftmaxWithLoss as AdaptiveLogSoftmaxWithLoss
from manual_backprop.nn.attention import MultiheadAttention as MultiheadAttention
from manual_backprop.nn.batchnorm import BatchNorm1d as BatchNorm1d
from manual_backprop.nn.batchnorm import BatchNorm2d as BatchNorm2d
from manual_backprop.nn.batchnorm import BatchNorm3d as BatchNorm3d
from manual_backprop.nn.batchnorm import LazyBatchNorm1d as LazyBatchNorm1d
from manual_backprop.nn.batchnorm import LazyBatchNorm2d as LazyBatchNorm2d
from manual_backprop.nn.batchnorm import LazyBatchNorm3d as LazyBatchNorm3d
from manual_backprop.nn.convolution import Conv1d as Conv1d
from manual_backprop.nn.convolution import Conv2d as Conv2d
from manual_backprop.nn.convolution import Conv3d as Conv3d
from manual_backprop.nn.convolution import ConvTranspose1d as ConvTranspose1d
from manual_backprop.nn.convolution import ConvTranspose2d as ConvTranspose2d
from manual_backprop.nn.convolution import ConvTranspose3d as ConvTranspose3d
from manual_backprop.nn.convolution import LazyConv1d as LazyConv1d
from manual_backprop.nn.convolution import LazyConv2d as LazyConv2d
from manual_backprop.nn.convolution import LazyConv3d as LazyConv3d
from manual_backprop.nn.convolution import LazyConvTranspose1d as LazyConvTranspose1d
from manual_backprop.nn.convolution import LazyConvTranspose2d as LazyConvTranspose2d
from manual_backprop.nn.convolution import LazyConvTranspose3d as LazyConvTranspose3d
from manual_backprop.nn.ctc import CTCLoss as CTCLoss
from manual_backprop.nn.distances import CosineEmbeddingLoss as CosineEmbeddingLoss
from manual_backprop.nn.distances import CosineSimilarity as CosineSimilarity
from manual_backprop.nn.distances import PairwiseDistance as PairwiseDistance
from manual_backprop.nn.dropout import AlphaDropout as AlphaDropout
from manual_backprop.nn.dropout import Dropout as Dropout
from manual_backprop.nn.dropout import Dropout1d as Dropout1d
from manual_backprop.nn.dropout import Dropout2d as Dropout2d
from manual_backprop.nn.dropout import Dropout3d as Dropout3d
from manual_backprop.nn.dropout import FeatureAlphaDropout as FeatureAlphaDropout
from manual_backprop.nn.embedding import Embedding as Embedding
from manual_backprop.nn.embedding_bag import EmbeddingBag as EmbeddingBag
from manual_backprop.nn.exponential import CELU as CELU
from manual_backprop.nn.exponential import ELU as ELU
from manual_backprop.nn.exponential import SELU as SELU
from manual_backprop.nn.gated import GELU as GELU
from manual_backprop.nn.gated import GLU as GLU
from manual_backprop.nn.instance_norm import CrossMapLRN2d as CrossMapLRN2d
from manual_backprop.nn.instance_norm import InstanceNorm1d as InstanceNorm1d
from manual_backprop.nn.instance_norm import InstanceNorm2d as InstanceNorm2d
from manual_backprop.nn.instance_norm import InstanceNorm3d as InstanceNorm3d
from manual_backprop.nn.instance_norm import LazyInstanceNorm1d as LazyInstanceNorm1d
from manual_backprop.nn.instance_norm import LazyInstanceNorm2d as LazyInstanceNorm2d
from manual_backprop.nn.instance_norm import LazyInstanceNorm3d as LazyInstanceNorm3d
from manual_backprop.nn.instance_norm import LocalResponseNorm as LocalResponseNorm
from manual_backprop.nn.likelihood import GaussianNLLLoss as GaussianNLLLoss
from manual_backprop.nn.likelihood import MultiLabelSoftMarginLoss as MultiLabelSoftMarginLoss
from manual_backprop.nn.likelihood import NLLLoss2d as NLLLoss2d
from manual_backprop.nn.likelihood import PoissonNLLLoss as PoissonNLLLoss
from manual_backprop.nn.linear import Bilinear as Bilinear
from manual_backprop.nn.linear import LazyLinear as LazyLinear
from manual_backprop.nn.linear import Linear as Linear
from manual_backprop.nn.linear import NonDynamicallyQuantizableLinear as NonDynamicallyQuantizableLinear
from manual_backprop.nn.loss import BCELoss as BCELoss
from manual_backprop.nn.loss import BCEWithLogitsLoss as BCEWithLogitsLoss
from manual_backprop.nn.loss import CrossEntropyLoss as CrossEntropyLoss
from manual_backprop.nn.loss import HuberLoss as HuberLoss
from manual_backprop.nn.loss import KLDivLoss as KLDivLoss
from manual_backprop.nn.loss import L1Loss as L1Loss
from manual_backprop.nn.loss import MSELoss as MSELoss
from manual_backprop.nn.loss import NLLLoss as NLLLoss
from manual_backprop.nn.loss import SmoothL1Loss as SmoothL1Loss
from manual_backprop.nn.loss_linear import LinearCrossEntropyLoss as LinearCrossEntropyLoss
from manual_backprop.nn.margins import HingeEmbeddingLoss as HingeEmbeddingLoss
from manual_backprop.nn.margins import MarginRankingLoss as MarginRankingLoss
from manual_backprop.nn.margins import MultiLabelMarginLoss as MultiLabelMarginLoss
from manual_backprop.nn.margins import MultiMarginLoss as MultiMarginLoss
from manual_backprop.nn.margins import TripletMarginLoss as TripletMarginLoss
from manual_backprop.nn.margins import TripletMarginWithDistanceLoss as TripletMarginWithDistanceLoss
from manual_backprop.nn.maxima import AdaptiveMaxPool1d as AdaptiveMaxPool1d
from manual_backprop.nn.maxima import AdaptiveMaxPool2d as AdaptiveMaxPool2d
from manual_backprop.nn.maxima import AdaptiveMaxPool3d as AdaptiveMaxPool3d
from manual_backprop.nn.maxima import FractionalMaxPool2d as FractionalMaxPool2d
from manual_backprop.nn.maxima import FractionalMaxPool3d as FractionalMaxPool3d
from manual_backprop.nn.maxima import LPPool1d as LPPool1d
from manual_backprop.nn.maxima import LPPool2d as LPPool2d
from manual_backprop.nn.maxima import LPPool3d as LPPool3d
from manual_backprop.nn.maxima import MaxUnpool1d as MaxUnpool1d
from manual_backprop.nn.maxima import MaxUnpool2d as MaxUnpool2d
from manual_backprop.nn.maxima import MaxUnpool3d as MaxUnpool3d
from manual_backprop.nn.normalization import GroupNorm as GroupNorm
from manual_backprop.nn.normalization import LayerNorm as LayerNorm
from manual_backprop.nn.normalization import RMSNorm as RMSNorm
from manual_backprop.nn.padding import CircularPad1d as CircularPad1d
from manual_backprop.nn.padding import CircularPad2d as CircularPad2d
from manual_backprop.nn.padding import CircularPad3d as CircularPad3d
from manual_backprop.nn.padding import ConstantPad1d as ConstantPad1d
from manual_backprop.nn.padding import ConstantPad2d as ConstantPad2d
from manual_backprop.nn.padding import ConstantPad3d as ConstantPad3d
from manual_backprop.nn.padding import ReflectionPad1d as ReflectionPad1d
from manual_backprop.nn.padding import ReflectionPad2d as ReflectionPad2d
from manual_backprop.nn.padding import ReflectionPad3d as ReflectionPad3d
from manual_backprop.nn.padding import ReplicationPad1d as ReplicationPad1d
from manual_backprop.nn.padding import ReplicationPad2d as ReplicationPad2d
from manual_backprop.nn.padding import ReplicationPad3d as ReplicationPad3d
from manual_backprop.nn.padding import ZeroPad1d as ZeroPad1d
from manual_backprop.nn.padding import ZeroPad2d as ZeroPad2d
from manual_backprop.nn.padding import ZeroPad3d as ZeroPad3d
from manual_backprop.nn.piecewise import Hardshrink as Hardshrink
from manual_backprop.nn.piecewise import Hardsigmoid as Hardsigmoid
from manual_backprop.nn.piecewise import Hardswish as Hardswish
from manual_backprop.nn.piecewise import Hardtanh as Hardtanh
from manual_backprop.nn.piecewise import ReLU6 as ReLU6
from manual_backprop.nn.piecewise import Softshrink as Softshrink
from manual_backprop.nn.pooling import AdaptiveAvgPool1d as AdaptiveAvgPool1d
from manual_backprop.nn.pooling import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from manual_backprop.nn.pooling import AdaptiveAvgPool3d as AdaptiveAvgPool3d
from manual_backprop.nn.pooling import AvgPool1d as AvgPool1d
from manual_backprop.nn.pooling import AvgPool2d as AvgPool2d
from manual_backprop.nn.pooling import AvgPool3d as AvgPool3d
from manual_backprop.nn.pooling import MaxPool1d as MaxPool1d
from manual_backprop.nn.pooling import MaxPool2d as MaxPool2d
from manual_backprop.nn.pooling import MaxPool3d as MaxPool3d
from manual_backprop.nn.rectifiers import LeakyReLU as LeakyReLU
from manual_backprop.nn.rectifiers import PReLU as PReLU
from manual_backprop.nn.rectifiers import RReLU as RReLU
from manual_backprop.nn.rectifiers import ReLU as ReLU
from manual_backprop.nn.rectifiers import Threshold as Threshold
from manual_backprop.nn.recurrent import GRU as GRU
from manual_backprop.nn.recurrent import GRUCell as GRUCell
from manual_backprop.nn.recurrent import LSTM as LSTM
from manual_backprop.nn.recurrent import LSTMCell as LSTMCell
from manual_backprop.nn.recurrent import RNN as RNN
from manual_backprop.nn.recurrent import RNNCell as RNNCell
from manual_backprop.nn.resampling import ChannelShuffle as ChannelShuffle
from manual_backprop.nn.resampling import Fold as Fold
from manual_backprop.nn.resampling import PixelShuffle as PixelShuffle
from manual_backprop.nn.resampling import PixelUnshuffle as PixelUnshuffle
from manual_backprop.nn.resampling import Unfold as Unfold
from manual_backprop.nn.resampling import Upsample as Upsample
from manual_backprop.nn.resampling import UpsamplingBilinear2d as UpsamplingBilinear2d
from manual_backprop.nn.resampling import UpsamplingNearest2d as UpsamplingNearest2d
from manual_backprop.nn.shape import Flatten as Flatten
from manual_backprop.nn.shape import Identity as Identity
from manual_backprop.nn.shape import Unflatten as Unflatten
from manual_backprop.nn.smooth import LogSigmoid as LogSigmoid
from manual_backprop.nn.smooth import Mish as Mish
from manual_backprop.nn.smooth import SiLU as SiLU
from manual_backprop.nn.smooth import Sigmoid as Sigmoid
from manual_backprop.nn.smooth import Softplus as Softplus
from manual_backprop.nn.smooth import Softsign as Softsign
from manual_backprop.nn.smooth import Tanh as Tanh
from manual_backprop.nn.smooth import Tanhshrink as Tanhshrink
from manual_backprop.nn.soft_margin import SoftMarginLoss as SoftMarginLoss
from manual_backprop.nn.softmax import LogSoftmax as LogSoftmax
from manual_backprop.nn.softmax import Softmax as Softmax
from manual_backprop.nn.softmax import Softmax2d as Softmax2d
from manual_backprop.nn.softmax import Softmin as Softmin
from manual_backprop.nn.sync_batchnorm import SyncBatchNorm as SyncBatchNorm
from manual_backprop.nn.transformer import Transformer as Transformer
from manual_backprop.nn.transformer import TransformerDecoder as TransformerDecoder
from manual_backprop.nn.transformer import TransformerDecoderLayer as TransformerDecoderLayer
from manual_backprop.nn.transformer import TransformerEncoder as TransformerEncoder
from manual_backprop.nn.transformer import TransformerEncoderLayer as TransformerEncoderLayer
from torch.nn import Buffer as Buffer
from torch.nn import Container as Container
from torch.nn import DataParallel as DataParallel
from torch.nn import LinearCrossEntropyOptions as LinearCrossEntropyOptions
from torch.nn import Module as Module
from torch.nn import ModuleDict as ModuleDict
from torch.nn import ModuleList as ModuleList
from torch.nn import Parameter as Parameter
from torch.nn import ParameterDict as ParameterDict
from torch.nn import ParameterList as ParameterList
from torch.nn import RNNBase as RNNBase
from torch.nn import RNNCellBase as RNNCellBase
from torch.nn import Sequential as Sequential
from torch.nn import UninitializedBuffer as UninitializedBuffer
from torch.nn import UninitializedParameter as UninitializedParameter
from torch.nn import common_types as common_types
from torch.nn import factory_kwargs as factory_kwargs
from torch.nn import init as init
from torch.nn import parallel as parallel
from torch.nn import parameter as parameter
from torch.nn import utils as utils

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveLogSoftmaxWithLoss",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AlphaDropout",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Bilinear",
    "Buffer",
    "CELU",
    "CTCLoss",
    "ChannelShuffle",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Container",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "CrossMapLRN2d",
    "DataParallel",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "ELU",
    "Embedding",
    "EmbeddingBag",
    "FeatureAlphaDropout",
    "Flatten",
    "Fold",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "GELU",
    "GLU",
    "GRU",
    "GRUCell",
    "GaussianNLLLoss",
    "GroupNorm",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "KLDivLoss",
    "L1Loss",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "LSTM",
    "LSTMCell",
    "LayerNorm",
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
    "LeakyReLU",
    "Linear",
    "LinearCrossEntropyLoss",
    "LinearCrossEntropyOptions",
    "LocalResponseNorm",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MarginRankingLoss",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "MultiheadAttention",
    "NLLLoss",
    "NLLLoss2d",
    "PReLU",
    "PairwiseDistance",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "PixelShuffle",
    "PixelUnshuffle",
    "PoissonNLLLoss",
    "RMSNorm",
    "RNN",
    "RNNBase",
    "RNNCell",
    "RNNCellBase",
    "RReLU",
    "ReLU",
    "ReLU6",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "SELU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "SyncBatchNorm",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
    "Unflatten",
    "Unfold",
    "UninitializedBuffer",
    "UninitializedParameter",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "common_types",
    "factory_kwargs",
    "functional",
    "init",
    "parallel",
    "parameter",
    "utils",
]
_LAYERS: list[str]

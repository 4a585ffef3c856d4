# what manual_backprop.rules exports: written by make stubs

from manual_backprop.engine.rule import RULES as RULES
from manual_backprop.engine.rule import Rule as Rule
from manual_backprop.engine.rule import backend as backend
from manual_backprop.rules.arithmetic import Add as Add
from manual_backprop.rules.arithmetic import Div as Div
from manual_backprop.rules.arithmetic import Matmul as Matmul
from manual_backprop.rules.arithmetic import Mul as Mul
from manual_backprop.rules.arithmetic import Sub as Sub
from manual_backprop.rules.attention import ScaledDotProductAttention as ScaledDotProductAttention
from manual_backprop.rules.batchnorm import BatchNorm as BatchNorm
from manual_backprop.rules.batchnorm import BatchNormEval as BatchNormEval
from manual_backprop.rules.bessel import BesselJ0 as BesselJ0
from manual_backprop.rules.bessel import BesselJ1 as BesselJ1
from manual_backprop.rules.bessel import BesselY0 as BesselY0
from manual_backprop.rules.bessel import BesselY1 as BesselY1
from manual_backprop.rules.bessel import I0 as I0
from manual_backprop.rules.bessel import I0e as I0e
from manual_backprop.rules.bessel import I1 as I1
from manual_backprop.rules.bessel import I1e as I1e
from manual_backprop.rules.bessel import ModifiedBesselI0 as ModifiedBesselI0
from manual_backprop.rules.bessel import ModifiedBesselI1 as ModifiedBesselI1
from manual_backprop.rules.bessel import ModifiedBesselK0 as ModifiedBesselK0
from manual_backprop.rules.bessel import ModifiedBesselK1 as ModifiedBesselK1
from manual_backprop.rules.bessel import ScaledModifiedBesselK0 as ScaledModifiedBesselK0
from manual_backprop.rules.bessel import ScaledModifiedBesselK1 as ScaledModifiedBesselK1
from manual_backprop.rules.bessel import SphericalBesselJ0 as SphericalBesselJ0
from manual_backprop.rules.bias_activation import BiasActivation as BiasActivation
from manual_backprop.rules.binary_cross_entropy import BCELoss as BCELoss
from manual_backprop.rules.binary_cross_entropy import BCEWithLogitsLoss as BCEWithLogitsLoss
from manual_backprop.rules.choices import Clamp as Clamp
from manual_backprop.rules.choices import ClampMax as ClampMax
from manual_backprop.rules.choices import ClampMin as ClampMin
from manual_backprop.rules.choices import Fill as Fill
from manual_backprop.rules.choices import Fmax as Fmax
from manual_backprop.rules.choices import Fmin as Fmin
from manual_backprop.rules.choices import MaskedFill as MaskedFill
from manual_backprop.rules.choices import Maximum as Maximum
from manual_backprop.rules.choices import Minimum as Minimum
from manual_backprop.rules.choices import Where as Where
from manual_backprop.rules.choices import Zero as Zero
from manual_backprop.rules.complex_numbers import Abs as Abs
from manual_backprop.rules.complex_numbers import Angle as Angle
from manual_backprop.rules.complex_numbers import Complex as Complex
from manual_backprop.rules.complex_numbers import Conj as Conj
from manual_backprop.rules.complex_numbers import Polar as Polar
from manual_backprop.rules.complex_numbers import Sgn as Sgn
from manual_backprop.rules.conv_tbc import ConvTBC as ConvTBC
from manual_backprop.rules.convolution import Conv as Conv
from manual_backprop.rules.convolution import ConvTranspose as ConvTranspose
from manual_backprop.rules.copying import Cast as Cast
from manual_backprop.rules.copying import Copy as Copy
from manual_backprop.rules.copying import Write as Write
from manual_backprop.rules.cross_entropy import CrossEntropyLoss as CrossEntropyLoss
from manual_backprop.rules.cross_entropy import NLLLoss as NLLLoss
from manual_backprop.rules.ctc import CTCLoss as CTCLoss
from manual_backprop.rules.derivatives import LogSoftmaxBackward as LogSoftmaxBackward
from manual_backprop.rules.derivatives import SafeSoftmax as SafeSoftmax
from manual_backprop.rules.derivatives import SoftmaxBackward as SoftmaxBackward
from manual_backprop.rules.distances import Cdist as Cdist
from manual_backprop.rules.distances import EuclideanDistances as EuclideanDistances
from manual_backprop.rules.divergence import KLDivLogTargetLoss as KLDivLogTargetLoss
from manual_backprop.rules.divergence import KLDivLoss as KLDivLoss
from manual_backprop.rules.divergence import LabelSmoothing as LabelSmoothing
from manual_backprop.rules.divergence import SoftCrossEntropyLoss as SoftCrossEntropyLoss
from manual_backprop.rules.drawing import Bernoulli as Bernoulli
from manual_backprop.rules.drawing import NativeDropout as NativeDropout
from manual_backprop.rules.drawing import Normal as Normal
from manual_backprop.rules.drawing import Overwritten as Overwritten
from manual_backprop.rules.drawing import Poisson as Poisson
from manual_backprop.rules.drawing import StandardGamma as StandardGamma
from manual_backprop.rules.dropout import AlphaDropout as AlphaDropout
from manual_backprop.rules.dropout import Dropout as Dropout
from manual_backprop.rules.embedding import Embedding as Embedding
from manual_backprop.rules.embedding_bag import EmbeddingBag as EmbeddingBag
from manual_backprop.rules.exponential import CELU as CELU
from manual_backprop.rules.exponential import ELU as ELU
from manual_backprop.rules.exponential import SELU as SELU
from manual_backprop.rules.extremes import Amax as Amax
from manual_backprop.rules.extremes import Amin as Amin
from manual_backprop.rules.extremes import Aminmax as Aminmax
from manual_backprop.rules.extremes import Max as Max
from manual_backprop.rules.extremes import Median as Median
from manual_backprop.rules.extremes import Min as Min
from manual_backprop.rules.extremes import Nanmedian as Nanmedian
from manual_backprop.rules.factorizations import Cholesky as Cholesky
from manual_backprop.rules.factorizations import CholeskyInverse as CholeskyInverse
from manual_backprop.rules.factorizations import CholeskySolve as CholeskySolve
from manual_backprop.rules.factorizations import QR as QR
from manual_backprop.rules.fourier import FFT as FFT
from manual_backprop.rules.fourier import FFTOfReal as FFTOfReal
from manual_backprop.rules.fourier import FFTToReal as FFTToReal
from manual_backprop.rules.gated import GELU as GELU
from manual_backprop.rules.gated import GLU as GLU
from manual_backprop.rules.grid_sample import GridSample as GridSample
from manual_backprop.rules.grouped import GroupedMM as GroupedMM
from manual_backprop.rules.grouping import IndexReduce as IndexReduce
from manual_backprop.rules.grouping import ScatterReduce as ScatterReduce
from manual_backprop.rules.grouping import SegmentReduce as SegmentReduce
from manual_backprop.rules.heads import AttentionScores as AttentionScores
from manual_backprop.rules.heads import Heads as Heads
from manual_backprop.rules.indexing import Gather as Gather
from manual_backprop.rules.indexing import IndexSelect as IndexSelect
from manual_backprop.rules.indexing import MaskedSelect as MaskedSelect
from manual_backprop.rules.indexing import Take as Take
from manual_backprop.rules.instance_norm import InstanceNorm as InstanceNorm
from manual_backprop.rules.interpolation import Interpolate as Interpolate
from manual_backprop.rules.inverses import Det as Det
from manual_backprop.rules.inverses import Inverse as Inverse
from manual_backprop.rules.inverses import Slogdet as Slogdet
from manual_backprop.rules.inverses import Solve as Solve
from manual_backprop.rules.least_squares import LeastSquares as LeastSquares
from manual_backprop.rules.least_squares import PseudoInverse as PseudoInverse
from manual_backprop.rules.likelihood import GaussianNLLLoss as GaussianNLLLoss
from manual_backprop.rules.likelihood import MultiLabelSoftMarginLoss as MultiLabelSoftMarginLoss
from manual_backprop.rules.likelihood import PoissonNLLLoss as PoissonNLLLoss
from manual_backprop.rules.linear import Bilinear as Bilinear
from manual_backprop.rules.linear import Linear as Linear
from manual_backprop.rules.linear_cross_entropy import LinearCrossEntropyLoss as LinearCrossEntropyLoss
from manual_backprop.rules.loss import HuberLoss as HuberLoss
from manual_backprop.rules.loss import L1Loss as L1Loss
from manual_backprop.rules.loss import MSELoss as MSELoss
from manual_backprop.rules.loss import SmoothL1Loss as SmoothL1Loss
from manual_backprop.rules.lp_pool import LPPool as LPPool
from manual_backprop.rules.lstm import LSTM as LSTM
from manual_backprop.rules.lu import LU as LU
from manual_backprop.rules.lu import LUFactor as LUFactor
from manual_backprop.rules.lu import LUSolve as LUSolve
from manual_backprop.rules.lu import LUUnpack as LUUnpack
from manual_backprop.rules.margins import HingeEmbeddingLoss as HingeEmbeddingLoss
from manual_backprop.rules.margins import MarginRankingLoss as MarginRankingLoss
from manual_backprop.rules.margins import MultiLabelMarginLoss as MultiLabelMarginLoss
from manual_backprop.rules.margins import MultiMarginLoss as MultiMarginLoss
from manual_backprop.rules.margins import TripletMarginLoss as TripletMarginLoss
from manual_backprop.rules.matrix_functions import MatrixExp as MatrixExp
from manual_backprop.rules.matrix_functions import MatrixSqrth as MatrixSqrth
from manual_backprop.rules.matrix_functions import PolarDecomposition as PolarDecomposition
from manual_backprop.rules.maxima import AdaptiveMaxPool as AdaptiveMaxPool
from manual_backprop.rules.maxima import FractionalMaxPool as FractionalMaxPool
from manual_backprop.rules.maxima import MaxUnpool as MaxUnpool
from manual_backprop.rules.maxima import PutBack as PutBack
from manual_backprop.rules.mixing import AddCDiv as AddCDiv
from manual_backprop.rules.mixing import AddCMul as AddCMul
from manual_backprop.rules.mixing import Lerp as Lerp
from manual_backprop.rules.moments import Std as Std
from manual_backprop.rules.moments import StdMean as StdMean
from manual_backprop.rules.moments import Var as Var
from manual_backprop.rules.moments import VarMean as VarMean
from manual_backprop.rules.native_norms import NativeGroupNorm as NativeGroupNorm
from manual_backprop.rules.normalization import GroupNorm as GroupNorm
from manual_backprop.rules.normalization import LayerNorm as LayerNorm
from manual_backprop.rules.normalization import RMSNorm as RMSNorm
from manual_backprop.rules.packing import PackPaddedSequence as PackPaddedSequence
from manual_backprop.rules.padding import Pad as Pad
from manual_backprop.rules.piecewise import Hardshrink as Hardshrink
from manual_backprop.rules.piecewise import Hardsigmoid as Hardsigmoid
from manual_backprop.rules.piecewise import Hardswish as Hardswish
from manual_backprop.rules.piecewise import Hardtanh as Hardtanh
from manual_backprop.rules.piecewise import Softshrink as Softshrink
from manual_backprop.rules.pooling import AdaptiveAvgPool as AdaptiveAvgPool
from manual_backprop.rules.pooling import AvgPool as AvgPool
from manual_backprop.rules.pooling import MaxPool as MaxPool
from manual_backprop.rules.powers import Entr as Entr
from manual_backprop.rules.powers import Exp as Exp
from manual_backprop.rules.powers import Exp2 as Exp2
from manual_backprop.rules.powers import Expm1 as Expm1
from manual_backprop.rules.powers import Ldexp as Ldexp
from manual_backprop.rules.powers import Log as Log
from manual_backprop.rules.powers import Log10 as Log10
from manual_backprop.rules.powers import Log1p as Log1p
from manual_backprop.rules.powers import Log2 as Log2
from manual_backprop.rules.powers import LogAddExp as LogAddExp
from manual_backprop.rules.powers import LogAddExp2 as LogAddExp2
from manual_backprop.rules.powers import Logit as Logit
from manual_backprop.rules.powers import Pow as Pow
from manual_backprop.rules.powers import Reciprocal as Reciprocal
from manual_backprop.rules.powers import Rsqrt as Rsqrt
from manual_backprop.rules.powers import Sqrt as Sqrt
from manual_backprop.rules.powers import XLog1pY as XLog1pY
from manual_backprop.rules.powers import XLogY as XLogY
from manual_backprop.rules.products import Addbmm as Addbmm
from manual_backprop.rules.products import Addmm as Addmm
from manual_backprop.rules.products import Addmv as Addmv
from manual_backprop.rules.products import Addr as Addr
from manual_backprop.rules.products import Baddbmm as Baddbmm
from manual_backprop.rules.products import Cross as Cross
from manual_backprop.rules.products import Dot as Dot
from manual_backprop.rules.products import Vdot as Vdot
from manual_backprop.rules.rearranging import BlockDiag as BlockDiag
from manual_backprop.rules.rearranging import DiagEmbed as DiagEmbed
from manual_backprop.rules.rearranging import Flip as Flip
from manual_backprop.rules.rearranging import Repeat as Repeat
from manual_backprop.rules.rearranging import Roll as Roll
from manual_backprop.rules.rearranging import Rot90 as Rot90
from manual_backprop.rules.rearranging import Tril as Tril
from manual_backprop.rules.rearranging import Triu as Triu
from manual_backprop.rules.rectifiers import LeakyReLU as LeakyReLU
from manual_backprop.rules.rectifiers import PReLU as PReLU
from manual_backprop.rules.rectifiers import RReLU as RReLU
from manual_backprop.rules.rectifiers import ReLU as ReLU
from manual_backprop.rules.rectifiers import Threshold as Threshold
from manual_backprop.rules.recurrent import GRU as GRU
from manual_backprop.rules.recurrent import RNN as RNN
from manual_backprop.rules.reduction import Cat as Cat
from manual_backprop.rules.reduction import Mean as Mean
from manual_backprop.rules.reduction import Sum as Sum
from manual_backprop.rules.reflections import HouseholderProduct as HouseholderProduct
from manual_backprop.rules.reflections import Ormqr as Ormqr
from manual_backprop.rules.residual import AddLayerNorm as AddLayerNorm
from manual_backprop.rules.residual import AddRMSNorm as AddRMSNorm
from manual_backprop.rules.response_norm import CrossMapLRN as CrossMapLRN
from manual_backprop.rules.response_norm import LocalResponseNorm as LocalResponseNorm
from manual_backprop.rules.roi_align import RoIAlign as RoIAlign
from manual_backprop.rules.rounding import Ceil as Ceil
from manual_backprop.rules.rounding import Copysign as Copysign
from manual_backprop.rules.rounding import DivRounded as DivRounded
from manual_backprop.rules.rounding import Floor as Floor
from manual_backprop.rules.rounding import Fmod as Fmod
from manual_backprop.rules.rounding import Frac as Frac
from manual_backprop.rules.rounding import Frexp as Frexp
from manual_backprop.rules.rounding import Heaviside as Heaviside
from manual_backprop.rules.rounding import NanToNum as NanToNum
from manual_backprop.rules.rounding import Neg as Neg
from manual_backprop.rules.rounding import Nextafter as Nextafter
from manual_backprop.rules.rounding import Remainder as Remainder
from manual_backprop.rules.rounding import Round as Round
from manual_backprop.rules.rounding import Sign as Sign
from manual_backprop.rules.rounding import Trunc as Trunc
from manual_backprop.rules.scans import Cumprod as Cumprod
from manual_backprop.rules.scans import Cumsum as Cumsum
from manual_backprop.rules.scans import Logcumsumexp as Logcumsumexp
from manual_backprop.rules.scans import Prod as Prod
from manual_backprop.rules.scans import ProdAlong as ProdAlong
from manual_backprop.rules.selection import Cummax as Cummax
from manual_backprop.rules.selection import Cummin as Cummin
from manual_backprop.rules.selection import Kthvalue as Kthvalue
from manual_backprop.rules.selection import MaxAlong as MaxAlong
from manual_backprop.rules.selection import MedianAlong as MedianAlong
from manual_backprop.rules.selection import MinAlong as MinAlong
from manual_backprop.rules.selection import Mode as Mode
from manual_backprop.rules.selection import NanmedianAlong as NanmedianAlong
from manual_backprop.rules.selection import Sort as Sort
from manual_backprop.rules.selection import Topk as Topk
from manual_backprop.rules.shape import Expand as Expand
from manual_backprop.rules.shuffling import AffineGrid as AffineGrid
from manual_backprop.rules.shuffling import ChannelShuffle as ChannelShuffle
from manual_backprop.rules.shuffling import Fold as Fold
from manual_backprop.rules.shuffling import PixelShuffle as PixelShuffle
from manual_backprop.rules.shuffling import PixelUnshuffle as PixelUnshuffle
from manual_backprop.rules.shuffling import Unfold as Unfold
from manual_backprop.rules.similarity import CosineEmbeddingLoss as CosineEmbeddingLoss
from manual_backprop.rules.similarity import CosineSimilarity as CosineSimilarity
from manual_backprop.rules.similarity import Normalize as Normalize
from manual_backprop.rules.similarity import PDist as PDist
from manual_backprop.rules.similarity import PairwiseDistance as PairwiseDistance
from manual_backprop.rules.smooth import LogSigmoid as LogSigmoid
from manual_backprop.rules.smooth import Mish as Mish
from manual_backprop.rules.smooth import SiLU as SiLU
from manual_backprop.rules.smooth import Sigmoid as Sigmoid
from manual_backprop.rules.smooth import Softplus as Softplus
from manual_backprop.rules.smooth import Softsign as Softsign
from manual_backprop.rules.smooth import Tanh as Tanh
from manual_backprop.rules.smooth import Tanhshrink as Tanhshrink
from manual_backprop.rules.soft_margin import SoftMarginLoss as SoftMarginLoss
from manual_backprop.rules.softmax import LogSoftmax as LogSoftmax
from manual_backprop.rules.softmax import Softmax as Softmax
from manual_backprop.rules.softmax import Softmin as Softmin
from manual_backprop.rules.sparse import ToDense as ToDense
from manual_backprop.rules.sparse import ToSparse as ToSparse
from manual_backprop.rules.special import Digamma as Digamma
from manual_backprop.rules.special import Erf as Erf
from manual_backprop.rules.special import Erfc as Erfc
from manual_backprop.rules.special import Erfcx as Erfcx
from manual_backprop.rules.special import Erfinv as Erfinv
from manual_backprop.rules.special import IGamma as IGamma
from manual_backprop.rules.special import IGammaC as IGammaC
from manual_backprop.rules.special import Lgamma as Lgamma
from manual_backprop.rules.special import LogNdtr as LogNdtr
from manual_backprop.rules.special import Mvlgamma as Mvlgamma
from manual_backprop.rules.special import Ndtri as Ndtri
from manual_backprop.rules.special import Polygamma as Polygamma
from manual_backprop.rules.special import Zeta as Zeta
from manual_backprop.rules.spectral import Eig as Eig
from manual_backprop.rules.spectral import Eigh as Eigh
from manual_backprop.rules.spectral import SVD as SVD
from manual_backprop.rules.sums import Logsumexp as Logsumexp
from manual_backprop.rules.sums import Nansum as Nansum
from manual_backprop.rules.sums import Trace as Trace
from manual_backprop.rules.sync_batchnorm import SyncBatchNorm as SyncBatchNorm
from manual_backprop.rules.tensor_indices import Index as Index
from manual_backprop.rules.tensor_indices import IndexPut as IndexPut
from manual_backprop.rules.tensor_indices import MaskedIndex as MaskedIndex
from manual_backprop.rules.tensor_indices import MaskedIndexPut as MaskedIndexPut
from manual_backprop.rules.triangles import SolveTriangular as SolveTriangular
from manual_backprop.rules.trigonometric import Acos as Acos
from manual_backprop.rules.trigonometric import Acosh as Acosh
from manual_backprop.rules.trigonometric import Asin as Asin
from manual_backprop.rules.trigonometric import Asinh as Asinh
from manual_backprop.rules.trigonometric import Atan as Atan
from manual_backprop.rules.trigonometric import Atan2 as Atan2
from manual_backprop.rules.trigonometric import Atanh as Atanh
from manual_backprop.rules.trigonometric import Cos as Cos
from manual_backprop.rules.trigonometric import Cosh as Cosh
from manual_backprop.rules.trigonometric import Deg2rad as Deg2rad
from manual_backprop.rules.trigonometric import Hypot as Hypot
from manual_backprop.rules.trigonometric import Rad2deg as Rad2deg
from manual_backprop.rules.trigonometric import Sin as Sin
from manual_backprop.rules.trigonometric import Sinc as Sinc
from manual_backprop.rules.trigonometric import Sinh as Sinh
from manual_backprop.rules.trigonometric import Tan as Tan
from manual_backprop.rules.vector_norm import Dist as Dist
from manual_backprop.rules.vector_norm import Renorm as Renorm
from manual_backprop.rules.vector_norm import VectorNorm as VectorNorm
from manual_backprop.rules.weight_norm import WeightNorm as WeightNorm
from manual_backprop.rules.writing import AsStridedScatter as AsStridedScatter
from manual_backprop.rules.writing import DiagonalScatter as DiagonalScatter
from manual_backprop.rules.writing import IndexAdd as IndexAdd
from manual_backprop.rules.writing import IndexCopy as IndexCopy
from manual_backprop.rules.writing import IndexFill as IndexFill
from manual_backprop.rules.writing import MaskedScatter as MaskedScatter
from manual_backprop.rules.writing import Put as Put
from manual_backprop.rules.writing import Scatter as Scatter
from manual_backprop.rules.writing import ScatterAdd as ScatterAdd
from manual_backprop.rules.writing import ScatterValue as ScatterValue
from manual_backprop.rules.writing import SelectScatter as SelectScatter
from manual_backprop.rules.writing import SliceScatter as SliceScatter

__all__ = [
    "Abs",
    "Acos",
    "Acosh",
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "Add",
    "AddCDiv",
    "AddCMul",
    "AddLayerNorm",
    "AddRMSNorm",
    "Addbmm",
    "Addmm",
    "Addmv",
    "Addr",
    "AffineGrid",
    "AlphaDropout",
    "Amax",
    "Amin",
    "Aminmax",
    "Angle",
    "AsStridedScatter",
    "Asin",
    "Asinh",
    "Atan",
    "Atan2",
    "Atanh",
    "AttentionScores",
    "AvgPool",
    "BCELoss",
    "BCEWithLogitsLoss",
    "Baddbmm",
    "BatchNorm",
    "BatchNormEval",
    "Bernoulli",
    "BesselJ0",
    "BesselJ1",
    "BesselY0",
    "BesselY1",
    "BiasActivation",
    "Bilinear",
    "BlockDiag",
    "CELU",
    "CTCLoss",
    "Cast",
    "Cat",
    "Cdist",
    "Ceil",
    "ChannelShuffle",
    "Cholesky",
    "CholeskyInverse",
    "CholeskySolve",
    "Clamp",
    "ClampMax",
    "ClampMin",
    "Complex",
    "Conj",
    "Conv",
    "ConvTBC",
    "ConvTranspose",
    "Copy",
    "Copysign",
    "Cos",
    "Cosh",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "Cross",
    "CrossEntropyLoss",
    "CrossMapLRN",
    "Cummax",
    "Cummin",
    "Cumprod",
    "Cumsum",
    "Deg2rad",
    "Det",
    "DiagEmbed",
    "DiagonalScatter",
    "Digamma",
    "Dist",
    "Div",
    "DivRounded",
    "Dot",
    "Dropout",
    "ELU",
    "Eig",
    "Eigh",
    "Embedding",
    "EmbeddingBag",
    "Entr",
    "Erf",
    "Erfc",
    "Erfcx",
    "Erfinv",
    "EuclideanDistances",
    "Exp",
    "Exp2",
    "Expand",
    "Expm1",
    "FFT",
    "FFTOfReal",
    "FFTToReal",
    "Fill",
    "Flip",
    "Floor",
    "Fmax",
    "Fmin",
    "Fmod",
    "Fold",
    "Frac",
    "FractionalMaxPool",
    "Frexp",
    "GELU",
    "GLU",
    "GRU",
    "Gather",
    "GaussianNLLLoss",
    "GridSample",
    "GroupNorm",
    "GroupedMM",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Heads",
    "Heaviside",
    "HingeEmbeddingLoss",
    "HouseholderProduct",
    "HuberLoss",
    "Hypot",
    "I0",
    "I0e",
    "I1",
    "I1e",
    "IGamma",
    "IGammaC",
    "Index",
    "IndexAdd",
    "IndexCopy",
    "IndexFill",
    "IndexPut",
    "IndexReduce",
    "IndexSelect",
    "InstanceNorm",
    "Interpolate",
    "Inverse",
    "KLDivLogTargetLoss",
    "KLDivLoss",
    "Kthvalue",
    "L1Loss",
    "LPPool",
    "LSTM",
    "LU",
    "LUFactor",
    "LUSolve",
    "LUUnpack",
    "LabelSmoothing",
    "LayerNorm",
    "Ldexp",
    "LeakyReLU",
    "LeastSquares",
    "Lerp",
    "Lgamma",
    "Linear",
    "LinearCrossEntropyLoss",
    "LocalResponseNorm",
    "Log",
    "Log10",
    "Log1p",
    "Log2",
    "LogAddExp",
    "LogAddExp2",
    "LogNdtr",
    "LogSigmoid",
    "LogSoftmax",
    "LogSoftmaxBackward",
    "Logcumsumexp",
    "Logit",
    "Logsumexp",
    "MSELoss",
    "MarginRankingLoss",
    "MaskedFill",
    "MaskedIndex",
    "MaskedIndexPut",
    "MaskedScatter",
    "MaskedSelect",
    "Matmul",
    "MatrixExp",
    "MatrixSqrth",
    "Max",
    "MaxAlong",
    "MaxPool",
    "MaxUnpool",
    "Maximum",
    "Mean",
    "Median",
    "MedianAlong",
    "Min",
    "MinAlong",
    "Minimum",
    "Mish",
    "Mode",
    "ModifiedBesselI0",
    "ModifiedBesselI1",
    "ModifiedBesselK0",
    "ModifiedBesselK1",
    "Mul",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "Mvlgamma",
    "NLLLoss",
    "NanToNum",
    "Nanmedian",
    "NanmedianAlong",
    "Nansum",
    "NativeDropout",
    "NativeGroupNorm",
    "Ndtri",
    "Neg",
    "Nextafter",
    "Normal",
    "Normalize",
    "Ormqr",
    "Overwritten",
    "PDist",
    "PReLU",
    "PackPaddedSequence",
    "Pad",
    "PairwiseDistance",
    "PixelShuffle",
    "PixelUnshuffle",
    "Poisson",
    "PoissonNLLLoss",
    "Polar",
    "PolarDecomposition",
    "Polygamma",
    "Pow",
    "Prod",
    "ProdAlong",
    "PseudoInverse",
    "Put",
    "PutBack",
    "QR",
    "RMSNorm",
    "RNN",
    "RReLU",
    "RULES",
    "Rad2deg",
    "ReLU",
    "Reciprocal",
    "Remainder",
    "Renorm",
    "Repeat",
    "RoIAlign",
    "Roll",
    "Rot90",
    "Round",
    "Rsqrt",
    "Rule",
    "SELU",
    "SVD",
    "SafeSoftmax",
    "ScaledDotProductAttention",
    "ScaledModifiedBesselK0",
    "ScaledModifiedBesselK1",
    "Scatter",
    "ScatterAdd",
    "ScatterReduce",
    "ScatterValue",
    "SegmentReduce",
    "SelectScatter",
    "Sgn",
    "SiLU",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinc",
    "Sinh",
    "SliceScatter",
    "Slogdet",
    "SmoothL1Loss",
    "SoftCrossEntropyLoss",
    "SoftMarginLoss",
    "Softmax",
    "SoftmaxBackward",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Solve",
    "SolveTriangular",
    "Sort",
    "SphericalBesselJ0",
    "Sqrt",
    "StandardGamma",
    "Std",
    "StdMean",
    "Sub",
    "Sum",
    "SyncBatchNorm",
    "Take",
    "Tan",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "ToDense",
    "ToSparse",
    "Topk",
    "Trace",
    "Tril",
    "TripletMarginLoss",
    "Triu",
    "Trunc",
    "Unfold",
    "Var",
    "VarMean",
    "Vdot",
    "VectorNorm",
    "WeightNorm",
    "Where",
    "Write",
    "XLog1pY",
    "XLogY",
    "Zero",
    "Zeta",
    "backend",
]

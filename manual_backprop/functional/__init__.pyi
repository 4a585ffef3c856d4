# what manual_backprop.functional exports: written by make stubs

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
from manual_backprop.functional.composed import conv_tbc as conv_tbc
from manual_backprop.functional.composed import grouped_mm as grouped_mm
from manual_backprop.functional.composed import gumbel_softmax as gumbel_softmax
from manual_backprop.functional.composed import weight_norm as weight_norm
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
from manual_backprop.functional.ctc import ctc_loss as ctc_loss
from manual_backprop.functional.detection import roi_align as roi_align
from manual_backprop.functional.distances import cdist as cdist
from manual_backprop.functional.dropout import alpha_dropout as alpha_dropout
from manual_backprop.functional.dropout import dropout as dropout
from manual_backprop.functional.dropout import dropout1d as dropout1d
from manual_backprop.functional.dropout import dropout2d as dropout2d
from manual_backprop.functional.dropout import dropout3d as dropout3d
from manual_backprop.functional.dropout import feature_alpha_dropout as feature_alpha_dropout
from manual_backprop.functional.embedding import embedding as embedding
from manual_backprop.functional.embedding_bag import embedding_bag as embedding_bag
from manual_backprop.functional.gated import gelu as gelu
from manual_backprop.functional.gated import glu as glu
from manual_backprop.functional.grids import affine_grid as affine_grid
from manual_backprop.functional.grids import grid_sample as grid_sample
from manual_backprop.functional.indexing import gather as gather
from manual_backprop.functional.indexing import index as index
from manual_backprop.functional.indexing import index_put as index_put
from manual_backprop.functional.indexing import scatter as scatter
from manual_backprop.functional.instance_norm import instance_norm as instance_norm
from manual_backprop.functional.instance_norm import local_response_norm as local_response_norm
from manual_backprop.functional.interpolation import interpolate as interpolate
from manual_backprop.functional.interpolation import upsample as upsample
from manual_backprop.functional.interpolation import upsample_bilinear as upsample_bilinear
from manual_backprop.functional.interpolation import upsample_nearest as upsample_nearest
from manual_backprop.functional.inverses import linalg_det as linalg_det
from manual_backprop.functional.inverses import linalg_slogdet as linalg_slogdet
from manual_backprop.functional.inverses import linalg_solve as linalg_solve
from manual_backprop.functional.inverses import linalg_solve_triangular as linalg_solve_triangular
from manual_backprop.functional.likelihood import gaussian_nll_loss as gaussian_nll_loss
from manual_backprop.functional.likelihood import poisson_nll_loss as poisson_nll_loss
from manual_backprop.functional.linear import bilinear as bilinear
from manual_backprop.functional.linear import linear as linear
from manual_backprop.functional.loss import huber_loss as huber_loss
from manual_backprop.functional.loss import kl_div as kl_div
from manual_backprop.functional.loss import l1_loss as l1_loss
from manual_backprop.functional.loss import mse_loss as mse_loss
from manual_backprop.functional.loss import smooth_l1_loss as smooth_l1_loss
from manual_backprop.functional.lp_pool import lp_pool1d as lp_pool1d
from manual_backprop.functional.lp_pool import lp_pool2d as lp_pool2d
from manual_backprop.functional.lp_pool import lp_pool3d as lp_pool3d
from manual_backprop.functional.margins import hinge_embedding_loss as hinge_embedding_loss
from manual_backprop.functional.margins import margin_ranking_loss as margin_ranking_loss
from manual_backprop.functional.margins import multi_margin_loss as multi_margin_loss
from manual_backprop.functional.margins import triplet_margin_loss as triplet_margin_loss
from manual_backprop.functional.margins import triplet_margin_with_distance_loss as triplet_margin_with_distance_loss
from manual_backprop.functional.maxima import adaptive_max_pool1d as adaptive_max_pool1d
from manual_backprop.functional.maxima import adaptive_max_pool1d_with_indices as adaptive_max_pool1d_with_indices
from manual_backprop.functional.maxima import adaptive_max_pool2d as adaptive_max_pool2d
from manual_backprop.functional.maxima import adaptive_max_pool2d_with_indices as adaptive_max_pool2d_with_indices
from manual_backprop.functional.maxima import adaptive_max_pool3d as adaptive_max_pool3d
from manual_backprop.functional.maxima import adaptive_max_pool3d_with_indices as adaptive_max_pool3d_with_indices
from manual_backprop.functional.maxima import fractional_max_pool2d as fractional_max_pool2d
from manual_backprop.functional.maxima import fractional_max_pool2d_with_indices as fractional_max_pool2d_with_indices
from manual_backprop.functional.maxima import fractional_max_pool3d as fractional_max_pool3d
from manual_backprop.functional.maxima import fractional_max_pool3d_with_indices as fractional_max_pool3d_with_indices
from manual_backprop.functional.maxima import max_unpool1d as max_unpool1d
from manual_backprop.functional.maxima import max_unpool2d as max_unpool2d
from manual_backprop.functional.maxima import max_unpool3d as max_unpool3d
from manual_backprop.functional.multihead import multi_head_attention_forward as multi_head_attention_forward
from manual_backprop.functional.normalization import group_norm as group_norm
from manual_backprop.functional.normalization import layer_norm as layer_norm
from manual_backprop.functional.normalization import rms_norm as rms_norm
from manual_backprop.functional.padding import pad as pad
from manual_backprop.functional.piecewise import hardtanh as hardtanh
from manual_backprop.functional.piecewise import hardtanh_ as hardtanh_
from manual_backprop.functional.piecewise import relu6 as relu6
from manual_backprop.functional.pointwise import addcdiv as addcdiv
from manual_backprop.functional.pointwise import addcmul as addcmul
from manual_backprop.functional.pointwise import bernoulli as bernoulli
from manual_backprop.functional.pointwise import clamp as clamp
from manual_backprop.functional.pointwise import conj_physical as conj_physical
from manual_backprop.functional.pointwise import floor_divide as floor_divide
from manual_backprop.functional.pointwise import normal as normal
from manual_backprop.functional.pointwise import polygamma as polygamma
from manual_backprop.functional.pointwise import round as round
from manual_backprop.functional.pointwise import uniform_ as uniform_
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
from manual_backprop.functional.rearranging import block_diag as block_diag
from manual_backprop.functional.rectifiers import rrelu as rrelu
from manual_backprop.functional.rectifiers import rrelu_ as rrelu_
from manual_backprop.functional.recurrent import gru as gru
from manual_backprop.functional.recurrent import gru_cell as gru_cell
from manual_backprop.functional.recurrent import lstm as lstm
from manual_backprop.functional.recurrent import lstm_cell as lstm_cell
from manual_backprop.functional.recurrent import pack_padded as pack_padded
from manual_backprop.functional.recurrent import rnn_relu as rnn_relu
from manual_backprop.functional.recurrent import rnn_relu_cell as rnn_relu_cell
from manual_backprop.functional.recurrent import rnn_tanh as rnn_tanh
from manual_backprop.functional.recurrent import rnn_tanh_cell as rnn_tanh_cell
from manual_backprop.functional.reduction import prod as prod
from manual_backprop.functional.residual import add_layer_norm as add_layer_norm
from manual_backprop.functional.residual import add_rms_norm as add_rms_norm
from manual_backprop.functional.selection import max as max
from manual_backprop.functional.selection import median as median
from manual_backprop.functional.selection import min as min
from manual_backprop.functional.selection import nanmedian as nanmedian
from manual_backprop.functional.selection import sort as sort
from manual_backprop.functional.shape import flatten as flatten
from manual_backprop.functional.shape import permute as permute
from manual_backprop.functional.shape import reshape as reshape
from manual_backprop.functional.shape import transpose as transpose
from manual_backprop.functional.shape import unflatten as unflatten
from manual_backprop.functional.similarity import cosine_embedding_loss as cosine_embedding_loss
from manual_backprop.functional.similarity import cosine_similarity as cosine_similarity
from manual_backprop.functional.similarity import normalize as normalize
from manual_backprop.functional.similarity import pairwise_distance as pairwise_distance
from manual_backprop.functional.similarity import pdist as pdist
from manual_backprop.functional.softmax import log_softmax as log_softmax
from manual_backprop.functional.softmax import softmax as softmax
from manual_backprop.functional.softmax import softmin as softmin
from manual_backprop.functional.spectral import linalg_eigh as linalg_eigh
from manual_backprop.functional.spectral import linalg_eigvalsh as linalg_eigvalsh
from manual_backprop.functional.spectral import linalg_svd as linalg_svd
from manual_backprop.functional.spectral import linalg_svdvals as linalg_svdvals
from manual_backprop.functional.varlen import varlen_attn as varlen_attn
from torch import Tensor
from torch.nn.functional import one_hot as one_hot
from typing import Any

__all__ = [
    "_fft_c2c",
    "_fft_c2r",
    "_fft_r2c",
    "_standard_gamma",
    "abs",
    "acos",
    "acosh",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices",
    "add",
    "add_layer_norm",
    "add_rms_norm",
    "addbmm",
    "addcdiv",
    "addcmul",
    "addmm",
    "addmv",
    "addr",
    "affine_grid",
    "alpha_dropout",
    "amax",
    "amin",
    "aminmax",
    "angle",
    "as_strided_scatter",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "baddbmm",
    "batch_norm",
    "bernoulli",
    "bias_activation",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "block_diag",
    "call",
    "cat",
    "cdist",
    "ceil",
    "celu",
    "celu_",
    "channel_shuffle",
    "cholesky_inverse",
    "cholesky_solve",
    "clamp",
    "clamp_max",
    "clamp_min",
    "col2im",
    "complex",
    "conj_physical",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "copysign",
    "cos",
    "cosh",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "deg2rad",
    "diag_embed",
    "diagonal_scatter",
    "digamma",
    "dist",
    "div",
    "dot",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "embedding_bag",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "feature_alpha_dropout",
    "fill",
    "flatten",
    "flip",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "fold",
    "frac",
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
    "frexp",
    "gather",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "grid_sample",
    "grid_sampler_2d",
    "group_norm",
    "grouped_mm",
    "gru",
    "gru_cell",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "heaviside",
    "hinge_embedding_loss",
    "huber_loss",
    "hypot",
    "i0",
    "igamma",
    "igammac",
    "im2col",
    "index",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_reduce",
    "index_select",
    "instance_norm",
    "interpolate",
    "kl_div",
    "kthvalue",
    "l1_loss",
    "layer_norm",
    "ldexp",
    "leaky_relu",
    "leaky_relu_",
    "lerp",
    "lgamma",
    "linalg_cholesky_ex",
    "linalg_cross",
    "linalg_det",
    "linalg_eig",
    "linalg_eigh",
    "linalg_eigvalsh",
    "linalg_householder_product",
    "linalg_inv_ex",
    "linalg_lstsq",
    "linalg_lu",
    "linalg_lu_factor_ex",
    "linalg_lu_solve",
    "linalg_matrix_exp",
    "linalg_matrix_sqrth",
    "linalg_pinv",
    "linalg_polar",
    "linalg_qr",
    "linalg_slogdet",
    "linalg_solve",
    "linalg_solve_triangular",
    "linalg_svd",
    "linalg_svdvals",
    "linalg_vector_norm",
    "linear",
    "linear_cross_entropy",
    "local_response_norm",
    "log",
    "log10",
    "log1p",
    "log2",
    "log_softmax",
    "logaddexp",
    "logaddexp2",
    "logcumsumexp",
    "logit",
    "logsigmoid",
    "logsumexp",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "lstm",
    "lstm_cell",
    "lu_unpack",
    "margin_ranking_loss",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "matmul",
    "max",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maximum",
    "mean",
    "median",
    "min",
    "minimum",
    "mish",
    "mode",
    "mse_loss",
    "mul",
    "multi_head_attention_forward",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "mvlgamma",
    "nan_to_num",
    "nanmedian",
    "nansum",
    "native_dropout",
    "native_group_norm",
    "neg",
    "nextafter",
    "nll_loss",
    "normal",
    "normalize",
    "ormqr",
    "pack_padded",
    "pad",
    "pairwise_distance",
    "pdist",
    "permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson",
    "poisson_nll_loss",
    "polar",
    "polygamma",
    "pow",
    "prelu",
    "prod",
    "put",
    "rad2deg",
    "reciprocal",
    "relu",
    "relu6",
    "relu_",
    "remainder",
    "renorm",
    "repeat",
    "reshape",
    "rms_norm",
    "rnn_relu",
    "rnn_relu_cell",
    "rnn_tanh",
    "rnn_tanh_cell",
    "roi_align",
    "roll",
    "rot90",
    "round",
    "rrelu",
    "rrelu_",
    "rsqrt",
    "scaled_dot_product_attention",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "segment_reduce",
    "select_scatter",
    "selu",
    "selu_",
    "sgn",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "sinc",
    "sinh",
    "slice_scatter",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "sort",
    "special_bessel_j0",
    "special_bessel_j1",
    "special_bessel_y0",
    "special_bessel_y1",
    "special_entr",
    "special_erfcx",
    "special_i0e",
    "special_i1",
    "special_i1e",
    "special_log_ndtr",
    "special_modified_bessel_i0",
    "special_modified_bessel_i1",
    "special_modified_bessel_k0",
    "special_modified_bessel_k1",
    "special_ndtri",
    "special_scaled_modified_bessel_k0",
    "special_scaled_modified_bessel_k1",
    "special_spherical_bessel_j0",
    "special_xlog1py",
    "special_zeta",
    "sqrt",
    "std",
    "std_mean",
    "sub",
    "sum",
    "take",
    "tan",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "topk",
    "trace",
    "transpose",
    "tril",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "triu",
    "trunc",
    "unflatten",
    "unfold",
    "uniform_",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
    "var",
    "var_mean",
    "varlen_attn",
    "vdot",
    "weight_norm",
    "where",
    "xlogy",
    "zero",
]

def _fft_c2c(input: Tensor, dim: list, normalization: int, forward: bool) -> Tensor:
    """Y_k = c sum of x_n e^(-2 pi i n k / N) over the axes, or with + where not `forward`

    As torch._fft_c2c; rule: `mb.rules.FFT`.
    """

def _fft_c2r(input: Tensor, dim: list, normalization: int, last_dim_size: int) -> Tensor:
    """y_n = c sum of X_k e^(2 pi i n k / N) over the axes, where X_(N-k) = conj(X_k) is left out on the last one

    As torch._fft_c2r; rule: `mb.rules.FFTToReal`.
    """

def _fft_r2c(input: Tensor, dim: list, normalization: int, onesided: bool) -> Tensor:
    """Y_k = c sum of x_n e^(-2 pi i n k / N) over the axes; with `onesided` k <= N / 2 alone on the last one

    As torch._fft_r2c; rule: `mb.rules.FFTOfReal`.
    """

def _standard_gamma(input: Tensor, generator: Any = None) -> Tensor:
    """y = a draw of the gamma distribution with shape x and rate 1

    As torch._standard_gamma; rule: `mb.rules.StandardGamma`.
    """

def abs(input: Tensor) -> Tensor:
    """y = |x|

    As torch.abs; rule: `mb.rules.Abs`.
    """

def acos(input: Tensor) -> Tensor:
    """y = arccos x

    As torch.acos; rule: `mb.rules.Acos`.
    """

def acosh(input: Tensor) -> Tensor:
    """y = arcosh x

    As torch.acosh; rule: `mb.rules.Acosh`.
    """

def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """Y = beta C + alpha sum of A_i B_i

    As torch.addbmm; rule: `mb.rules.Addbmm`.
    """

def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """y = beta c + alpha A B

    As torch.addmm; rule: `mb.rules.Addmm`.
    """

def addmv(input: Tensor, mat: Tensor, vec: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """y = beta c + alpha A v

    As torch.addmv; rule: `mb.rules.Addmv`.
    """

def addr(input: Tensor, vec1: Tensor, vec2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """y = beta c + alpha u v^T

    As torch.addr; rule: `mb.rules.Addr`.
    """

def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """y = the largest x along some axes

    As torch.amax; rule: `mb.rules.Amax`.
    """

def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """y = the smallest x along some axes

    As torch.amin; rule: `mb.rules.Amin`.
    """

def aminmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """min, max = the smallest and the largest x along an axis, or of all

    As torch.aminmax; rule: `mb.rules.Aminmax`.
    """

def angle(input: Tensor) -> Tensor:
    """y = the angle of x to the positive real numbers

    As torch.angle; rule: `mb.rules.Angle`.
    """

def as_strided_scatter(input: Tensor, src: Tensor, size: list, stride: list, storage_offset: int | None = None) -> Tensor:
    """y = x, with src written to the elements that sizes and strides name

    As torch.as_strided_scatter; rule: `mb.rules.AsStridedScatter`.
    """

def asin(input: Tensor) -> Tensor:
    """y = arcsin x

    As torch.asin; rule: `mb.rules.Asin`.
    """

def asinh(input: Tensor) -> Tensor:
    """y = arsinh x

    As torch.asinh; rule: `mb.rules.Asinh`.
    """

def atan(input: Tensor) -> Tensor:
    """y = arctan x

    As torch.atan; rule: `mb.rules.Atan`.
    """

def atan2(input: Tensor, other: Tensor) -> Tensor:
    """y = the angle of the point (b, a)

    As torch.atan2; rule: `mb.rules.Atan2`.
    """

def atanh(input: Tensor) -> Tensor:
    """y = artanh x

    As torch.atanh; rule: `mb.rules.Atanh`.
    """

def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """Y_i = beta C_i + alpha A_i B_i

    As torch.baddbmm; rule: `mb.rules.Baddbmm`.
    """

def ceil(input: Tensor) -> Tensor:
    """y = the next integer above x

    As torch.ceil; rule: `mb.rules.Ceil`.
    """

def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """y = x where x > 0, else alpha (e^(x / alpha) - 1)

    As torch.nn.functional.celu; rule: `mb.rules.CELU`.
    """

def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """y = x where x > 0, else alpha (e^(x / alpha) - 1)

    As torch.nn.functional.celu_; rule: `mb.rules.CELU`.
    """

def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """y = channels interleaved: y[n, k g + i] = x[n, i C / g + k], for g groups

    As torch.channel_shuffle; rule: `mb.rules.ChannelShuffle`.
    """

def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """Y = (L L^H)^-1,   or (U^H U)^-1 with upper=True

    As torch.cholesky_inverse; rule: `mb.rules.CholeskyInverse`.
    """

def cholesky_solve(input: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
    """X = (L L^H)^-1 B,   or (U^H U)^-1 B with upper=True

    As torch.cholesky_solve; rule: `mb.rules.CholeskySolve`.
    """

def clamp_max(input: Tensor, max: Any) -> Tensor:
    """y = min(x, max)

    As torch.clamp_max; rule: `mb.rules.ClampMax`.
    """

def clamp_min(input: Tensor, min: Any) -> Tensor:
    """y = max(x, min)

    As torch.clamp_min; rule: `mb.rules.ClampMin`.
    """

def col2im(input: Tensor, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """y[n, c, i] = sum of x[n, (c, k), p] over k and p with stride p + dilation k - padding = i

    As torch.ops.aten.col2im; rule: `mb.rules.Fold`.
    """

def complex(real: Tensor, imag: Tensor) -> Tensor:
    """y = a + i b

    As torch.complex; rule: `mb.rules.Complex`.
    """

def copysign(input: Any, other: Any) -> Tensor:
    """y = |a| with the sign of b

    As torch.copysign; rule: `mb.rules.Copysign`.
    """

def cos(input: Tensor) -> Tensor:
    """y = cos x

    As torch.cos; rule: `mb.rules.Cos`.
    """

def cosh(input: Tensor) -> Tensor:
    """y = cosh x

    As torch.cosh; rule: `mb.rules.Cosh`.
    """

def cummax(input: Tensor, dim: int) -> Tensor:
    """y = y_i = the largest of x_1 ... x_i along an axis, and its index

    As torch.cummax; rule: `mb.rules.Cummax`.
    """

def cummin(input: Tensor, dim: int) -> Tensor:
    """y = y_i = the smallest of x_1 ... x_i along an axis, and its index

    As torch.cummin; rule: `mb.rules.Cummin`.
    """

def cumprod(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """y_i = x_1 ... x_i along an axis

    As torch.cumprod; rule: `mb.rules.Cumprod`.
    """

def cumsum(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """y_i = x_1 + ... + x_i along an axis

    As torch.cumsum; rule: `mb.rules.Cumsum`.
    """

def deg2rad(input: Tensor) -> Tensor:
    """y = pi x / 180

    As torch.deg2rad; rule: `mb.rules.Deg2rad`.
    """

def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """y = x on a diagonal of two axes, else 0

    As torch.diag_embed; rule: `mb.rules.DiagEmbed`.
    """

def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """y = x, with src written to a diagonal

    As torch.diagonal_scatter; rule: `mb.rules.DiagonalScatter`.
    """

def digamma(input: Tensor) -> Tensor:
    """y = the derivative of ln Gamma(x)

    As torch.digamma; rule: `mb.rules.Digamma`.
    """

def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """y = (sum |a - b|^p)^(1/p) over all elements

    As torch.dist; rule: `mb.rules.Dist`.
    """

def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """y = sum of a_i b_i

    As torch.dot; rule: `mb.rules.Dot`.
    """

def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """y = x where x > 0, else alpha (e^x - 1)

    As torch.nn.functional.elu; rule: `mb.rules.ELU`.
    """

def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """y = x where x > 0, else alpha (e^x - 1)

    As torch.nn.functional.elu_; rule: `mb.rules.ELU`.
    """

def erf(input: Tensor) -> Tensor:
    """y = 2 / sqrt(pi) integral of e^(-t^2) from 0 to x

    As torch.erf; rule: `mb.rules.Erf`.
    """

def erfc(input: Tensor) -> Tensor:
    """y = 1 - erf(x)

    As torch.erfc; rule: `mb.rules.Erfc`.
    """

def erfinv(input: Tensor) -> Tensor:
    """y = the number whose erf is x

    As torch.erfinv; rule: `mb.rules.Erfinv`.
    """

def exp(input: Tensor) -> Tensor:
    """y = e^x

    As torch.exp; rule: `mb.rules.Exp`.
    """

def exp2(input: Tensor) -> Tensor:
    """y = 2^x

    As torch.exp2; rule: `mb.rules.Exp2`.
    """

def expm1(input: Tensor) -> Tensor:
    """y = e^x - 1

    As torch.expm1; rule: `mb.rules.Expm1`.
    """

def fill(input: Tensor, value: Any) -> Tensor:
    """y = a value everywhere

    As torch.fill; rule: `mb.rules.Fill`.
    """

def flip(input: Tensor, dims: list) -> Tensor:
    """y = x with axes reversed

    As torch.flip; rule: `mb.rules.Flip`.
    """

def floor(input: Tensor) -> Tensor:
    """y = the next integer below x

    As torch.floor; rule: `mb.rules.Floor`.
    """

def fmax(input: Tensor, other: Tensor) -> Tensor:
    """y = max(a, b), the other where one is NaN

    As torch.fmax; rule: `mb.rules.Fmax`.
    """

def fmin(input: Tensor, other: Tensor) -> Tensor:
    """y = min(a, b), the other where one is NaN

    As torch.fmin; rule: `mb.rules.Fmin`.
    """

def fmod(input: Any, other: Any) -> Tensor:
    """y = a - b trunc(a / b)

    As torch.fmod; rule: `mb.rules.Fmod`.
    """

def fold(input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """y[n, c, i] = sum of x[n, (c, k), p] over k and p with stride p + dilation k - padding = i

    As torch.ops.aten.fold; rule: `mb.rules.Fold`.
    """

def frac(input: Tensor) -> Tensor:
    """y = x - trunc(x)

    As torch.frac; rule: `mb.rules.Frac`.
    """

def frexp(input: Tensor) -> Tensor:
    """y = m with x = m 2^e and |m| in [1/2, 1)

    As torch.frexp; rule: `mb.rules.Frexp`.
    """

def grid_sampler_2d(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    """y[n, c, p] = sum over i of w_i(g) x[n, c, i] near the place g = grid[n, p], the product over axes of w_i

    As torch.grid_sampler_2d; rule: `mb.rules.GridSample`.
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

def heaviside(input: Tensor, other: Tensor) -> Tensor:
    """y = 0 where a < 0, 1 where a > 0, b where a = 0

    As torch.heaviside; rule: `mb.rules.Heaviside`.
    """

def hypot(input: Tensor, other: Tensor) -> Tensor:
    """y = sqrt(a^2 + b^2)

    As torch.hypot; rule: `mb.rules.Hypot`.
    """

def i0(input: Tensor) -> Tensor:
    """y = I0(x), a modified Bessel function

    As torch.i0; rule: `mb.rules.I0`.
    """

def igamma(input: Tensor, other: Tensor) -> Tensor:
    """y = the probability that a variable of the gamma distribution a stays below b

    As torch.igamma; rule: `mb.rules.IGamma`.
    """

def igammac(input: Tensor, other: Tensor) -> Tensor:
    """y = 1 - the probability that a variable of the gamma distribution a stays below b

    As torch.igammac; rule: `mb.rules.IGammaC`.
    """

def im2col(input: Tensor, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """y[n, (c, k), p] = x[n, c, stride p + dilation k - padding], 0 outside of x: every window as a column

    As torch.ops.aten.im2col; rule: `mb.rules.Unfold`.
    """

def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float = 1) -> Tensor:
    """y = x, with alpha times the slices of a source added at index along an axis

    As torch.index_add; rule: `mb.rules.IndexAdd`.
    """

def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """y = x, with slices written at index along an axis

    As torch.index_copy; rule: `mb.rules.IndexCopy`.
    """

def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """y = x, with one number written to the slices at index along an axis

    As torch.index_fill; rule: `mb.rules.IndexFill`.
    """

def index_reduce(input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, include_self: bool = True) -> Tensor:
    """y = prod, mean, amax or amin of each group: of x, where include_self is true, and the slices of a source whose
    index along an axis it is

    As torch.index_reduce; rule: `mb.rules.IndexReduce`.
    """

def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """y = the slices x[.., index, ..] along an axis

    As torch.index_select; rule: `mb.rules.IndexSelect`.
    """

def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Tensor:
    """y = the k-th smallest x along an axis, and its index

    As torch.kthvalue; rule: `mb.rules.Kthvalue`.
    """

def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """y = a 2^b

    As torch.ldexp; rule: `mb.rules.Ldexp`.
    """

def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """y = max(0, x) + s min(0, x), s = negative_slope

    As torch.nn.functional.leaky_relu; rule: `mb.rules.LeakyReLU`.
    """

def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """y = max(0, x) + s min(0, x), s = negative_slope

    As torch.nn.functional.leaky_relu_; rule: `mb.rules.LeakyReLU`.
    """

def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """y = a + w (b - a)

    As torch.lerp; rule: `mb.rules.Lerp`.
    """

def lgamma(input: Tensor) -> Tensor:
    """y = ln |Gamma(x)|

    As torch.lgamma; rule: `mb.rules.Lgamma`.
    """

def linalg_cholesky_ex(input: Tensor, upper: bool = False, check_errors: bool = False) -> Tensor:
    """A = L L^H,   or U^H U with upper=True

    As torch.linalg.cholesky_ex; rule: `mb.rules.Cholesky`.
    """

def linalg_cross(input: Tensor, other: Tensor, dim: int = -1) -> Tensor:
    """y = a × b, of the vectors along one axis

    As torch.linalg.cross; rule: `mb.rules.Cross`.
    """

def linalg_eig(input: Tensor) -> Tensor:
    """A V = V diag(L), the columns of V of length 1

    As torch.linalg.eig; rule: `mb.rules.Eig`.
    """

def linalg_householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """Y = the first N columns of Q = H_1 ... H_k

    As torch.linalg.householder_product; rule: `mb.rules.HouseholderProduct`.
    """

def linalg_inv_ex(A: Tensor, check_errors: bool = False) -> Tensor:
    """Y = A^-1

    As torch.linalg.inv_ex; rule: `mb.rules.Inverse`.
    """

def linalg_lstsq(A: Tensor, B: Tensor, rcond: float | None = None, driver: str | None = None) -> Tensor:
    """X of the smallest |A X - B|: X = A^+ B

    As torch.linalg.lstsq; rule: `mb.rules.LeastSquares`.
    """

def linalg_lu(A: Tensor, pivot: bool = True) -> Tensor:
    """A = P L U

    As torch.linalg.lu; rule: `mb.rules.LU`.
    """

def linalg_lu_factor_ex(A: Tensor, pivot: bool = True, check_errors: bool = False) -> Tensor:
    """A = P L U, with L (without its diagonal of ones) and U in one matrix

    As torch.linalg.lu_factor_ex; rule: `mb.rules.LUFactor`.
    """

def linalg_lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, left: bool = True, adjoint: bool = False) -> Tensor:
    """X = A^-1 B,   or B A^-1 with left=False,   of A = P L U; with `adjoint` A^H in place of A

    As torch.linalg.lu_solve; rule: `mb.rules.LUSolve`.
    """

def linalg_matrix_exp(input: Tensor) -> Tensor:
    """Y = e^A = I + A + A A / 2 + A A A / 6 + ...

    As torch.linalg.matrix_exp; rule: `mb.rules.MatrixExp`.
    """

def linalg_matrix_sqrth(input: Tensor) -> Tensor:
    """X X = A, of Hermitian A and X with eigenvalues that are not negative

    As torch.linalg.matrix_sqrth; rule: `mb.rules.MatrixSqrth`.
    """

def linalg_pinv(input: Tensor, atol: Tensor | None = None, rtol: Tensor | None = None, hermitian: bool = False) -> Tensor:
    """P = A^+

    As torch.linalg.pinv; rule: `mb.rules.PseudoInverse`.
    """

def linalg_polar(A: Tensor) -> Tensor:
    """A = U H, U^H U = I, H Hermitian with eigenvalues that are not negative

    As torch.linalg.polar; rule: `mb.rules.PolarDecomposition`.
    """

def linalg_qr(A: Tensor, mode: str = 'reduced') -> Tensor:
    """A = Q R

    As torch.linalg.qr; rule: `mb.rules.QR`.
    """

def linalg_vector_norm(input: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """y = (sum |x|^p)^(1/p) over some axes;   max |x| for p = inf, min |x| for -inf, how many are not 0 for p = 0

    As torch.linalg.vector_norm; rule: `mb.rules.VectorNorm`.
    """

def log(input: Tensor) -> Tensor:
    """y = ln x

    As torch.log; rule: `mb.rules.Log`.
    """

def log10(input: Tensor) -> Tensor:
    """y = log10 x

    As torch.log10; rule: `mb.rules.Log10`.
    """

def log1p(input: Tensor) -> Tensor:
    """y = ln(1 + x)

    As torch.log1p; rule: `mb.rules.Log1p`.
    """

def log2(input: Tensor) -> Tensor:
    """y = log2 x

    As torch.log2; rule: `mb.rules.Log2`.
    """

def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """y = ln(e^a + e^b)

    As torch.logaddexp; rule: `mb.rules.LogAddExp`.
    """

def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """y = log2(2^a + 2^b)

    As torch.logaddexp2; rule: `mb.rules.LogAddExp2`.
    """

def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """y_i = log(e^(x_1) + ... + e^(x_i)) along an axis

    As torch.logcumsumexp; rule: `mb.rules.Logcumsumexp`.
    """

def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """y = ln(x / (1 - x)),   with eps: of x moved into [eps, 1 - eps]

    As torch.logit; rule: `mb.rules.Logit`.
    """

def logsigmoid(input: Tensor) -> Tensor:
    """y = log sigma(x) = -log(1 + e^-x)

    As torch.nn.functional.logsigmoid; rule: `mb.rules.LogSigmoid`.
    """

def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """y = log sum e^x over some axes

    As torch.logsumexp; rule: `mb.rules.Logsumexp`.
    """

def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Tensor:
    """P, L and U of the one matrix that holds L and U

    As torch.lu_unpack; rule: `mb.rules.LUUnpack`.
    """

def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """y = a value where the mask is set, else x

    As torch.masked_fill; rule: `mb.rules.MaskedFill`.
    """

def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """y = x, with the source written in order where the mask is true

    As torch.masked_scatter; rule: `mb.rules.MaskedScatter`.
    """

def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """y = the x where the mask is true, as one row

    As torch.masked_select; rule: `mb.rules.MaskedSelect`.
    """

def maximum(input: Tensor, other: Tensor) -> Tensor:
    """y = max(a, b), NaN where one is

    As torch.maximum; rule: `mb.rules.Maximum`.
    """

def minimum(input: Tensor, other: Tensor) -> Tensor:
    """y = min(a, b), NaN where one is

    As torch.minimum; rule: `mb.rules.Minimum`.
    """

def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """y = x w,   w = tanh(log(1 + e^x)) = n / (n + 2),   n = e^2x + 2 e^x

    As torch.nn.functional.mish; rule: `mb.rules.Mish`.
    """

def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    """y = the most frequent x along an axis, and its index

    As torch.mode; rule: `mb.rules.Mode`.
    """

def multilabel_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = 'mean') -> Tensor:
    """l = sum over targets j and others i of max(0, 1 - x_j + x_i) / V, or the mean or sum of all

    As torch.nn.functional.multilabel_margin_loss; rule: `mb.rules.MultiLabelMarginLoss`.
    """

def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None, reduce: bool | None = None, reduction: str = 'mean') -> Tensor:
    """l = - sum over V of w (y log s(x) + (1 - y) log s(-x)) / V, s the logistic function, or the mean or sum of all

    As torch.nn.functional.multilabel_soft_margin_loss; rule: `mb.rules.MultiLabelSoftMarginLoss`.
    """

def mvlgamma(input: Tensor, p: int) -> Tensor:
    """y = p (p - 1) / 4 ln pi + sum of ln Gamma(x - j / 2), j < p

    As torch.mvlgamma; rule: `mb.rules.Mvlgamma`.
    """

def nan_to_num(input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """y = x, with numbers in place of NaN and infinities

    As torch.nan_to_num; rule: `mb.rules.NanToNum`.
    """

def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """y = sum over some axes of the x that are no NaN

    As torch.nansum; rule: `mb.rules.Nansum`.
    """

def native_dropout(input: Tensor, p: float, train: bool | None) -> Tensor:
    """y = x mask / (1 - p),   the mask is set with probability 1 - p; x itself where train is False

    As torch.native_dropout; rule: `mb.rules.NativeDropout`.
    """

def native_group_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, batch: int, channels: int, positions: int, num_groups: int, eps: float) -> Tensor:
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   mean and var over a group of channels and their positions

    As torch.native_group_norm; rule: `mb.rules.NativeGroupNorm`.
    """

def neg(input: Tensor) -> Tensor:
    """y = -x

    As torch.neg; rule: `mb.rules.Neg`.
    """

def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """y = the number next to a on the way to b

    As torch.nextafter; rule: `mb.rules.Nextafter`.
    """

def ormqr(input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Y = Q C,   Q^H C with transpose=True,   C Q or C Q^H with left=False,   Q = H_1 ... H_k

    As torch.ormqr; rule: `mb.rules.Ormqr`.
    """

def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """y = r² channels as the r x r pixels of one: y[n, c, h r + i, w r + j] = x[n, c r² + i r + j, h, w]

    As torch.pixel_shuffle; rule: `mb.rules.PixelShuffle`.
    """

def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """y = the r x r pixels of a channel as r² channels: y[n, c r² + i r + j, h, w] = x[n, c, h r + i, w r + j]

    As torch.pixel_unshuffle; rule: `mb.rules.PixelUnshuffle`.
    """

def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """y = a draw of the Poisson distribution with mean x

    As torch.poisson; rule: `mb.rules.Poisson`.
    """

def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """y = r e^(i w)

    As torch.polar; rule: `mb.rules.Polar`.
    """

def pow(input: Any, exponent: Any) -> Tensor:
    """y = x^n

    As torch.pow; rule: `mb.rules.Pow`.
    """

def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """y = max(0, x) + w min(0, x), w learned: one for all or one for each channel

    As torch.nn.functional.prelu; rule: `mb.rules.PReLU`.
    """

def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """y = x, with source written (or added) at index, x as one row

    As torch.put; rule: `mb.rules.Put`.
    """

def rad2deg(input: Tensor) -> Tensor:
    """y = 180 x / pi

    As torch.rad2deg; rule: `mb.rules.Rad2deg`.
    """

def reciprocal(input: Tensor) -> Tensor:
    """y = 1 / x

    As torch.reciprocal; rule: `mb.rules.Reciprocal`.
    """

def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = max(0, x)

    As torch.nn.functional.relu; rule: `mb.rules.ReLU`.
    """

def relu_(input: Tensor) -> Tensor:
    """y = max(0, x)

    As torch.nn.functional.relu_; rule: `mb.rules.ReLU`.
    """

def remainder(input: Any, other: Any) -> Tensor:
    """y = a - b floor(a / b)

    As torch.remainder; rule: `mb.rules.Remainder`.
    """

def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """y_i = f_i x_i,   f_i = m / (norm_i + 1e-7) where norm_i > m, else 1,   norm_i = (sum |x_i|^p)^(1/p)

    As torch.renorm; rule: `mb.rules.Renorm`.
    """

def repeat(input: Tensor, repeats: list) -> Tensor:
    """y = x, so many times along each axis, and along new ones in front

    As torch.ops.aten.repeat; rule: `mb.rules.Repeat`.
    """

def roll(input: Tensor, shifts: list, dims: list) -> Tensor:
    """y = x moved along axes, around their ends

    As torch.roll; rule: `mb.rules.Roll`.
    """

def rot90(input: Tensor, k: int, dims: list) -> Tensor:
    """y = x turned k times by 90 degrees in the plane of two axes

    As torch.rot90; rule: `mb.rules.Rot90`.
    """

def rsqrt(input: Tensor) -> Tensor:
    """y = 1 / sqrt(x)

    As torch.rsqrt; rule: `mb.rules.Rsqrt`.
    """

def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """y = x, with src added at index along an axis

    As torch.scatter_add; rule: `mb.rules.ScatterAdd`.
    """

def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool = True) -> Tensor:
    """y = sum, prod, mean, amax or amin of each group: of x, where include_self is true, and the sources whose index
    along an axis it is

    As torch.scatter_reduce; rule: `mb.rules.ScatterReduce`.
    """

def segment_reduce(data: Tensor, reduce: str, lengths: Tensor | None = None, indices: Tensor | None = None, offsets: Tensor | None = None, axis: int = 0, unsafe: bool = False, initial: float | None = None) -> Tensor:
    """y = sum, mean, max, min or prod of each segment of x along an axis, and of a number `initial`

    As torch.segment_reduce; rule: `mb.rules.SegmentReduce`.
    """

def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """y = x, with src written at one place of an axis

    As torch.select_scatter; rule: `mb.rules.SelectScatter`.
    """

def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = scale x where x > 0, else scale alpha (e^x - 1); scale = 1.0507..., alpha = 1.6732...

    As torch.nn.functional.selu; rule: `mb.rules.SELU`.
    """

def selu_(input: Tensor) -> Tensor:
    """y = scale x where x > 0, else scale alpha (e^x - 1); scale = 1.0507..., alpha = 1.6732...

    As torch.nn.functional.selu_; rule: `mb.rules.SELU`.
    """

def sgn(input: Tensor) -> Tensor:
    """y = x / |x|, and 0 at 0

    As torch.sgn; rule: `mb.rules.Sgn`.
    """

def sigmoid(input: Tensor) -> Tensor:
    """y = sigma(x) = 1 / (1 + e^-x), the logistic function

    As torch.nn.functional.sigmoid; rule: `mb.rules.Sigmoid`.
    """

def sign(input: Tensor) -> Tensor:
    """y = -1, 0 or 1, as x is

    As torch.sign; rule: `mb.rules.Sign`.
    """

def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = x sigma(x)      (Swish)

    As torch.nn.functional.silu; rule: `mb.rules.SiLU`.
    """

def sin(input: Tensor) -> Tensor:
    """y = sin x

    As torch.sin; rule: `mb.rules.Sin`.
    """

def sinc(input: Tensor) -> Tensor:
    """y = sin(pi x) / (pi x), and 1 at 0

    As torch.sinc; rule: `mb.rules.Sinc`.
    """

def sinh(input: Tensor) -> Tensor:
    """y = sinh x

    As torch.sinh; rule: `mb.rules.Sinh`.
    """

def slice_scatter(input: Tensor, src: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Tensor:
    """y = x, with src written to a slice of an axis

    As torch.slice_scatter; rule: `mb.rules.SliceScatter`.
    """

def soft_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = 'mean') -> Tensor:
    """l = log(1 + e^(-y x)), or the mean or sum of all

    As torch.nn.functional.soft_margin_loss; rule: `mb.rules.SoftMarginLoss`.
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

def special_bessel_j0(input: Tensor) -> Tensor:
    """y = J0(x)

    As torch.special.bessel_j0; rule: `mb.rules.BesselJ0`.
    """

def special_bessel_j1(input: Tensor) -> Tensor:
    """y = J1(x)

    As torch.special.bessel_j1; rule: `mb.rules.BesselJ1`.
    """

def special_bessel_y0(input: Tensor) -> Tensor:
    """y = Y0(x)

    As torch.special.bessel_y0; rule: `mb.rules.BesselY0`.
    """

def special_bessel_y1(input: Tensor) -> Tensor:
    """y = Y1(x)

    As torch.special.bessel_y1; rule: `mb.rules.BesselY1`.
    """

def special_entr(input: Tensor) -> Tensor:
    """y = -x ln x

    As torch.special.entr; rule: `mb.rules.Entr`.
    """

def special_erfcx(input: Tensor) -> Tensor:
    """y = e^(x^2) erfc(x)

    As torch.special.erfcx; rule: `mb.rules.Erfcx`.
    """

def special_i0e(input: Tensor) -> Tensor:
    """y = e^-|x| I0(x)

    As torch.special.i0e; rule: `mb.rules.I0e`.
    """

def special_i1(input: Tensor) -> Tensor:
    """y = I1(x), a modified Bessel function

    As torch.special.i1; rule: `mb.rules.I1`.
    """

def special_i1e(input: Tensor) -> Tensor:
    """y = e^-|x| I1(x)

    As torch.special.i1e; rule: `mb.rules.I1e`.
    """

def special_log_ndtr(input: Tensor) -> Tensor:
    """y = ln of the probability that a normal variable stays below x

    As torch.special.log_ndtr; rule: `mb.rules.LogNdtr`.
    """

def special_modified_bessel_i0(input: Tensor) -> Tensor:
    """y = I0(x)

    As torch.special.modified_bessel_i0; rule: `mb.rules.ModifiedBesselI0`.
    """

def special_modified_bessel_i1(input: Tensor) -> Tensor:
    """y = I1(x)

    As torch.special.modified_bessel_i1; rule: `mb.rules.ModifiedBesselI1`.
    """

def special_modified_bessel_k0(input: Tensor) -> Tensor:
    """y = K0(x)

    As torch.special.modified_bessel_k0; rule: `mb.rules.ModifiedBesselK0`.
    """

def special_modified_bessel_k1(input: Tensor) -> Tensor:
    """y = K1(x)

    As torch.special.modified_bessel_k1; rule: `mb.rules.ModifiedBesselK1`.
    """

def special_ndtri(input: Tensor) -> Tensor:
    """y = the number below which a normal variable stays with probability x

    As torch.special.ndtri; rule: `mb.rules.Ndtri`.
    """

def special_scaled_modified_bessel_k0(input: Tensor) -> Tensor:
    """y = e^x K0(x)

    As torch.special.scaled_modified_bessel_k0; rule: `mb.rules.ScaledModifiedBesselK0`.
    """

def special_scaled_modified_bessel_k1(input: Tensor) -> Tensor:
    """y = e^x K1(x)

    As torch.special.scaled_modified_bessel_k1; rule: `mb.rules.ScaledModifiedBesselK1`.
    """

def special_spherical_bessel_j0(input: Tensor) -> Tensor:
    """y = sin(x) / x, and 1 at 0

    As torch.special.spherical_bessel_j0; rule: `mb.rules.SphericalBesselJ0`.
    """

def special_xlog1py(input: Any, other: Any) -> Tensor:
    """y = a ln(1 + b), and 0 where a is 0

    As torch.special.xlog1py; rule: `mb.rules.XLog1pY`.
    """

def special_zeta(input: Any, other: Any) -> Tensor:
    """y = zeta(a, b), the sum of (k + b)^-a over k

    As torch.special.zeta; rule: `mb.rules.Zeta`.
    """

def sqrt(input: Tensor) -> Tensor:
    """y = sqrt(x)

    As torch.sqrt; rule: `mb.rules.Sqrt`.
    """

def std(input: Tensor, dim: Any = None, correction: float | None = None, keepdim: bool = False) -> Tensor:
    """y = sqrt(var),   var = sum of |x - mean|^2 / (n - c) over some axes, of n elements each

    As torch.std; rule: `mb.rules.Std`.
    """

def std_mean(input: Tensor, dim: Any = None, correction: float | None = None, keepdim: bool = False) -> Tensor:
    """std, mean = sqrt(sum of |x - mean|^2 / (n - c)), sum of x / n over some axes, of n elements each

    As torch.std_mean; rule: `mb.rules.StdMean`.
    """

def take(input: Tensor, index: Tensor) -> Tensor:
    """y = x[index], with x as one row

    As torch.take; rule: `mb.rules.Take`.
    """

def tan(input: Tensor) -> Tensor:
    """y = tan x

    As torch.tan; rule: `mb.rules.Tan`.
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

def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Tensor:
    """y = the k largest (or smallest) x along an axis, and their indices

    As torch.topk; rule: `mb.rules.Topk`.
    """

def trace(input: Tensor) -> Tensor:
    """y = sum of the diagonal

    As torch.trace; rule: `mb.rules.Trace`.
    """

def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """y = x on and below a diagonal, else 0

    As torch.tril; rule: `mb.rules.Tril`.
    """

def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """y = x on and above a diagonal, else 0

    As torch.triu; rule: `mb.rules.Triu`.
    """

def trunc(input: Tensor) -> Tensor:
    """y = the next integer towards 0

    As torch.trunc; rule: `mb.rules.Trunc`.
    """

def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """y[n, (c, k), p] = x[n, c, stride p + dilation k - padding], 0 outside of x: every window as a column

    As torch.ops.aten.unfold; rule: `mb.rules.Unfold`.
    """

def var(input: Tensor, dim: Any = None, correction: float | None = None, keepdim: bool = False) -> Tensor:
    """y = sum of |x - mean|^2 / (n - c) over some axes, of n elements each

    As torch.var; rule: `mb.rules.Var`.
    """

def var_mean(input: Tensor, dim: Any = None, correction: float | None = None, keepdim: bool = False) -> Tensor:
    """var, mean = sum of |x - mean|^2 / (n - c), sum of x / n over some axes, of n elements each

    As torch.var_mean; rule: `mb.rules.VarMean`.
    """

def vdot(input: Tensor, other: Tensor) -> Tensor:
    """y = sum of conj(a_i) b_i

    As torch.vdot; rule: `mb.rules.Vdot`.
    """

def where(condition: Tensor, input: Any, other: Any) -> Tensor:
    """y = a where the condition holds, else b

    As torch.where; rule: `mb.rules.Where`.
    """

def xlogy(input: Any, other: Any) -> Tensor:
    """y = a ln b, and 0 where a is 0

    As torch.xlogy; rule: `mb.rules.XLogY`.
    """

def zero(input: Tensor) -> Tensor:
    """y = 0

    As torch.ops.aten.zero; rule: `mb.rules.Zero`.
    """

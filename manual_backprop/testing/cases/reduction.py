"""Rows of reductions: moments, norms, products, and variants of sums."""

import torch

from ..case import Spec, complex_normal, normal, uniform
from ._make import COMPLEX, function

INF = float("inf")

matrix: Spec = normal(3, 4)
cube: Spec = normal(2, 3, 4)
complex_matrix: Spec = complex_normal(3, 4)
factors: Spec = uniform(3, 4, low=0.5, high=2.0, specials=(0.0, 1.0, -1.0))
with_zeros: Spec = Spec(
    lambda generator, dtype: torch.tensor([[0.5, 0.0, 2.0], [0.0, 3.0, 0.0], [1.0, 2.0, 3.0]]).to(dtype)
)
with_nan: Spec = Spec(lambda generator, dtype: torch.tensor([[0.5, float("nan"), 2.0], [1.0, 3.0, -1.0]]).to(dtype))
ties: Spec = Spec(lambda generator, dtype: torch.tensor([[2.0, -2.0, 1.0], [0.0, 3.0, -0.5]]).to(dtype))

NO_GRADIENT = {
    "without": {
        check: "torch gives no gradient where ours gives zeros"
        for check in ("float32", "specials", "bfloat16", "autocast", "empty")
    }
}

of_norm_five: Spec = Spec(lambda generator, dtype: torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.3, 0.4]]).to(dtype))
KINK = {
    "without": {
        check: "finite differences at a kink"
        for check in ("gradcheck", "gradgradcheck", "forward_mode", "batched_grad", "transforms: hessian")
    }
}

CASES = [
    *(
        row
        for name in ("var", "std", "var_mean", "std_mean")
        for row in (
            function(name, (matrix,)),
            function(name, (cube,), dim=[0, -1], correction=0),
            function(name, (cube,), dim=[1], correction=2.5, keepdim=True),
            function(name, (complex_matrix,), dim=[1], tag="complex", row=COMPLEX),
        )
    ),
    *(
        function(name, (normal(3, 1),), dim=[1], correction=0, tag="one")
        for name in ("var", "std", "var_mean", "std_mean")
    ),
    function("logsumexp", (matrix,), dim=1),
    function("logsumexp", (cube,), dim=[0, 2], keepdim=True),
    function("logsumexp", (complex_matrix,), dim=[0], tag="complex", row=COMPLEX),
    function("nansum", (matrix,)),
    function("nansum", (with_nan,), dim=[1], keepdim=True, tag="nan"),
    function("nansum", (matrix,), dtype=torch.float64),
    function("trace", (matrix,)),
    function("trace", (complex_normal(4, 3),), tag="complex", row=COMPLEX),
    *(function("linalg_vector_norm", (matrix,), ord=ord) for ord in (2, 1, 3, 1.5, 0.5, -1, INF, -INF)),
    function("linalg_vector_norm", (matrix,), ord=0, row=NO_GRADIENT),
    *(
        function("linalg_vector_norm", (cube,), ord=ord, dim=[0, 2], keepdim=keepdim)
        for ord, keepdim in ((2, True), (3, False), (INF, False), (1.5, True))
    ),
    function("linalg_vector_norm", (ties,), ord=INF, dim=1, tag="ties", row=KINK),
    *(
        function("linalg_vector_norm", (complex_matrix,), ord=ord, dim=1, tag="complex", row=COMPLEX)
        for ord in (2, 1, 3, 1.5, 0.5, INF)
    ),
    function("linalg_vector_norm", (matrix,), dtype=torch.float64),
    *(function("dist", (matrix, normal(4)), p=p) for p in (2, 1, 3, INF)),
    function("dist", (complex_matrix, complex_matrix), tag="complex", row=COMPLEX),
    *(function("renorm", (cube,), p=p, dim=dim, maxnorm=1.5) for p, dim in ((2, 1), (1, -1), (3, 0))),
    function("renorm", (complex_normal(2, 3, 4),), p=2, dim=1, maxnorm=2.0, tag="complex", row=COMPLEX),
    function("renorm", (of_norm_five,), p=2, dim=0, maxnorm=5.0, tag="at-the-norm", row=KINK),
    function("prod", (factors,)),
    function("prod", (factors,), dim=1),
    function("prod", (uniform(2, 3, 4, low=-2.0, high=2.0),), dim=-2, keepdim=True),
    function("prod", (with_zeros,), dim=1, tag="zeros"),
    function("prod", (complex_matrix,), dim=0, tag="complex", row=COMPLEX),
    function("prod", (complex_matrix,), tag="complex-all", row=COMPLEX),
    function("prod", (normal(),), dim=0, tag="0d"),
    function("prod", (factors,), dtype=torch.float64),
    function("cumsum", (matrix,), dim=1),
    function("cumsum", (cube,), dim=-2),
    function("cumsum", (complex_matrix,), dim=0, tag="complex", row=COMPLEX),
    function("cumsum", (normal(),), dim=0, tag="0d"),
    function("cumsum", (matrix,), dim=0, dtype=torch.float64),
    function("cumprod", (factors,), dim=1),
    function("cumprod", (uniform(2, 5, 4, low=-2.0, high=2.0),), dim=-2),
    function("cumprod", (with_zeros,), dim=1, tag="zeros"),
    function("cumprod", (complex_matrix,), dim=0, tag="complex", row=COMPLEX),
    function("cumprod", (normal(),), dim=0, tag="0d"),
    function("cumprod", (factors,), dim=0, dtype=torch.float64),
    function("logcumsumexp", (matrix,), dim=1),
    function("logcumsumexp", (normal(2, 5, 4),), dim=-2),
    function("logcumsumexp", (complex_matrix,), dim=0, tag="complex", row=COMPLEX),
    function("logcumsumexp", (normal(),), dim=0, tag="0d"),
]

"""Kernels: faster functions for the formulas, with the same arguments and results.

They are registered in registry.py; `choose()` of engine/rule.py picks one.
"""

from . import (
    attention,
    axes,
    batchnorm,
    bias_activation,
    ctc,
    dropout,
    grids,
    indexed,
    layout,
    losses,
    matmul,
    maxpool,
    pointwise,
    pools,
    recurrent,
    residual,
    response_norm,
    row_losses,
    rows,
    softmax,
    vendor,
)

from . import cuda  # isort: skip  # last: it uses the list of formulas in pointwise

"""Faster functions for the formulas: same arguments, same result, registered in registry.py, which `choose()` of
engine/rule.py asks."""

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

from . import cuda  # isort: skip  # last: it prints the formulas that pointwise names

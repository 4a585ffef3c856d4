"""Faster functions for the formulas: same arguments, same result, chosen by `choose()` in engine/rule.py."""

from . import (
    attention,
    batchnorm,
    bias_activation,
    dropout,
    indexed,
    layout,
    losses,
    matmul,
    maxpool,
    pointwise,
    pools,
    residual,
    rows,
    softmax,
    vendor,
)

from . import cuda  # isort: skip  # last: it goes before those for the CPU

"""Every row of the suite: one per configuration of a public layer or function."""

from . import (
    arithmetic,
    batchnorm,
    convolution,
    cross_entropy,
    dropout,
    exponential,
    gated,
    linear,
    loss,
    normalization,
    piecewise,
    pooling,
    rectifiers,
    shape,
    smooth,
    softmax,
)

CASES = [
    *arithmetic.CASES,
    *batchnorm.CASES,
    *convolution.CASES,
    *cross_entropy.CASES,
    *dropout.CASES,
    *exponential.CASES,
    *gated.CASES,
    *linear.CASES,
    *loss.CASES,
    *normalization.CASES,
    *piecewise.CASES,
    *pooling.CASES,
    *rectifiers.CASES,
    *shape.CASES,
    *smooth.CASES,
    *softmax.CASES,
]

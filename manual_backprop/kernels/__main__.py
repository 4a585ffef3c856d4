"""`python -m manual_backprop.kernels`: lists every kernel with its formula, its device and what it serves."""

from .registry import table

print(table())

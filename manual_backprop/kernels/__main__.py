"""`python -m manual_backprop.kernels`: every kernel, by its formula and device, and when it serves."""

from .registry import table

print(table())

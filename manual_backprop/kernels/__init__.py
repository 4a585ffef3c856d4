"""Faster functions for the formulas: same arguments, same result, chosen by `choose()` in rules/_rule.py."""

from . import attention, cpu, layout, matmul, pointwise, pools, rows, softmax, vendor

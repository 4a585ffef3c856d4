"""Rows of what puts numbers in other places."""

from ..case import normal
from ._make import function

CASES = [
    function("roll", (normal(3, 4),), shifts=[1, 2], dims=[0, 1]),
    function("flip", (normal(3, 4),), dims=[0]),
]

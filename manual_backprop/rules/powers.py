"""Powers, exponentials and logarithms, number by number."""

from __future__ import annotations

from ..engine.operators import elemental
from .arithmetic import conj

SOURCE = 'Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.'

Exp = elemental("exp", "e^x", "delta y", lambda delta, output: delta * conj(output))
Log = elemental("log", "ln x", "delta / x", lambda delta, input: delta / conj(input))
Rsqrt = elemental("rsqrt", "1 / sqrt(x)", "-delta y^3 / 2", lambda delta, output: -delta / 2 * conj(output**3))

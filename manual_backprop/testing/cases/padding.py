"""Rows of the padding layers."""

from ..case import complex_normal, normal
from ._make import COMPLEX, function, layer

D = {1: (4,), 2: (3, 4), 3: (2, 3, 4)}
WIDTHS = (1, 2, 0, 1, 1, 0)

CASES = [
    *(layer(f"ConstantPad{n}d", WIDTHS[: 2 * n], 0.5, inputs=(normal(2, 1, *D[n]),)) for n in D),
    *(layer(f"ZeroPad{n}d", 1, inputs=(normal(2, 1, *D[n]),)) for n in D),
    *(layer(f"ReflectionPad{n}d", WIDTHS[: 2 * n], inputs=(normal(2, 1, *D[n]),)) for n in D),
    *(layer(f"ReplicationPad{n}d", WIDTHS[: 2 * n], inputs=(normal(2, 1, *D[n]),)) for n in D),
    *(layer(f"CircularPad{n}d", WIDTHS[: 2 * n], inputs=(normal(2, 1, *D[n]),)) for n in D),
    *(layer(f"{kind}Pad{n}d", 1, inputs=(normal(2, *D[n]),), tag="unbatched")
      for kind in ("Reflection", "Replication", "Circular") for n in D),
    layer("ConstantPad2d", (-1, 2, 1, -1), 2.0, inputs=(normal(2, 3, 4),), tag="unbatched"),
    function("pad", (normal(2, 3, 4),), pad=(1, 1, 2, 0, 1, 0), value=-1.0, tag="every-axis"),
    function("pad", (complex_normal(2, 3),), pad=(1, 2), value=1.0, tag="complex", row=COMPLEX),
    function("pad", (complex_normal(1, 2, 4),), pad=(2, 1), mode="replicate", tag="complex", row=COMPLEX),
]  # fmt: skip

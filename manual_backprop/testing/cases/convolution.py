"""Rows of the convolutions and of padding."""

from itertools import product

from ..case import complex_normal, normal
from ._make import COMPLEX, function, layer

D = {1: (7,), 2: (5, 4), 3: (3, 2, 4)}
"""Spatial sizes by number of axes, no two equal."""

SMALL = {1: (4,), 2: (3, 2), 3: (2, 1, 3)}
"""Spatial sizes of the inputs of transposed convolutions, which enlarge them."""


LARGER = {"larger": (normal(2, 3, 16, 15),)}

CONV = [
    *(layer(f"Conv{n}d", 2, 3, 2, inputs=(normal(2, 2, *D[n]),)) for n in D),
    *(layer(f"Conv{n}d", 2, 3, 2, stride=2, bias=False, inputs=(normal(2, 2, *D[n]),)) for n in D),
    *(layer(f"Conv{n}d", 2, 3, 2, inputs=(normal(2, *D[n]),), tag="unbatched") for n in D),
    layer("Conv1d", 4, 6, 3, stride=2, padding=2, dilation=2, groups=2, inputs=(normal(3, 4, 9),)),
    layer("Conv2d", 3, 4, 3, inputs=(normal(2, 3, 4, 5),), row=LARGER),
    layer("Conv2d", 2, 3, (3, 2), stride=(3, 2), inputs=(normal(2, 2, 8, 5),), tag="unused-rows"),
    layer("Conv2d", 2, 3, 3, padding=(2, 1), inputs=(normal(2, 2, 4, 5),)),
    layer("Conv2d", 2, 3, 2, padding=3, inputs=(normal(2, 2, 4, 3),), tag="padding-beyond-kernel"),
    layer("Conv2d", 2, 3, 3, stride=2, padding=1, dilation=(2, 1), inputs=(normal(2, 2, 8, 6),)),
    layer("Conv2d", 4, 6, 2, groups=2, stride=2, padding=1, inputs=(normal(2, 4, 5, 4),)),
    layer("Conv2d", 2, 4, 3, groups=2, padding=1, inputs=(normal(2, 2, 4, 3),), tag="depthwise"),
    layer("Conv2d", 3, 2, 1, inputs=(normal(2, 3, 4, 5),), tag="pointwise"),
    layer("Conv3d", 2, 4, (2, 1, 3), stride=(2, 1, 2), padding=(1, 0, 1), dilation=(1, 1, 2), groups=2,
          inputs=(normal(2, 2, 3, 2, 5),)),
    layer("Conv1d", 2, 3, 3, padding="same", dilation=2, inputs=(normal(2, 2, 7),)),
    layer("Conv2d", 2, 3, (1, 3), padding="same", inputs=(normal(2, 2, 4, 5),)),
    layer("Conv3d", 2, 2, (3, 2, 1), padding="same", inputs=(normal(1, 2, 3, 2, 3),), tag="odd"),
    layer("Conv2d", 2, 3, (2, 3), padding="same", dilation=(3, 2), inputs=(normal(2, 2, 5, 6),), tag="odd"),
    layer("Conv2d", 2, 3, 3, padding="valid", inputs=(normal(2, 2, 5, 6),)),
    *(
        layer(f"Conv{n}d", 2, 2, 2, padding=1, stride=2, padding_mode=mode, inputs=(normal(2, 2, *D[n]),))
        for n, mode in product(D, ("reflect", "replicate", "circular"))
    ),
    layer("Conv2d", 2, 3, 3, padding=(0, 2), padding_mode="reflect", inputs=(normal(2, 2, 4, 5),)),
    layer("Conv2d", 2, 3, (2, 3), padding="same", padding_mode="circular", inputs=(normal(2, 2, 4, 5),)),
    *(function(f"conv{n}d", (normal(2, 2, *D[n]), normal(4, 1, *[2] * n), normal(4)), groups=2) for n in D),
    function("conv2d", (normal(2, 2, 5, 4), normal(3, 2, 3, 3)), stride=2, padding="valid"),
    function("conv2d", (complex_normal(2, 2, 5, 4), complex_normal(3, 2, 2, 2), complex_normal(3)), tag="complex",
             stride=2, row=COMPLEX),
]  # fmt: skip

CONV_TRANSPOSE = [
    *(layer(f"ConvTranspose{n}d", 2, 3, 2, inputs=(normal(2, 2, *SMALL[n]),)) for n in D),
    *(layer(f"ConvTranspose{n}d", 2, 3, 2, stride=2, bias=False, inputs=(normal(2, 2, *SMALL[n]),)) for n in D),
    *(layer(f"ConvTranspose{n}d", 2, 3, 2, inputs=(normal(2, *SMALL[n]),), tag="unbatched") for n in D),
    layer("ConvTranspose1d", 4, 6, 3, stride=3, padding=2, output_padding=2, dilation=2, groups=2,
          inputs=(normal(3, 4, 5),)),
    layer("ConvTranspose2d", 2, 3, 3, stride=(3, 2), padding=(1, 0), output_padding=(2, 1), inputs=(normal(2, 2, 3, 2),)),
    layer("ConvTranspose2d", 2, 2, 2, dilation=3, output_padding=2, inputs=(normal(2, 2, 3, 2),)),
    layer("ConvTranspose2d", 4, 6, 2, groups=2, stride=2, inputs=(normal(2, 4, 2, 3),), row={"larger": (normal(2, 4, 9, 8),)}),
    layer("ConvTranspose2d", 3, 3, 3, groups=3, padding=1, inputs=(normal(2, 3, 3, 4),), tag="depthwise"),
    layer("ConvTranspose3d", 2, 4, (2, 1, 3), stride=(2, 1, 2), padding=(1, 0, 1), output_padding=(1, 0, 0), groups=2,
          inputs=(normal(2, 2, 2, 1, 3),)),
    *(
        function(f"conv_transpose{n}d", (normal(2, 2, *SMALL[n]), normal(2, 1, *[2] * n), normal(2)), stride=2,
                 output_padding=1, groups=2)
        for n in D
    ),
    function("conv_transpose2d", (complex_normal(2, 2, 5, 4), complex_normal(2, 3, 2, 2), complex_normal(3)),
             tag="complex", stride=2,
             row=COMPLEX),
]  # fmt: skip

PAD = [
    function("pad", (normal(2, 3),), pad=(1, 2)),
    function("pad", (normal(2, 3, 4),), pad=(1, 2, 0, 3), value=1.5),
    function("pad", (normal(3, 5, 4),), pad=(-1, 2, 1, -2)),
    *(
        function("pad", (normal(2, 1, *D[n]),), pad=(2, 1, 1, 2, 0, 2)[: 2 * n], mode=mode)
        for n, mode in product(D, ("reflect", "replicate", "circular"))
        if not (n == 3 and mode == "reflect")
    ),
    function("pad", (normal(1, 2, 3, 2, 4),), pad=(3, 1, 1, 0, 0, 2), mode="reflect"),
    function("pad", (normal(2, 1, 4),), pad=(6, 9), mode="replicate"),
    *(
        function("pad", (normal(1, 2, 5, 7),), pad=(-2, 3, 2, -1), mode=mode)
        for mode in ("reflect", "replicate", "circular")
    ),
    function("pad", (normal(2, 4),), pad=(4, 4), mode="circular", tag="unbatched"),
    function("pad", (normal(2, 4),), pad=(3, 1), mode="reflect", tag="unbatched"),
    function("pad", (complex_normal(2, 2, 4),), pad=(3, 1), mode="reflect", tag="complex",
             row=COMPLEX),
]  # fmt: skip

CASES = [*CONV, *CONV_TRANSPOSE, *PAD]

"""Rows of the normalizations of single samples by channel, and by neighbouring channels."""

from ..case import constant, normal, uniform
from ._make import function, layer

D = {1: (5,), 2: (2, 3), 3: (2, 1, 3)}
LINE = (normal(2, 3, 4),)
RUNNING = (normal(3, grad=False), uniform(3, low=0.5, high=2.0, grad=False))
NONE = constant(None)
# no infinity: for an infinite weight, the order of operations decides whether a result is NaN or infinite
WEIGHT = uniform(3, low=-1.0, specials=(0.0, 1000.0, float("nan")))

# the twin calls batch_norm, whose Hessian by torch.func is not symmetric: see the rows of batch_norm
WRONG = {"without": {"transforms: hessian": "the twin's is wrong: not symmetric"}}
EMPTY = {"without": {"empty": "the twin raises an IndexError for an empty batch"}}

INSTANCE = [
    *(layer(f"InstanceNorm{n}d", 2, inputs=(normal(2, 2, *D[n]),)) for n in D),
    *(layer(f"InstanceNorm{n}d", 2, affine=True, inputs=(normal(2, 2, *D[n]),), row=WRONG) for n in D),
    *(layer(f"InstanceNorm{n}d", 2, affine=True, inputs=(normal(2, *D[n]),), tag="unbatched", row=WRONG) for n in D),
    layer(
        "InstanceNorm2d",
        2,
        affine=True,
        track_running_stats=True,
        momentum=0.3,
        inputs=(normal(3, 2, *D[2]),),
        row=WRONG,
    ),
    layer(
        "InstanceNorm2d",
        2,
        affine=True,
        track_running_stats=True,
        inputs=(normal(3, 2, *D[2]),),
        train=False,
        row=EMPTY,
    ),
    layer("InstanceNorm1d", 2, track_running_stats=True, momentum=None, eps=0.1, inputs=(normal(3, 2, *D[1]),)),
    function("instance_norm", LINE),
    function("instance_norm", (*LINE, *RUNNING, WEIGHT, normal(3)), momentum=0.2, row=WRONG),
    function("instance_norm", (*LINE, NONE, NONE, WEIGHT), tag="weight-only", row=WRONG),
    function("instance_norm", (*LINE, NONE, NONE, NONE, normal(3)), tag="bias-only"),
    function("instance_norm", (*LINE, *RUNNING, normal(3), normal(3)), use_input_stats=False),
]

ANOTHER = {
    "forward": (1e-6, "sums over channels in another order"),
    "without": dict.fromkeys(
        ("float32", "bfloat16", "specials", "transforms", "autocast"),
        "the twin's backward does not fit its forward: its window is shifted by one channel",
    ),
}

RESPONSE = [
    layer("LocalResponseNorm", 3, alpha=0.3, inputs=(normal(2, 5, 3),)),
    layer("LocalResponseNorm", 4, alpha=0.5, beta=0.6, k=2.0, inputs=(normal(1, 5, 2, 2),)),
    layer("LocalResponseNorm", 2, alpha=0.5, inputs=(normal(2, 3, 1, 2, 2),)),
    function("local_response_norm", (normal(2, 4, 3),), size=2),
    layer("CrossMapLRN2d", 3, alpha=0.3, inputs=(normal(2, 5, 2, 2),), row=ANOTHER),
    layer("CrossMapLRN2d", 4, alpha=0.5, beta=0.6, k=2, inputs=(normal(1, 6, 2, 2),), row=ANOTHER),
]


NATIVE = [
    function(
        "native_group_norm",
        (normal(2, 4, 3), normal(4), normal(4), *map(constant, (2, 4, 3, 2, 1e-5))),
        row={"without": {"forward_mode": "torch's check fails when some arguments are numbers"}},
    ),
]

CASES = [*INSTANCE, *RESPONSE, *NATIVE]

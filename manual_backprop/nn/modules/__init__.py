"""torch.nn.modules, by whose name code also imports layers: the layers and containers of manual_backprop.nn.

Of its files there are those without layers, torch's own: `module`, `container`, `lazy` and `utils`. Any other would
hold torch's layers, and is refused.
"""

from __future__ import annotations

import torch.nn.modules as _theirs

from ...engine.exports import NotExportedError as _NotExportedError
from ...engine.exports import give_reasons as _give_reasons
from ...engine.exports import import_as as _import_as

for _file in (_theirs.container, _theirs.lazy, _theirs.module, _theirs.utils):
    _name = _file.__name__.rpartition(".")[2]
    globals()[_name] = _file
    _import_as(f"{__name__}.{_name}", _file)
_give_reasons(__name__)


def __getattr__(name: str) -> object:
    from manual_backprop import nn

    theirs = getattr(_theirs, name, None)
    if isinstance(theirs, type):
        return getattr(nn, name)
    if theirs is not None and not name.startswith("__"):
        raise _NotExportedError(
            f"manual_backprop.nn.modules has no {name!r}: the layers in torch.nn.modules.{name} have autograd's own "
            f"backward. Import layers from manual_backprop.nn. Import base classes, such as _BatchNorm, from "
            f"torch.nn.modules.{name}; the layers of manual_backprop.nn are instances of them, too"
        )
    if name == "__all__":
        return [name for name in _theirs.__all__ if hasattr(nn, name)]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

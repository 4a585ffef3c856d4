from torch.nn.modules.utils import *
from torch.nn.modules.utils import (
    _ntuple as _ntuple,
    _single as _single,
    _pair as _pair,
    _triple as _triple,
    _quadruple as _quadruple,
    _reverse_repeat_tuple as _reverse_repeat_tuple,
    _list_with_default as _list_with_default,
)

# what manual_backprop.nn.modules.normalization exports: written by make stubs

from manual_backprop.nn import LocalResponseNorm as LocalResponseNorm
from manual_backprop.nn import CrossMapLRN2d as CrossMapLRN2d
from manual_backprop.nn import LayerNorm as LayerNorm
from manual_backprop.nn import GroupNorm as GroupNorm
from manual_backprop.nn import RMSNorm as RMSNorm

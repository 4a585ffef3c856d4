# what manual_backprop.nn.modules.linear exports: written by make stubs

from manual_backprop.nn import Bilinear as Bilinear
from manual_backprop.nn import Identity as Identity
from manual_backprop.nn import LazyLinear as LazyLinear
from manual_backprop.nn import Linear as Linear

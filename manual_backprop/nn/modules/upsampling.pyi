# what manual_backprop.nn.modules.upsampling exports: written by make stubs

from manual_backprop.nn import Upsample as Upsample
from manual_backprop.nn import UpsamplingNearest2d as UpsamplingNearest2d
from manual_backprop.nn import UpsamplingBilinear2d as UpsamplingBilinear2d

# what manual_backprop.nn.modules.instancenorm exports: written by make stubs

from manual_backprop.nn import InstanceNorm1d as InstanceNorm1d
from manual_backprop.nn import InstanceNorm2d as InstanceNorm2d
from manual_backprop.nn import InstanceNorm3d as InstanceNorm3d
from manual_backprop.nn import LazyInstanceNorm1d as LazyInstanceNorm1d
from manual_backprop.nn import LazyInstanceNorm2d as LazyInstanceNorm2d
from manual_backprop.nn import LazyInstanceNorm3d as LazyInstanceNorm3d

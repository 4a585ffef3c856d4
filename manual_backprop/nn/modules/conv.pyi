# what manual_backprop.nn.modules.conv exports: written by make stubs

from manual_backprop.nn import Conv1d as Conv1d
from manual_backprop.nn import Conv2d as Conv2d
from manual_backprop.nn import Conv3d as Conv3d
from manual_backprop.nn import ConvTranspose1d as ConvTranspose1d
from manual_backprop.nn import ConvTranspose2d as ConvTranspose2d
from manual_backprop.nn import ConvTranspose3d as ConvTranspose3d
from manual_backprop.nn import LazyConv1d as LazyConv1d
from manual_backprop.nn import LazyConv2d as LazyConv2d
from manual_backprop.nn import LazyConv3d as LazyConv3d
from manual_backprop.nn import LazyConvTranspose1d as LazyConvTranspose1d
from manual_backprop.nn import LazyConvTranspose2d as LazyConvTranspose2d
from manual_backprop.nn import LazyConvTranspose3d as LazyConvTranspose3d

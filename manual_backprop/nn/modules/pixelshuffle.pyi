# what manual_backprop.nn.modules.pixelshuffle exports: written by make stubs

from manual_backprop.nn import PixelShuffle as PixelShuffle
from manual_backprop.nn import PixelUnshuffle as PixelUnshuffle

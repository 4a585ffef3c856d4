# what manual_backprop.nn.modules.linear_cross_entropy_options exports: written by make stubs

from manual_backprop.nn import LinearCrossEntropyOptions as LinearCrossEntropyOptions

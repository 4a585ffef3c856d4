# what manual_backprop.nn.modules.adaptive exports: written by make stubs

from manual_backprop.nn import AdaptiveLogSoftmaxWithLoss as AdaptiveLogSoftmaxWithLoss

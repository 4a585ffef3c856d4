# what manual_backprop.nn.modules.channelshuffle exports: written by make stubs

from manual_backprop.nn import ChannelShuffle as ChannelShuffle

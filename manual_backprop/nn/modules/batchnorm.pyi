# what manual_backprop.nn.modules.batchnorm exports: written by make stubs

from manual_backprop.nn import BatchNorm1d as BatchNorm1d
from manual_backprop.nn import LazyBatchNorm1d as LazyBatchNorm1d
from manual_backprop.nn import BatchNorm2d as BatchNorm2d
from manual_backprop.nn import LazyBatchNorm2d as LazyBatchNorm2d
from manual_backprop.nn import BatchNorm3d as BatchNorm3d
from manual_backprop.nn import LazyBatchNorm3d as LazyBatchNorm3d
from manual_backprop.nn import SyncBatchNorm as SyncBatchNorm

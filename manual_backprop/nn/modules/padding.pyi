# what manual_backprop.nn.modules.padding exports: written by make stubs

from manual_backprop.nn import CircularPad1d as CircularPad1d
from manual_backprop.nn import CircularPad2d as CircularPad2d
from manual_backprop.nn import CircularPad3d as CircularPad3d
from manual_backprop.nn import ConstantPad1d as ConstantPad1d
from manual_backprop.nn import ConstantPad2d as ConstantPad2d
from manual_backprop.nn import ConstantPad3d as ConstantPad3d
from manual_backprop.nn import ReflectionPad1d as ReflectionPad1d
from manual_backprop.nn import ReflectionPad2d as ReflectionPad2d
from manual_backprop.nn import ReflectionPad3d as ReflectionPad3d
from manual_backprop.nn import ReplicationPad1d as ReplicationPad1d
from manual_backprop.nn import ReplicationPad2d as ReplicationPad2d
from manual_backprop.nn import ReplicationPad3d as ReplicationPad3d
from manual_backprop.nn import ZeroPad1d as ZeroPad1d
from manual_backprop.nn import ZeroPad2d as ZeroPad2d
from manual_backprop.nn import ZeroPad3d as ZeroPad3d

# what manual_backprop.nn.modules.flatten exports: written by make stubs

from manual_backprop.nn import Flatten as Flatten
from manual_backprop.nn import Unflatten as Unflatten

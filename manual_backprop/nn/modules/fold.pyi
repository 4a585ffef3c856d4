# what manual_backprop.nn.modules.fold exports: written by make stubs

from manual_backprop.nn import Fold as Fold
from manual_backprop.nn import Unfold as Unfold

# what manual_backprop.nn.modules.dropout exports: written by make stubs

from manual_backprop.nn import Dropout as Dropout
from manual_backprop.nn import Dropout1d as Dropout1d
from manual_backprop.nn import Dropout2d as Dropout2d
from manual_backprop.nn import Dropout3d as Dropout3d
from manual_backprop.nn import AlphaDropout as AlphaDropout
from manual_backprop.nn import FeatureAlphaDropout as FeatureAlphaDropout

# what manual_backprop.nn.modules.pooling exports: written by make stubs

from manual_backprop.nn import MaxPool1d as MaxPool1d
from manual_backprop.nn import MaxPool2d as MaxPool2d
from manual_backprop.nn import MaxPool3d as MaxPool3d
from manual_backprop.nn import MaxUnpool1d as MaxUnpool1d
from manual_backprop.nn import MaxUnpool2d as MaxUnpool2d
from manual_backprop.nn import MaxUnpool3d as MaxUnpool3d
from manual_backprop.nn import AvgPool1d as AvgPool1d
from manual_backprop.nn import AvgPool2d as AvgPool2d
from manual_backprop.nn import AvgPool3d as AvgPool3d
from manual_backprop.nn import FractionalMaxPool2d as FractionalMaxPool2d
from manual_backprop.nn import FractionalMaxPool3d as FractionalMaxPool3d
from manual_backprop.nn import LPPool1d as LPPool1d
from manual_backprop.nn import LPPool2d as LPPool2d
from manual_backprop.nn import LPPool3d as LPPool3d
from manual_backprop.nn import AdaptiveMaxPool1d as AdaptiveMaxPool1d
from manual_backprop.nn import AdaptiveMaxPool2d as AdaptiveMaxPool2d
from manual_backprop.nn import AdaptiveMaxPool3d as AdaptiveMaxPool3d
from manual_backprop.nn import AdaptiveAvgPool1d as AdaptiveAvgPool1d
from manual_backprop.nn import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from manual_backprop.nn import AdaptiveAvgPool3d as AdaptiveAvgPool3d

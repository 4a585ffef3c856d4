# what manual_backprop.nn.modules.loss exports: written by make stubs

from manual_backprop.nn import L1Loss as L1Loss
from manual_backprop.nn import NLLLoss as NLLLoss
from manual_backprop.nn import NLLLoss2d as NLLLoss2d
from manual_backprop.nn import PoissonNLLLoss as PoissonNLLLoss
from manual_backprop.nn import GaussianNLLLoss as GaussianNLLLoss
from manual_backprop.nn import KLDivLoss as KLDivLoss
from manual_backprop.nn import MSELoss as MSELoss
from manual_backprop.nn import BCELoss as BCELoss
from manual_backprop.nn import BCEWithLogitsLoss as BCEWithLogitsLoss
from manual_backprop.nn import HingeEmbeddingLoss as HingeEmbeddingLoss
from manual_backprop.nn import MultiLabelMarginLoss as MultiLabelMarginLoss
from manual_backprop.nn import SmoothL1Loss as SmoothL1Loss
from manual_backprop.nn import HuberLoss as HuberLoss
from manual_backprop.nn import SoftMarginLoss as SoftMarginLoss
from manual_backprop.nn import CrossEntropyLoss as CrossEntropyLoss
from manual_backprop.nn import LinearCrossEntropyLoss as LinearCrossEntropyLoss
from manual_backprop.nn import MultiLabelSoftMarginLoss as MultiLabelSoftMarginLoss
from manual_backprop.nn import CosineEmbeddingLoss as CosineEmbeddingLoss
from manual_backprop.nn import MarginRankingLoss as MarginRankingLoss
from manual_backprop.nn import MultiMarginLoss as MultiMarginLoss
from manual_backprop.nn import TripletMarginLoss as TripletMarginLoss
from manual_backprop.nn import TripletMarginWithDistanceLoss as TripletMarginWithDistanceLoss
from manual_backprop.nn import CTCLoss as CTCLoss

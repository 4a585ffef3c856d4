# what manual_backprop.nn.modules.distance exports: written by make stubs

from manual_backprop.nn import PairwiseDistance as PairwiseDistance
from manual_backprop.nn import CosineSimilarity as CosineSimilarity

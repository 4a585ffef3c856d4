# what manual_backprop.nn.modules.sparse exports: written by make stubs

from manual_backprop.nn import Embedding as Embedding
from manual_backprop.nn import EmbeddingBag as EmbeddingBag

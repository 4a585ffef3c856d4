# what manual_backprop.nn.modules.transformer exports: written by make stubs

from manual_backprop.nn import Transformer as Transformer
from manual_backprop.nn import TransformerEncoder as TransformerEncoder
from manual_backprop.nn import TransformerDecoder as TransformerDecoder
from manual_backprop.nn import TransformerEncoderLayer as TransformerEncoderLayer
from manual_backprop.nn import TransformerDecoderLayer as TransformerDecoderLayer

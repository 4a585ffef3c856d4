# what manual_backprop.nn.modules.rnn exports: written by make stubs

from manual_backprop.nn import RNNBase as RNNBase
from manual_backprop.nn import RNN as RNN
from manual_backprop.nn import LSTM as LSTM
from manual_backprop.nn import GRU as GRU
from manual_backprop.nn import RNNCellBase as RNNCellBase
from manual_backprop.nn import RNNCell as RNNCell
from manual_backprop.nn import LSTMCell as LSTMCell
from manual_backprop.nn import GRUCell as GRUCell

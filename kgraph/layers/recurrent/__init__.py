"""Recurrent layers: their cells compute one step, `RNN` runs a cell over the steps of a sequence."""

from kgraph.layers.recurrent.bidirectional import Bidirectional
from kgraph.layers.recurrent.conv_lstm import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from kgraph.layers.recurrent.gru import GRU, GRUCell
from kgraph.layers.recurrent.lstm import LSTM, LSTMCell
from kgraph.layers.recurrent.rnn import RNN
from kgraph.layers.recurrent.simple_rnn import SimpleRNN, SimpleRNNCell
from kgraph.layers.recurrent.stacked_cells import StackedRNNCells
from kgraph.layers.recurrent.time_distributed import TimeDistributed

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "ConvLSTM3D",
    "GRUCell",
    "LSTMCell",
    "SimpleRNN",
    "SimpleRNNCell",
    "StackedRNNCells",
    "TimeDistributed",
]

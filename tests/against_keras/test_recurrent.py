"""Recurrent layers against Keras."""

from __future__ import annotations

import pytest
from keras_comparison import Case, Data, compare

X, STEPS = (6, 4), Data((6,), "bool")
MASKED = "layer(x0, mask=x1)"
STATE, STATES = [X, (5,)], [X, (5,), (5,)]

CASES = [
    Case("SimpleRNN(5)", [X]),
    Case("SimpleRNN(5, activation='relu', use_bias=False, return_sequences=True, go_backwards=True)", [X]),
    Case("SimpleRNN(5, return_sequences=True, return_state=True)", [X, STEPS], MASKED),
    Case("SimpleRNN(5, dropout=0.3, recurrent_dropout=0.2)", [X], training=False),
    Case("LSTM(5)", [X]),
    Case("LSTM(5, activation='relu', recurrent_activation='hard_sigmoid', return_sequences=True)", [X], scale=0.2),
    Case("LSTM(5, use_bias=False, go_backwards=True)", [X]),
    Case("LSTM(5, unit_forget_bias=False, return_state=True, go_backwards=True, return_sequences=True)", [X]),
    Case("LSTM(5, return_sequences=True)", [X, STEPS], MASKED),
    Case("LSTM(5, return_state=True)", [*STATES, STEPS], "layer(x0, initial_state=[x1, x2], mask=x3)"),
    Case("LSTM(5, go_backwards=True)", [X, STEPS], MASKED),
    Case("LSTM(5, dropout=0.3, recurrent_dropout=0.2, return_sequences=True)", [X], training=False),
    Case("LSTM(5, unroll=True, use_cudnn=False)", [X]),
    Case("GRU(5)", [X]),
    Case("GRU(5, reset_after=False, return_sequences=True)", [X]),
    Case("GRU(5, activation='relu', recurrent_activation='hard_sigmoid', return_state=True)", [X], scale=0.2),
    Case("GRU(5, use_bias=False)", STATE, "layer(x0, initial_state=x1)"),
    Case("GRU(5, go_backwards=True, return_sequences=True, reset_after=False)", [X, STEPS], MASKED),
    Case("GRU(5, return_sequences=True, return_state=True)", [X, STEPS], MASKED),
    Case("GRU(5, dropout=0.3, recurrent_dropout=0.2)", [X], training=False),
    Case("RNN(LSTMCell(3), zero_output_for_mask=True, return_sequences=True)", [X, STEPS], MASKED),
    Case("RNN([GRUCell(3), LSTMCell(5), SimpleRNNCell(4)])", [X]),
    Case("RNN([LSTMCell(3), LSTMCell(5)], return_sequences=True, return_state=True)", [X],
         "[y for part in layer(x0) for y in (part if isinstance(part, list) else [part])]"),
    Case("RNN([LSTMCell(3), LSTMCell(5)], return_sequences=True)", [X, STEPS], MASKED),
    Case("RNN(SimpleRNNCell(3, activation=None), go_backwards=True)", [X, STEPS], MASKED),
    Case("ConvLSTM1D(3, 2, return_sequences=True)", [(4, 6, 2)]),
    Case("ConvLSTM2D(3, (2, 3), padding='same', strides=2, return_state=True)", [(4, 5, 6, 2)]),
    Case("ConvLSTM2D(3, 2, dilation_rate=2, recurrent_activation='hard_sigmoid', go_backwards=True)", [(3, 5, 6, 2)]),
    Case("ConvLSTM3D(2, 2, use_bias=False)", [(2, 3, 4, 3, 2)]),
    Case("Bidirectional(GRU(3), merge_mode='sum')", [X]),
    Case("Bidirectional(LSTM(3, return_sequences=True), merge_mode='ave')", [X, STEPS], MASKED),
    Case("Bidirectional(LSTM(3, return_sequences=True, return_state=True))", [X]),
    Case("TimeDistributed(Dense(3))", [X]),
    Case("TimeDistributed(BatchNormalization(momentum=0.7))", [X]),
    Case("TimeDistributed(BatchNormalization(momentum=0.7))", [X, STEPS], MASKED),
    Case("TimeDistributed(BatchNormalization(trainable=False))", [X]),
    Case("TimeDistributed(k.Sequential([k.Input((6, 5, 2)), Conv2D(3, 3), BatchNormalization(), Flatten()]))",
         [(4, 6, 5, 2)]),
    Case("TimeDistributed(k.Sequential([k.Input((5, 2)), LSTM(3, return_sequences=True), BatchNormalization()]))",
         [(4, 5, 2)]),
    Case("TimeDistributed(TimeDistributed(BatchNormalization(momentum=0.7)))", [(3, 4, 2)]),
    Case("TimeDistributed(Lambda(lambda x: x - k.ops.mean(x, axis=0, keepdims=True)))", [X]),
]  # fmt: skip


@pytest.mark.parametrize("execution", ["interpreter", "native"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case, execution: str):
    compare(case, execution)

"""LSTM and GRU as one op for the whole sequence compute and learn what a scan over their steps does."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
from kgraph import layers as L
from kgraph.layers.recurrent.gru import GRUCell
from kgraph.layers.recurrent.lstm import LSTMCell
from kgraph.primitives.gru import gru_sequence
from kgraph.primitives.lstm import lstm_sequence
from kgraph.random_seed import set_random_seed

CASES = {
    "last": {},
    "all": {"return_sequences": True},
    "backwards": {"go_backwards": True},
    "all backwards": {"go_backwards": True, "return_sequences": True, "use_bias": False},
    "zeros": {"return_sequences": True, "zero_output_for_mask": True, "go_backwards": True},
    "dropout": {"dropout": 0.3, "return_sequences": True},
}


def trained(layer, masked):
    """Outputs, then weights and outputs after a step of training."""
    set_random_seed(3)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 5, 3)).astype("float32")
    y = rng.normal(size=(7, 5, 2) if layer.return_sequences else (7, 2)).astype("float32")
    if masked:
        x[rng.random((7, 5)) < 0.4] = 0.0
    model = kgraph.Sequential([kgraph.Input((5, 3)), *[L.Masking()] * masked, layer, L.Dense(2)])
    for n, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(n).normal(size=weight.shape).astype("float32") * 0.5)
    model.compile(kgraph.optimizers.SGD(0.1), "mse")
    before = model.predict(x, verbose=0)
    model.train_on_batch(x, y)
    return [before, *model.get_weights(), model.predict(x, verbose=0)]


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layer", [L.LSTM, L.GRU])
def test_one_op_learns_what_a_scan_learns(monkeypatch, layer, case, masked):
    calls = []
    for op, cell in ((lstm_sequence, LSTMCell), (gru_sequence, GRUCell)):
        whole = cell.whole
        monkeypatch.setattr(cell, "whole", lambda *args, whole=whole, op=op: calls.append(op) or whole(*args))

    def make():
        return layer(6, name="steps", **CASES[case])

    with kgraph.execution("interpreter"):
        fused = trained(make(), masked)
        assert calls
        for cell in (LSTMCell, GRUCell):
            monkeypatch.setattr(cell, "runs_whole", lambda self: False)
        for a, b in zip(fused, trained(make(), masked), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [L.LSTM, L.GRU])
def test_native_training_agrees_with_the_interpreter(layer):
    def make():
        return L.Bidirectional(layer(6, return_sequences=True))

    native = trained(make(), True)
    with kgraph.execution("interpreter"):
        for a, b in zip(native, trained(make(), True), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [
    L.LSTM(2, activation="relu"), L.LSTM(2, recurrent_activation="hard_sigmoid"), L.GRU(2, reset_after=False),
    L.GRU(2, activation="softsign"),
], ids=["relu", "hard_sigmoid", "reset_before", "softsign"])  # fmt: skip
def test_other_configurations_are_scanned(layer):
    assert not layer.cell.runs_whole()


def test_dropped_states_are_scanned_in_training_only(rng):
    layer = L.LSTM(2, recurrent_dropout=0.5)
    asked = []
    layer.cell.runs_whole = lambda: asked.append(LSTMCell.runs_whole(layer.cell)) or asked[-1]
    for training in (False, True):
        layer(rng.normal(size=(1, 2, 3)).astype("float32"), training=training)
    assert asked == [True, False]

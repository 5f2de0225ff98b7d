"""compare: agrees where the ways agree, tells where they do not, and leaves the model as it was."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.engine import CompiledProgram
from kgraph.layers import Dense, Dropout
from kgraph.models import Input, Model, Sequential
from kgraph.models.comparison import ROUNDINGS, compare_arrays
from kgraph.utils import set_random_seed


def network() -> Sequential:
    model = Sequential([Dense(6, activation="relu", input_shape=(4,)), Dropout(0.2), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


X = np.random.default_rng(0).normal(size=(9, 4))
Y = np.arange(9) % 3


def test_outputs_loss_gradients_and_updates_are_compared():
    model = network()
    model.fit(X, Y, verbose=0)
    state = [v.numpy() for v in (*model.weights, *model.optimizer.variables, model.random_state)]
    report = model.compare(X, Y)
    assert report.ok, str(report)
    names = [row.name for row in report.rows]
    paths = [v.path for v in model.trainable_variables]
    expected = [f"output {model.layers[-1].name}", "loss"]
    assert names == expected + [f"gradient of {p}" for p in paths] + [f"updated {p}" for p in paths]
    assert [row.shape for row in report.rows[2:6]] == [(4, 6), (6,), (6, 3), (3,)]
    for before, variable in zip(state, (*model.weights, *model.optimizer.variables, model.random_state), strict=True):
        np.testing.assert_array_equal(before, variable.numpy())


def test_a_table_is_printed():
    lines = str(network().compare(X, Y)).splitlines()
    assert lines[0].split() == ["tensor", "shape", "max", "abs", "max", "rel", "max", "ulp", "tolerance", "verdict"]
    assert lines[-1] == "10 tensors compared, all within tolerance"
    assert len({len(line) for line in lines[:-1]}) == 1


def test_without_labels_the_outputs_are_compared():
    inputs = Input((4,))
    model = Model(inputs, {"p": Dense(2, name="p")(inputs), "q": Dense(1, name="q")(inputs)})
    assert [row.name for row in model.compare(X).rows] == ["output p", "output q"]


@pytest.mark.parametrize("wrong", ["output", "state"])
def test_a_fault_of_native_code_is_found(wrong: str, monkeypatch: pytest.MonkeyPatch):
    model = network()
    run = CompiledProgram.run

    def faulty(self: CompiledProgram, arguments: object, execution: str | None = None) -> object:
        results = run(self, arguments, execution)  # type: ignore[arg-type]
        if execution == "native" and wrong == "output":
            results[0] = results[0] * (1 + 1e-4)
        if execution == "native" and wrong == "state" and self.program.graph.name == "train":
            bias = model.layers[0].weights[1]
            bias.assign(bias.numpy() + 1e-2 * (np.arange(len(bias)) == 0))
        return results

    monkeypatch.setattr(CompiledProgram, "run", faulty)
    report = model.compare(X, Y)
    assert not report.ok
    failed = [row.name for row in report.rows if not row.ok]
    if wrong == "output":
        assert failed == [f"output {model.layers[-1].name}", "loss"]
    else:
        assert failed == [f"updated {model.layers[0].weights[1].path}"]
    assert "DIFFERS" in str(report)
    assert f"{len(failed)} differ" in str(report)


def test_differences_are_measured():
    a = np.array([1.0, -4.0, 0.5], "float32")
    b = a.copy()
    b[0] = np.nextafter(np.float32(1), np.float32(2))
    row = compare_arrays("t", a, b)
    assert row.ok
    assert row.ulps == 1
    assert row.absolute == np.spacing(np.float32(1))
    assert row.relative == row.absolute / 4
    assert row.tolerance == ROUNDINGS * np.finfo("float32").eps
    assert not compare_arrays("t", a, a + np.float32(2e-4)).ok
    assert not compare_arrays("t", a.astype("float64"), a.astype("float64") + 1e-11).ok


def test_values_that_are_not_finite_must_be_at_the_same_places():
    a = np.array([1.0, np.nan, np.inf], "float32")
    assert compare_arrays("t", a, a.copy()).ok
    assert not compare_arrays("t", a, np.array([1.0, np.inf, np.nan], "float32")).ok
    assert not compare_arrays("t", np.zeros(3, "float32"), a).ok
    assert compare_arrays("t", np.zeros((0, 2), "float32"), np.zeros((0, 2), "float32")).ok


def test_slack_allows_more_at_single_elements_only():
    a = np.array([1.0, -4.0, 0.5], "float32")
    slack = np.array([0.0, 0.0, 1e-2])
    assert compare_arrays("t", a, a + np.array([0, 0, 9e-3], "float32"), slack).ok
    assert not compare_arrays("t", a, a + np.array([0, 0, 2e-2], "float32"), slack).ok
    row = compare_arrays("t", a, a + np.array([9e-3, 0, 9e-3], "float32"), slack)
    assert not row.ok
    assert row.tolerance == ROUNDINGS * np.finfo("float32").eps


def test_an_update_from_a_gradient_that_is_noise_is_no_fault():
    set_random_seed(0)
    model = network()
    random = np.random.default_rng(0)
    for step in range(400):
        for variable in model.optimizer.variables:
            if variable.shape:
                variable.assign(np.zeros(variable.shape))
        shapes = [w.shape for w in model.get_weights()]
        model.set_weights([random.normal(size=s) * 0.6 if len(s) > 1 else np.zeros(s) for s in shapes])
        model.random_state.assign([model.random_state.numpy()[0], step])
        report = model.compare(X, Y)
        assert report.ok, str(report)


def test_integers_must_be_equal():
    assert compare_arrays("t", np.arange(3), np.arange(3)).ok
    assert not compare_arrays("t", np.arange(3), np.array([0, 1, 3])).ok

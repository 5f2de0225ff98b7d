"""Programs that only read weights may keep packed copies of them: every change of a weight is seen by the next run."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable

import numpy as np
import pytest

import kgraph
from kgraph import layers

X = np.random.default_rng(0).standard_normal((3, 7, 7, 32)).astype("float32")
Y = np.random.default_rng(1).standard_normal((3, 4)).astype("float32")


def network(seed: int = 0) -> kgraph.Model:
    """A convolution over windows, one that is a plain product, and a dense layer."""
    kgraph.utils.set_random_seed(seed)
    model = kgraph.Sequential([
        kgraph.Input((7, 7, 32)), layers.Conv2D(48, 3, padding="same", name="first"), layers.ReLU(),
        layers.Conv2D(40, 1, name="second"), layers.GlobalAveragePooling2D(), layers.Dense(4),
    ])  # fmt: skip
    model.compile(kgraph.optimizers.SGD(0.1), "mse")
    return model


def packed_arrays(model: kgraph.Model) -> list[np.ndarray]:
    """The copies that exist of the model's weights."""
    return [packed.array for v in model.variables for packed in v.state._copies.values()]


def kernel(model: kgraph.Model) -> kgraph.Variable:
    """The weights of the first convolution."""
    return model.get_layer("first").kernel


def interpreted(model: kgraph.Model) -> np.ndarray:
    """What the interpreter predicts: it reads the weights themselves."""
    with kgraph.execution("interpreter"):
        return model.predict_on_batch(X)


def check(model: kgraph.Model, change: Callable[[], object], changes: bool = True) -> None:
    """Predictions follow the weights in every way of asking for them."""
    loss = model.test_on_batch(X, Y)
    before = model.predict_on_batch(X)
    assert len(packed_arrays(model)) == 2
    change()
    predicted = model.predict_on_batch(X), model.predict(X, verbose=0), model(X)
    losses = model.test_on_batch(X, Y), model.evaluate(X, Y, verbose=0)
    expected = interpreted(model)
    assert (np.abs(expected - before).max() > 1e-3) == changes
    for got in predicted:
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    for got in losses:
        assert (abs(got - loss) > 1e-5) == changes
        assert got == pytest.approx(np.square(expected - Y).mean(), rel=1e-5)


def traced_change(model: kgraph.Model) -> None:
    """A layer that assigns to the weights of the first convolution when it is called."""

    class Doubling(layers.Layer):
        def call(self, inputs: object) -> object:
            kernel(model).assign(kernel(model) * 2.0)
            return inputs

    Doubling()(np.zeros((1, 1), "float32"))


def interpreted_fit(model: kgraph.Model) -> None:
    with kgraph.execution("interpreter"):
        model.fit(X, Y, epochs=3, verbose=0)


CHANGES: dict[str, Callable[[kgraph.Model], object]] = {
    "assign": lambda m: kernel(m).assign(kernel(m).numpy() * 2),
    "assign_add": lambda m: kernel(m).assign_add(np.ones(kernel(m).shape, "float32")),
    "assign_sub": lambda m: kernel(m).assign_sub(np.ones(kernel(m).shape, "float32")),
    "set_value": lambda m: kernel(m).set_value(kernel(m).numpy() * 2),
    "set_weights": lambda m: m.set_weights([2 * w for w in m.get_weights()]),
    "set_weights of a layer": lambda m: m.layers[2].set_weights([2 * w for w in m.layers[2].get_weights()]),
    "train_on_batch": lambda m: [m.train_on_batch(X, Y) for _ in range(3)],
    "fit": lambda m: m.fit(X, Y, epochs=3, verbose=0),
    "fit batch by batch": lambda m: m.fit(X, Y, epochs=3, batch_size=1, verbose=0),
    "fit in the interpreter": interpreted_fit,
    "a layer that assigns": traced_change,
}


@pytest.mark.parametrize("name", CHANGES)
def test_predictions_follow_every_change(name: str):
    model = network()
    check(model, lambda: CHANGES[name](model))


def test_predictions_follow_the_training_of_another_model_with_the_same_layers():
    model = network()
    first, last = model.layers[0], model.layers[-1]
    other = kgraph.Sequential([kgraph.Input((7, 7, 32)), *model.layers])
    other.compile(kgraph.optimizers.SGD(0.1), "mse")
    assert (first, last) == (other.layers[0], other.layers[-1])
    check(model, lambda: [other.train_on_batch(X, Y) for _ in range(3)])


def test_predictions_follow_the_average_of_weights():
    model = network()
    model.compile(kgraph.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    for _ in range(3):
        model.train_on_batch(X, Y)
    check(model, lambda: model.optimizer.finalize_variable_values(model.trainable_variables))


def test_a_step_that_is_taken_back_is_seen():
    model = network()
    model.compile(kgraph.optimizers.SGD(0.1), "mse", check="nan")

    def fail() -> None:
        with pytest.raises(kgraph.errors.NumericError):
            model.fit(X, np.full_like(Y, 1e30), verbose=0)

    check(model, fail, changes=False)


def test_a_comparison_leaves_predictions_as_they_were():
    model = network()
    check(model, lambda: model.compare(X, Y), changes=False)


def test_nobody_writes_into_weights_unseen():
    array = kernel(network()).array
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        array *= 2


def test_a_copied_variable_has_memory_of_its_own():
    model = network()
    model.predict_on_batch(X)
    other = copy.deepcopy(kernel(model))
    assert not other.state._copies
    other.assign(other.numpy() * 2)
    np.testing.assert_array_equal(other.array, other.state.array)
    np.testing.assert_array_equal(other.array, 2 * kernel(model).array)


def test_programs_share_copies_and_the_report_counts_them():
    model = network()
    report = model.memory_report(3)
    assert not packed_arrays(model)
    model.predict_on_batch(X)
    model.test_on_batch(X, Y)
    model(X)
    found = packed_arrays(model)
    assert len(found) == 2
    assert report["predict"].packed == report["evaluate"].packed == sum(array.base.nbytes for array in found)
    assert report["train"].packed == 0
    assert f"{report['predict'].packed:,}" in str(report)


def test_a_process_that_was_forked_sees_changes():
    model = network()
    model.predict_on_batch(X)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        kernel(model).assign(kernel(model).numpy() * 2)
        os.write(write, model.predict_on_batch(X).tobytes())
        os._exit(0)
    result = np.frombuffer(os.read(read, 1000), np.float32).reshape(3, 4)
    os.waitpid(child, 0)
    before = model.predict_on_batch(X)
    kernel(model).assign(kernel(model).numpy() * 2)
    np.testing.assert_array_equal(result, model.predict_on_batch(X))
    assert np.abs(result - before).max() > 1e-3


def test_threads_that_predict_while_weights_change_end_with_the_last_ones():
    model = network()
    model.predict_on_batch(X)
    model.test_on_batch(X, Y)
    value, stop = kernel(model).numpy(), threading.Event()

    def ask(how: Callable[[], object]) -> None:
        while not stop.is_set():
            how()

    asking = [lambda: model.predict_on_batch(X), lambda: model.test_on_batch(X, Y), lambda: model.predict_on_batch(X)]
    threads = [threading.Thread(target=ask, args=(how,)) for how in asking]
    for thread in threads:
        thread.start()
    for round_ in range(200):
        kernel(model).assign(value * (1 + round_))
    last = model.predict_on_batch(X)
    stop.set()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(model.predict_on_batch(X), last)
    np.testing.assert_allclose(last, interpreted(model), rtol=1e-4, atol=1e-3)

"""compile(check="nan"): which op made the first NaN or Inf, and when; nothing is changed by the step that made it."""

import numpy as np
import pytest

import kgraph
from kgraph import layers, ops
from kgraph.callbacks import LambdaCallback
from kgraph.data import surely_finite
from kgraph.errors import ArgumentError, DataError, NumericError

X = np.random.default_rng(0).random((96, 8), dtype="float32")
Y = X.sum(1, keepdims=True)
BAD = X.copy()
BAD[70, 3] = -1.0  # in the third batch of 32


class Log(layers.Layer):
    def call(self, inputs):
        return ops.log(inputs)


class Root(layers.Layer):
    """Finite itself; its slope at 0 is not."""

    def call(self, inputs):
        return ops.sqrt(ops.abs(inputs))


@pytest.fixture(autouse=True)
def seeded():
    kgraph.utils.set_random_seed(0)


def guarded(*parts, optimizer="sgd", loss="mse", check="nan"):
    model = kgraph.Sequential([kgraph.Input((8,)), *parts], name="net")
    model.compile(optimizer, loss, check=check)
    return model


def batches(x):
    for start in range(0, len(x), 32):
        yield x[start : start + 32], Y[start : start + 32]


RUNS = {
    "fit": (lambda m: m.fit(BAD, Y, shuffle=False, epochs=2, verbose=0), "fit: loss became NaN at epoch 1 batch 2"),
    "stream": (lambda m: m.fit(batches(BAD), verbose=0), "fit: loss became NaN at epoch 1 batch 2"),
    "later": (lambda m: m.fit(BAD, Y, shuffle=False, epochs=6, initial_epoch=4, verbose=0),
              "fit: loss became NaN at epoch 5 batch 2"),
    "validation": (lambda m: m.fit(X, Y, validation_data=(BAD, Y), verbose=0),
                   "fit: validation: loss became NaN at epoch 1 batch 2"),
    "evaluate": (lambda m: m.evaluate(BAD, Y, verbose=0), "evaluate: loss became NaN at batch 2"),
    "predict": (lambda m: m.predict(BAD, verbose=0), "predict: out became NaN at batch 2"),
    "predict stream": (lambda m: m.predict(batches(BAD), verbose=0), "predict: out became NaN at batch 2"),
    "train_on_batch": (lambda m: m.train_on_batch(BAD, Y), "train_on_batch: loss became NaN at batch 0"),
}  # fmt: skip


@pytest.mark.parametrize("execution", ["native", "interpreter"])
@pytest.mark.parametrize("run", RUNS)
def test_the_op_the_layer_and_the_batch_are_named(run, execution):
    call, begin = RUNS[run]
    model = guarded(Log(name="my_log"), layers.Dense(1, name="out"))
    with kgraph.execution(execution), pytest.raises(NumericError) as caught:
        call(model)
    assert str(caught.value) == f"{begin}; first NaN: op 'log' in layer 'net/my_log'"


def test_weights_are_those_before_the_step_that_went_wrong():
    kgraph.utils.set_random_seed(1)
    model = guarded(Log(), layers.Dense(1), optimizer="adam")
    with pytest.raises(NumericError):
        model.fit(BAD, Y, batch_size=32, shuffle=False, verbose=0)
    kgraph.utils.set_random_seed(1)
    other = guarded(Log(), layers.Dense(1), optimizer="adam", check=None)
    other.fit(BAD[:64], Y[:64], batch_size=32, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    model.fit(X, Y, verbose=0)  # and it goes on


def refilled(x, y):
    """Batches as loaders make them that have one buffer only."""
    a, b = np.empty_like(x[:16]), np.empty_like(y[:16])
    for start in range(0, len(x), 16):
        a[...], b[...] = x[start : start + 16], y[start : start + 16]
        yield a, b


ENDS = LambdaCallback(on_epoch_end=lambda epoch, logs: pytest.fail("the epoch with the fault has ended"))
WATCHES = LambdaCallback(on_train_batch_end=lambda batch, logs: None)
LATE = {
    "arrays": lambda m, x, y: m.fit(x, y, batch_size=16, shuffle=False, verbose=0, callbacks=[ENDS]),
    "stream": lambda m, x, y: m.fit(refilled(x, y), verbose=0, callbacks=[ENDS]),
    "stream that is watched": lambda m, x, y: m.fit(refilled(x, y), verbose=0, callbacks=[ENDS, WATCHES]),
}


@pytest.mark.parametrize("bad", [1, 3, 5])
@pytest.mark.parametrize("way", LATE)
def test_a_fault_that_the_loss_shows_a_step_later_or_never_is_taken_back(way, bad):
    """A row of zeros: the root is finite and its slope is not; only the next loss is NaN, if there is a next one."""

    def made(check):
        kgraph.utils.set_random_seed(1)
        return guarded(layers.Dense(1, use_bias=False, name="before"), Root(), layers.Dense(1), check=check)

    model, other = made("nan"), made(None)
    x = X.copy()
    x[bad * 16 + 3] = 0.0
    with pytest.raises(NumericError) as caught:
        LATE[way](model, x, Y)
    assert str(caught.value).startswith(f"fit: net/before/kernel became NaN at epoch 1 batch {bad}; first NaN: op")
    other.fit(refilled(x[: bad * 16], Y[: bad * 16]), verbose=0)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_batch_that_the_model_refuses_is_not_run_again():
    model = guarded(layers.Embedding(4, 2), layers.Flatten(), layers.Dense(1))
    ids = np.zeros((4, 8))
    model.train_on_batch(ids, Y[:4])
    before = model.get_weights()
    with pytest.raises(DataError, match="id 9"):
        model.train_on_batch(ids + 9, Y[:4])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.train_on_batch(ids, Y[:4])


def test_a_guard_changes_no_bit():
    found = []
    for check in (None, "nan"):
        kgraph.utils.set_random_seed(1)
        model = guarded(layers.Dropout(0.3), layers.Dense(4, activation="relu"), layers.Dense(1), check=check)
        history = model.fit(X, Y, epochs=3, verbose=0).history
        found.append((history["loss"], model.get_weights()))
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_are_named_as_such():
    model = guarded(layers.Dense(4, kernel_initializer="zeros", name="before"), Root(name="root"), layers.Dense(1))
    with pytest.raises(NumericError) as caught:
        model.fit(X, Y, verbose=0)
    assert "net/before/kernel became NaN at epoch 1 batch 0; first NaN: op" in str(caught.value)
    assert "in layer 'net/root' (gradient)" in str(caught.value)


def test_nan_out_of_infinities_tells_of_both():
    def careless(t):
        return ops.exp(t * 500) / ops.sum(ops.exp(t * 500), axis=-1, keepdims=True)

    model = guarded(layers.Dense(4, activation=careless, kernel_initializer="ones", name="soft"), layers.Dense(1))
    with pytest.raises(NumericError) as caught:
        model.fit(X, Y, verbose=0)
    words = "first NaN: op 'div' in layer 'net/soft', out of Inf from op 'exp' in layer 'net/soft'"
    assert str(caught.value).endswith(words)


def test_divergence_names_the_loss_or_the_optimizer():
    model = guarded(layers.Dense(1, name="out"), optimizer=kgraph.optimizers.SGD(1e20))
    with pytest.raises(NumericError, match=r"at epoch \d+ batch \d; first Inf: op '\w+' in layer '(loss|sgd|net/out)"):
        model.fit(X, Y, epochs=5, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_infinite_constants_are_no_fault():
    class Masked(layers.Layer):
        def call(self, inputs):
            return ops.softmax(ops.where(inputs > 0.5, inputs, -np.inf), axis=-1)

    model = guarded(Masked(), layers.Dense(1))
    x = np.maximum(X, 0.6)
    model.fit(x, Y, verbose=0)
    x[40] = 0.0  # nothing is left of this row
    with pytest.raises(NumericError, match="first NaN: op"):
        model.fit(x, Y, verbose=0)


def test_nan_in_the_data_are_refused():
    x = X.copy()
    x[3, 1] = np.nan
    model = guarded(layers.Dense(1))
    before = model.get_weights()
    for call in (lambda: model.fit(x, Y, verbose=0), lambda: model.fit(batches(x), verbose=0)):
        with pytest.raises(DataError, match=r"x has 1 NaN \(first at row 3, col 1\)"):
            call()
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_values_of_check_are_refused():
    with pytest.raises(ArgumentError, match="expected 'nan' or None, received 'inf'"):
        guarded(layers.Dense(1), check="inf")


@pytest.mark.parametrize("size", [1, 2, 67, 8192, 8193])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_quick_look_misses_nothing(dtype, size):
    """Every size has a quick look of its own; opposite infinities must not cancel, and strides not matter."""
    for several in ([np.nan], [np.inf], [-np.inf], [np.inf, -np.inf]):
        wrong = several[:size]
        for place in (0, (size - len(wrong)) // 2, size - len(wrong)):
            array = np.zeros(size, dtype)
            array[place : place + len(wrong)] = wrong
            assert not surely_finite(array)
            assert not surely_finite(array[::-1].reshape(1, -1))
    assert surely_finite(np.ones(size, dtype))
    assert surely_finite(np.ones((size, 0), dtype))

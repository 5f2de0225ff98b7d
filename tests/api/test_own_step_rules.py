"""What holds inside a training step that a model defines: gradients, metrics, modes and losses as in Keras."""

import types

import numpy as np
import pytest

import kgraph
from kgraph import layers, ops
from kgraph.compat import install, uninstall
from kgraph.errors import ArgumentError, GraphError, SymbolicError

X = np.random.default_rng(0).normal(size=(40, 8)).astype("float32")
SUMS = X.sum(1, keepdims=True)
CLASSES = (np.arange(40) % 3).astype("int32")


def two_layers(kind, **options):
    kgraph.utils.set_random_seed(3)
    inputs = kgraph.Input((8,))
    model = kind(inputs, layers.Dense(1)(layers.Dense(3)(inputs)))
    model.compile(kgraph.optimizers.SGD(0.01), **options)
    return model


@pytest.mark.parametrize("execution", ["native", "interpreter"])
def test_gradients_do_not_look_through_updates_of_the_same_step(execution):
    class InTurn(kgraph.Model):
        def train_step(self, data):
            x, y = data
            for layer in self.layers[1:]:
                loss = ops.mean((self(x) - y) ** 2)
                variables = layer.trainable_variables
                self.optimizer.apply(kgraph.gradients(loss, variables), variables)
            return {"loss": loss}

    model = two_layers(InTurn)
    a, b, c, d = (weight.astype("float64") for weight in model.get_weights())
    hidden = X @ a + b
    slope = 2 * (hidden @ c + d - SUMS) / len(X)
    a, b = a - 0.01 * X.T @ (slope @ c.T), b - 0.01 * (slope @ c.T).sum(0)
    hidden = X @ a + b
    slope = 2 * (hidden @ c + d - SUMS) / len(X)
    expected = [a, b, c - 0.01 * hidden.T @ slope, d - 0.01 * slope.sum(0)]
    with kgraph.execution(execution):
        model.train_on_batch(X, SUMS)
    for new, want in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(new, want, rtol=1e-5, atol=1e-6)


class OfTheGuide(kgraph.Model):
    """The step of Keras' guide: the metrics given to `compile` are met in `metrics`."""

    def train_step(self, data):
        x, y, weight = kgraph.utils.unpack_x_y_sample_weight(data)
        with kgraph.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weight)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred, sample_weight=weight)
        return {metric.name: metric.result() for metric in self.metrics}


def test_metrics_of_compile_are_there_in_the_first_step():
    def trained(kind):
        kgraph.utils.set_random_seed(4)
        inputs = kgraph.Input((8,))
        model = kind(inputs, layers.Dense(3, activation="softmax")(inputs))
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"],
                      weighted_metrics=["sparse_categorical_crossentropy"])  # fmt: skip
        return model.fit(X, CLASSES, sample_weight=np.linspace(0, 2, 40), batch_size=20, epochs=2, verbose=0,
                         shuffle=False).history  # fmt: skip

    own, usual = trained(OfTheGuide), trained(kgraph.Model)
    # the usual step weighs the batches' losses with their sizes: one rounding more
    np.testing.assert_allclose(own.pop("loss"), usual.pop("loss"), rtol=3e-7)
    assert own == usual
    assert sorted(own) == ["accuracy", "sparse_categorical_crossentropy"]


def test_metrics_of_several_outputs_are_one_inside_a_step():
    def trained(kind):
        kgraph.utils.set_random_seed(4)
        inputs = kgraph.Input((8,))
        outputs = {"a": layers.Dense(1)(inputs), "b": layers.Dense(3, activation="softmax")(inputs)}
        model = kind(inputs, outputs)
        model.compile("sgd", {"a": "mse", "b": "sparse_categorical_crossentropy"}, metrics={"b": ["accuracy"]})
        return model.fit(X, {"a": SUMS, "b": CLASSES}, batch_size=20, verbose=0, shuffle=False).history

    assert trained(OfTheGuide) == trained(kgraph.Model)


def test_names_of_older_keras_for_loss_and_metrics():
    class Older(kgraph.Model):
        def train_step(self, data):
            x, y = data
            y_pred = self(x, training=True)
            loss = self.compiled_loss(y, y_pred, regularization_losses=self.losses)
            self.optimizer.apply(kgraph.gradients(loss, self.trainable_variables), self.trainable_variables)
            self.compiled_metrics.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    histories = []
    for kind in (Older, kgraph.Model):
        model = two_layers(kind, loss="mse", metrics=["mae"])
        histories.append(model.fit(X, SUMS, batch_size=16, verbose=0, shuffle=False).history)
    assert histories[0] == histories[1]


def test_metrics_that_layers_hold_are_shown_and_start_again():
    class Watching(layers.Layer):
        def __init__(self):
            super().__init__()
            self.level = kgraph.metrics.Mean(name="level")

        def call(self, inputs):
            self.level.update_state(ops.mean(inputs))
            return inputs

    model = kgraph.Sequential([kgraph.Input((8,)), Watching(), layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(X, SUMS, batch_size=20, epochs=2, verbose=0, validation_data=(X[:10], SUMS[:10])).history
    np.testing.assert_allclose(history["level"], [X.mean()] * 2, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(history["val_level"], [X[:10].mean()] * 2, rtol=1e-4, atol=1e-7)
    assert [metric.name for metric in model.metrics] == ["loss", "level"]


@pytest.mark.parametrize(("mode", "rows"), [({}, 0), ({"training": False}, 0), ({"training": True}, 40)])
def test_layers_train_where_the_step_says_so(mode, rows):
    class Dropping(kgraph.Model):
        def train_step(self, data):
            dropped = ops.sum(ops.cast(self(data, **mode) <= 0.0, "float32"))
            return {"dropped": dropped}

    inputs = kgraph.Input((1,))
    model = Dropping(inputs, layers.Dropout(0.5)(inputs))
    model.compile()
    dropped = model.train_on_batch(np.ones((40, 1)))
    assert (dropped > 0) == (rows > 0)
    assert dropped < 40


def test_losses_are_those_of_the_last_call():
    class Twice(kgraph.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1, activity_regularizer=lambda outputs: ops.sum(outputs**2))

        def call(self, inputs):
            return self.dense(inputs) + self.dense(2 * inputs)

        def train_step(self, data):
            self(data)
            first = sum(self.losses)
            self(3 * data)
            return {"first": first, "second": sum(self.losses)}

    model = Twice()
    model.build((None, 8))
    model.compile()
    logs = model.train_on_batch(X, return_dict=True)
    np.testing.assert_allclose(logs["second"], 9 * logs["first"], rtol=1e-5)
    outputs = X.astype("float64") @ model.get_weights()[0]
    # activity regularizers are divided by the batch size
    np.testing.assert_allclose(logs["first"], (outputs**2 + (2 * outputs) ** 2).sum() / 40, rtol=1e-5)


def test_results_of_metrics_in_arithmetic_and_plain_numbers():
    class Shown(kgraph.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.error = kgraph.metrics.MeanSquaredError(name="error")
            self.level = kgraph.metrics.Mean(name="level")

        def test_step(self, data):
            x, y = data
            self.error.update_state(y, self(x))
            self.level.update_state(x)
            error, level = self.error.result(), self.level.result()
            return {"root": error**0.5, "ratio": 2 * level / (1 + error), "three": 3, "pair": {"error": error}}

    inputs = kgraph.Input((8,))
    model = Shown(inputs, layers.Dense(1, kernel_initializer="zeros")(inputs))
    model.compile()
    logs = model.evaluate(X, SUMS, batch_size=16, verbose=0, return_dict=True)
    error = (SUMS**2).mean()
    assert sorted(logs) == ["error", "ratio", "root", "three"]
    np.testing.assert_allclose([logs["error"], logs["root"], logs["three"]], [error, error**0.5, 3], rtol=1e-5)
    np.testing.assert_allclose(logs["ratio"], 2 * X.mean() / (1 + error), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(lambda result, mean: result * mean, SymbolicError), (lambda result, mean: ops.sqrt(result), GraphError)],
)
def test_a_result_is_no_tensor(wrong, error):
    class Mixing(kgraph.Model):
        def test_step(self, data):
            level = kgraph.metrics.Mean(name="level")
            level.update_state(data)
            return {"wrong": wrong(level.result(), ops.mean(data))}

    inputs = kgraph.Input((8,))
    model = Mixing(inputs, layers.Dense(1)(inputs))
    model.compile()
    with pytest.raises(error, match="result of metric 'level', known after the step") as caught:
        model.evaluate(X, verbose=0)
    assert "\n" not in str(caught.value)


def test_a_step_that_one_object_has():
    def train_step(self, data):
        return {"mine": ops.mean(data[1])}

    model = two_layers(kgraph.Model, loss="mse")
    model.train_step = types.MethodType(train_step, model)
    np.testing.assert_allclose(model.fit(X, SUMS, batch_size=40, verbose=0).history["mine"], [SUMS.mean()], rtol=1e-4)
    assert list(two_layers(kgraph.Model, loss="mse").fit(X, SUMS, verbose=0).history) == ["loss"]


def test_gradients_with_weights_of_the_outputs():
    class Weighted(kgraph.Model):
        def train_step(self, data):
            x, y = data
            with kgraph.GradientTape(persistent=True) as tape:
                outputs = self(x)
            slope = tape.gradient(outputs, x, output_gradients=y)
            return {"slope": ops.mean(slope)}

    inputs = kgraph.Input((8,))
    model = Weighted(inputs, layers.Dense(1, kernel_initializer="ones")(inputs))
    model.compile()
    np.testing.assert_allclose(model.train_on_batch(X, SUMS), SUMS.mean(), rtol=1e-4)


def test_what_is_forgotten_is_said():
    def fit(step):
        return two_layers(type("Wrong", (kgraph.Model,), {"train_step": step}), loss="mse").fit(X, SUMS, verbose=0)

    def not_applied(self, data):
        loss = ops.mean(self(data[0]) ** 2)
        kgraph.gradients(loss, self.trainable_variables)
        return {"loss": loss}

    def not_reached(self, data):
        loss = ops.mean(self(data[0]) ** 2)
        variables = [*self.trainable_variables, kgraph.Variable(np.ones(3, "float32"), name="far")]
        self.optimizer.apply(kgraph.gradients(loss, variables), variables)
        return {"loss": loss}

    with pytest.warns(UserWarning, match="train_step takes gradients but changes no variable"):
        fit(not_applied)
    with pytest.warns(UserWarning, match="the target does not depend on far; their gradients are zero"):
        fit(not_reached)


@pytest.mark.parametrize(
    ("apply", "words"),
    [
        (lambda optimizer, slopes, variables: optimizer.apply_gradients(zip(variables, slopes)),
         r"expected variables.*\(gradient, variable\)"),
        (lambda optimizer, slopes, variables: optimizer.apply(slopes[::-1], variables),
         r"/kernel': expected shape \(8, 3\), received \(1,\)"),
    ],
)  # fmt: skip
def test_pairs_that_do_not_fit(apply, words):
    class Wrong(kgraph.Model):
        def train_step(self, data):
            loss = ops.mean(self(data[0]) ** 2)
            variables = self.trainable_variables
            apply(self.optimizer, kgraph.gradients(loss, variables), variables)
            return {"loss": loss}

    with pytest.raises(ArgumentError, match=words):
        two_layers(Wrong).fit(X, SUMS, verbose=0)


@pytest.mark.parametrize(("loss", "received"), [(lambda d: d**2, r"f32\[batch, 1\]"), (lambda d: None, "NoneType")])
def test_a_loss_that_is_no_number(loss, received):
    class Wrong(kgraph.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return loss(y - y_pred)

    with pytest.raises(ArgumentError, match=f"compute_loss: what it returns: expected .* received {received}"):
        two_layers(Wrong).fit(X, SUMS, verbose=0)


def test_packing_of_data():
    for parts in ((X,), (X, SUMS), (X, SUMS, CLASSES)):
        packed = kgraph.utils.pack_x_y_sample_weight(*parts)
        found = kgraph.utils.unpack_x_y_sample_weight(packed)
        assert all(a is b for a, b in zip(found, (*parts, None, None)[:3], strict=True))


def test_the_tape_of_scripts_for_tensorflow():
    install()
    try:
        scope = {}
        exec("import tensorflow as tf\nfrom tensorflow import GradientTape\ntape = tf.GradientTape", scope)
        assert scope["tape"] is scope["GradientTape"] is kgraph.GradientTape
    finally:
        uninstall()

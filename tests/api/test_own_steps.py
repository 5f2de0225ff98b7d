"""Training steps that a model defines itself: train_step and its parts, gradients, further programs, add_metric."""

import numpy as np
import pytest

import kgraph
from kgraph import layers, ops
from kgraph.errors import ArgumentError, DataError, DTypeError, GraphError, KgraphError, SymbolicError

X = np.random.default_rng(0).random((96, 8), dtype="float32")
SUMS = X.sum(1, keepdims=True)
CLASSES = (X[:, 0] * 3).astype("int32")


def classifier(kind=kgraph.Model):
    kgraph.utils.set_random_seed(3)
    inputs = kgraph.Input((8,))
    hidden = layers.Dropout(0.2)(layers.Dense(16, activation="relu", kernel_regularizer="l2")(inputs))
    outputs = layers.Dense(3, activation="softmax")(layers.BatchNormalization()(hidden))
    model = kind(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Written(kgraph.Model):
    """The usual step, written out."""

    def train_step(self, data):
        x, y = data
        with kgraph.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=ops.cast(ops.shape(x)[0], "float32"))
            else:
                metric.update_state(y, y_pred)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return {metric.name: metric.result() for metric in self.metrics}


class Inherited(kgraph.Model):
    def train_step(self, data):
        return super().train_step(data)

    def test_step(self, data):
        return super().test_step(data)


@pytest.mark.parametrize("execution", ["native", "interpreter"])
@pytest.mark.parametrize("kind", [Inherited, Written])
def test_a_step_that_does_the_usual_gives_the_usual_bits(kind, execution):
    found = []
    for cls in (kgraph.Model, kind):
        with kgraph.execution(execution):
            model = classifier(cls)
            kgraph.utils.set_random_seed(5)
            history = model.fit(X, CLASSES, batch_size=20, epochs=2, verbose=0, validation_data=(X, CLASSES)).history
        found.append((history, model.get_weights()))
    (usual, weights), (own, own_weights) = found
    assert usual.keys() == own.keys()
    for name in usual:
        np.testing.assert_array_equal(usual[name], own[name], err_msg=name)
    for a, b in zip(weights, own_weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_metrics_of_the_model_and_plain_numbers_reach_the_logs():
    class Tracked(kgraph.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.loss_tracker = kgraph.metrics.Mean(name="loss")
            self.mae = kgraph.metrics.MeanAbsoluteError(name="mae")

        def train_step(self, data):
            x, y = data
            y_pred = self(x, training=True)
            loss = ops.mean(kgraph.losses.mean_squared_error(y, y_pred))
            variables = self.trainable_variables
            self.optimizer.apply(kgraph.gradients(loss, variables), variables)
            self.loss_tracker.update_state(loss)
            self.mae.update_state(y, y_pred)
            return {"loss": self.loss_tracker.result(), "mae": self.mae.result(), "last": loss}

        def test_step(self, data):
            x, y = data
            self.mae.update_state(y, self(x, training=False))
            return {"mae": self.mae.result()}

        @property
        def metrics(self):
            return [self.loss_tracker, self.mae]

    inputs = kgraph.Input((8,))
    model = Tracked(inputs, layers.Dense(1, kernel_initializer="zeros")(inputs))
    model.compile(optimizer=kgraph.optimizers.SGD(0.0))
    history = model.fit(X, SUMS, batch_size=32, verbose=0, shuffle=False, validation_data=(X, SUMS)).history
    assert sorted(history) == ["last", "loss", "mae", "val_mae"]
    np.testing.assert_allclose(history["loss"], np.mean(SUMS**2), rtol=1e-6)
    np.testing.assert_allclose(history["last"], np.mean(SUMS[64:] ** 2), rtol=1e-6)
    np.testing.assert_allclose(history["mae"], np.mean(SUMS), rtol=1e-6)
    np.testing.assert_allclose(model.evaluate(X, SUMS, verbose=0), np.mean(SUMS), rtol=1e-6)
    logs = model.train_on_batch(X[:5], SUMS[:5], return_dict=True)
    np.testing.assert_allclose(logs["mae"], SUMS[:5].mean(), rtol=1e-6)

    def batches():
        for start in range(0, 96, 24):
            yield X[start : start + 24], SUMS[start : start + 24]

    before = kgraph.config.compilation_count()
    streamed = model.fit(batches(), verbose=0).history
    np.testing.assert_allclose(streamed["mae"], np.mean(SUMS), rtol=1e-6)
    assert kgraph.config.compilation_count() == before
    assert "graph @train" in model.dump("optimized")


class Gan(kgraph.Model):
    """Two networks, two optimizers, no call."""

    def __init__(self, discriminator, generator):
        super().__init__()
        self.discriminator, self.generator = discriminator, generator
        self.d_loss, self.g_loss = kgraph.metrics.Mean(name="d_loss"), kgraph.metrics.Mean(name="g_loss")
        self.seed_generator = kgraph.random.SeedGenerator(7)

    @property
    def metrics(self):
        return [self.d_loss, self.g_loss]

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn

    def train_step(self, real):
        count = ops.shape(real)[0]
        noise = kgraph.random.normal((count, 4), seed=self.seed_generator)
        both = ops.concatenate([self.generator(noise), real], axis=0)
        labels = ops.concatenate([ops.ones((count, 1)), ops.zeros((count, 1))], axis=0)
        with kgraph.GradientTape() as tape:
            d_loss = self.loss_fn(labels, self.discriminator(both))
        weights = self.discriminator.trainable_weights
        self.d_optimizer.apply_gradients(zip(tape.gradient(d_loss, weights), weights))
        noise = kgraph.random.normal((count, 4), seed=self.seed_generator)
        with kgraph.GradientTape() as tape:
            g_loss = self.loss_fn(ops.zeros((count, 1)), self.discriminator(self.generator(noise)))
        weights = self.generator.trainable_weights
        self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, weights), weights))
        self.d_loss.update_state(d_loss)
        self.g_loss.update_state(g_loss)
        return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}


def gan(d_rate=0.01, g_rate=0.01):
    kgraph.utils.set_random_seed(1)
    d = kgraph.Sequential([kgraph.Input((8,)), layers.Dense(16), layers.LeakyReLU(0.2), layers.Dense(1)])
    g = kgraph.Sequential([kgraph.Input((4,)), layers.Dense(16, activation="relu"), layers.Dense(8)])
    model = Gan(d, g)
    optimizers = kgraph.optimizers.SGD(d_rate), kgraph.optimizers.SGD(g_rate)
    model.compile(*optimizers, kgraph.losses.BinaryCrossentropy(from_logits=True))
    return model


def test_two_networks_with_optimizers_of_their_own():
    model = gan()
    before = model.get_weights()
    history = model.fit(X, batch_size=32, epochs=2, verbose=0).history
    assert sorted(history) == ["d_loss", "g_loss"]
    assert np.isfinite(list(history.values())).all()
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    for rates, moved in (((0.1, 0.0), "discriminator"), ((0.0, 0.1), "generator")):
        model = gan(*rates)
        before = {net: getattr(model, net).get_weights() for net in ("discriminator", "generator")}
        model.train_on_batch(X)
        for net, weights in before.items():
            changed = any((a != b).any() for a, b in zip(weights, getattr(model, net).get_weights(), strict=True))
            assert changed == (net == moved), (rates, net)
    assert model.compare(X).ok


def test_interpreter_and_native_code_agree_on_an_own_step():
    found = []
    for execution in ("native", "interpreter"):
        with kgraph.execution(execution):
            model = gan()
            model.fit(X, batch_size=32, verbose=0, shuffle=False)
            found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_gradients_of_gradients():
    class Penalised(kgraph.Model):
        def train_step(self, data):
            x, y = data
            with kgraph.GradientTape() as tape:
                with kgraph.GradientTape() as inner:
                    inner.watch(x)
                    y_pred = self(x, training=True)
                slope = inner.gradient(y_pred, [x])[0]
                loss = ops.mean((y - y_pred) ** 2) + ops.mean(ops.sum(slope**2, axis=1))
            variables = self.trainable_variables
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            return {"loss": loss}

    kgraph.utils.set_random_seed(2)
    inputs = kgraph.Input((8,))
    model = Penalised(inputs, layers.Dense(1)(layers.Dense(6, activation="tanh")(inputs)))
    model.compile(kgraph.optimizers.SGD(1.0))
    weights = [w.astype("float64") for w in model.get_weights()]

    def objective(w0, b0, w1, b1):
        hidden = np.tanh(X.astype("f8") @ w0 + b0)
        slope = ((1 - hidden**2) * w1[:, 0]) @ w0.T
        return np.mean((SUMS - hidden @ w1 - b1) ** 2) + np.mean((slope**2).sum(1))

    assert model.compare(X, SUMS).ok
    model.train_on_batch(X, SUMS)
    for n, (before, after) in enumerate(zip(weights, model.get_weights(), strict=True)):
        step = before - after  # of SGD with rate 1: the gradient
        for at in list(np.ndindex(before.shape))[:5]:
            values = []
            for shift in (1e-5, -1e-5):
                moved = [w.copy() for w in weights]
                moved[n][at] += shift
                values.append(objective(*moved))
            np.testing.assert_allclose(step[at], (values[0] - values[1]) / 2e-5, rtol=2e-4, atol=1e-5)


def test_own_loss_and_metrics_in_the_usual_step():
    class Own(kgraph.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return 2 * super().compute_loss(x, y, y_pred, sample_weight, training) + ops.mean(x)

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            return {**super().compute_metrics(x, y, y_pred, sample_weight), "bias": ops.mean(y_pred - y)}

    inputs = kgraph.Input((8,))
    model = Own(inputs, layers.Dense(1, kernel_initializer="zeros")(inputs))
    model.compile(kgraph.optimizers.SGD(0.01), "mse", metrics=["mae"])
    found = model.evaluate(X, SUMS, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["loss"], 2 * np.mean(SUMS**2) + X.mean(), rtol=1e-5)
    np.testing.assert_allclose([found["mae"], found["bias"]], [SUMS.mean(), -SUMS[-32:].mean()], rtol=1e-5)
    model.train_on_batch(X, SUMS)
    np.testing.assert_allclose(model.get_weights()[1], [0.01 * 4 * SUMS.mean()], rtol=1e-5)


def test_labels_of_any_form_where_the_step_defines_them():
    class Free(kgraph.Model):
        def train_step(self, data):
            x, y, weight = data
            loss = ops.mean(weight * (ops.squeeze(self(x), -1) - y["a"] - y["b"][0]) ** 2)
            self.optimizer.apply(kgraph.gradients(loss, self.trainable_variables), self.trainable_variables)
            return {"loss": loss}

    inputs = kgraph.Input((8,))
    model = Free(inputs, layers.Dense(1, kernel_initializer="zeros")(inputs))
    model.compile("sgd")
    y = {"a": np.arange(96), "b": [np.ones(96, "float64")]}
    weight = np.full(96, 0.5)
    expected = 0.5 * np.mean((np.arange(96) + 1.0) ** 2)
    np.testing.assert_allclose(model.train_on_batch(X, y, sample_weight=weight), expected, rtol=1e-6)
    with pytest.raises(DataError, match="class_weight"):
        model.fit(X, y, class_weight={0: 1.0}, verbose=0)


def test_a_stream_may_change_the_form_of_its_batches():
    class Sums(kgraph.Model):
        def train_step(self, data):
            x, y = data
            loss = ops.mean(ops.square(self(x))) + ops.sum(ops.mean(y, axis=0))
            self.optimizer.apply(kgraph.gradients(loss, self.trainable_variables), self.trainable_variables)
            return {"loss": loss}

    def batches():
        for width in (3, 3, 5):
            yield X[:16], np.ones((16, width), "float32")

    inputs = kgraph.Input((8,))
    model = Sums(inputs, layers.Dense(1, kernel_initializer="zeros")(inputs))
    model.compile("sgd")
    assert model.fit(batches(), verbose=0).history["loss"] == [5.0]


def test_several_programs_train_one_set_of_weights():
    model = classifier()
    head = model.layers[-1]
    frozen = model.get_weights()
    program = model.program("categorical_crossentropy", kgraph.optimizers.SGD(0.1), metrics=["mae"],
                            variables=head.trainable_variables)  # fmt: skip
    one_hot = np.eye(3, dtype="float32")[CLASSES]
    history = program.fit(X, one_hot, epochs=2, verbose=0, callbacks=[kgraph.callbacks.EarlyStopping("loss")]).history
    assert sorted(history) == ["loss", "mae"]
    names = [variable.path for variable in model.weights]
    changed = {name for name, a, b in zip(names, frozen, model.get_weights(), strict=True) if (a != b).any()}
    assert {v.path for v in head.trainable_variables} <= changed
    assert not any("dense" in name and name not in {v.path for v in head.weights} for name in changed)
    assert program.optimizer is not model.optimizer
    loss = model.evaluate(X, CLASSES, verbose=0)[0]
    cross, _ = program.evaluate(X, one_hot, verbose=0)
    np.testing.assert_allclose(loss - sum(map(float, model.losses)), cross - sum(map(float, model.losses)), rtol=1e-5)
    np.testing.assert_array_equal(program.predict(X, verbose=0), model.predict(X, verbose=0))
    steps = int(model.optimizer.iterations.numpy())
    program.train_on_batch(X, one_hot)
    assert int(model.optimizer.iterations.numpy()) == steps
    with pytest.raises(ArgumentError, match="weights of the model"):
        model.program("mse", variables=[kgraph.Variable(np.zeros(1))])


def test_compile_again_keeps_the_weights():
    model = classifier()
    model.fit(X, CLASSES, verbose=0)
    before = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy")
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_add_metrics():
    class Watching(layers.Layer):
        def __init__(self):
            super().__init__()
            self.largest = kgraph.metrics.Mean(name="largest")

        def call(self, inputs):
            self.add_metric(ops.mean(inputs), name="level")
            self.add_metric(self.largest(ops.max(inputs)))
            return inputs

    model = kgraph.Sequential([kgraph.Input((8,)), Watching(), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(X, SUMS, batch_size=48, verbose=0, shuffle=False, validation_data=(X, SUMS)).history
    names = ["largest", "level", "loss", "mae"]
    assert sorted(history) == [*names, *(f"val_{name}" for name in names)]
    np.testing.assert_allclose([history["level"], history["val_level"]], X.mean(), rtol=1e-6)
    np.testing.assert_allclose(history["largest"], (X[:48].max() + X[48:].max()) / 2, rtol=1e-6)
    with pytest.raises(KgraphError, match="add_metric"):
        Watching().add_metric(np.ones(3), name="outside")


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (lambda self, loss: loss, DTypeError, "train_step: what it returns: expected a dict"),
        (lambda self, loss: {"loss": "high"}, DTypeError, "entry 'loss'"),
        (lambda self, loss: {"loss": self.y_pred}, ArgumentError, "one number"),
        (lambda self, loss: {}, KgraphError, "at least one entry"),
        (lambda self, loss: {"loss": 1.0 if loss > 3 else 2.0}, SymbolicError, "Python 'if' on"),
        (lambda self, loss: {"loss": float(loss)}, SymbolicError, r"float\(\) of a symbolic tensor"),
        (lambda self, loss: {"loss": kgraph.gradients(loss, [kgraph.Variable(np.ones(2, "f"))])[0]}, GraphError,
         "depends on a source"),
        (lambda self, loss: self.optimizer.apply([loss], self.trainable_variables), ArgumentError, "gradients"),
    ],
)  # fmt: skip
def test_mistakes_in_a_step_are_named(result, error, words):
    class Wrong(kgraph.Model):
        def train_step(self, data):
            x, y = data
            self.__dict__["y_pred"] = self(x)
            return result(self, ops.mean((self.__dict__["y_pred"] - y) ** 2))

    inputs = kgraph.Input((8,))
    model = Wrong(inputs, layers.Dense(1)(inputs))
    model.compile("sgd")
    with pytest.raises(error, match=words) as caught:
        model.fit(X, SUMS, verbose=0)
    assert "\n" not in str(caught.value)
    assert model.predict(X[:2], verbose=0).shape == (2, 1)


def test_gradients_are_for_programs():
    with pytest.raises(GraphError, match="inside a step"):
        kgraph.gradients(np.ones(3), [np.ones(3)])
    with pytest.raises(GraphError, match="inside a step"):
        kgraph.GradientTape()

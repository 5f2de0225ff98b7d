"""Arguments of compile, fit, evaluate and predict at the edges of what they can be."""

import numpy as np
import pytest

import kgraph
import kgraph.engine
from kgraph import callbacks, layers
from kgraph.errors import ArgumentError, DataError, DTypeError, KgraphWarning

X = np.linspace(-1, 1, 40, dtype="float32").reshape(10, 4)
Y = X.sum(1, keepdims=True) / 2


def model_of(loss="mse", **options):
    model = kgraph.Sequential([kgraph.Input((4,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile(kgraph.optimizers.SGD(0.1), loss, **options)
    return model


def two_outputs(as_dict=True, **options):
    inputs = kgraph.Input((4,))
    a = layers.Dense(1, kernel_initializer="ones", name="a")(inputs)
    b = layers.Dense(2, kernel_initializer="ones", name="b")(inputs)
    model = kgraph.Model(inputs, {"a": a, "b": b} if as_dict else [a, b])
    model.compile(kgraph.optimizers.SGD(0.1), **options)
    return model


def batches(count, rows=2):
    for start in range(count):
        yield X[start * rows : (start + 1) * rows], Y[start * rows : (start + 1) * rows]


# --- labels of outputs without a loss ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [{"a": "mse", "b": None}, {"a": "mse"}])
@pytest.mark.parametrize("y", [{"a": Y}, {"a": Y, "b": None}, {"a": Y, "b": np.ones((10, 2))}])
def test_an_output_without_a_loss_needs_no_labels(loss, y):
    expected = model_of().fit(X, Y, epochs=3, shuffle=False, verbose=0).history["loss"]
    model = two_outputs(loss=loss)
    history = model.fit(X, y, epochs=3, shuffle=False, verbose=0, validation_data=(X, y)).history
    assert history["loss"] == expected
    assert model.evaluate(X, y, verbose=0) == model.test_on_batch(X, y)
    stream = [(X[:5], {k: None if v is None else v[:5] for k, v in y.items()})] * 2
    assert model.fit(iter(stream), verbose=0).history["loss"]


def test_labels_in_a_list_may_leave_out_one():
    expected = model_of().fit(X, Y, epochs=3, shuffle=False, verbose=0).history["loss"]
    model = two_outputs(as_dict=False, loss=["mse", None], metrics=[["mae"], None])
    history = model.fit(X, [Y, None], epochs=3, shuffle=False, verbose=0, sample_weight=np.ones(10)).history
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-6)
    with pytest.raises(DataError, match=r"y\[0\]: expected numbers"):
        model.fit(X, [None, np.ones((10, 2))], verbose=0)


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("y", [Y, [Y], (Y,)], ids=["array", "list", "tuple"])
def test_labels_of_the_only_output_with_a_loss_may_stand_alone(as_dict, y):
    expected = model_of().fit(X, Y, epochs=3, shuffle=False, verbose=0).history["loss"]
    model = two_outputs(as_dict, loss={"a": "mse"} if as_dict else ["mse", None])
    assert model.fit(X, y, epochs=3, shuffle=False, verbose=0, validation_data=(X, y)).history["loss"] == expected
    others = two_outputs(as_dict, loss={"b": "mse"} if as_dict else [None, "mse"])
    pairs = np.repeat(Y, 2, 1)
    np.testing.assert_allclose(others.evaluate(X, pairs, verbose=0), np.mean(Y**2), rtol=1e-6)
    with pytest.raises(DataError, match="y: expected 2 arrays, for a, b"):
        two_outputs(as_dict, loss="mse").fit(X, y, verbose=0)


def test_labels_that_something_looks_at_are_asked_for():
    with pytest.raises(DataError, match=r"y: expected keys \['a', 'b'\], received \['a'\]"):
        two_outputs(loss="mse").fit(X, {"a": Y}, verbose=0)
    with pytest.raises(DataError, match="metric 'b_mae': expected labels for output 'b', received none"):
        two_outputs(loss={"a": "mse"}, metrics={"b": "mae"}).fit(X, {"a": Y}, verbose=0)


def test_metrics_are_evaluated_without_a_loss():
    model = kgraph.Sequential([kgraph.Input((4,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile(metrics=["mae"])
    loss, mae = model.evaluate(X, Y, verbose=0)
    assert loss == 0.0
    np.testing.assert_allclose(mae, np.abs(X.sum(1, keepdims=True) - Y).mean(), rtol=1e-6)


# --- too few data -----------------------------------------------------------------------------------------------------


def test_a_validation_stream_that_is_used_up_gives_no_values():
    with pytest.warns(KgraphWarning, match="validation_data: no data are left at epoch 2. Give validation_steps"):
        history = model_of().fit(X, Y, epochs=2, shuffle=False, verbose=0, validation_data=batches(5)).history
    assert len(history["loss"]) == 2
    assert len(history["val_loss"]) == 1


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_more_steps_than_data_are_told(call):
    model = model_of()
    arguments = (X, Y) if call == "evaluate" else (X,)
    with pytest.warns(KgraphWarning, match=f"{call}: the data ended too early: got 4 of 9 batches"):
        result = getattr(model, call)(*arguments, batch_size=3, steps=9, verbose=0)
    np.testing.assert_array_equal(result, getattr(model, call)(*arguments, batch_size=3, verbose=0))


def test_more_steps_than_data_for_validation_are_told():
    with pytest.warns(KgraphWarning, match="validation_data: the data ended too early: got 4 of 9 batches"):
        model_of().fit(X, Y, validation_data=(X, Y), validation_batch_size=3, validation_steps=9, verbose=0)


def test_no_rows_are_predicted_at_once():
    assert model_of().predict_on_batch(X[:0]).shape == (0, 1)


# --- callbacks that end a loop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [X, ((X[start : start + 3],) for start in range(0, 10, 3))], ids=["array", "stream"])
def test_a_callback_ends_a_prediction(data):
    class Ends(callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            self.model.stop_predicting = batch == 1

    model = model_of()
    made = model.predict(data, batch_size=3, verbose=0, callbacks=[Ends()])
    np.testing.assert_array_equal(made, model.predict(X[:6], verbose=0))


def test_a_callback_ends_an_evaluation():
    class Ends(callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            self.model.stop_evaluating = batch == 1

    model = model_of()
    loss = model.evaluate(X, Y, batch_size=3, verbose=0, callbacks=[Ends()])
    np.testing.assert_allclose(loss, model.evaluate(X[:6], Y[:6], verbose=0), rtol=1e-6)


# --- nothing to train -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_step", [False, True])
def test_a_frozen_model_is_fitted_without_a_change(own_step):
    class Own(kgraph.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    kind = Own if own_step else kgraph.Sequential
    model = kind([kgraph.Input((4,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    first = model.train_on_batch(X, Y)
    model.trainable = False
    with pytest.warns(KgraphWarning, match="there is nothing to train: no trainable variables"):
        history = model.fit(X, Y, epochs=2, shuffle=False, verbose=0).history
    assert history["loss"][0] == history["loss"][1] < first
    assert int(model.optimizer.iterations) == 1
    model.trainable = True
    assert model.fit(X, Y, epochs=2, verbose=0).history["loss"][1] < history["loss"][0]


def test_no_class_weights_are_none():
    labels = (X[:, 0] > 0).astype(int)
    model = model_of("binary_crossentropy")
    model.layers[0].activation = kgraph.activations.sigmoid
    assert model.fit(X, labels, class_weight={}, verbose=0).history["loss"]


# --- names of arguments -----------------------------------------------------------------------------------------------


def test_arguments_of_older_keras_are_accepted():
    with pytest.warns(KgraphWarning, match=r"compile\(sample_weight_mode\): not used; the shape of sample_weight"):
        model = model_of(sample_weight_mode="temporal")
    model.compile("sgd", "mse", target_tensors=None, steps_per_execution="auto")
    with pytest.warns(KgraphWarning, match=r"fit\(workers, use_multiprocessing, max_queue_size\): not used"):
        model.fit(X, Y, workers=4, use_multiprocessing=True, max_queue_size=3, verbose=0)
    with pytest.warns(KgraphWarning, match=r"predict\(workers"):
        model.predict(X, workers=2, verbose=0)
    assert model.train_on_batch(X, Y, reset_metrics=True) > 0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.fit(X, Y, epoch=3), DTypeError, "fit: unknown argument 'epoch'. Did you mean 'epochs'?"),
        (lambda m: m.evaluate(X, Y, step=3), DTypeError, "evaluate: unknown argument 'step'. Did you mean 'steps'?"),
        (lambda m: m.compile("sgd", "mse", metric=[]), DTypeError, "compile: unknown argument 'metric'. Did you mean"),
        (lambda m: m.compile("sgd", "mse", target_tensors=[1]), ArgumentError, "target_tensors): expected None"),
        (lambda m: m.train_on_batch(X, Y, reset_metrics=False), ArgumentError, "reset_metrics): expected True"),
        (lambda m: m.compile("sgd", "mse", steps_per_execution=0), ArgumentError, "must be an int >= 1"),
    ],
)
def test_unknown_arguments_are_named(call, error, words):
    model = model_of()
    with pytest.raises(error) as caught:
        call(model)
    assert words in str(caught.value)
    model.fit(X, Y, verbose=0)


def test_the_way_of_running_can_be_changed(monkeypatch):
    ran = []
    interpret = kgraph.engine.interpret

    def watched(*arguments, **options):
        ran.append(1)
        return interpret(*arguments, **options)

    monkeypatch.setattr(kgraph.engine, "interpret", watched)
    model = model_of(check="nan")
    for eagerly in (False, True, False):
        model.run_eagerly = eagerly
        assert model.run_eagerly == eagerly
        ran.clear()
        model.train_on_batch(X, Y)
        model.fit(X, Y, verbose=0)
        assert bool(ran) == eagerly


def test_a_metric_without_a_name_has_one_in_the_logs():
    history = model_of(metrics=[lambda y, p: kgraph.ops.mean(y - p)]).fit(X, Y, verbose=0).history
    assert list(history) == ["lambda", "loss"]

"""Masks: made by a layer, kept beside tensors by layers that support them, used by layers, losses and metrics."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import kgraph
from kgraph.errors import KgraphWarning
from kgraph.keras_tensor import KerasTensor
from kgraph.layers import (
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Dense,
    Dropout,
    GlobalAveragePooling1D,
    Input,
    Layer,
    Multiply,
    Reshape,
    Softmax,
)
from kgraph.models import Model, Sequential
from kgraph.primitives import composites

X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
X[0, 2:] = X[1, 0] = 0
KEPT = (X != 0).any(-1)
Y = np.random.default_rng(1).normal(size=(2, 4, 2)).astype("float32")


class SkipZeros(Layer):
    """Masks the steps that are all zero."""

    def call(self, inputs):
        return inputs + 0

    def compute_mask(self, inputs, mask=None):
        return composites.sum(abs(inputs), -1) > 0


class SeesMask(Layer):
    """Gives the mask it is called with, as numbers; -1 for none."""

    supports_masking = True

    def call(self, inputs, mask=None):
        nothing = composites.sum(inputs, -1) * 0
        return nothing + (-1 if mask is None else composites.cast(mask, "float32"))


class Twice(Layer):
    """Supports masking by saying so."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return inputs * 2


@pytest.fixture(autouse=True)
def in_the_interpreter():
    with kgraph.execution("interpreter"):
        yield


@pytest.mark.parametrize("layer", [
    Dense(3), Twice(), Dropout(0.5), BatchNormalization(), Activation("relu"), Sequential([Dense(4), Twice()]),
])  # fmt: skip
def test_a_mask_goes_on_through_layers_that_support_it(layer: Layer):
    for model in (
        Sequential([SkipZeros(), layer, SeesMask()]),
        (lambda i: Model(i, SeesMask()(layer(SkipZeros()(i)))))(Input((4, 3))),
    ):
        np.testing.assert_array_equal(model(X), KEPT)


class Nested(Model):
    """A subclass whose layers pass the mask among themselves."""

    def __init__(self):
        super().__init__()
        self.skip, self.inner, self.last = SkipZeros(), Sequential([Input((4, 3)), Dense(2), Twice()]), SeesMask()

    def call(self, inputs):
        return self.last(self.inner(self.skip(inputs)))


def test_a_mask_goes_through_nested_and_subclassed_models():
    np.testing.assert_array_equal(Nested()(X), KEPT)


@pytest.mark.parametrize("training", [False, True])
def test_a_mask_is_given_explicitly_and_wins(training: bool):
    other = np.array([[True, False, False, True], [False, True, True, False]])
    np.testing.assert_array_equal(SeesMask()(X, mask=other), other)
    np.testing.assert_array_equal(SeesMask()(X), -1)
    i, m = Input((4, 3)), Input((4,), dtype="bool")
    model = Model([i, m], SeesMask()(SkipZeros()(i), mask=m))
    np.testing.assert_array_equal(model([X, other], training=training), other)
    model = Sequential([Input((4, 3)), Dense(3), SeesMask()])
    np.testing.assert_array_equal(model(X, mask=other), other)


def test_a_layer_that_does_not_support_masking_drops_it_with_a_warning():
    i = Input((4, 3))
    with pytest.warns(KgraphWarning, match=r"layer 'r' \(Reshape\) does not support masking"):
        y = Reshape((6, 2), name="r")(SkipZeros()(i))
    assert y._keras_mask is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(Model(i, SeesMask()(y))(X), -1)


def test_symbolic_tensors_know_their_mask():
    i = Input((4, 3))
    y = SkipZeros()(i)
    assert i._keras_mask is None
    assert isinstance(y._keras_mask, KerasTensor)
    assert (y._keras_mask.shape, y._keras_mask.dtype) == ((None, 4), "bool")
    np.testing.assert_array_equal(Model(i, y._keras_mask)(X), KEPT)
    np.testing.assert_array_equal(Model(i, SeesMask()(i, mask=y._keras_mask))(X), KEPT)


def test_compute_mask_takes_symbolic_tensors_and_arrays():
    i = Input((4, 3))
    np.testing.assert_array_equal(SkipZeros().compute_mask(X), KEPT)
    np.testing.assert_array_equal(Model(i, SkipZeros().compute_mask(i))(X), KEPT)
    assert Dense(2).compute_mask(X, KEPT) is KEPT


def test_tensors_know_their_mask_inside_a_call():
    class Looks(Layer):
        supports_masking = True

        def call(self, inputs):
            assert (inputs * 2)._keras_mask is None
            return composites.cast(inputs._keras_mask, "float32")

    np.testing.assert_array_equal(Sequential([SkipZeros(), Looks()])(X), KEPT)


class Pair(Layer):
    """Two tensor arguments, each with its own mask."""

    supports_masking = True

    def call(self, first, second, first_mask=None, second_mask=None):
        assert first_mask is not None
        assert second_mask is None
        return composites.cast(first_mask, "float32") + composites.sum(second, -1) * 0


def test_each_of_several_tensor_arguments_has_its_own_mask():
    i = Input((4, 3))
    np.testing.assert_array_equal(Model(i, Pair()(SkipZeros()(i), i))(X), KEPT)


def test_masks_of_merged_tensors():
    other = X.copy()
    other[:, 2] = 0
    seen = (other != 0).any(-1)
    a, b = Input((4, 3)), Input((4, 3))
    masked = SkipZeros()(a), SkipZeros()(b)

    def mask_after(layer: Layer, inputs) -> np.ndarray:
        return Model([a, b], SeesMask()(layer(inputs)))([X, other])

    np.testing.assert_array_equal(mask_after(Add(), masked), KEPT | seen)
    np.testing.assert_array_equal(mask_after(Multiply(), (masked[0], b)), -1)
    np.testing.assert_array_equal(mask_after(Concatenate(), masked), KEPT | seen)
    np.testing.assert_array_equal(mask_after(Concatenate(axis=1), masked), np.concatenate([KEPT, seen], 1))
    np.testing.assert_array_equal(mask_after(Concatenate(axis=1), [a, masked[1]]), np.c_[np.ones((2, 4)), seen])


def test_the_mean_over_time_is_that_of_the_steps_kept():
    i = Input((4, 3))
    for options, expected in (
        ({}, [row[keep].mean(0) for row, keep in zip(X, KEPT)]),
        ({"keepdims": True}, [row[keep].mean(0, keepdims=True) for row, keep in zip(X, KEPT)]),
    ):
        model = Model(i, GlobalAveragePooling1D(**options)(SkipZeros()(i)))
        np.testing.assert_allclose(model(X), expected, rtol=1e-6)
        assert model.output._keras_mask is None
    first = GlobalAveragePooling1D(data_format="channels_first")(X.transpose(0, 2, 1), mask=KEPT)
    np.testing.assert_allclose(first, [row[keep].mean(0) for row, keep in zip(X, KEPT)], rtol=1e-6)
    np.testing.assert_array_equal(GlobalAveragePooling1D()(X, mask=np.zeros((2, 4), bool)), 0)


def test_softmax_leaves_masked_elements_out():
    scores = np.random.default_rng(2).normal(size=(2, 4)).astype("float32")
    exp = np.exp(scores) * KEPT
    np.testing.assert_allclose(Softmax()(scores, mask=KEPT), exp / exp.sum(-1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(Softmax()(scores, mask=np.zeros((2, 4), bool)), 0)


def test_batch_normalization_takes_its_statistics_from_what_is_kept():
    layer = BatchNormalization(momentum=0.0)
    y = layer(X, training=True, mask=KEPT)
    mean, variance = X[KEPT].mean(0), X[KEPT].var(0)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)
    np.testing.assert_allclose(y, (X - mean) / np.sqrt(variance + 1e-3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("execution", ["interpreter", "native"])
def test_losses_and_metrics_count_what_is_kept(execution: str):
    """The loss is the mean over the steps kept, also with weights of samples; so are metrics."""
    i = Input((4, 3))
    model = Model(i, Dense(2)(SkipZeros()(i)))
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mse"])
    weights = np.array([2.0, 0.5], "float32")
    with kgraph.execution(execution):
        error = model.predict(X, verbose=0) - Y
        squares, sizes = (error**2).mean(-1), abs(error).mean(-1)
        loss, mae, mse = model.evaluate(X, Y, verbose=0)
        np.testing.assert_allclose([loss, mae, mse], [squares[KEPT].mean(), sizes[KEPT].mean(), loss], rtol=1e-5)
        loss, mae, mse = model.evaluate(X, Y, sample_weight=weights, verbose=0)
        spread = np.broadcast_to(weights[:, None], KEPT.shape)[KEPT]
        expected = [(squares[KEPT] * spread).mean(), sizes[KEPT].mean(), np.average(squares[KEPT], weights=spread)]
        np.testing.assert_allclose([loss, mae, mse], expected, rtol=1e-5)
        assert np.isfinite(model.train_on_batch(X, Y)[0])


@pytest.mark.parametrize("reduction, expected", [
    ("sum", lambda v: v[KEPT].sum()), ("none", lambda v: v * KEPT),
    ("mean_with_sample_weight", lambda v: v[KEPT].mean()),
])  # fmt: skip
def test_other_reductions_of_masked_losses(reduction: str, expected):
    class Scored(Layer):
        def __init__(self):
            super().__init__()
            self.skip = SkipZeros()

        def call(self, inputs):
            return kgraph.losses.MeanSquaredError(reduction=reduction)(inputs * 0, self.skip(inputs))

    np.testing.assert_allclose(Scored()(X), expected((X**2).mean(-1)), rtol=1e-5)


def test_a_loss_of_nothing_kept_is_zero():
    i = Input((4, 3))
    model = Model(i, Dense(2)(SkipZeros()(i)))
    model.compile("sgd", "mse", metrics=["mae"])
    assert model.evaluate(np.zeros((2, 4, 3)), Y, verbose=0) == [0.0, 0.0]

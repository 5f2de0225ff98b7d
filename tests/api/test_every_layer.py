"""One row for every layer: shapes, element types, batch sizes, configurations, one training step.

What layers compute is compared with Keras' numbers in test_golden_layers.py and in tests/against_keras.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import kgraph
from kgraph import layers as L
from kgraph.nesting import flatten

BATCH = 3


@dataclass(frozen=True)
class Row:
    """A layer, what goes in, and what must come out.

    Attributes:
        make: makes the layer; takes `dtype`.
        inputs: shapes of the inputs without the batch.
        output: shape of the output without the batch.
        call: calls the layer on its inputs.
        ints: the inputs are integers below this number; 0 for floats.
        dtype: element type of the output; empty for the layer's.
        idle: ends of the paths of weights whose gradient is 0, so that training does not change them.
    """

    make: Callable[..., Any]
    inputs: list[tuple[int, ...]]
    output: tuple[int, ...]
    call: Callable[..., Any] = field(default=lambda layer, *xs: layer(xs[0] if len(xs) == 1 else list(xs)))
    ints: int = 0
    dtype: str = ""
    idle: tuple[str, ...] = ()

    def data(self, batch: int = BATCH, dtype: str = "float32") -> list[np.ndarray]:
        """Inputs; the first rows are the same for every batch size."""
        rng = np.random.default_rng(7)
        if self.ints:
            return [rng.integers(0, self.ints, (9, *shape)).astype("int32")[:batch] for shape in self.inputs]
        return [rng.normal(size=(9, *shape)).astype(dtype)[:batch] for shape in self.inputs]


def headed(layer: Any, query: Any, value: Any) -> Any:
    """The call of layers that take a query and a value."""
    return layer(query, value)


def at_rest(layer: Any, images: Any) -> Any:
    """The call of layers that act on arrays even outside training."""
    return layer(images, training=False) if isinstance(images, np.ndarray) else layer(images)


def one_step(cell: Any, x: Any, *states: Any) -> Any:
    """The output of a recurrent cell."""
    return cell(x, list(states))[0]


def one_step_of_each(cells: Any, x: Any, *states: Any) -> Any:
    """The output of stacked recurrent cells of one state each."""
    return cells(x, [[state] for state in states])[0]


IMAGE, VOLUME, STEPS = (6, 8, 4), (4, 5, 6, 2), (8, 4)

ROWS = {
    "Activation": Row(lambda **k: L.Activation("tanh", **k), [(4,)], (4,)),
    "ActivityRegularization": Row(lambda **k: L.ActivityRegularization(0.1, 0.1, **k), [(4,)], (4,)),
    "Add": Row(L.Add, [(3, 4), (3, 4), (1, 4)], (3, 4)),
    "AdditiveAttention": Row(L.AdditiveAttention, [(5, 4), (7, 4)], (5, 4)),
    "AlphaDropout": Row(lambda **k: L.AlphaDropout(0.3, **k), [(4,)], (4,)),
    "Attention": Row(lambda **k: L.Attention(use_scale=True, score_mode="concat", **k), [(5, 4), (7, 4)], (5, 4)),
    "Average": Row(L.Average, [(4,), (4,)], (4,)),
    "AveragePooling1D": Row(lambda **k: L.AveragePooling1D(3, **k), [STEPS], (2, 4)),
    "AveragePooling2D": Row(lambda **k: L.AveragePooling2D((2, 3), padding="same", **k), [IMAGE], (3, 3, 4)),
    "AveragePooling3D": Row(L.AveragePooling3D, [VOLUME], (2, 2, 3, 2)),
    "BatchNormalization": Row(L.BatchNormalization, [(5, 4)], (5, 4)),
    "CategoryEncoding": Row(lambda **k: L.CategoryEncoding(6, **k), [(4,)], (6,), ints=6),
    "CenterCrop": Row(lambda **k: L.CenterCrop(3, 5, **k), [IMAGE], (3, 5, 4)),
    "Bidirectional": Row(
        lambda **k: L.Bidirectional(L.LSTM(3, return_sequences=True, **k), "sum", **k), [STEPS], (8, 3)
    ),
    "Concatenate": Row(lambda **k: L.Concatenate(axis=1, **k), [(2, 4), (3, 4)], (5, 4)),
    "Conv1D": Row(lambda **k: L.Conv1D(5, 3, padding="causal", **k), [STEPS], (8, 5)),
    "Conv1DTranspose": Row(lambda **k: L.Conv1DTranspose(5, 3, strides=2, **k), [STEPS], (17, 5)),
    "ConvLSTM1D": Row(lambda **k: L.ConvLSTM1D(2, 3, return_sequences=True, **k), [(3, 8, 4)], (3, 6, 2)),
    "ConvLSTM2D": Row(lambda **k: L.ConvLSTM2D(2, (2, 3), padding="same", strides=2, **k), [(3, 4, 5, 2)], (2, 3, 2)),
    "ConvLSTM3D": Row(lambda **k: L.ConvLSTM3D(2, 2, **k), [(2, 3, 4, 3, 2)], (2, 3, 2, 2)),
    "Conv2D": Row(lambda **k: L.Conv2D(6, (3, 2), groups=2, activation="relu", **k), [IMAGE], (4, 7, 6)),
    "Conv2DTranspose": Row(lambda **k: L.Conv2DTranspose(5, 3, 2, "same", **k), [IMAGE], (12, 16, 5)),
    "Conv3D": Row(lambda **k: L.Conv3D(3, 2, **k), [VOLUME], (3, 4, 5, 3)),
    "Conv3DTranspose": Row(lambda **k: L.Conv3DTranspose(3, 2, **k), [VOLUME], (5, 6, 7, 3)),
    "Cropping1D": Row(lambda **k: L.Cropping1D((1, 2), **k), [STEPS], (5, 4)),
    "Cropping2D": Row(lambda **k: L.Cropping2D(((1, 2), (0, 1)), **k), [IMAGE], (3, 7, 4)),
    "Cropping3D": Row(lambda **k: L.Cropping3D(1, **k), [VOLUME], (2, 3, 4, 2)),
    "Dense": Row(lambda **k: L.Dense(3, activation="tanh", **k), [(2, 4)], (2, 3)),
    "DepthwiseConv1D": Row(lambda **k: L.DepthwiseConv1D(3, depth_multiplier=2, **k), [STEPS], (6, 8)),
    "DepthwiseConv2D": Row(lambda **k: L.DepthwiseConv2D(3, **k), [IMAGE], (4, 6, 4)),
    "Discretization": Row(lambda **k: L.Discretization([0.0, 0.5], **k), [(4,)], (4,), dtype="int32"),
    "Dot": Row(lambda **k: L.Dot((2, 1), **k), [(3, 4), (4, 5)], (3, 5)),
    "Dropout": Row(lambda **k: L.Dropout(0.3, **k), [(4,)], (4,)),
    "ELU": Row(lambda **k: L.ELU(0.5, **k), [(4,)], (4,)),
    "EinsumDense": Row(lambda **k: L.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", **k), [(3, 4)], (3, 5)),
    "Embedding": Row(lambda **k: L.Embedding(6, 4, **k), [(5,)], (5, 4), ints=6),
    "Flatten": Row(L.Flatten, [(2, 3, 4)], (24,)),
    "GRU": Row(lambda **k: L.GRU(3, return_sequences=True, go_backwards=True, **k), [STEPS], (8, 3)),
    "GRUCell": Row(lambda **k: L.GRUCell(3, reset_after=False, **k), [(4,), (3,)], (3,), one_step),
    "GaussianDropout": Row(lambda **k: L.GaussianDropout(0.3, **k), [(4,)], (4,)),
    "GaussianNoise": Row(lambda **k: L.GaussianNoise(0.3, **k), [(4,)], (4,)),
    "GlobalAveragePooling1D": Row(L.GlobalAveragePooling1D, [STEPS], (4,)),
    "GlobalAveragePooling2D": Row(lambda **k: L.GlobalAveragePooling2D(keepdims=True, **k), [IMAGE], (1, 1, 4)),
    "GlobalAveragePooling3D": Row(L.GlobalAveragePooling3D, [VOLUME], (2,)),
    "GlobalMaxPooling1D": Row(L.GlobalMaxPooling1D, [STEPS], (4,)),
    "GlobalMaxPooling2D": Row(L.GlobalMaxPooling2D, [IMAGE], (4,)),
    "GlobalMaxPooling3D": Row(L.GlobalMaxPooling3D, [VOLUME], (2,)),
    "GroupNormalization": Row(lambda **k: L.GroupNormalization(2, **k), [(5, 4)], (5, 4)),
    "GroupedQueryAttention": Row(
        lambda **k: L.GroupQueryAttention(3, 4, 2, **k), [(5, 4), (7, 4)], (5, 4), headed, idle=("key/bias",)
    ),
    "Identity": Row(L.Identity, [(2, 4)], (2, 4)),
    "LSTM": Row(lambda **k: L.LSTM(3, recurrent_activation="hard_sigmoid", **k), [STEPS], (3,)),
    "LSTMCell": Row(lambda **k: L.LSTMCell(3, unit_forget_bias=False, **k), [(4,), (3,), (3,)], (3,), one_step),
    "Lambda": Row(lambda **k: L.Lambda(double, arguments={"by": 3.0}, **k), [(4,)], (4,)),
    "LayerNormalization": Row(L.LayerNormalization, [(5, 4)], (5, 4)),
    "LeakyReLU": Row(lambda **k: L.LeakyReLU(0.1, **k), [(4,)], (4,)),
    "Masking": Row(lambda **k: L.Masking(0.0, **k), [(5, 4)], (5, 4)),
    "MaxPooling1D": Row(L.MaxPooling1D, [STEPS], (4, 4)),
    "MaxPooling2D": Row(lambda **k: L.MaxPooling2D(3, strides=1, padding="same", **k), [IMAGE], (6, 8, 4)),
    "MaxPooling3D": Row(L.MaxPooling3D, [VOLUME], (2, 2, 3, 2)),
    "Maximum": Row(L.Maximum, [(4,), (4,)], (4,)),
    "Minimum": Row(L.Minimum, [(4,), (4,)], (4,)),
    "MultiHeadAttention": Row(
        lambda **k: L.MultiHeadAttention(2, 3, value_dim=5, **k), [(5, 4), (7, 3)], (5, 4), headed, idle=("key/bias",)
    ),
    "Multiply": Row(L.Multiply, [(4,), (4,)], (4,)),
    "Normalization": Row(L.Normalization, [(5, 4)], (5, 4)),
    "PReLU": Row(lambda **k: L.PReLU("ones", shared_axes=[1], **k), [(3, 4)], (3, 4)),
    "Permute": Row(lambda **k: L.Permute((3, 1, 2), **k), [(2, 3, 4)], (4, 2, 3)),
    "RMSNormalization": Row(L.RMSNormalization, [(5, 4)], (5, 4)),
    "RandomBrightness": Row(lambda **k: L.RandomBrightness(0.3, **k), [IMAGE], IMAGE, at_rest),
    "RandomContrast": Row(lambda **k: L.RandomContrast(0.3, **k), [IMAGE], IMAGE, at_rest),
    "RandomCrop": Row(lambda **k: L.RandomCrop(3, 5, **k), [IMAGE], (3, 5, 4), at_rest),
    "RandomFlip": Row(L.RandomFlip, [IMAGE], IMAGE, at_rest),
    "RandomRotation": Row(lambda **k: L.RandomRotation(0.3, **k), [IMAGE], IMAGE, at_rest),
    "RandomShear": Row(lambda **k: L.RandomShear(0.3, **k), [IMAGE], IMAGE, at_rest),
    "RandomTranslation": Row(lambda **k: L.RandomTranslation(0.3, 0.3, **k), [IMAGE], IMAGE, at_rest),
    "RandomZoom": Row(lambda **k: L.RandomZoom(0.3, **k), [IMAGE], IMAGE, at_rest),
    "RNN": Row(lambda **k: L.RNN(L.LSTMCell(3, **k), return_sequences=True, **k), [STEPS], (8, 3)),
    "ReLU": Row(lambda **k: L.ReLU(0.8, 0.1, 0.2, **k), [(4,)], (4,)),
    "RepeatVector": Row(lambda **k: L.RepeatVector(3, **k), [(4,)], (3, 4)),
    "Rescaling": Row(lambda **k: L.Rescaling(1 / 255, 0.5, **k), [(2, 4)], (2, 4), ints=255),
    "Reshape": Row(lambda **k: L.Reshape((3, -1), **k), [(2, 6)], (3, 4)),
    "Resizing": Row(lambda **k: L.Resizing(3, 9, "bicubic", **k), [IMAGE], (3, 9, 4)),
    "SeparableConv1D": Row(lambda **k: L.SeparableConv1D(5, 3, **k), [STEPS], (6, 5)),
    "SeparableConv2D": Row(lambda **k: L.SeparableConv2D(5, 3, depth_multiplier=2, **k), [IMAGE], (4, 6, 5)),
    "SimpleRNN": Row(lambda **k: L.SimpleRNN(3, **k), [STEPS], (3,)),
    "SimpleRNNCell": Row(lambda **k: L.SimpleRNNCell(3, use_bias=False, **k), [(4,), (3,)], (3,), one_step),
    "Softmax": Row(lambda **k: L.Softmax(axis=[1, 2], **k), [(3, 4)], (3, 4)),
    "SpatialDropout1D": Row(lambda **k: L.SpatialDropout1D(0.3, **k), [STEPS], STEPS),
    "SpatialDropout2D": Row(lambda **k: L.SpatialDropout2D(0.3, **k), [IMAGE], IMAGE),
    "SpatialDropout3D": Row(lambda **k: L.SpatialDropout3D(0.3, **k), [VOLUME], VOLUME),
    "SpectralNormalization": Row(
        lambda **k: L.SpectralNormalization(L.Dense(3, **k), power_iterations=2, **k), [(4,)], (3,)
    ),
    "StackedRNNCells": Row(
        lambda **k: L.StackedRNNCells([L.GRUCell(3, **k), L.SimpleRNNCell(5, **k)], **k), [(4,), (3,), (5,)], (5,),
        one_step_of_each,
    ),
    "Subtract": Row(L.Subtract, [(4,), (4,)], (4,)),
    "TimeDistributed": Row(lambda **k: L.TimeDistributed(L.Dense(3, **k), **k), [(2, 5, 4)], (2, 5, 3)),
    "UnitNormalization": Row(L.UnitNormalization, [(5, 4)], (5, 4)),
    "UpSampling1D": Row(lambda **k: L.UpSampling1D(3, **k), [STEPS], (24, 4)),
    "UpSampling2D": Row(lambda **k: L.UpSampling2D((2, 3), **k), [IMAGE], (12, 24, 4)),
    "UpSampling3D": Row(L.UpSampling3D, [VOLUME], (8, 10, 12, 2)),
    "ZeroPadding1D": Row(lambda **k: L.ZeroPadding1D((1, 2), **k), [STEPS], (11, 4)),
    "ZeroPadding2D": Row(lambda **k: L.ZeroPadding2D(((1, 2), (0, 1)), **k), [IMAGE], (9, 9, 4)),
    "ZeroPadding3D": Row(L.ZeroPadding3D, [VOLUME], (6, 7, 8, 2)),
}

# Bases, and the places of inputs, which are not called.
NOT_CALLED = {"Layer", "InputLayer", "Wrapper"}
# Layers that run in Python before a model: test_word_layers.py has them.
BEFORE_MODELS = {"Hashing", "IntegerLookup", "StringLookup", "TextVectorization"}


def double(x: Any, by: float) -> Any:
    """A function for Lambda, known by name so that a configuration can hold it."""
    return x * by


@pytest.fixture(autouse=True)
def in_the_interpreter():
    """These tests are about the layers; golden cases and op tests run both ways."""
    with kgraph.execution("interpreter"):
        yield


def exported() -> set[str]:
    """Names of the layer classes that the package exports, each class once."""
    found = (getattr(L, name) for name in L.__all__)
    return {cls.__name__ for cls in found if isinstance(cls, type) and issubclass(cls, L.Layer)}


def by_row(function: Callable[..., None]) -> Callable[..., None]:
    """Run a test for every row."""
    return pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)(function)


def test_every_exported_layer_has_a_row():
    assert exported() == set(ROWS) | NOT_CALLED | BEFORE_MODELS
    for name, row in ROWS.items():
        assert type(row.make()).__name__ == name


@by_row
def test_shapes_and_element_types_are_known_before_the_call(row: Row):
    layer = row.make()
    y = row.call(layer, *row.data())
    assert y.shape == (BATCH, *row.output)
    assert y.dtype == (row.dtype or "float32")
    assert np.isfinite(y).all()
    tensors = [kgraph.Input(shape, dtype="int32" if row.ints else "float32") for shape in row.inputs]
    symbol = row.call(row.make(), *tensors)
    assert (symbol.shape, symbol.dtype) == ((None, *row.output), y.dtype)
    if row.call not in (headed, one_step, one_step_of_each):
        shapes = [(None, *shape) for shape in row.inputs]
        assert row.make().compute_output_shape(shapes if len(shapes) > 1 else shapes[0]) == (None, *row.output)


@by_row
def test_rows_do_not_depend_on_the_batch(row: Row):
    layer = row.make()
    y = row.call(layer, *row.data(5))
    for batch in (1, 3):
        np.testing.assert_allclose(row.call(layer, *row.data(batch)), y[:batch], rtol=1e-6, atol=1e-6)


@by_row
def test_float64(row: Row):
    layer, wide = row.make(), row.make(dtype="float64")
    y = row.call(layer, *row.data())
    row.call(wide, *row.data(dtype="float64"))
    wide.set_weights(layer.get_weights())
    z = row.call(wide, *row.data(dtype="float64"))
    assert z.dtype == (row.dtype or "float64")
    np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)


@by_row
def test_a_configuration_makes_the_same_layer(row: Row):
    layer = row.make(name="one")
    config = layer.get_config()
    copy = type(layer).from_config(config)
    assert (copy.name, copy.get_config()) == ("one", config)
    y = row.call(layer, *row.data())
    row.call(copy, *row.data())
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(row.call(copy, *row.data()), y)


@by_row
def test_json_text_makes_the_same_layer_and_the_same_model(row: Row):
    layer, own = row.make(name="one"), {"double": double}
    y = row.call(layer, *row.data())
    text = json.dumps(L.serialize(layer))
    copy = L.deserialize(json.loads(text), own)
    row.call(copy, *row.data())
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(row.call(copy, *row.data()), y)
    assert json.dumps(L.serialize(copy)) == text
    tensors = [kgraph.Input(shape, dtype="int32" if row.ints else "float32") for shape in row.inputs]
    model = kgraph.Model(tensors, row.call(layer, *tensors))
    again = kgraph.models.model_from_json(model.to_json(), own)
    again.set_weights(model.get_weights())
    assert again.to_json() == model.to_json()


@pytest.mark.filterwarnings("ignore:.*does not support masking")  # Flatten behind Masking
@by_row
def test_a_training_step_changes_the_weights(row: Row):
    kgraph.utils.set_random_seed(0)  # a random map may turn a whole picture into zeros, which train nothing
    tensors = [kgraph.Input(shape, dtype="int32" if row.ints else "float32") for shape in row.inputs]
    model = kgraph.Model(tensors, L.Dense(2)(L.Flatten()(row.call(row.make(), *tensors))))
    rng = np.random.default_rng(zlib.crc32(type(model.layers[-3]).__name__.encode()))
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(kgraph.optimizers.SGD(0.01), "mse")
    loss = model.train_on_batch(row.data(), np.zeros((BATCH, 2)))
    assert np.isfinite(loss)
    assert all(np.isfinite(w).all() for w in flatten(model.get_weights()))
    same = [w.path for w, old in zip(model.trainable_weights, before) if np.allclose(w.numpy(), old, atol=1e-7)]
    assert [path for path in same if not path.endswith(row.idle or "nothing")] == []
    assert len(same) == len(row.idle)

"""Normalisation layers: against NumPy in float64, their states, their options, their errors."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
from kgraph import layers
from kgraph.errors import KgraphError
from kgraph.layers import (
    BatchNormalization,
    Dense,
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)

BOTH = pytest.mark.parametrize("execution", ["interpreter", "native"])


def standard(x, axes, epsilon=1e-3):
    """`x` with mean 0 and variance 1 over axes, in float64."""
    x = np.asarray(x, "float64")
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def far_from_zero(rng, *shape):
    """Mean 1e4, standard deviation 1."""
    return (rng.standard_normal(shape) + 1e4).astype("float32")


@BOTH
@pytest.mark.parametrize("axis", [-1, 1])
def test_batch_normalization_is_accurate_far_from_zero(axis, execution, rng):
    x = far_from_zero(rng, 64, 8, 9, 5)
    layer = BatchNormalization(axis=axis, momentum=0.0)
    with kgraph.execution(execution):
        y = layer(x, training=True)
    others = tuple(a for a in range(4) if a != axis % 4)
    np.testing.assert_allclose(y, standard(x, others), rtol=0, atol=2e-6)
    np.testing.assert_allclose(layer.moving_mean.numpy(), x.mean(others, dtype="float64"), rtol=1e-7)
    np.testing.assert_allclose(layer.moving_variance.numpy(), x.var(others, dtype="float64"), rtol=1e-6)


@BOTH
@pytest.mark.parametrize("axis, axes", [(-1, (2,)), ([1, 2], (1, 2)), (1, (1,)), ([-2], (1,))])
def test_layer_normalization_is_accurate_far_from_zero(axis, axes, execution, rng):
    x = far_from_zero(rng, 3, 40, 50)
    with kgraph.execution(execution):
        y = LayerNormalization(axis=axis)(x)
    np.testing.assert_allclose(y, standard(x, axes), rtol=0, atol=2e-6)


@BOTH
@pytest.mark.parametrize("groups, axis", [(3, -1), (-1, -1), (1, -1), (2, 1)])
def test_group_normalization_is_accurate_far_from_zero(groups, axis, execution, rng):
    x = far_from_zero(rng, 3, 4, 5, 6)
    layer = GroupNormalization(groups, axis=axis)
    with kgraph.execution(execution):
        y = layer(x)
    channels = np.moveaxis(x, axis, -1)
    count = channels.shape[-1] if groups == -1 else groups
    parts = channels.reshape(*channels.shape[:-1], count, -1)
    wanted = standard(parts, (1, 2, 4)).reshape(channels.shape)
    np.testing.assert_allclose(y, np.moveaxis(wanted, -1, axis), rtol=0, atol=2e-6)


@BOTH
def test_rms_and_unit_normalization(execution, rng):
    x = rng.normal(size=(3, 4, 5)).astype("float32")
    rms = RMSNormalization(axis=[1, 2])
    with kgraph.execution(execution):
        rms.build((None, 4, 5))
        rms.scale.assign(np.full((4, 5), 2.0))
        y, unit = rms(x), UnitNormalization()(x)
        zeros = UnitNormalization()(np.zeros((1, 3), "float32"))
    wide = x.astype("float64")
    np.testing.assert_allclose(y, 2 * wide / np.sqrt((wide**2).mean((1, 2), keepdims=True) + 1e-6), rtol=1e-5)
    np.testing.assert_allclose(unit, wide / np.linalg.norm(wide, axis=-1, keepdims=True), rtol=1e-5)
    assert not zeros.any()


def test_rms_scaling_divides_without_taking_the_mean_away(rng):
    x = rng.normal(2, 1, size=(3, 6)).astype("float32")
    layer = LayerNormalization(rms_scaling=True)
    np.testing.assert_allclose(layer(x), x / np.sqrt(x.var(-1, keepdims=True) + 1e-3), rtol=1e-5)
    assert layer.beta is None


def test_unit_normalization_of_zeros_has_finite_gradients():
    model = kgraph.Sequential([kgraph.Input((3,)), UnitNormalization()])
    _, (slope,), _ = kgraph.vjp(model, np.zeros((1, 3), "float32"), np.ones((1, 3), "float32"))
    assert np.isfinite(slope).all()


@BOTH
def test_moving_statistics_change_in_training_only(execution, rng):
    x = rng.normal(3, 2, size=(32, 4)).astype("float32")
    model = kgraph.Sequential([kgraph.Input((4,)), BatchNormalization(momentum=0.9), Dense(1)])
    model.compile("sgd", "mse")
    layer, y = model.layers[0], np.zeros((32, 1), "float32")
    with kgraph.execution(execution):
        model.predict(x, verbose=0)
        model.evaluate(x, y, verbose=0)
        np.testing.assert_array_equal(layer.moving_mean.numpy(), np.zeros(4))
        model.train_on_batch(x, y)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * x.var(0), rtol=1e-5)


def test_frozen_layer_runs_as_in_inference(rng):
    x = rng.normal(3, 2, size=(16, 4)).astype("float32")
    layer = BatchNormalization()
    layer(x, training=True)
    before = layer.get_weights()
    expected = layer(x, training=False)
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), expected)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not layer.trainable_weights
    assert len(layer.non_trainable_weights) == 4


def test_inference_uses_the_moving_statistics():
    layer = BatchNormalization(epsilon=0.0)
    layer.build((None, 2))
    layer.set_weights([np.array(v, "float32") for v in ([2, 1], [1, 0], [10, 20], [4, 9])])
    np.testing.assert_allclose(layer([[12.0, 26.0]]), [[3.0, 2.0]], rtol=1e-6)


def slopes(layer, x, c, training):
    model = kgraph.Sequential([kgraph.Input(x.shape[1:], dtype=x.dtype.name), layer])
    return kgraph.vjp(model, x, c, training=training)


@BOTH
@pytest.mark.parametrize(
    "make, axes",
    [
        (lambda: BatchNormalization(center=False, scale=False, dtype="float64"), (0,)),
        (lambda: LayerNormalization(center=False, scale=False, dtype="float64"), (1,)),
        (lambda: BatchNormalization(dtype="float64"), (0,)),
        (lambda: LayerNormalization(dtype="float64"), (1,)),
    ],
)
def test_gradients_are_slopes(make, axes, execution, rng):
    x, c, step = (rng.normal(size=(7, 5)) for _ in range(3))
    with kgraph.execution(execution):
        _, (slope,), of_weights = slopes(make(), x, c, training=True)
    h = 1e-5
    numeric = ((standard(x + h * step, axes) - standard(x - h * step, axes)) * c).sum() / (2 * h)
    assert (slope * step).sum() == pytest.approx(numeric, rel=1e-7)
    if of_weights:
        np.testing.assert_allclose(of_weights[0], (standard(x, axes) * c).sum(0), rtol=1e-9)
        np.testing.assert_allclose(of_weights[1], c.sum(0), rtol=1e-9)


def test_sums_over_many_rows_do_not_drift(rng):
    x = rng.random((300_000, 4), dtype="float32")
    model = kgraph.Sequential([kgraph.Input((4,)), BatchNormalization()])
    _, _, (of_gamma, of_beta) = kgraph.vjp(model, x, x, training=True)
    np.testing.assert_allclose(of_beta, x.sum(0, dtype="float64"), rtol=2e-6)
    np.testing.assert_allclose(of_gamma, (standard(x, 0) * x).sum(0), rtol=2e-6)


def test_weights_come_in_the_order_of_keras():
    layer = BatchNormalization()
    layer.build((None, 3))
    assert [w.name for w in layer.weights] == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert [w.name for w in layer.trainable_weights] == ["gamma", "beta"]
    plain = BatchNormalization(center=False, scale=False)
    plain.build((None, 3))
    assert [w.name for w in plain.weights] == ["moving_mean", "moving_variance"]


@pytest.mark.parametrize(
    "layer",
    [
        BatchNormalization(axis=1, momentum=0.5, epsilon=0.1, center=False, moving_mean_initializer="ones"),
        LayerNormalization(axis=[1, 2], scale=False, gamma_initializer="zeros"),
        GroupNormalization(groups=2, beta_initializer="ones"),
        RMSNormalization(axis=[1], epsilon=1e-3),
        UnitNormalization(axis=[1, 2]),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_configuration_round_trip(layer, rng):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    x = rng.normal(size=(2, 4, 6)).astype("float32")
    np.testing.assert_array_equal(copy(x, training=True), layer(x, training=True))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: BatchNormalization(renorm=True), "renorm is not supported: expected None, received True"),
        (lambda: BatchNormalization(momentum=1.5), r"momentum: expected a number in \[0, 1\], received 1.5"),
        (lambda: BatchNormalization(epsilon=-1), "epsilon: expected a number >= 0, received -1"),
        (lambda: BatchNormalization(axis=[1, 2]), r"axis: expected an int, received \[1, 2\]"),
        (lambda: BatchNormalization(gamma_regularizer="l3"), "gamma_regularizer=.l3.: unknown"),
        (
            lambda: BatchNormalization(axis=3)(np.ones((2, 4))),
            r"axis: expected different axes of \(batch, 4\), received 3",
        ),
        (lambda: LayerNormalization(axis=1.5), "axis: expected an int"),
        (lambda: GroupNormalization(groups=0), "groups: expected an int >= 1, received 0"),
        (lambda: GroupNormalization(groups=4)(np.ones((2, 6))), "groups: expected a divisor of the 6 channels"),
        (lambda: GroupNormalization(groups=1, axis=0)(np.ones((2, 6))), r"axis: expected an axis in 1..1, received 0"),
        (lambda: LayerNormalization()(kgraph.Input((None,))), "expected known sizes along axis -1"),
        (lambda: layers.Permute((2, 2)), r"dims: expected an order of 1..2, received \(2, 2\)"),
        (lambda: layers.Permute((2, 1))(np.ones((2, 3))), r"expected rank 3 for dims \(2, 1\), received \(2, 3\)"),
        (lambda: layers.RepeatVector(0), "n: expected an int >= 1, received 0"),
        (lambda: layers.RepeatVector(2)(np.ones((2, 3, 4))), r"expected \(batch, features\)"),
        (lambda: layers.PReLU(shared_axes=[3])(np.ones((2, 3))), r"shared_axes: expected axes in 1..1, received \[3\]"),
        (lambda: layers.Subtract()([np.ones((2, 3))] * 3), "expected a list of 2 tensors, received 3"),
        (lambda: layers.Dot(axes=0)([np.ones((2, 3))] * 2), "axes: expected an axis in 1..1"),
        (lambda: layers.Dot(axes=1)([np.ones((2, 3)), np.ones((2, 4))]), "have sizes 3 and 4 along"),
        (lambda: layers.GaussianNoise(2.0), r"stddev: expected a number in \[0, 1\], received 2.0"),
        (lambda: layers.GaussianDropout(1.0), r"rate: expected a number in \[0, 1\), received 1.0"),
        (lambda: layers.SpatialDropout2D(0.5, "nchw"), "data_format: expected 'channels_last' or 'channels_first'"),
        (lambda: layers.SpatialDropout1D(0.5)(np.ones((2, 3))), r"expected rank 3, received \(2, 3\)"),
        (lambda: layers.Rescaling("a"), "scale: expected numbers, received 'a'"),
    ],
)
def test_wrong_calls_are_refused_with_one_line(make, words):
    with pytest.raises(KgraphError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_another_number_of_channels_is_refused_and_the_layer_stays_usable():
    for layer in (BatchNormalization(), BatchNormalization(center=False, scale=False), RMSNormalization()):
        layer(np.ones((2, 4)))
        with pytest.raises(KgraphError, match=r"expected \(4,\), received \(5,\)"):
            layer(np.ones((2, 5)))
        assert layer(np.ones((2, 4))).shape == (2, 4)


# --- elementwise, shape and noise layers ------------------------------------------------------------------------------
def test_merging_layers_and_functions(rng):
    x, y = (rng.normal(size=(3, 4)).astype("float32") for _ in range(2))
    cases = {"subtract": x - y, "multiply": x * y, "average": (x + y) / 2,
             "maximum": np.maximum(x, y), "minimum": np.minimum(x, y)}  # fmt: skip
    for name, wanted in cases.items():
        np.testing.assert_allclose(getattr(layers, name)([x, y]), wanted, rtol=1e-6)
        np.testing.assert_allclose(getattr(layers, name.capitalize())()([x, y]), wanted, rtol=1e-6)


def test_dot_sums_products_along_axes(rng):
    a, b = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 7, 3))
    a, b = a.astype("float32"), b.astype("float32")
    np.testing.assert_allclose(layers.Dot((1, 2))([a, b]), np.einsum("nij,nki->njk", a, b), rtol=1e-5, atol=1e-6)
    x, y = a[:, 0], a[:, 1]
    np.testing.assert_allclose(layers.dot([x, y], axes=-1), (x * y).sum(1, keepdims=True), rtol=1e-5)
    cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    np.testing.assert_allclose(layers.Dot(1, normalize=True)([x, y])[:, 0], cosine, rtol=1e-5)
    wanted = np.einsum("ni,nij->nj", a[:, :, 0], a)
    np.testing.assert_allclose(layers.Dot(1)([a[:, :, 0], a]), wanted, rtol=1e-5, atol=1e-6)


def test_shape_layers_and_identity(rng):
    x = rng.normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_array_equal(layers.Permute((2, 1))(x), x.transpose(0, 2, 1))
    np.testing.assert_array_equal(layers.RepeatVector(3)(x[:, 0]), np.repeat(x[:, :1], 3, 1))
    np.testing.assert_array_equal(layers.Identity()(x), x)
    np.testing.assert_allclose(layers.Rescaling([1, 2, 3, 4], 1)(x), x * [1, 2, 3, 4] + 1, rtol=1e-6)


@BOTH
def test_noise_layers_have_the_moments_they_promise(execution):
    x = np.full((400, 500), 2.0, "float32")
    with kgraph.execution(execution):
        noise = layers.GaussianNoise(0.5, seed=1)(x, training=True) - x
        factor = layers.GaussianDropout(0.2, seed=1)(x, training=True) / x
    # Five standard errors of 200000 draws.
    assert abs(noise.mean()) < 5 * 0.5 / np.sqrt(x.size)
    assert noise.std() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(2 * x.size))
    assert (np.abs(noise) < 0.5).mean() == pytest.approx(0.6827, abs=5 * 0.466 / np.sqrt(x.size))
    assert abs(factor.mean() - 1) < 5 * 0.5 / np.sqrt(x.size)
    assert factor.std() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(2 * x.size))
    for layer in (layers.GaussianNoise(0.5), layers.GaussianDropout(0.5), layers.AlphaDropout(0.5)):
        np.testing.assert_array_equal(layer(x), x)


def test_alpha_dropout_keeps_mean_and_variance(rng):
    x = rng.normal(size=(400, 500)).astype("float32")
    y = layers.AlphaDropout(0.3, seed=2)(x, training=True)
    assert abs(y.mean()) < 0.02
    assert y.std() == pytest.approx(1, abs=0.02)
    dropped = np.bincount(np.unique(y, return_inverse=True)[1].ravel()).max() / y.size
    assert dropped == pytest.approx(0.3, abs=0.006)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_spatial_dropout_drops_whole_channels(rank):
    shape = (20, *[3] * rank, 10)
    y = getattr(layers, f"SpatialDropout{rank}D")(0.5, seed=3)(np.ones(shape, "float32"), training=True)
    places = tuple(range(1, rank + 1))
    assert np.isin(y, [0, 2]).all()
    np.testing.assert_array_equal(y.min(places), y.max(places))
    assert 0.3 < (y > 0).mean() < 0.7


def test_prelu_learns_a_slope_for_each_place(rng):
    x = rng.normal(size=(3, 4, 6)).astype("float32")
    layer = layers.PReLU("ones", shared_axes=[1])
    layer.build((None, None, 6))
    layer.alpha.assign(np.arange(6.0)[None])
    np.testing.assert_allclose(layer(x), np.where(x > 0, x, x * np.arange(6)), rtol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        layers.PReLU(shared_axes=1), layers.Permute((2, 1)), layers.Rescaling(2.0, offset=1.0), layers.Identity(),
        layers.AlphaDropout(0.1, seed=4), layers.SpatialDropout1D(0.1, seed=4), layers.GaussianNoise(0.1, seed=4),
        layers.GaussianDropout(0.1, seed=4),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_other_layers_survive_their_configuration(layer, rng):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    x = rng.normal(size=(2, 4, 6)).astype("float32")
    np.testing.assert_array_equal(copy(x, training=True), layer(x, training=True))

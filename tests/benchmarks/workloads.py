"""What is measured: networks written once for Keras and kgraph, once for PyTorch, with their data."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Workload:
    """A network and how it runs.

    Attributes:
        title: for the table.
        shape: of one sample.
        classes: how many classes the labels name.
        batch: rows of a step.
        steps: of an epoch; for "predict" calls of a timed run.
        optimizer: "adam", "sgd" with momentum 0.9, or "" where only rows are predicted.
        keras: makes the model from `keras` or `kgraph`, not compiled.
        torch: makes the same model from `torch`, without softmax.
        ids: inputs are ids below this number; 0 for floats.
    """

    title: str
    shape: tuple[int, ...]
    classes: int
    batch: int
    steps: int
    optimizer: str
    keras: Callable[[Any], Any]
    torch: Callable[[Any], Any]
    ids: int = 0

    def data(self) -> tuple[Any, Any]:
        """Random inputs, channels last, and class numbers, for one epoch."""
        import numpy as np

        rng = np.random.default_rng(0)
        rows = self.batch * self.steps
        labels = rng.integers(0, self.classes, rows)
        if self.ids:
            return rng.integers(0, self.ids, (rows, *self.shape), dtype="int32"), labels
        return rng.random((rows, *self.shape), dtype="float32"), labels


def _dense(sizes: tuple[int, ...], dropout: float = 0.0) -> dict[str, Callable[[Any], Any]]:
    """A network of Dense layers with relu, and dropout after each hidden layer."""

    def for_keras(keras: Any) -> Any:
        layers = [keras.Input((sizes[0],))]
        for units in sizes[1:-1]:
            layers.append(keras.layers.Dense(units, activation="relu"))
            if dropout:
                layers.append(keras.layers.Dropout(dropout))
        return keras.Sequential([*layers, keras.layers.Dense(sizes[-1], activation="softmax")])

    def for_torch(torch: Any) -> Any:
        nn, layers = torch.nn, []
        for inputs, units in itertools.pairwise(sizes[:-1]):
            layers += [nn.Linear(inputs, units), nn.ReLU()] + [nn.Dropout(dropout)] * bool(dropout)
        return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))

    return {"keras": for_keras, "torch": for_torch}


def _cnn_keras(keras: Any) -> Any:
    """Three 3x3 convolutions with max-pooling, then two Dense layers."""
    layers = [keras.Input((28, 28, 1))]
    for filters in (32, 64, 128):
        layers.append(keras.layers.Conv2D(filters, 3, padding="same", activation="relu"))
        layers.append(keras.layers.MaxPooling2D(2))
    layers += [keras.layers.Flatten(), keras.layers.Dense(128, activation="relu"), keras.layers.Dropout(0.5)]
    return keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])


def _cnn_torch(torch: Any) -> Any:
    nn, layers = torch.nn, []
    for inputs, filters in ((1, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(inputs, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1152, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))


# (filters, stride of the first of three blocks) of ResNet-20: He et al., "Deep Residual Learning", section 4.2. Where
# the shape changes the shortcut is a 1x1 convolution.
_STAGES = ((16, 1), (32, 2), (64, 2))


def _resnet20_keras(keras: Any) -> Any:
    layers = keras.layers

    def conv_norm(x: Any, filters: int, stride: int) -> Any:
        x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.Activation("relu")(conv_norm(inputs, 16, 1))
    for filters, first in _STAGES:
        for stride in (first, 1, 1):
            y = layers.Activation("relu")(conv_norm(x, filters, stride))
            y = conv_norm(y, filters, 1)
            if stride != 1:
                x = layers.Conv2D(filters, 1, strides=stride, padding="same", use_bias=False)(x)
            x = layers.Activation("relu")(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def _resnet20_torch(torch: Any) -> Any:
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        """Two convolutions beside a shortcut."""

        def __init__(self, inputs: int, filters: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(inputs, filters, 3, stride, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
                nn.Conv2d(filters, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters),
            )  # fmt: skip
            self.shortcut = nn.Conv2d(inputs, filters, 1, stride, bias=False) if stride != 1 else nn.Identity()

        def forward(self, x: Any) -> Any:
            return torch.relu(self.shortcut(x) + self.body(x))

    layers, inputs = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for filters, first in _STAGES:
        for stride in (first, 1, 1):
            layers.append(Block(inputs, filters, stride))
            inputs = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def _recurrent(kind: str, sizes: tuple[int, ...]) -> dict[str, Callable[[Any], Any]]:
    """Layers of one kind over 50 steps of 32 features; the last one hands on its last state."""

    def for_keras(keras: Any) -> Any:
        layer = getattr(keras.layers, kind)
        layers = [keras.Input((50, 32)), *(layer(units, return_sequences=True) for units in sizes[:-1])]
        return keras.Sequential([*layers, layer(sizes[-1]), keras.layers.Dense(10, activation="softmax")])

    def for_torch(torch: Any) -> Any:
        nn = torch.nn

        class Network(nn.Module):  # type: ignore[misc,name-defined]
            """The layers and a linear one on the last step."""

            def __init__(self) -> None:
                super().__init__()
                widths = itertools.pairwise((32, *sizes))
                self.layers = nn.ModuleList(getattr(nn, kind)(*width, batch_first=True) for width in widths)
                self.last = nn.Linear(sizes[-1], 10)

            def forward(self, x: Any) -> Any:
                for layer in self.layers:
                    x, _ = layer(x)
                return self.last(x[:, -1])

        return Network()

    return {"keras": for_keras, "torch": for_torch}


_WIDTH, _HEADS, _INNER = 128, 4, 512  # of the transformer


def _transformer_keras(keras: Any) -> Any:
    """Two blocks that normalise after each sum, then the mean over the steps."""
    layers = keras.layers
    x = inputs = keras.Input((64, _WIDTH))
    for _ in range(2):
        attended = layers.MultiHeadAttention(_HEADS, _WIDTH // _HEADS)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, attended]))
        inner = layers.Dense(_WIDTH)(layers.Dense(_INNER, activation="relu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, inner]))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def _transformer_torch(torch: Any) -> Any:
    nn = torch.nn

    class Network(nn.Module):  # type: ignore[misc,name-defined]
        """PyTorch's own blocks, and a linear layer on the mean over the steps."""

        def __init__(self) -> None:
            super().__init__()
            block = nn.TransformerEncoderLayer
            self.blocks = nn.Sequential(*(block(_WIDTH, _HEADS, _INNER, 0.0, batch_first=True) for _ in range(2)))
            self.last = nn.Linear(_WIDTH, 10)

        def forward(self, x: Any) -> Any:
            return self.last(self.blocks(x).mean(1))

    return Network()


_WORDS, _VECTOR = 20_000, 64  # of the embedding


def _embedding_keras(keras: Any) -> Any:
    """The mean of the vectors of 100 ids, then a Dense layer."""
    layers = keras.layers
    words = [layers.Embedding(_WORDS, _VECTOR), layers.GlobalAveragePooling1D(), layers.Dense(2, activation="softmax")]
    return keras.Sequential([keras.Input((100,), dtype="int32"), *words])


def _embedding_torch(torch: Any) -> Any:
    nn = torch.nn

    class Mean(nn.Module):  # type: ignore[misc,name-defined]
        """Mean over the ids of a row."""

        def forward(self, x: Any) -> Any:
            return x.mean(1)

    return nn.Sequential(nn.Embedding(_WORDS, _VECTOR), Mean(), nn.Linear(_VECTOR, 2))


WORKLOADS = {
    "mlp_small": Workload(
        "10-20-30, batch 32, Adam", (10,), 30, 32, 500, "adam", **_dense((10, 20, 30))
    ),
    "one_row": Workload(
        "64-128-64-10, predict_on_batch of one row", (64,), 10, 1, 500, "", **_dense((64, 128, 64, 10))
    ),
    "mlp": Workload(
        "784-512-512-10 with dropout 0.2, batch 128, Adam", (784,), 10, 128, 40, "adam",
        **_dense((784, 512, 512, 10), 0.2),
    ),
    "cnn": Workload(
        "three convolutions 32-64-128 on 28x28x1, batch 128, Adam", (28, 28, 1), 10, 128, 6, "adam",
        _cnn_keras, _cnn_torch,
    ),
    "resnet20": Workload(
        "ResNet-20 on 32x32x3, batch 64, SGD with momentum", (32, 32, 3), 10, 64, 4, "sgd",
        _resnet20_keras, _resnet20_torch,
    ),
    "lstm": Workload(
        "LSTM 128 and LSTM 64 on 50 steps of 32 features, batch 64, Adam", (50, 32), 10, 64, 10, "adam",
        **_recurrent("LSTM", (128, 64)),
    ),
    "gru": Workload(
        "GRU 128 on 50 steps of 32 features, batch 64, Adam", (50, 32), 10, 64, 10, "adam", **_recurrent("GRU", (128,))
    ),
    "transformer": Workload(
        "two blocks of 4 heads on 64 steps of 128 features, batch 32, Adam", (64, _WIDTH), 10, 32, 10, "adam",
        _transformer_keras, _transformer_torch,
    ),
    "embedding": Workload(
        "Embedding 20000 x 64 of 100 ids, their mean, Dense, batch 32, Adam", (100,), 2, 32, 50, "adam",
        _embedding_keras, _embedding_torch, ids=_WORDS,
    ),
}  # fmt: skip

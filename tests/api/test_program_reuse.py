"""When a model keeps its compiled programs, and when it has to make new ones."""

import numpy as np
import pytest

import kgraph
from kgraph.config import compilation_count
from kgraph.layers import Dense

X = np.ones((2, 3), "float32")


class Net(kgraph.Model):
    """Layers in a list."""

    def __init__(self):
        super().__init__()
        self.blocks = [Dense(3)]

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture
def net():
    model = Net()
    model.predict_on_batch(X)
    return model


def test_nothing_changed_compiles_nothing(net):
    before = compilation_count()
    net.predict_on_batch(X[:1])
    Dense(2).activation = "other layers do not matter"
    net.predict_on_batch(X)
    assert compilation_count() == before


def test_stop_of_training_compiles_nothing(net):
    before = compilation_count()
    net.stop_training = True
    net.predict_on_batch(X)
    assert compilation_count() == before
    assert net.stop_training


def test_changed_attribute_of_a_layer_counts(net):
    net.blocks[0].activation = kgraph.activations.get("relu")
    net.blocks[0].set_weights([-np.ones((3, 3)), np.zeros(3)])
    np.testing.assert_array_equal(net.predict_on_batch(X), 0)


def test_layer_made_long_before_counts_when_a_list_receives_it(net):
    layer = Dense(4)
    assert net.predict_on_batch(X).shape == (2, 3)
    net.blocks.append(layer)
    assert net.predict_on_batch(X).shape == (2, 4)
    assert [w.shape for w in net.weights] == [(3, 3), (3,), (3, 4), (4,)]

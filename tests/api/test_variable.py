"""Variables outside programs are numbers and arrays; inside they are tensors. NumPy may stand on the left of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kgraph.keras_tensor import KerasTensor
from kgraph.layers import Dense, Layer
from kgraph.models import Input, Model, Sequential
from kgraph.variable import Variable

ONES = np.ones((2, 3), "float32")


def test_a_scalar_variable_is_a_number():
    model = Sequential([Dense(2, input_shape=(3,))])
    model.compile("adam", "mse")
    assert float(model.optimizer.learning_rate) == np.float32(0.001)
    model.train_on_batch(ONES, np.zeros((2, 2)))
    assert int(model.optimizer.iterations) == 1
    model.optimizer.learning_rate = float(model.optimizer.learning_rate) / 2
    assert float(model.optimizer.learning_rate) == np.float32(0.0005)


def test_a_variable_is_an_array_for_numpy_and_the_array_is_a_copy():
    variable = Variable(ONES, "v")
    for copy in (np.array(variable), np.asarray(variable), variable.value):
        copy[...] = 7
    np.testing.assert_array_equal(variable.array, ONES)
    assert np.asarray(variable, "float64").dtype == np.float64
    assert variable.ndim == 2
    assert np.sum(variable) == 6


@pytest.mark.parametrize("value", [
    3.0, True, [1, 2], np.zeros((0, 3)), np.arange(40)[3::2], np.arange(85.0).reshape(5, 17).T,
])  # fmt: skip
def test_values_start_at_a_cache_line_in_rows(value):
    array = Variable(value, "v").array
    assert array.ctypes.data % 64 == 0 or not array.size
    assert array.flags.c_contiguous
    assert array.dtype == np.asarray(value).dtype
    np.testing.assert_array_equal(array, value)


def test_a_variable_is_not_taken_as_a_constant_of_a_program():
    class Wrong(Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight((3,), "ones", name="w")

        def call(self, inputs: Any) -> Any:
            return inputs * np.exp(self.w)

    with pytest.raises(TypeError, match="NumPy function on a symbolic tensor"):
        Wrong()(ONES)


@pytest.mark.parametrize("operation", (
    lambda t: np.float64(2) * t, lambda t: np.full(3, 2.0) * t, lambda t: t * np.array(2.0),
    lambda t: np.float32(1) + t, lambda t: np.sqrt(4.0) / t,
))  # fmt: skip
def test_numpy_numbers_and_arrays_on_either_side_keep_the_element_type(operation: Callable[[Any], Any]):
    class Here(Layer):
        def call(self, inputs: Any) -> Any:
            return operation(inputs)

    def symbolic(tensor: KerasTensor) -> KerasTensor:
        result = operation(tensor)
        assert isinstance(result, KerasTensor)
        return result

    tensor = Input((3,))
    for found in (Here()(ONES), Model(tensor, symbolic(tensor)).predict(ONES, verbose=0)):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.full((2, 3), 2, "float32"))

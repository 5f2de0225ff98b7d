"""Embedding: a vector for each id."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.errors import DataError
from kgraph.ir.dtypes import i32
from kgraph.ir.operators import cast
from kgraph.layers.arguments import whole_number
from kgraph.layers.base import Layer
from kgraph.primitives import composites
from kgraph.trace import current_trace


class Embedding(Layer):
    """A vector for each id: row ``id`` of a trained matrix.

    Args:
        input_dim: number of ids, which are 0 .. ``input_dim`` - 1; int >= 1.
        output_dim: size of a vector; int >= 1.
        embeddings_initializer: name or initializer.
        embeddings_regularizer: penalty on the matrix; see `kgraph.regularizers`.
        embeddings_constraint: applied after each update; see `kgraph.constraints`.
        mask_zero: whether id 0 is padding: the output then has a mask that is False there.
        weights: the matrix to start from, or a list of it.
        input_length: size of the second axis of the input if this is the first layer of a `Sequential` model, as in
            older Keras; an int, or a tuple for several axes.

    Input shape: any; integers, or floats that are whole numbers. Output shape: the input's, then ``output_dim``.
    Weights: embeddings ``(input_dim, output_dim)``.
    Raises: ArgumentError if a size is < 1; DataError, before anything is computed, if the data hold an id that is not
    in 0 .. ``input_dim`` - 1 or not whole. Ids that the model itself computes are not checked: those outside give
    zeros.

    >>> import numpy as np
    >>> Embedding(3, 2, weights=np.eye(3, 2))([[2, 1]])
    array([[[0., 0.],
            [0., 1.]]], dtype=float32)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        input_length: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_dim = whole_number(self.label, "input_dim", input_dim)
        self.output_dim = whole_number(self.label, "output_dim", output_dim)
        self.keep_weight_options("embeddings", embeddings_initializer, embeddings_regularizer, embeddings_constraint)
        self.mask_zero = self.supports_masking = bool(mask_zero)
        self.autocast = False
        self.embeddings: Any = None
        if input_length is not None and self.first_shape is None:
            lengths = input_length if isinstance(input_length, (list, tuple)) else (input_length,)
            self.first_shape = (kwargs.get("batch_size"), *lengths)
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, (list, tuple)) and len(weights) == 1 else [weights])

    @property
    def input_dtype(self) -> str:
        """Ids are integers, so that no large one is rounded."""
        return i32.numpy

    def build(self, input_shape: Any = None) -> None:
        """Make the matrix."""
        self.embeddings = self.make_weight("embeddings", (self.input_dim, self.output_dim))

    def call(self, inputs: Any) -> Any:
        """The rows of the matrix."""
        trace = current_trace()
        trace.demand(inputs, self.check_ids)
        ids = inputs if trace.type_of(inputs).dtype.is_integer else cast(inputs, i32)
        return composites.gather(self.embeddings, ids)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """False where the id is 0, if that is padding."""
        return composites.not_equal(inputs, 0) if self.mask_zero else None

    def check_ids(self, ids: np.ndarray) -> None:
        """DataError unless all ids are whole numbers from 0 .. ``input_dim`` - 1."""
        whole = ids.dtype.kind != "f" or bool(np.all(np.trunc(ids) == ids))
        if not ids.size or (whole and ids.min() >= 0 and ids.max() < self.input_dim):
            return
        wrong = (ids < 0) | (ids >= self.input_dim) | (np.trunc(ids) != ids)
        place = np.unravel_index(int(wrong.argmax()), ids.shape)
        found, at = ids[place], ",".join(map(str, place))
        fault = f"not in [0, {self.input_dim})" if found == np.trunc(found) else "is not a whole number"
        raise DataError(f"layer '{self.name}': id {found!s} at [{at}] {fault}")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            **self.weight_options(),
            "mask_zero": self.mask_zero,
        }

"""SimpleRNN: one affine map of inputs and state, and an activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.layers.recurrent.cell import RecurrentCell
from kgraph.layers.recurrent.rnn import CellLayer


class SimpleRNNCell(RecurrentCell):
    """One step of `SimpleRNN`: ``h' = activation(x @ kernel + h @ recurrent_kernel + bias)``.

    Args: those of `SimpleRNN` that concern a step.

    Called with the inputs ``(batch, features)`` and a list of the state; gives the output and a list of the new state.

    >>> import numpy as np
    >>> output, states = SimpleRNNCell(4)(np.zeros((2, 3)), [np.zeros((2, 4))])
    >>> output.shape
    (2, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer, kernel_constraint, recurrent_constraint,
            bias_constraint, dropout, recurrent_dropout, seed, **kwargs,
        )  # fmt: skip
        self.state_size = self.units

    def step(self, projected: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
        """The output, which is the new state."""
        (recurrent,) = self.recur(states[0])
        output = self.activation(projected + recurrent)
        return output, [output]


class SimpleRNN(CellLayer):
    """Fully connected recurrent layer: ``h_t = activation(x_t @ kernel + h_(t-1) @ recurrent_kernel + bias)``.

    Args:
        units: size of state and output; int >= 1.
        activation: name, function or None (identity).
        use_bias: add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: names or initializers.
        kernel_regularizer, recurrent_regularizer, bias_regularizer, activity_regularizer: see `kgraph.regularizers`.
        kernel_constraint, recurrent_constraint, bias_constraint: see `kgraph.constraints`.
        dropout: part of the inputs that is dropped in training, the same for all steps.
        recurrent_dropout: part of the state that is dropped in training where it enters a step.
        return_sequences: give the outputs of all steps, not only the last one.
        return_state: give the last state as well.
        go_backwards: begin with the last step; outputs are in the order in which they are computed.
        stateful: begin with the state of the call before; the batch size must be fixed.
        unroll: accepted, without effect: the steps run in a native loop.
        seed: int that fixes the dropout masks.

    Call: ``layer(sequences, initial_state=None, mask=None, training=False)``; where the mask is False a step keeps the
        state and gives the output before it.
    Input shape: ``(batch, steps, features)``. Output shape: ``(batch, units)``, or ``(batch, steps, units)``; and the
        state ``(batch, units)``.
    Weights: kernel ``(features, units)``, recurrent_kernel ``(units, units)``, bias ``(units,)``.
    Raises: ArgumentError, ShapeError.

    >>> SimpleRNN(4, return_sequences=True)([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]).shape
    (1, 3, 4)
    """

    cell_class = SimpleRNNCell

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        cell = {
            "units": units, "activation": activation, "use_bias": use_bias, "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer, "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer, "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer, "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint, "bias_constraint": bias_constraint, "dropout": dropout,
            "recurrent_dropout": recurrent_dropout, "seed": seed,
        }  # fmt: skip
        super().__init__(
            cell, return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, activity_regularizer=activity_regularizer, **kwargs,
        )  # fmt: skip

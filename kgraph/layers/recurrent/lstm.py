"""LSTM: a cell state that gates write, forget and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import kgraph.activations as activations
import kgraph.initializers as initializers
from kgraph.ir.operators import lift
from kgraph.layers.recurrent.cell import RecurrentCell, columns
from kgraph.layers.recurrent.rnn import CellLayer
from kgraph.primitives.lstm import lstm_sequence


class LSTMCell(RecurrentCell):
    """One step of `LSTM`, whose docstring has the formula.

    Args: those of `LSTM` that concern a step.

    Called with the inputs ``(batch, features)`` and the list of states [h, c]; gives the output and the new states.
    """

    gates = 4

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
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
        self.bias_initializer: Any
        self.recurrent_activation = activations.get(recurrent_activation, f"{self.label}: recurrent_activation")
        self.unit_forget_bias = bool(unit_forget_bias)
        self.state_size = [self.units, self.units]

    def make_weight(self, weight: str, shape: Sequence[int], name: str = "", **options: Any) -> Any:
        """The weight; the forget gate's part of the bias starts at 1 with `unit_forget_bias`."""
        if weight == "bias" and self.unit_forget_bias:
            options["initializer"] = self._with_unit_forget_bias
        return super().make_weight(weight, shape, name, **options)

    def _with_unit_forget_bias(self, shape: Any, dtype: Any = None) -> Any:
        bias = self.bias_initializer
        parts = ((bias, 1), (initializers.get("ones"), 1), (bias, 2))
        return np.concatenate([np.asarray(make((n * self.units,), dtype=dtype)) for make, n in parts])

    def step(self, projected: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
        """The output, and the new states [h, c]."""
        inputs = columns(projected, 4)
        i, f, g, o = (x + r for x, r in zip(inputs, self.recur(states[0])))
        gate, activation = self.recurrent_activation, self.activation
        c = gate(f) * states[1] + gate(i) * activation(g)
        h = gate(o) * activation(c)
        return h, [h, c]

    def runs_whole(self) -> bool:
        """With the usual functions."""
        usual = self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid
        return usual and not self.drops_states()

    def whole(self, projected: Any, states: Sequence[Any], mask: Any, backwards: bool) -> tuple[Any, list[Any]]:
        """The sequence as one op."""
        kernel = lift(self.recurrent_kernel)
        outputs, h, c, *_ = lstm_sequence(projected, kernel, *states, *mask, reverse=backwards)
        return outputs, [h, c]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "recurrent_activation": activations.serialize(self.recurrent_activation),
            "unit_forget_bias": self.unit_forget_bias,
        }


class LSTM(CellLayer):
    """Long short-term memory.

    With the gates ``i, f, g, o = x_t @ kernel + h_(t-1) @ recurrent_kernel + bias``, cut into four:
    ``c_t = s(f) * c_(t-1) + s(i) * a(g)`` and ``h_t = s(o) * a(c_t)``, where s is `recurrent_activation` and a is
    `activation`.

    Args:
        units: size of states and output; int >= 1.
        activation, recurrent_activation: names, functions or None (identity).
        use_bias: add a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: names or initializers.
        unit_forget_bias: the forget gate's bias starts at 1.
        use_cudnn, implementation: accepted, without effect.

    The other arguments, the call and masks are as in `SimpleRNN`; the states are h and c.

    Input shape: ``(batch, steps, features)``. Output shape: ``(batch, units)``, or ``(batch, steps, units)``; and the
        states, each ``(batch, units)``.
    Weights: kernel ``(features, 4 * units)``, recurrent_kernel ``(units, 4 * units)``, bias ``(4 * units,)``.
    Source: Hochreiter and Schmidhuber (1997), with forget gates (Gers et al., 2000).

    >>> sequences = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]
    >>> LSTM(4, return_sequences=True)(sequences).shape
    (1, 3, 4)
    """

    cell_class = LSTMCell

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        cell = {
            "units": units, "activation": activation, "recurrent_activation": recurrent_activation,
            "use_bias": use_bias, "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer, "bias_initializer": bias_initializer,
            "unit_forget_bias": unit_forget_bias, "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer, "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint, "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint, "dropout": dropout, "recurrent_dropout": recurrent_dropout,
            "seed": seed,
        }  # fmt: skip
        super().__init__(
            cell, return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, activity_regularizer=activity_regularizer, **kwargs,
        )  # fmt: skip

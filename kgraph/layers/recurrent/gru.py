"""GRU: the state is mixed with a candidate by an update gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kgraph.activations as activations
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.operators import lift
from kgraph.layers.recurrent.cell import RecurrentCell, columns
from kgraph.layers.recurrent.rnn import CellLayer
from kgraph.primitives import composites
from kgraph.primitives.gru import gru_sequence


class GRUCell(RecurrentCell):
    """One step of `GRU`, whose docstring has the formula.

    Args: those of `GRU` that concern a step.

    Called with the inputs ``(batch, features)`` and a list of the state; gives the output and a list of the new state.
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
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
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer, kernel_constraint, recurrent_constraint,
            bias_constraint, dropout, recurrent_dropout, seed, **kwargs,
        )  # fmt: skip
        self.recurrent_activation = activations.get(recurrent_activation, f"{self.label}: recurrent_activation")
        self.reset_after = bool(reset_after)
        self.state_size = self.units

    def bias_shape(self) -> tuple[int, ...]:
        """One bias for the inputs, and with `reset_after` another one for the state."""
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def input_bias(self) -> Any:
        """The bias that belongs to the inputs; None without."""
        return self._bias(0) if self.reset_after else self.bias

    def _bias(self, row: int) -> Any:
        """A row of the bias; None without."""
        if self.bias is None:
            return None
        rows = composites.reshape(self.bias, (6 * self.units,))
        return columns(rows, 2)[row]

    def step(self, projected: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
        """The output, which is the new state."""
        (h,), gate = states, self.recurrent_activation
        x_z, x_r, x_h = columns(projected, 3)
        if self.reset_after:
            recurrent, bias = self.recur(h), self._bias(1)
            if bias is not None:
                recurrent = [part + own for part, own in zip(recurrent, columns(bias, 3))]
            r_z, r_r, r_h = recurrent
            z, candidate = gate(x_z + r_z), self.activation(x_h + gate(x_r + r_r) * r_h)
        else:
            r_z, r_r = self.recur(h, slice(0, 2))
            (r_h,) = self.recur(gate(x_r + r_r) * h, slice(2, 3))
            z, candidate = gate(x_z + r_z), self.activation(x_h + r_h)
        output = z * h + (1.0 - z) * candidate
        return output, [output]

    def runs_whole(self) -> bool:
        """With the usual functions and `reset_after`."""
        usual = self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid
        return self.reset_after and usual and not self.drops_states()

    def whole(self, projected: Any, states: Sequence[Any], mask: Any, backwards: bool) -> tuple[Any, list[Any]]:
        """The sequence as one op."""
        kernel, bias = lift(self.recurrent_kernel), self._bias(1)
        if bias is None:
            bias = composites.full((3 * self.units,), 0, dtype_of(self.dtype))
        outputs, h, *_ = gru_sequence(projected, kernel, bias, *states, *mask, reverse=backwards)
        return outputs, [h]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "recurrent_activation": activations.serialize(self.recurrent_activation),
            "reset_after": self.reset_after,
        }


class GRU(CellLayer):
    """Gated recurrent unit.

    ``h_t = z * h_(t-1) + (1 - z) * a(x_h + r_h)`` with the gates ``z = s(x_z + r_z)`` and ``r = s(x_r + r_r)``; the x
    are the inputs' map ``x_t @ kernel + bias``, cut into three, the r are ``h_(t-1) @ recurrent_kernel``. With
    `reset_after` these have a bias of their own and ``r_h`` is multiplied by r; else the state is, before its map. s is
    `recurrent_activation`, a is `activation`.

    Args:
        units: size of state and output; int >= 1.
        activation, recurrent_activation: names, functions or None (identity).
        reset_after: apply the reset gate after the map of the state.
        use_cudnn, implementation: accepted, without effect.

    The other arguments, the call and masks are as in `SimpleRNN`.

    Input shape: ``(batch, steps, features)``. Output shape: ``(batch, units)``, or ``(batch, steps, units)``; and the
        state ``(batch, units)``.
    Weights: kernel ``(features, 3 * units)``, recurrent_kernel ``(units, 3 * units)``, bias ``(2, 3 * units)``, or
        ``(3 * units,)`` without `reset_after`.
    Source: Cho et al. (2014), in the form of Keras.

    >>> GRU(4)([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]).shape
    (1, 4)
    """

    cell_class = GRUCell

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
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
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        cell = {
            "units": units, "activation": activation, "recurrent_activation": recurrent_activation,
            "use_bias": use_bias, "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer, "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer, "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer, "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint, "bias_constraint": bias_constraint, "dropout": dropout,
            "recurrent_dropout": recurrent_dropout, "reset_after": reset_after, "seed": seed,
        }  # fmt: skip
        super().__init__(
            cell, return_sequences=return_sequences, return_state=return_state, go_backwards=go_backwards,
            stateful=stateful, unroll=unroll, activity_regularizer=activity_regularizer, **kwargs,
        )  # fmt: skip
